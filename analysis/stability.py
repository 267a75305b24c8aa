"""Stability of each run: when it collapsed, which monitor moved first, and how long arms survive."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from analysis.intervals import FloatArray
from analysis.runs import Study

WATCHED = (
    *("policy/kl_to_sft", "policy/response_length", "policy/perplexity", "reward/proxy"),
    *("ppo/policy_loss", "ppo/value_loss", "policy/entropy", "policy/distinct"),
)
"""Monitors whose first move is looked for: the paper's four, the two losses, two more."""

PATIENCE = 3
"""Consecutive iterations that a monitor, or gold, must stay outside before it counts."""

BAND_WIDTH = 4.0
HEAD_SHARE, HEAD_MIN = 0.1, 8
MIN_HELD = 3
"""Fewest runs that held from which a range of healthy values is taken."""

OWN_BAND, HELD_RANGE = "own start", "runs that held"

RULES = {
    HELD_RANGE: (
        "a monitor warns at the first of three consecutive iterations outside everything that it "
        "did in any of the h runs that held, and outside what it did at the start of its own run "
        "(its first tenth, at least eight iterations, and four noise deviations around the median "
        "of that). One more run that held as they did would leave that range with probability at "
        "most 2/(h + 1)"
    ),
    OWN_BAND: (
        "a monitor warns at the first of three consecutive iterations further than four noise "
        "deviations from the median of its own first tenth (at least eight iterations); the noise "
        "is the scaled median absolute deviation of the differences between iterations, over √2. "
        "Learning itself leaves this band, so runs that held are counted too"
    ),
}


def first_streak(outside: Iterable[bool], patience: int = PATIENCE) -> int | None:
    """Return the place of the first of `patience` consecutive true values, None if there is none."""
    length = 0
    for place, is_outside in enumerate(outside):
        length = length + 1 if is_outside else 0
        if length == patience:
            return place - patience + 1
    return None


def noise_scale(values: FloatArray) -> float:
    """Estimate the noise of one curve from its differences, so that a trend does not count as noise.

        1.4826 · median |Δ − median Δ| / √2

    Returns:
        NaN for fewer than three values.
    """
    step = np.diff(values)
    if len(step) < 2:
        return float("nan")
    return float(1.4826 * np.median(np.abs(step - np.median(step))) / np.sqrt(2.0))


def head_of(values: FloatArray) -> FloatArray:
    """Return the first tenth of a curve, at least HEAD_MIN points."""
    return values[: max(HEAD_MIN, round(HEAD_SHARE * len(values)))]


def own_band(values: FloatArray) -> tuple[float, float]:
    """Return low and high of the band of a curve's first iterations; see RULES[OWN_BAND]."""
    head = head_of(values)
    centre = float(np.median(head))
    half = max(BAND_WIDTH * noise_scale(head), 1e-9 + 1e-6 * abs(centre))
    return centre - half, centre + half


def gold_fall(study: Study, run_id: str) -> float:
    """Return the iteration at which a run's gold falls below the SFT policy's; NaN if never.

    The first of PATIENCE points in a row with

        gold_t < start − 2 · e · √(1 + 1/S)

    where start is the mean gold of iteration 0, which is the SFT policy in every run, over the S
    seeds, and e the standard error of one rollout's mean, σ_gold₀/√rollout_size (the curve's own
    noise where the study has not recorded these). Gold is that of the rollouts, `reward/gold`, or
    of the evaluations where a run has no other.
    """
    metric = "reward/gold" if len(study.series(run_id, "reward/gold")[0]) else "eval/gold"
    steps, gold = _finite(study, run_id, metric)
    starts = _gold_starts(study, metric)
    if not len(gold) or not len(starts):
        return float("nan")
    spread = study.prepared.get("start", {}).get("gold_std")
    size = study.spec.get("rollout_size")
    error = float(spread) / float(size) ** 0.5 if spread and size else noise_scale(gold)
    error_of_difference = float(np.nan_to_num(error)) * float(np.sqrt(1 + 1 / len(starts)))
    place = first_streak(gold < starts.mean() - 2 * error_of_difference)
    return float("nan") if place is None else float(steps[place])


