"""When each run collapsed, found again from its curves alone and compared with what it was tagged.

gold: it is below its start by more than two standard errors of the difference, while the reward-model
    score is above its own, three iterations in a row (two evaluations where rollouts are not judged).
    The start is the SFT policy's.
win rate: against the SFT policy, as the gold judge sees it, it is below one half by more than two noise
    deviations, while the reward-model score is above its start, two evaluations in a row.
monitors: five iterations in a row fewer than half as many distinct responses as at the start, or more
    than half of the responses cut at the cap beyond the start, or a perplexity of less than half or more
    than twice the start.
diverged: the policy's numbers are no longer finite.

The time of the first two is the change point of `falls.change_point`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from analysis.falls import Fall
from analysis.intervals import BoolArray, FloatArray
from analysis.robust import PATIENCE, first_streak, noise_scale
from analysis.runs import FINISHED, Study
from analysis.values import begun, sft_values
from workbench.glossary import CAP

MARGIN = 2.0
"""Standard errors of the difference by which a judge's score must be below its start."""

EVALUATIONS = 2
"""Consecutive evaluations that count as PATIENCE rollouts do: they share prompts and random numbers."""

PROMPTS = "ppo.eval_prompts"
"""Parameter of a run: how many held-out prompts an evaluation has."""

MONITOR_PATIENCE = 5
"""Consecutive iterations at which a monitor must be past its bound."""


@dataclass(frozen=True)
class Judge:
    """A judge's curve: what it is called, what it is compared with, how it is read."""

    metric: str
    proxy: str
    patience: int


GOLD = (Judge("reward/gold", "reward/proxy", PATIENCE), Judge("eval/gold", "eval/proxy", EVALUATIONS))
WIN_RATE = Judge("eval/win_rate", "eval/proxy", EVALUATIONS)


@lru_cache(maxsize=4)
def collapses(study: Study) -> pd.DataFrame:
    """Find the collapse of every run from its curves, by each of these rules.

    Returns:
        One row a run: run_id, arm, seed; gold, win_rate, monitors, diverged: the iteration by that
        rule, NaN where it never holds; collapse: gold's, else the win rate's, in a study without a
        judge the monitors', and in any the divergence if that is earlier; for a run that was pruned
        before its curves show a collapse, what its pruner saw; rule: which of them;
        tagged: the iteration that the run itself was tagged with; agrees: whether tag and curves
        say the same, True as well for a run that has not ended.
    """
    is_judged = any(judge.metric in study.metric_names for judge in GOLD)
    rows = [_row(study, run, is_judged=is_judged) for _, run in study.runs.iterrows()]
    columns = ["run_id", "arm", "seed", *_FOUND, "collapse", "rule", "tagged", "agrees"]
    return pd.DataFrame(rows, columns=columns)


_FOUND = {"gold": "gold", "win_rate": "win rate", "monitors": "monitors", "diverged": "diverged"}


def _row(study: Study, run: "pd.Series[Any]", *, is_judged: bool) -> dict[str, Any]:
    run_id = str(run["run_id"])
    found = {
        "gold": gold_fall(study, run_id),
        "win_rate": win_rate_fall(study, run_id) if is_judged else np.nan,
        "monitors": monitors_fall(study, run_id),
        "diverged": diverged(study, run_id),
    }
    counted = ("gold", "win_rate") if is_judged else ("monitors",)
    rule = next((name for name in counted if np.isfinite(found[name])), "diverged")
    if found["diverged"] < found[rule]:
        rule = "diverged"
    at, name = found[rule], _FOUND[rule] if np.isfinite(found[rule]) else ""
    if not name and pd.notna(run.get("stopped_at")):  # it was ended before the curves could show it
        at, name = run["collapse_iteration"], "pruned"
    is_collapsed = bool(name)
    has_ended = run["outcome"] in FINISHED
    return {
        **{"run_id": run_id, "arm": run["arm"], "seed": run["seed"]},
        **found,
        "collapse": at,
        "rule": name,
        "tagged": run["collapse_iteration"],
        "agrees": not has_ended or is_collapsed == (run["outcome"] == "collapsed"),
    }


def gold_fall(study: Study, run_id: str) -> float:
    """Return the iteration at which a run's gold falls below the SFT policy's; NaN if never.

        gold_t < start − 2 · e · √(1 + 1/S)   and   proxy_t > its start,   three times in a row

    where start is the mean gold of iteration 0, which is the SFT policy, over the S seeds of the run's
    arm, as its sampling is, or of the others if its policy starts elsewhere; and e the standard error
    of one rollout's mean, σ_gold₀/√rollout_size (the curve's own noise where the study has not
    recorded these). Gold is that of the rollouts, `reward/gold`, or of the evaluations where a run has
    no other. The iteration is that of `change_point` at one standard error below the start.
    """
    judge = next((one for one in GOLD if len(study.series(run_id, one.metric)[0])), GOLD[0])
    starts = _starts(study, judge.metric, study.cell_of(run_id)[0])
    if not len(starts):
        return float("nan")
    spread = study.prepared.get("start", {}).get("gold_std")
    size = study.spec.get("rollout_size")
    known = float(spread) / float(size) ** 0.5 if spread and size else None
    start, margin = float(starts.mean()), MARGIN * float(np.sqrt(1 + 1 / len(starts)))

    def rule(gold: FloatArray) -> Fall:
        return Fall(start, _noise(gold) if known is None else known, margin, judge.patience)

    return _fall(study, run_id, judge, rule)


