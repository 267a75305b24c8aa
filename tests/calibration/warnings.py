"""Do the warnings tell the truth? Simulated studies whose answers are known, counted.

python -m tests.calibration.warnings            every table, some minutes
python -m tests.calibration.warnings --quick    a tenth of the simulations
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.falls import Fall
from analysis.intervals import FloatArray
from analysis.traces import Traces
from analysis.warnings import forecast, roc
from analysis.warnings.alarms import alarm_times_of, first_over, reach_of, threshold_of
from analysis.warnings.early_warning import scores_of

Monitor = Callable[[np.random.Generator, FloatArray, FloatArray], FloatArray]
"""Makes values [R, T] from a generator, the iterations [T] and the collapses [R], NaN for none."""


def white(rng: np.random.Generator, steps: FloatArray, collapse: FloatArray) -> FloatArray:
    """Independent noise."""
    return rng.normal(size=(len(collapse), len(steps)))


def walk(rng: np.random.Generator, steps: FloatArray, collapse: FloatArray) -> FloatArray:
    """A random walk: every run strays, and those that stray far have nothing to do with a collapse."""
    return np.cumsum(rng.normal(size=(len(collapse), len(steps))), axis=1)


@dataclass(frozen=True)
class Leading:
    """Noise that rises from `lead` iterations before the collapse on, by `slope` an iteration.

    Attributes:
        lead: iterations.
        slope: median over runs, in standard deviations of the noise.
        spread: standard deviation over runs of its logarithm.
    """

    lead: float = 30.0
    slope: float = 0.5
    spread: float = 0.0

    def __call__(self, rng: np.random.Generator, steps: FloatArray, collapse: FloatArray) -> FloatArray:
        """Make the values."""
        slope = self.slope * np.exp(self.spread * rng.normal(size=(len(collapse), 1)))
        since = steps - (collapse[:, None] - self.lead)
        return white(rng, steps, collapse) + slope * np.nan_to_num(np.maximum(since, 0.0))


def simulate(
    monitors: dict[str, Monitor], *, fell: int, held: int, seed: int, iterations: int = 150
) -> Traces:
    """Make a study: `fell` runs that collapse at a time of their own, and `held` that do not."""
    rng = np.random.default_rng(seed)
    collapse = np.full(fell + held, np.nan)
    collapse[:fell] = rng.integers(iterations // 3, iterations, fell)
    steps = np.arange(float(iterations))
    made = {name: make(rng, steps, collapse) for name, make in monitors.items()}
    names = np.arange(fell + held).astype(str)
    return Traces(
        runs=pd.DataFrame({"run_id": names, "arm": "arm", "seed": np.arange(fell + held)}),
        steps=steps,
        last=np.full(fell + held, iterations - 1.0),
        collapse=collapse,
        held=np.isnan(collapse),
        monitors=tuple(monitors),
        read=made.__getitem__,
    )


SIZES = ((3, 3), (5, 5), (10, 10), (4, 16), (16, 4), (20, 20))
"""Runs that collapsed and that held, of the studies whose intervals are tried."""

KINDS: dict[str, Monitor] = {
    "noise": white,
    "random walk": walk,
    "weak lead": Leading(slope=0.03, spread=0.7),
    "strong lead": Leading(slope=0.3, spread=0.7),
}


def coverage(kind: str, fell: int, held: int, studies: int) -> dict[str, float]:
    """Count how often the interval of an AUROC covers that of a study without end, at 20 iterations."""
    truth = 0.5 if kind in ("noise", "random walk") else _area(kind, fell, held)
    rows = []
    for seed in range(studies):
        traces = simulate({kind: KINDS[kind]}, fell=fell, held=held, seed=seed)
        table = scores_of(traces, (20,))
        rows.append(table[table["monitor"] == kind].iloc[0])
    found = pd.DataFrame(rows)
    return {
        "truth": truth,
        "mean": float(found["auroc"].mean()),
        "covered": float(((found["low"] <= truth) & (truth <= found["high"])).mean()),
        "width": float((found["high"] - found["low"]).mean()),
    }


def _area(kind: str, fell: int, held: int, runs: int = 2000) -> float:
    size = runs // (fell + held)
    traces = simulate({kind: KINDS[kind]}, fell=size * fell, held=size * held, seed=-1 % 2**31)
    score = forecast.departure(traces.values(kind))
    pairs = roc.pairs_of(roc.classes_of(score), *forecast.moments(traces, score, 20))
    return 0.5 + float(pairs.gain.sum() / pairs.count.sum())


def false_alarms(kind: str, held: int, studies: int, rate: float = 0.05) -> float:
    """Count how often an alarm learnt from `held` runs goes off in another that holds."""
    wrong = []
    for seed in range(studies):
        traces = simulate({kind: KINDS[kind]}, fell=5, held=held + 20, seed=seed)
        reach = reach_of(traces, kind)
        own, others = np.flatnonzero(reach.held)[:held], np.flatnonzero(reach.held)[held:]
        limit = threshold_of(reach.furthest(1.0)[own], rate)
        first = first_over(traces.steps, reach.score[others], np.full(len(others), limit))
        wrong.append(np.isfinite(first).mean())
    return float(np.mean(wrong))


def leads(lead: float, fell: int, held: int, studies: int) -> dict[str, float]:
    """Say how early alarms of an indicator that jumps `lead` iterations before are, out of sample."""
    kind = {"lead": Leading(lead=lead, slope=5.0)}
    traces = (simulate(kind, fell=fell, held=held, seed=seed) for seed in range(studies))
    times = pd.concat([alarm_times_of(one) for one in traces])
    own = times[(times["monitor"] == "lead") & ~times["held"]]
    return {"announced": float(own["first"].notna().mean()), "median": float(own["lead"].median())}


def flat_falls(seeds: int, iterations: int, studies: int) -> float:
    """Count how often gold that stays at its start is said to fall, with S seeds to know the start."""
    rng = np.random.default_rng(0)
    fall = Fall(0.0, 1.0, 2 * np.sqrt(1 + 1 / seeds), 3)
    counted = np.ones(iterations, bool)
    starts = rng.normal(size=studies) / np.sqrt(seeds)
    curves = rng.normal(size=(studies, iterations)) - starts[:, None]
    return float(np.mean([fall.place(curve, counted) is not None for curve in curves]))


def time_errors(slope: float, curves: int, iterations: int = 150) -> FloatArray:
    """Return how many iterations late a fall of gold is dated, five seeds knowing the start.

    Args:
        slope: standard errors of one rollout's mean by which gold falls an iteration, from five above
            the start on; ∞ for a jump from three above to four below.
    """
    rng = np.random.default_rng(0)
    fall, steps = Fall(0.0, 1.0, 2 * np.sqrt(1.2), 3), np.arange(iterations)
    late = []
    for planted in rng.integers(40, iterations - 30, curves):
        mean = np.where(steps < planted, 3.0, -4.0)
        if np.isfinite(slope):
            mean = np.minimum(5.0, -1.0 - slope * (steps - planted))
        noise = rng.normal(size=iterations) - rng.normal() / np.sqrt(5)
        place = fall.place(mean + noise, np.ones(iterations, bool))
        late.append(np.nan if place is None else place - planted)
    return np.array(late)


def tables(share: float) -> Iterator[str]:
    """Yield every table as Markdown, from a share of the full number of simulations."""
    n = max(20, int(400 * share))
    yield f"AUROC at 20 iterations, {n} studies each: covered by the 95 % interval, mean estimate, width"
    for kind in KINDS:
        for fell, held in SIZES:
            found = coverage(kind, fell, held, n)
            numbers = " | ".join(f"{found[name]:.3f}" for name in ("truth", "mean", "covered", "width"))
            yield f"| {kind} | {fell} + {held} | {numbers} |"
    yield f"False alarms at 5 % in one more run that holds, {n} studies of 20 such runs"
    for held in (3, 5, 10, 19, 40):
        shares = " | ".join(f"{false_alarms(kind, held, n):.3f}" for kind in ("noise", "random walk"))
        yield f"| {held} | promised {max(0.05, 1 / (held + 1)):.3f} | {shares} |"
    yield f"A jump at a known lead, {n // 4} studies of 5 + 5 runs: announced, median lead"
    for lead in (10.0, 20.0, 40.0):
        found = leads(lead, 5, 5, n // 4)
        yield f"| {lead:g} | {found['announced']:.3f} | {found['median']:g} |"
    yield f"Gold that stays at its start and is said to fall, {10 * n} curves"
    for seeds in (1, 2, 5, 10):
        shares = " | ".join(f"{flat_falls(seeds, length, 10 * n):.4f}" for length in (60, 150, 500))
        yield f"| {seeds} seeds | {shares} |"
    yield f"Dating a fall, {5 * n} curves: within one iteration, mean error, root mean square, found"
    for slope in (np.inf, 2.0, 1.0, 0.5, 0.25):
        late = time_errors(slope, 5 * n)
        there = late[np.isfinite(late)]
        within = np.mean(np.abs(there) <= 1)
        error = f"{there.mean():.2f} | {np.sqrt(np.mean(there**2)):.2f} | {len(there) / len(late):.3f}"
        yield f"| {slope:g} | {within:.3f} | {error} |"


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the simulations")
    for line in tables(0.1 if parser.parse_args().quick else 1.0):
        print(line, flush=True)


if __name__ == "__main__":
    main()
