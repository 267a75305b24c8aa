"""What was looked at when verdicts were known: numbers of the studies that are there, and no verdict."""

import numpy as np
import pytest

from analysis import evidence
from analysis.claims import CLAIMS
from analysis.evidence import Arms
from analysis.paper.afterwards import LOOKS, STUDIES, looked_at
from tests.analysis.made_paper import SEEDS, open_made


def test_every_look_has_a_claim_a_question_and_numbers() -> None:
    found = looked_at(open_made)
    assert list(found) == list(LOOKS)
    assert set(found) <= {claim.id for claim in CLAIMS}
    for look in found.values():
        assert look["question"].endswith("?") and "\n" not in look["question"]
        assert all(part["n"] == SEEDS for part in look["parts"])


def test_a_look_without_its_runs_is_left_out() -> None:
    def without_own(number: str) -> Arms:
        if number in STUDIES:
            raise LookupError(f"study {number} is not there")
        return open_made(number)

    assert list(looked_at(without_own)) == ["C01", "C03", "C05", "C13"]


def test_lasting_is_taken_from_the_arms_that_are_named() -> None:
    arms = open_made("afterwards_entropy")
    gained = arms.less("entropy_0.1", "vanilla", evidence.lasting)
    part = looked_at(open_made)["C08"]["parts"][1]
    assert part["effect"] == np.mean(gained) > 0


def test_the_share_of_the_rise_is_taken_after_so_many_fifths_of_the_first_epoch() -> None:
    # The made curve rises by 0.2 in four even steps of 50, an epoch is 100: 40 steps are a fifth of it.
    parts = looked_at(open_made)["C01"]["parts"]
    assert [part["effect"] for part in parts] == pytest.approx([0.2, 0.3])