def win_rate_fall(study: Study, run_id: str) -> float:
    """Return the evaluation at which a run's win rate falls below one half; NaN if never.

    As `gold_fall`, where e is the curve's own noise, and not less than that of a share of the prompts,
    ½/√prompts: the win rate of a policy that hardly moves is one half but for a prompt or two.
    """
    least = _share_error(study, run_id)

    def rule(rate: FloatArray) -> Fall:
        return Fall(0.5, max(_noise(rate), least), MARGIN, WIN_RATE.patience)

    return _fall(study, run_id, WIN_RATE, rule)


def _share_error(study: Study, run_id: str) -> float:
    """Return the largest standard error of a share of the held-out prompts; 0 where nobody counted."""
    if PROMPTS not in study.runs:
        return 0.0
    prompts = study.runs.loc[study.runs["run_id"] == run_id, PROMPTS].astype(float).iloc[0]
    return 0.5 / float(np.sqrt(prompts)) if prompts > 0 else 0.0


def _noise(score: FloatArray) -> float:
    """Return the standard error of a score as its curve shows it; 0 where it cannot be told."""
    return float(np.nan_to_num(noise_scale(score)))


def _fall(study: Study, run_id: str, judge: Judge, rule: Callable[[FloatArray], Fall]) -> float:
    """Return the iteration at which a judge's score falls by the rule for its curve; NaN if never."""
    steps, score = finite(study, run_id, judge.metric)
    if not len(score):
        return float("nan")
    place = rule(score).place(score, _proxy_is_up(study, run_id, judge.proxy, steps))
    return float("nan") if place is None else float(steps[place])


def _proxy_is_up(study: Study, run_id: str, metric: str, steps: FloatArray) -> BoolArray:
    """Say at which steps the reward-model score is above its start; everywhere if not recorded.

    The start is the SFT policy's score: the mean over seeds where these share a reward model, else the
    seed's own, as every reward model has a zero of its own.
    """
    at, proxy = finite(study, run_id, metric)
    if not len(proxy):
        return np.ones(len(steps), bool)
    arm, seed = study.cell_of(run_id)
    starts = _starts(study, metric, arm)
    if not study.has_one_reward_model:
        starts = starts[starts.index == seed]
    start = starts.mean() if len(starts) else proxy[0]
    last_known = np.clip(np.searchsorted(at, steps, side="right") - 1, 0, None)
    return np.asarray(proxy[last_known] > start)


def monitors_fall(study: Study, run_id: str) -> float:
    """Return the first of five iterations at which the monitors alone call a collapse; NaN if never."""
    falls: dict[str, Callable[[FloatArray], BoolArray]] = {
        "policy/distinct": lambda x: x < 0.5 * x[0],
        "policy/truncated": lambda x: x > x[0] + 0.5,
        "policy/perplexity": lambda x: np.abs(np.log(x / x[0])) > np.log(2.0),
    }
    found = []
    for metric, has_fallen in falls.items():
        steps, values = finite(study, run_id, metric)
        place = first_streak(has_fallen(values), MONITOR_PATIENCE) if len(values) else None
        found += [] if place is None else [float(steps[place])]
    return min(found, default=float("nan"))


def diverged(study: Study, run_id: str) -> float:
    """Return the first iteration at which KL to the SFT policy is not finite; NaN if never."""
    steps, kl = study.series(run_id, "policy/kl_to_sft")
    broken = np.flatnonzero(~(np.abs(kl) < CAP))
    return float(steps[broken[0]]) if len(broken) else float("nan")


@lru_cache(maxsize=64)
def _starts(study: Study, metric: str, arm: str) -> "pd.Series[float]":
    """Return a metric under the SFT policy by seed, as an arm samples it, without seeds that have none.

    An arm that starts elsewhere is asked nothing: the others say what the SFT policy is. Where all
    start elsewhere, the arm's own start has to do.
    """
    for asked in (arm, None):
        found = sft_values(study, metric, asked).dropna()
        if len(found):
            return found
    return begun(study, metric)[arm].dropna()


def finite(study: Study, run_id: str, metric: str) -> tuple[FloatArray, FloatArray]:
    """Return steps and values of one metric of one run where it is finite."""
    steps, values = study.series(run_id, metric)
    there = np.isfinite(values)
    return steps[there].astype(np.float64), values[there]


def disagreements(found: pd.DataFrame) -> list[str]:
    """Say in which runs the curves and the tag disagree about whether the run collapsed.

    Args:
        found: what `collapses` returned.
    """
    said = []
    for _, run in found[~found["agrees"].astype(bool)].iterrows():
        name = f"{run['arm']}/s{run['seed']}"
        if run["rule"]:
            at = f"at iteration {run['collapse']:g} by the rule of {run['rule']}"
            said.append(f"{name} was not tagged as collapsed; by its curves it did, {at}.")
        else:
            said.append(f"{name} was tagged as collapsed; its curves show no collapse.")
    return said
