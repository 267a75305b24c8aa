"""Numbers that the paragraphs of docs/paper.md tell and no table of a claim has.

As what was looked at afterwards, they were chosen when the verdicts were known, and decide nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import evidence as of
from analysis.claims import Open
from analysis.evidence import Quantity
from analysis.intervals import floats, share_interval
from analysis.paper.afterwards import GOLD
from analysis.paper.results import mean_row, study_name
from analysis.reward_model_facts import accuracy


@dataclass(frozen=True)
class Measure:
    """A quantity of a run, in words, with its unit."""

    what: str
    unit: str
    quantity: Quantity


@dataclass(frozen=True)
class Told:
    """The mean over seeds of a measure of one arm, or of its difference to another arm.

    Attributes:
        measure: what is told.
        runs: a study, as `paper.opener` opens it, and its arm: "04/vanilla".
        than: what it is compared with, seed by seed.
    """

    measure: Measure
    runs: str
    than: str = ""

    def row(self, open_study: Open) -> dict[str, Any]:
        """Return what was found, as plain data.

        Raises:
            LookupError: if a study is not there, or has no finished run of an arm.
        """
        own = self._by_seed(open_study, self.runs)
        values = (
            of.paired(own, self._by_seed(open_study, self.than)) if self.than else floats(own.dropna())
        )
        named = " less ".join(_full(runs) for runs in (self.runs, self.than) if runs)
        row = mean_row(f"{self.measure.what}, {named}", self.measure.unit, values)
        if self.measure in COUNTS:
            exact = share_interval(int(values.sum()), len(values))
            row |= {"low": exact.low, "high": exact.high}
        return row

    def _by_seed(self, open_study: Open, runs: str) -> "pd.Series[float]":
        study, arm = runs.split("/")
        return open_study(study).of(arm, self.measure.quantity)


def _full(runs: str) -> str:
    study, arm = runs.split("/")
    return f"{study_name(study)}/{arm}"


def _apart(what: str, upper: str, lower: str) -> tuple[Measure, Measure]:
    """Measure how far apart two quantiles of the score are, at the start and at the end."""
    start, end = (
        of.minus(point(f"reward/q{upper}"), point(f"reward/q{lower}")) for point in (of.start, of.end)
    )
    return Measure(f"{what} at the start", "score", start), Measure(f"final {what}", "score", end)


FELL, HELD = Measure("runs that collapse", "share", of.fell), Measure("runs that hold", "share", of.held)
COUNTS = (FELL, HELD)
LASTING = Measure("iterations before a collapse", "iterations", of.lasting)
FIRST_GOLD = Measure("gold at the start", "gold", of.start("eval/gold"))
FINAL_GOLD = Measure("final gold", "gold", GOLD)
GOLD_40, GOLD_60 = (Measure(f"gold at iteration {i}", "gold", of.at("eval/gold", i)) for i in (40, 60))
GOLD_SHARE = Measure("gold after 40 % of the run", "gold", of.at_share("eval/gold", 0.4))
GOLD_FALL = Measure("gold at iteration 40 less final gold", "gold", of.minus(GOLD_40.quantity, GOLD))
SCORE_RISE = Measure(
    "final score less score at iteration 40",
    "score",
    of.minus(of.end("eval/proxy"), of.at("eval/proxy", 40)),
)
BEST_WIN = Measure("best win rate", "share", of.best("eval/win_rate"))
FINAL_WIN = Measure("final win rate", "share", of.end("eval/win_rate"))
FINAL_KL = Measure("final KL", "nats", of.end("policy/kl_to_sft"))
KL_45 = Measure("KL over iterations 45 to 54", "nats", of.mean_over("policy/kl_to_sft", 45, 10))
FINAL_LENGTH = Measure("final response length", "tokens", of.end("policy/response_length"))
FIRST_ENTROPY = Measure("entropy at the start", "nats/token", of.start("policy/entropy"))
FINAL_ENTROPY = Measure("final entropy", "nats/token", of.end("policy/entropy"))
ABILITY = Measure("rise of held-out perplexity", "share", of.growth("eval/held_out_perplexity"))
ACCURACY = Measure("accuracy of the reward model", "share", accuracy)
TAIL = _apart("distance of the score's 5 % quantile from its median", "50", "05")
BOX = _apart("distance between the score's quartiles", "75", "25")

OF_CLAIMS: Mapping[str, Sequence[Told]] = {
    "C01": (Told(FELL, "03/ppo_max"), Told(FELL, "02/ppo_max")),
    "C02": (
        Told(ACCURACY, "03/ppo_max"),
        Told(ACCURACY, "reward_model_few_pairs/ppo_max"),
        Told(FINAL_GOLD, "reward_model_few_pairs/ppo_max", "03/ppo_max"),
    ),
    "C03": (Told(FELL, "reward_model_few_pairs/ppo_max"),),
    "C04": tuple(Told(one, "04/vanilla") for one in (FELL, BEST_WIN, FINAL_WIN)),
    "C06": tuple(Told(one, "04/vanilla") for one in (*TAIL, *BOX)),
    "C07": (
        Told(FINAL_LENGTH, "06/reward_scaling", "06/vanilla"),
        Told(LASTING, "06/vanilla"),
        Told(LASTING, "06/reward_norm_clip_0.3"),
        Told(LASTING, "afterwards_slow/vanilla"),
        Told(LASTING, "afterwards_slow/reward_norm_clip_0.3"),
    ),
    "C08": (
        Told(HELD, "07/kl_penalty"),
        Told(HELD, "07/importance_sampling"),
        Told(FIRST_ENTROPY, "07/vanilla"),
        Told(FINAL_ENTROPY, "07/vanilla"),
        Told(FINAL_ENTROPY, "07/entropy_bonus"),
    ),
    "C09": (
        Told(FIRST_GOLD, "08/ppo_max"),
        Told(FINAL_GOLD, "08/without_sft"),
        Told(FELL, "08/vanilla_critic_pretraining"),
    ),
    "C10": (
        *(Told(one, "09/ppo_max") for one in (FELL, KL_45, FINAL_KL)),
        Told(LASTING, "04/vanilla"),
    ),
    "C12": (Told(ABILITY, "12/without_ptx"),),
    "C13": (
        Told(LASTING, "14/reward_advantage", "14/reward"),
        Told(LASTING, "14/reward_advantage_value", "14/reward_value"),
    ),
    "C14": (
        *(Told(FINAL_GOLD, f"15/kl_{weight}") for weight in ("0.05", "0.1", "0.2")),
        Told(FINAL_GOLD, "afterwards_kl/kl_0.2", "afterwards_kl/kl_0.4"),
        Told(FINAL_GOLD, "afterwards_kl/kl_0.4", "afterwards_kl/kl_0.8"),
    ),
    "C16": (Told(FINAL_GOLD, "17/kl_penalty", "17/vanilla"),),
    "C17": (
        Told(LASTING, "afterwards_slow/vanilla"),
        Told(LASTING, "afterwards_slow/gradient_clip_0.5"),
    ),
    "C18": (
        *(Told(LASTING, f"19/lambda_{value}") for value in ("0", "0.9", "1")),
        Told(LASTING, "19/lambda_1", "19/lambda_0.9"),
    ),
}
"""By claim, in the setting on which the rules were calibrated."""

OF_SETTINGS: Mapping[str, Sequence[Told]] = {
    "grammar": (
        Told(LASTING, "04/vanilla"),
        *(Told(one, "09/ppo_max") for one in (HELD, GOLD_SHARE, FINAL_GOLD, FINAL_KL)),
    ),
    "hh": (
        *(Told(one, "04/vanilla") for one in (FELL, FINAL_WIN, GOLD_40, FINAL_GOLD, GOLD_FALL)),
        *(Told(one, "04/vanilla") for one in (FINAL_KL, SCORE_RISE)),
        *(Told(FINAL_GOLD, f"07/{arm}", "07/vanilla") for arm in ("kl_penalty", "entropy_bonus")),
        *(Told(one, "09/ppo_max") for one in (HELD, GOLD_60, FINAL_GOLD)),
        Told(ACCURACY, "reward_model_many_pairs/ppo_max"),
    ),
    "wide": (
        *(Told(one, "04/vanilla") for one in (FELL, LASTING, FINAL_WIN, FINAL_KL)),
        *(Told(one, "07/kl_penalty") for one in (HELD, FINAL_GOLD)),
        *(Told(one, "08/ppo_max") for one in (HELD, FINAL_GOLD, FIRST_GOLD)),
        *(Told(one, "08/without_sft") for one in (HELD, FINAL_GOLD, FIRST_GOLD)),
        Told(FELL, "08/vanilla_critic_pretraining"),
        *(Told(one, "09/ppo_max") for one in (HELD, GOLD_SHARE, FINAL_GOLD, FINAL_KL)),
        Told(HELD, "reward_model_few_pairs/ppo_max"),
        Told(ACCURACY, "reward_model_few_pairs/ppo_max"),
        Told(ACCURACY, "02/ppo_max"),
    ),
}
"""By setting other than that."""


def told(open_study: Open, setting: str = "") -> dict[str, list[dict[str, Any]]]:
    """Return the numbers by claim, or by the name of another setting, as plain data.

    Those whose runs are missing are left out.
    """
    sections = {setting: OF_SETTINGS.get(setting, ())} if setting else OF_CLAIMS
    found = {name: list(_rows(numbers, open_study)) for name, numbers in sections.items()}
    return {name: rows for name, rows in found.items() if rows}


def _rows(numbers: Sequence[Told], open_study: Open) -> Iterator[dict[str, Any]]:
    for one in numbers:
        try:
            yield one.row(open_study)
        except LookupError:
            continue