@lru_cache(maxsize=64)
def _gold_starts(study: Study, metric: str) -> FloatArray:
    """Return gold at iteration 0 by seed [S]; arms of one seed share it, so each counts once."""
    found: dict[int, float] = {}
    for seed, run_id in zip(study.runs["seed"], study.runs["run_id"], strict=True):
        steps, gold = _finite(study, run_id, metric)
        if len(steps) and steps[0] == 0:
            found.setdefault(int(seed), float(gold[0]))
    return np.array(list(found.values()))


def _finite(study: Study, run_id: str, metric: str) -> tuple[FloatArray, FloatArray]:
    steps, values = study.series(run_id, metric)
    there = np.isfinite(values)
    return steps[there].astype(np.float64), values[there]


def stability_table(study: Study) -> pd.DataFrame:
    """Tabulate every run: outcome, collapse, gold and proxy, over-optimisation gap.

    `gold_falls` is the rule of `gold_fall`, independent of the outcome that the run itself tagged.
    """
    rows = [_stability_row(study, run) for _, run in study.runs.iterrows()]
    return pd.DataFrame(rows, columns=_STABILITY_COLUMNS)


def _stability_row(study: Study, run: "pd.Series[Any]") -> dict[str, Any]:
    run_id = str(run["run_id"])
    steps, gold = _finite(study, run_id, "eval/gold")
    gap = _finite(study, run_id, "reward/gap")[1]
    best = int(np.argmax(gold)) if len(gold) else None
    last = {name: study.series(run_id, f"final/{name}")[1][-1:] for name in _FINALS}
    return {
        "arm": run["arm"],
        "seed": run["seed"],
        "outcome": run["outcome"],
        "collapse_iteration": run["collapse_iteration"],
        "gold_falls": gold_fall(study, run_id),
        "last_iteration": last_iteration(study, run_id),
        "start_gold": gold[0] if len(gold) and steps[0] == 0 else np.nan,
        "best_gold": gold[best] if best is not None else np.nan,
        "best_gold_iteration": steps[best] if best is not None else np.nan,
        "gap": gap[-1] if len(gap) else np.nan,
        **{f"final_{name}": value[0] if len(value) else np.nan for name, value in last.items()},
        "seconds": seconds(run),
        "collapse_reason": run["collapse_reason"],
        "error": run.get("error", ""),
        "run_id": run_id,
    }


_STABILITY_COLUMNS = [
    *("arm", "seed", "outcome", "collapse_iteration", "gold_falls", "last_iteration"),
    *("start_gold", "best_gold", "best_gold_iteration", "gap"),
    *("final_gold", "final_proxy", "final_win_rate", "final_held_out_perplexity"),
    *("final_kl_to_sft", "final_response_length"),
    *("seconds", "collapse_reason", "error", "run_id"),
]
_FINALS = ("gold", "proxy", "win_rate", "held_out_perplexity", "kl_to_sft", "response_length")


def seconds(run: "pd.Series[Any]") -> float:
    """Return how long a run took, NaN while it has not ended."""
    start, end = run["start_ms"], run["end_ms"]
    return (float(end) - float(start)) / 1000 if pd.notna(start) and pd.notna(end) else np.nan


def last_iteration(study: Study, run_id: str) -> float:
    """Return the number of iterations that a run recorded, NaN for none."""
    names = ("reward/proxy", "policy/kl_to_sft", "policy/response_length", "ppo/policy_loss")
    reached = [steps[-1] + 1 for name in names if len(steps := study.series(run_id, name)[0])]
    return float(max(reached)) if reached else float("nan")


def held_ids(study: Study) -> list[str]:
    """Return the runs that finished, did not collapse, and whose gold never fell below its start."""
    finished = study.runs.loc[study.runs["outcome"] == "ok", "run_id"]
    return [run_id for run_id in finished if np.isnan(gold_fall(study, run_id))]


