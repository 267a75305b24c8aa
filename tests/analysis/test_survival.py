from collections.abc import Callable

import numpy as np
import pytest

from analysis.collapse import collapses
from analysis.runs import Study
from analysis.survival import survival
from tests.analysis.synthetic_store import Arm, Plan


def test_survival_falls_by_a_fifth_at_each_of_five_collapses(study: Study) -> None:
    table = survival(study)
    vanilla = table[table["arm"] == "vanilla"]
    at = collapses(study)["collapse"].dropna().sort_values()
    assert vanilla["iteration"].tolist() == [0, *at]
    np.testing.assert_allclose(vanilla["survival"], [1, 0.8, 0.6, 0.4, 0.2, 0], atol=1e-12)
    assert table.loc[table["arm"] == "ppo_max", "survival"].tolist() == [1.0, 1.0]


def test_a_run_still_going_is_censored_where_it_stands(make_study: Callable[[Plan], Study]) -> None:
    # One run collapses at 30, one stands at 20, one held to 60: two are at risk at 30, S = 1/2.
    plan = Plan({"a": Arm(collapse=(30,))}, seeds=(0, 1, 2), stop={"a/s1": 20})
    table = survival(make_study(plan)).set_index("iteration")
    assert table.loc[30.0, "at_risk"] == 2
    assert table.loc[30.0, "survival"] == pytest.approx(0.5)
