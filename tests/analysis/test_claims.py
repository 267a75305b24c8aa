"""The paper's claims: each rule asks for arms that its studies train, and finds what is planted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from ablations.paper.studies import ORDER, paper_studies
from analysis.claims import CLAIMS, Claim
from analysis.evidence import Arms, Quantity
from analysis.intervals import FloatArray
from analysis.paper.results import as_rows, study_name
from analysis.verdicts import Evidence, decide
from tests.analysis.made_study import made_study

SEEDS, STEPS = 10, 60
STUDIES = {study.name: study for study in paper_studies()}


@dataclass(frozen=True)
class Asked(Arms):
    """Remembers which arms a rule asks for; every quantity is a random number."""

    names: list[str] = field(default_factory=list)

    def of(self, arm: str, quantity: Quantity) -> Any:
        self.names.append(arm)
        return super().of(arm, lambda study, run_id: float(np.random.default_rng().normal()))


def study(curves: dict[str, dict[str, FloatArray]], arms: list[str]) -> Arms:
    """Make a study with curves by metric and arm, [SEEDS, STEPS] each."""
    finals = {"final/gold": np.zeros((SEEDS, len(arms)))}
    return Arms(made_study(finals, arms, curves=curves | unit(arms, SEEDS)))


def unit(arms: list[str], seeds: int) -> dict[str, dict[str, FloatArray]]:
    """Make the spread of scores that starts at σ = 2 and is no unit later on."""
    return {"reward/proxy_std": {arm: np.tile([2.0, 9.0], (seeds, 1)) for arm in arms}}


def test_the_unit_of_scores_is_their_spread_at_the_start_of_most_runs() -> None:
    spread = np.array([[1.0, 9.0], [2.0, 9.0], [40.0, 9.0]])  # the median of 1, 2 and 40 is 2
    curves = {"reward/proxy_std": {"a": spread}}
    made = made_study({"final/gold": np.zeros((3, 1))}, ["a"], curves=curves)
    assert Arms(made).score_unit == 2.0


def flat(level: float, noise: float = 0.01) -> FloatArray:
    return level + noise * np.random.default_rng(0).normal(size=(SEEDS, STEPS))


def line(start: float, end: float, noise: float = 0.01) -> FloatArray:
    return flat(0.0, noise) + np.linspace(start, end, STEPS)


def decided(claim: str, open_study: Callable[[str], Arms]) -> str:
    rule = next(one for one in CLAIMS if one.id == claim)
    evidence = Evidence(claim, rule.figure, rule.says, tuple(rule.rule(open_study)))
    return decide([evidence])[0].answer


def test_there_are_eighteen_claims_in_order_each_in_a_sentence() -> None:
    assert [claim.id for claim in CLAIMS] == [f"C{number:02d}" for number in range(1, 19)]
    assert all(claim.says.endswith(".") for claim in CLAIMS)


def test_lenders_come_before_borrowers() -> None:
    assert sorted(ORDER) == sorted(STUDIES)
    for place, study in enumerate(STUDIES.values()):
        lenders = {address.partition("/")[0] for address in study.lent.values()}
        assert lenders <= set(ORDER[:place])


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.id != "C05"], ids=lambda c: c.id)
def test_a_rule_asks_for_arms_that_its_studies_have(claim: Claim) -> None:
    asked: dict[str, Asked] = {}

    def open_study(name: str) -> Arms:
        arms = list(STUDIES[study_name(name)].arms)
        made = made_study({"final/gold": np.zeros((6, len(arms)))}, arms, curves=unit(arms, 6))
        return asked.setdefault(name, Asked(made))

    parts = list(claim.rule(open_study))
    assert parts and all(len(part.values) == 6 for part in parts)
    assert all(set(arms.names) <= set(STUDIES[study_name(name)].arms) for name, arms in asked.items())


def kl_weights(kl: tuple[float, float, float], score: tuple[float, float, float]) -> Arms:
    names = ["kl_0.05", "kl_0.1", "kl_0.2"]
    return study(
        {
            "policy/kl_to_sft": {n: line(0.1, k, 0.001) for n, k in zip(names, kl, strict=True)},
            "eval/proxy": {n: line(0.0, s) for n, s in zip(names, score, strict=True)},
            "reward/proxy": {n: line(0.0, s) for n, s in zip(names, score, strict=True)},
        },
        names,
    )


def test_a_planted_hierarchy_of_kl_weights_is_found_and_its_reverse_contradicts() -> None:
    planted = kl_weights((8.0, 4.0, 2.0), (3.0, 2.0, 1.0))
    assert decided("C14", lambda name: planted) == "reproduced"
    reverse = kl_weights((2.0, 4.0, 8.0), (1.0, 2.0, 3.0))
    assert decided("C14", lambda name: reverse) == "contradicted"
    alike = kl_weights((4.0, 4.0, 4.0), (2.0, 2.0, 2.0))
    assert decided("C14", lambda name: alike) == "not reproduced"


def test_a_tail_that_grows_is_found() -> None:
    quantiles = {"05": -1.6, "25": -0.7, "50": 0.0, "75": 0.7}
    normal = {f"reward/q{q}": {"vanilla": flat(z, 1e-4)} for q, z in quantiles.items()}
    longer = normal | {"reward/q05": {"vanilla": line(-1.6, -4.0)}}
    assert decided("C06", lambda name: study(longer, ["vanilla"])) == "reproduced"
    assert decided("C06", lambda name: study(normal, ["vanilla"])) == "not reproduced"


def test_arms_that_last_alike_cannot_be_told_apart() -> None:
    arms = ["vanilla", "clip_0.5", "clip_1"]
    gold = {"reward/gold": {arm: fall(30) for arm in arms}}
    proxy = {name: {arm: line(0.0, 2.0) for arm in arms} for name in ("eval/proxy", "reward/proxy")}
    assert decided("C17", lambda name: study(gold | proxy, arms)) == "reproduced"
    gold["reward/gold"]["clip_1"] = fall(55)
    assert decided("C17", lambda name: study(gold | proxy, arms)) == "contradicted"


def fall(at: int) -> FloatArray:
    """Gold that is above its start until an iteration, and far below from then on."""
    return flat(1.0) - 5.0 * (np.arange(STEPS) >= at) - 0.5 * (np.arange(STEPS) == 0)


def test_rows_of_verdicts_say_effect_interval_and_n() -> None:
    rule = next(one for one in CLAIMS if one.id == "C14")
    planted = kl_weights((8.0, 4.0, 2.0), (3.0, 2.0, 1.0))
    [row] = as_rows(decide([Evidence("C14", "15", rule.says, tuple(rule.rule(lambda name: planted)))]))
    assert {"id", "verdict", "effect", "low", "high", "n"} <= set(row)
    assert (row["id"], row["verdict"], row["n"]) == ("C14", "reproduced", SEEDS)
    assert row["low"] <= row["effect"] <= row["high"]
    assert len(row["parts"]) == 5
