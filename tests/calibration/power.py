"""Planted effects: are they found as often as was said?

python -m tests.calibration.power            4,000 studies a cell
python -m tests.calibration.power --quick    400
"""

from collections.abc import Iterator
from itertools import product

import numpy as np

from analysis.designs import contrasts
from analysis.designs.factorial import main_contrasts
from analysis.significance import POWER, detectable_difference, seeds_needed
from tests.calibration.draws import (
    DRAWS,
    SEEDS,
    Array,
    Draw,
    band,
    by_seeds,
    compared,
    head,
    percent,
    print_tables,
)

WANTED = (2.0, 1.0, 0.7)
"""Differences of interest, in standard deviations of a paired difference."""


def deviation_of(draw: Draw) -> float:
    """Return the standard deviation of the difference of two draws."""
    rng = np.random.default_rng(20)
    return float((draw(rng, (200_000,)) - draw(rng, (200_000,))).std())


def found_above(draw: Draw, difference: float, seeds: int, studies: int) -> Array:
    """Say of each study of two arms that differ by so much whether the interval lies above zero."""
    rng = np.random.default_rng([21, seeds])
    block, shape = rng.normal(size=(seeds, studies)), (seeds, studies)
    table = compared(block + difference + draw(rng, shape), block + draw(rng, shape))
    return (table["low"] > 0).to_numpy(float)


def detected(draw: Draw, seeds: int, studies: int) -> Array:
    """As `found_above`, at what is called detectable, given the true spread."""
    error = np.array([deviation_of(draw) / np.sqrt(seeds)])
    size = float(detectable_difference(error, np.array([seeds - 1]))[0])
    return found_above(draw, size, seeds, studies)


def seeds_suffice(draw: Draw, wanted: float, studies: int) -> tuple[int, Array]:
    """Return the seeds that are advised for a difference, and whether each such study finds it."""
    sd = deviation_of(draw)
    n = seeds_needed(sd, wanted * sd)
    return n, found_above(draw, wanted * sd, n, studies)


def factorial_detected(seeds: int, studies: int) -> Array:
    """Say of each 2³ factorial with one planted main effect whether its interval lies above zero.

    The effect is what is detectable with the true spread and the degrees of freedom of the method.
    """
    sets = np.array(list(product((0.0, 1.0), repeat=3)))
    rows = main_contrasts(np.hstack([np.ones((8, 1)), sets]))
    degrees = seeds - 1 if seeds >= contrasts.MIN_BLOCKS else 7 * (seeds - 1)
    error = np.sqrt(np.sum(rows[0] ** 2) / seeds)  # of runs that spread by 1
    size = float(detectable_difference(np.array([error]), np.array([degrees]))[0])
    rng = np.random.default_rng([22, seeds])
    block = rng.normal(size=(studies, seeds, 1))
    values = block + size * sets[:, 0] + rng.normal(size=(studies, seeds, 8))
    return np.array([contrasts.estimate(rows[:1], one)["low"][0] > 0 for one in values], float)


def tables(studies: int) -> Iterator[str]:
    """Yield every table as Markdown."""
    promise = f"{studies} studies a cell; 80 % within {band(studies, POWER)} (↑ above, ↓ below)"
    yield f"\nPlanted differences of the detectable size that were found. {promise}."
    yield head("values", *(f"{n} seeds" for n in SEEDS))
    for name, draw in DRAWS.items():
        yield by_seeds(name, lambda n, d=draw: percent(detected(d, n, studies), POWER))
    yield "\nPlanted differences found with the seeds that are advised for them (80 % or more)."
    yield head("values", *(f"{wanted:g} × deviation" for wanted in WANTED))
    for name, draw in DRAWS.items():
        cells = (seeds_suffice(draw, wanted, studies) for wanted in WANTED)
        shown = [f"{percent(hits)} of {n} seeds" for n, hits in cells]
        yield f"| {name} | {' | '.join(shown)} |"
    yield f"\nPlanted main effects of the detectable size found in 2³ factorials, {studies // 4} a cell."
    sizes = (2, *SEEDS)
    yield head("runs", *(f"{n} seeds" for n in sizes))
    yield by_seeds("normal", lambda n: percent(factorial_detected(n, studies // 4), POWER), sizes)


if __name__ == "__main__":
    print_tables(tables)
