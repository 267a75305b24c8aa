"""How often do the 95 % intervals hold the truth?

python -m tests.calibration.coverage            4,000 studies a cell
python -m tests.calibration.coverage --quick    400
"""

from collections.abc import Iterator

import numpy as np
from scipy import stats

from analysis import overoptimisation
from analysis.comparison import probability_of_improvement
from analysis.intervals import curve_interval, iqm, mean_intervals
from tests.calibration.draws import (
    DRAWS,
    HELD,
    MEANS,
    SEEDS,
    SPREAD,
    Array,
    Draw,
    by_seeds,
    head,
    percent,
    print_tables,
)


def hold(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Values of an arm whose runs all hold."""
    return HELD + SPREAD * rng.normal(size=shape)


Difference = tuple[Draw, Draw, float]
"""Values of two arms, and the true difference of their means."""

DIFFERENCES: dict[str, Difference] = {
    **{f"{name}, both arms": (draw, draw, 0.0) for name, draw in DRAWS.items()},
    "holds against half collapse": (hold, DRAWS["half collapse"], HELD - MEANS["half collapse"]),
    "holds against 3 in 10": (hold, DRAWS["3 in 10 collapse"], HELD - MEANS["3 in 10 collapse"]),
    "holds against 1 in 10": (hold, DRAWS["1 in 10 collapses"], HELD - MEANS["1 in 10 collapses"]),
    "holds against exponential": (hold, DRAWS["exponential"], HELD - 1.0),
}

SHIFTS = (0.0, 1.0, 2.0)
"""Differences, in standard deviations, at which the chance of improvement is judged."""

ALPHA, BETA = 1.2, 0.5


def difference_covered(case: Difference, seeds: int, studies: int) -> Array:
    """Say of each study whether the interval of the mean difference holds the true one."""
    rng = np.random.default_rng([11, seeds])
    own, other, truth = case
    shape = (seeds, studies)
    found = mean_intervals(own(rng, shape) - other(rng, shape))
    return ((found.low <= truth) & (truth <= found.high)).astype(float)


def mean_covered(name: str, seeds: int, studies: int) -> Array:
    """Say of each study whether the interval of an arm's mean holds the true one."""
    found = mean_intervals(DRAWS[name](np.random.default_rng([12, seeds]), (seeds, studies)))
    return ((found.low <= MEANS[name]) & (MEANS[name] <= found.high)).astype(float)


def iqm_covered(name: str, seeds: int, studies: int) -> Array:
    """Say of each study whether a curve's band holds the mean IQM of this many seeds."""
    rng = np.random.default_rng([2027, seeds])
    truth = float(iqm(DRAWS[name](rng, (seeds, 100_000))).mean())
    _, low, high = curve_interval(DRAWS[name](rng, (seeds, studies)))
    return ((low <= truth) & (truth <= high)).astype(float)


def improvement_covered(shift: float, seeds: int, studies: int) -> Array:
    """Say of each study whether the interval of P(better) holds Φ(shift/√2)."""
    rng = np.random.default_rng([14, seeds])
    truth = float(stats.norm.cdf(shift / np.sqrt(2)))
    own, other = shift + rng.normal(size=(seeds, studies)), rng.normal(size=(seeds, studies))
    found = probability_of_improvement(own, other)
    return ((found.low <= truth) & (truth <= found.high)).astype(float)


def fit_covered(parameter: str, seeds: int, studies: int) -> Array:
    """Say of each study of over-optimised runs whether the fit's interval holds what was planted.

    Seeds differ in how fast KL climbs, in α and β by a tenth, and by noise at every evaluation.
    """
    rng = np.random.default_rng([15, seeds])
    truth = {"alpha": ALPHA, "beta": BETA, "peak_kl": float(np.exp(2 * (ALPHA / BETA - 1)))}[parameter]
    covered = []
    for _ in range(studies):
        found = overoptimisation.fit([_over_optimised(rng) for _ in range(seeds)])
        covered.append(found[f"{parameter}_low"] <= truth <= found[f"{parameter}_high"])
    return np.array(covered, float)


def _over_optimised(rng: np.random.Generator) -> Array:
    """Return [P, 2]: √KL and gain of one run."""
    d = np.sqrt(np.linspace(2.0, 60.0, 20) * rng.uniform(0.7, 1.0))
    alpha, beta = ALPHA * (1 + 0.1 * rng.normal()), BETA * (1 + 0.1 * rng.normal())
    return np.stack([d, d * (alpha - beta * np.log(d)) + 0.1 * rng.normal(size=20)], axis=1)


def tables(studies: int) -> Iterator[str]:
    """Yield every table as Markdown."""
    sizes = [f"{n} seeds" for n in SEEDS]
    yield f"\nIntervals that hold the true difference of means, {studies} studies a cell."
    yield head("values of the arms", *sizes)
    for name, case in DIFFERENCES.items():
        yield by_seeds(name, lambda n, c=case: percent(difference_covered(c, n, studies)))
    yield "\nIntervals that hold an arm's true mean."
    yield head("values", *sizes)
    for name in DRAWS:
        yield by_seeds(name, lambda n, d=name: percent(mean_covered(d, n, studies)))
    yield "\nBands of curves that hold the true interquartile mean."
    yield head("values", *sizes)
    for name in DRAWS:
        yield by_seeds(name, lambda n, d=name: percent(iqm_covered(d, n, studies)))
    yield "\nIntervals that hold the true chance of improvement, normal values that differ by a shift."
    yield head("shift, in standard deviations", *sizes)
    for shift in SHIFTS:
        yield by_seeds(f"{shift:g}", lambda n, s=shift: percent(improvement_covered(s, n, studies)))
    yield f"\nFits of over-optimisation whose interval holds what was planted, {studies // 4} a cell."
    yield head("parameter", *sizes)
    for name in ("alpha", "beta", "peak_kl"):
        yield by_seeds(name, lambda n, p=name: percent(fit_covered(p, n, studies // 4)))


if __name__ == "__main__":
    print_tables(tables)