def warnings(study: Study) -> pd.DataFrame:
    """Find, per run, monitor and rule, the first iteration at which the monitor leaves its band.

    Returns:
        One row a (rule, run, monitor): rule, arm, seed, monitor, held, low, high, first (iteration,
        NaN if never), event (the iteration at which gold falls below its start; where it never
        does, the tagged collapse; NaN for neither) and lead = event − first. `runs that held` is
        left out where fewer than MIN_HELD runs held, and is judged on the other runs alone.
    """
    held = set(held_ids(study))
    rows = []
    for monitor in WATCHED:
        found = {run: _finite(study, run, monitor) for run in study.runs["run_id"]}
        found = {run: curve for run, curve in found.items() if len(curve[0]) >= HEAD_MIN}
        healthy = [curve[1] for run, curve in found.items() if run in held]
        for _, run in study.runs[study.runs["run_id"].isin(list(found))].iterrows():
            steps, values = found[run["run_id"]]
            bands = {OWN_BAND: own_band(values)}
            if len(healthy) >= MIN_HELD and run["run_id"] not in held:
                together = np.concatenate([*healthy, head_of(values), own_band(values)])
                bands[HELD_RANGE] = float(together.min()), float(together.max())
            for rule, (low, high) in bands.items():
                place = first_streak((values < low) | (values > high))
                first = np.nan if place is None else float(steps[place])
                event = _event(study, run)
                rows.append(
                    {"rule": rule, "arm": run["arm"], "seed": run["seed"], "monitor": monitor}
                    | {"held": run["run_id"] in held, "low": low, "high": high}
                    | {"first": first, "event": event, "lead": event - first}
                )
    columns = ["rule", "arm", "seed", "monitor", "held", "low", "high", "first", "event", "lead"]
    return pd.DataFrame(rows, columns=columns)


def _event(study: Study, run: "pd.Series[Any]") -> float:
    fall = gold_fall(study, str(run["run_id"]))
    return float(run["collapse_iteration"]) if np.isnan(fall) else fall


def warning_ranking(found: pd.DataFrame) -> pd.DataFrame:
    """Rank monitors by how well a warning tells a fall from none, then by how long before.

        informedness = announced/falls − false_alarms/held

    Args:
        found: what `warnings` returned.
    Returns:
        One row a (rule, monitor), best first: falls (runs in which gold fell, or that collapsed),
        announced (of those, warned before the fall), lead_median, lead_min, lead_max over the
        announced, held (runs that held and were judged), false_alarms among them, informedness
        (the share announced alone where no run that held was judged).
    """
    rows = []
    for (rule, monitor), group in found.groupby(["rule", "monitor"], sort=False):
        fell, healthy = group[group["event"].notna()], group[group["held"]]
        lead = fell.loc[fell["lead"] > 0, "lead"]
        alarms = int(healthy["first"].notna().sum())
        told = len(lead) / max(1, len(fell)) - alarms / max(1, len(healthy))
        rows.append(
            {"rule": rule, "monitor": monitor, "falls": len(fell), "announced": len(lead)}
            | {"lead_median": lead.median(), "lead_min": lead.min(), "lead_max": lead.max()}
            | {"held": len(healthy), "false_alarms": alarms, "informedness": told}
        )
    columns = ["rule", "monitor", "falls", "announced", "lead_median", "lead_min", "lead_max"]
    ranking = pd.DataFrame(rows, columns=[*columns, "held", "false_alarms", "informedness"])
    return ranking.sort_values(
        ["rule", "informedness", "lead_median"], ascending=False, kind="stable"
    ).reset_index(drop=True)


def survival(study: Study) -> pd.DataFrame:
    """Estimate the share of runs not collapsed, per arm, by Kaplan and Meier.

    A run that did not collapse is censored at its last iteration, be it finished, failed or still
    running; one without any iteration is left out.

    Returns:
        arm, iteration, survival, low, high (95 %, exponential Greenwood), at_risk.
    """
    from lifelines import KaplanMeierFitter  # two seconds of import

    frames = []
    for arm in study.arms:
        runs = study.runs_of(arm)
        reached = np.array([last_iteration(study, run_id) for run_id in runs["run_id"]])
        event = (runs["outcome"] == "collapsed").to_numpy()
        duration = np.where(event, runs["collapse_iteration"].fillna(pd.Series(reached)), reached)
        there = ~np.isnan(duration.astype(float))
        if not there.any():
            continue
        fit = KaplanMeierFitter().fit(duration[there].astype(float), event[there])
        band = fit.confidence_interval_
        frames.append(
            pd.DataFrame(
                {
                    "arm": arm,
                    "iteration": fit.survival_function_.index.to_numpy(),
                    "survival": fit.survival_function_.iloc[:, 0].to_numpy(),
                    "low": band.iloc[:, 0].to_numpy(),
                    "high": band.iloc[:, 1].to_numpy(),
                    "at_risk": fit.event_table["at_risk"].to_numpy(),
                }
            )
        )
    columns = ["arm", "iteration", "survival", "low", "high", "at_risk"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
