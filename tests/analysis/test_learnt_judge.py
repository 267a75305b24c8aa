"""The report says how much a judge that was itself learnt is worth."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.page.limits import limits
from analysis.reward_model import judge_sentence
from analysis.runs import Study
from analysis.tables import tables_of
from tests.analysis.made_study import made_study


def study(judge: dict[str, Any] | None) -> Study:
    made = made_study({"final/gold": np.zeros((3, 2))}, ["vanilla", "ppo_max"])
    made = replace(made, runs=made.runs.assign(start_ms=0.0, end_ms=1.0, collapse_reason=""))
    return replace(made, prepared={"judge": judge} if judge else {"reward_model": {"accuracy": 0.9}})


def judged(accuracy: float, pairs: int) -> str:
    return judge_sentence(study({"accuracy": accuracy, "held_out_pairs": pairs, "pairs": 1000}))


def test_a_judge_that_is_code_or_missing_is_not_spoken_of() -> None:
    assert judge_sentence(study(None)) == ""


def test_a_good_judge_is_told_with_its_interval() -> None:
    # Wilson, 180 of 200, z = 1.96: centre (0.9 + z²/400)/(1 + z²/200) = 0.8925, half width 0.0419.
    assert "from 1000 pairs" in judged(0.9, 200)
    assert "in 90.0% [85.1%, 93.4%]: no difference" in judged(0.9, 200)


@pytest.mark.parametrize(
    ("accuracy", "pairs", "worth"),
    [(0.55, 100, "which chance alone explains"), (0.57, 345, "little better than chance")],
)
def test_a_weak_judge_is_called_weak(accuracy: float, pairs: int, worth: str) -> None:
    assert f"], {worth}: no difference in gold" in judged(accuracy, pairs)


def test_the_page_says_it_among_its_limits() -> None:
    made = study({"accuracy": 0.57, "held_out_pairs": 345, "pairs": 1000})
    assert judge_sentence(made) in limits(made, tables_of(made))
