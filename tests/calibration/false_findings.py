"""A/A studies: the same arm under two names. How often is a difference said to be found?

python -m tests.calibration.false_findings            4,000 studies a cell
python -m tests.calibration.false_findings --quick    400
"""

from collections.abc import Iterator
from itertools import product

import numpy as np

from analysis import significance
from analysis.comparison import FOUND
from analysis.designs import contrasts
from analysis.designs.factorial import main_contrasts
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

PROMISED = 0.05


def unequal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Values of eight arms, half of which spread five times as far as the others."""
    return rng.normal(size=shape) * np.where(np.arange(8) < 4, 1.0, 5.0)


def same_arm(draw: Draw, seeds: int, studies: int, seed: int) -> tuple[Array, Array]:
    """Draw K studies [S, K] of one arm, twice; seeds shift both alike."""
    rng = np.random.default_rng([seed, seeds])
    block = rng.normal(size=(seeds, studies))
    return block + draw(rng, (seeds, studies)), block + draw(rng, (seeds, studies))


def found_of(draw: Draw, seeds: int, studies: int, seed: int = 1) -> Array:
    """Say of each A/A study whether a difference was found."""
    table = compared(*same_arm(draw, seeds, studies, seed))
    return (table["verdict"] == FOUND).to_numpy(float)


def flips_of(draw: Draw, seeds: int, studies: int, seed: int = 1) -> Array:
    """Say of each A/A study whether the sign-flip p is at most 0.05."""
    own, other = same_arm(draw, seeds, studies, seed)
    return (significance.sign_flip_p(own - other) <= PROMISED).astype(float)


def any_after_holm(draw: Draw, seeds: int, studies: int, arms: int = 10, seed: int = 2) -> Array:
    """Say of each study of one arm under many names whether any p after Holm is at most 0.05."""
    rng = np.random.default_rng([seed, seeds])
    values = draw(rng, (studies, seeds, arms))
    p = [significance.sign_flip_p(one[:, 1:] - one[:, :1]) for one in values]
    return np.array([significance.holm(family).min() <= PROMISED for family in p], float)


def factorial_of(
    draw: Draw, seeds: int, studies: int, method: str | None = None, seed: int = 3
) -> Array:
    """Say of each main effect [3 · studies] of 2³ factorials without any whether it was found."""
    sets = np.array(list(product((0.0, 1.0), repeat=3)))
    rows = main_contrasts(np.hstack([np.ones((8, 1)), sets]))
    rng = np.random.default_rng([seed, seeds])
    values = draw(rng, (studies, seeds, 8)) + rng.normal(size=(studies, seeds, 1))
    verdicts = [contrasts.estimate(rows, one, method)["verdict"] for one in values]
    return (np.concatenate(verdicts) == FOUND).astype(float)


def tables(studies: int) -> Iterator[str]:
    """Yield every table as Markdown."""
    expected = f"{studies} studies a cell; 5 % within {band(studies, PROMISED)} (↑ above, ↓ below)"
    yield f"\nThe same arm under two names: share with an interval that excludes zero. {expected}."
    yield head("values", *(f"{n} seeds" for n in SEEDS))
    for name, draw in DRAWS.items():
        yield by_seeds(name, lambda n, d=draw: percent(found_of(d, n, studies), PROMISED))
    yield "\nThe same: share with a sign-flip p of at most 0.05."
    yield head("values", *(f"{n} seeds" for n in SEEDS))
    for name, draw in DRAWS.items():
        yield by_seeds(name, lambda n, d=draw: percent(flips_of(d, n, studies), PROMISED))
    yield "\nOne arm under ten names: share of studies with any p of at most 0.05 after Holm."
    yield head("values", *(f"{n} seeds" for n in SEEDS))
    for name, draw in DRAWS.items():
        yield by_seeds(name, lambda n, d=draw: percent(any_after_holm(d, n, studies // 4), PROMISED))
    yield f"\n2³ factorials where nothing matters, {studies // 8} a cell: share of main effects found."
    sizes = (2, *SEEDS)
    yield head(
        "values", *(f"{n} seeds ({'pooled' if n < contrasts.MIN_BLOCKS else 'seeds'})" for n in sizes)
    )
    for name, draw in (DRAWS | {"normal, half the arms spread ×5": unequal}).items():
        yield by_seeds(
            name, lambda n, d=draw: percent(factorial_of(d, n, studies // 8), PROMISED), sizes
        )


if __name__ == "__main__":
    print_tables(tables)
