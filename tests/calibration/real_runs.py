"""A/A studies of real runs: many seeds of one recipe, dealt at random to two arms of one name.

python -m tests.calibration.real_runs            trains 40 toy runs, deals 4,000 studies
python -m tests.calibration.real_runs --quick    12 runs, 400 studies
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from analysis import significance
from analysis.comparison import FOUND
from analysis.effects import FINAL
from analysis.loading import load
from analysis.runs import Study
from analysis.values import final_values
from tests.calibration.draws import Array, band, by_seeds, compared, head, percent

PROMISED = 0.05


def trained(seeds: int, home: Path) -> Study:
    """Train one recipe with so many seeds, as small as the tests' toy study, and read it back."""
    from tests.ablations.toy import run_here, toy

    run_here(toy(arms={"vanilla": "vanilla"}, baseline=None, seeds=seeds), home)
    return load("toy", f"sqlite:///{home / 'mlflow.db'}")


def dealt(runs: Array, seeds: int, studies: int, seed: int = 31) -> tuple[Array, Array]:
    """Deal [N] runs to K studies of two arms [S, K] each; no run is twice in a study."""
    rng = np.random.default_rng([seed, seeds])
    hands = np.stack([rng.permutation(len(runs))[: 2 * seeds] for _ in range(studies)], axis=1)
    return runs[hands[:seeds]], runs[hands[seeds:]]


def found_of(runs: Array, seeds: int, studies: int) -> Array:
    """Say of each A/A study of real runs whether a difference was found."""
    table = compared(*dealt(runs, seeds, studies))
    return (table["verdict"] == FOUND).to_numpy(float)


def flips_of(runs: Array, seeds: int, studies: int) -> Array:
    """Say of each A/A study of real runs whether the sign-flip p is at most 0.05."""
    own, other = dealt(runs, seeds, studies)
    return (significance.sign_flip_p(own - other) <= PROMISED).astype(float)


def tables(study: Study, studies: int) -> Iterator[str]:
    """Yield the tables as Markdown: what is found in each metric that varies between runs."""
    arm = study.arms[0]
    runs = {metric: final_values(study, metric)[arm].dropna().to_numpy() for metric in FINAL}
    runs = {metric: values for metric, values in runs.items() if len(np.unique(values)) > 2}
    count = max(len(values) for values in runs.values())
    sizes = [n for n in (3, 5, 10) if 2 * n <= count]
    expected = f"5 % within {band(studies, PROMISED)} (↑ above, ↓ below)"
    yield f"\n{count} real runs dealt to {studies} A/A studies: intervals without zero. {expected}."
    yield head("metric", *(f"{n} seeds" for n in sizes))
    for metric, values in runs.items():
        yield by_seeds(metric, lambda n, v=values: percent(found_of(v, n, studies), PROMISED), sizes)
    can = [n for n in sizes if significance.smallest_p(n) <= PROMISED]
    if can:
        yield "\nThe same: share with a sign-flip p of at most 0.05."
        yield head("metric", *(f"{n} seeds" for n in can))
        for metric, values in runs.items():
            yield by_seeds(metric, lambda n, v=values: percent(flips_of(v, n, studies), PROMISED), can)


def main() -> None:
    """Train, deal and print."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    is_quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as home:
        for line in tables(trained(12 if is_quick else 40, Path(home)), 400 if is_quick else 4000):
            print(line, flush=True)


if __name__ == "__main__":
    main()
