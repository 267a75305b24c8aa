"""Our numbers are those of rliable 1.2.0, which tests/reference/rliable_numbers.py wrote down."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import intervals
from analysis.comparison import probability_of_improvement

NUMBERS = json.loads((Path(__file__).parents[1] / "reference" / "rliable_numbers.json").read_text())
CASES = [pytest.param(case, id=f"{n} runs") for n, case in NUMBERS["cases"].items()]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("arm", ["x", "y"])
def test_the_iqm_and_its_percentile_interval_are_those_of_rliable(
    case: dict[str, Any], arm: str
) -> None:
    values = np.sort(np.array(case[arm]))
    np.testing.assert_allclose(intervals.iqm(values), case[f"iqm_{arm}"], rtol=1e-12)
    resampled = intervals.iqm_resamples(values[:, None], 50_000, seed=0)[:, 0]
    # A quantile at 2.5 % of 10,000 resamples lies at 2.5 ± 0.16 %; four such errors to either side.
    for end, share in zip(case[f"iqm_interval_{arm}"], (0.025, 0.975), strict=True):
        near = np.quantile(resampled, (share - 0.0064, share + 0.0064))
        assert near[0] - 1e-9 <= end <= near[1] + 1e-9  # resamples of few values tie


@pytest.mark.parametrize("case", CASES)
def test_ours_is_wider_than_the_plain_percentile_interval(case: dict[str, Any]) -> None:
    _, low, high = intervals.curve_interval(np.array([case["x"], case["y"]]).T)
    for at, arm in enumerate("xy"):
        theirs = case[f"iqm_interval_{arm}"]
        assert low[at] < theirs[0] + 0.02 and high[at] > theirs[1] - 0.02


@pytest.mark.parametrize("case", CASES)
def test_the_probability_of_improvement_is_that_of_rliable(case: dict[str, Any]) -> None:
    found = probability_of_improvement(np.array(case["x"])[:, None], np.array(case["y"])[:, None])
    np.testing.assert_allclose(found.estimate, [case["improvement"]], rtol=1e-12)


def test_of_many_runs_its_interval_is_that_of_rliable() -> None:
    case = NUMBERS["cases"]["40"]
    found = probability_of_improvement(np.array(case["x"])[:, None], np.array(case["y"])[:, None])
    # A score interval and a bootstrap of 40 runs differ by a tenth of their width of 0.25.
    np.testing.assert_allclose(
        [found.low[0], found.high[0]], case["improvement_interval"], rtol=0, atol=0.025
    )
