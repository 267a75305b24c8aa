"""Action-space monitors against the reward and the losses: who tells a collapse, seed by seed."""

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.evidence import Arms
from analysis.intervals import FloatArray, IntArray
from analysis.traces import Traces, traces_of
from analysis.warnings import forecast, roc
from analysis.warnings.alarms import HORIZON, alarm_times_of

ACTION_SPACE = ("policy/perplexity", "policy/response_length", "policy/kl_to_sft")
REWARD_AND_LOSSES = ("reward/proxy", "ppo/policy_loss", "ppo/value_loss")
ARMS = ("vanilla", "ppo_max")
"""The arm that collapses and the arm that holds."""


def advantage_of_action_space(arms: Arms, pair: tuple[str, str] = ARMS) -> FloatArray:
    """Return, for each seed with a collapse, mean area of ACTION_SPACE less that of the others, [n].

    A seed's area is over pairs of moments of its own two runs, in the direction that the runs of the
    other seeds show.

    Args:
        pair: the arm that collapses and the arm that holds.
    """
    traces = two_arms(arms, pair)
    ours, theirs = (
        np.mean([areas_by_seed(traces, monitor) for monitor in monitors], axis=0)
        for monitors in (ACTION_SPACE, REWARD_AND_LOSSES)
    )
    return _known(ours - theirs)


def areas_by_seed(traces: Traces, monitor: str) -> FloatArray:
    """Return one monitor's area for each seed, [S]; NaN for a seed in which nothing collapsed."""
    score = forecast.departure(traces.values(monitor))
    pairs = roc.pairs_of(roc.classes_of(score), *forecast.moments(traces, score, HORIZON))
    seed = traces.runs["seed"].to_numpy()
    return np.array([_area(pairs, seed, one) for one in np.unique(seed)])


def _area(pairs: roc.Pairs, seed: IntArray, own: int) -> float:
    is_own = seed == own
    mine = pairs.only(is_own[:, None] & is_own)
    others = pairs.only(~is_own[:, None] & ~is_own)
    direction, count = float(np.sign(others.gain.sum())), float(mine.count.sum())
    return 0.5 + direction * float(mine.gain.sum()) / count if count else float("nan")


def lead_of_action_space(arms: Arms, pair: tuple[str, str] = ARMS) -> FloatArray:
    """Return, for each seed with a collapse, mean lead of ACTION_SPACE less that of the others, [n]."""
    lead = leads_by_seed(arms, pair)
    ours, theirs = (lead[list(monitors)].mean(axis=1) for monitors in (ACTION_SPACE, REWARD_AND_LOSSES))
    return _known((ours - theirs).to_numpy(np.float64))


def leads_by_seed(arms: Arms, pair: tuple[str, str] = ARMS) -> pd.DataFrame:
    """Return the lead of each monitor, a column, for each seed with a collapse, a row.

    A monitor whose alarm does not go off before the collapse leads by 0 iterations.

    Raises:
        LookupError: if no run of the first arm collapsed.
    """
    times = alarm_times_of(two_arms(arms, pair))
    times = times[(times["arm"] == pair[0]) & times["collapse"].notna()]
    if times.empty:
        raise LookupError(f"no run of {pair[0]} collapsed in study {arms.study.name}")
    return times.assign(lead=times["lead"].fillna(0.0)).pivot_table("lead", "seed", "monitor")


def two_arms(arms: Arms, pair: tuple[str, str] = ARMS) -> Traces:
    """Return the traces of the runs of two arms alone."""
    traces = traces_of(arms.study)
    kept = traces.runs["arm"].isin(pair).to_numpy(bool)
    return replace(
        traces,
        runs=traces.runs[kept].reset_index(drop=True),
        last=traces.last[kept],
        collapse=traces.collapse[kept],
        held=traces.held[kept],
        read=lambda monitor: traces.read(monitor)[kept],
    )


def _known(values: FloatArray) -> FloatArray:
    found: FloatArray = values[np.isfinite(values)]
    return found
