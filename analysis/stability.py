"""Stability of each run: when it collapsed, what it gained and lost, how its monitors drifted."""

from typing import Any

import numpy as np
import pandas as pd

from analysis import robust
from analysis.collapse import collapses, finite
from analysis.intervals import FloatArray
from analysis.robust import first_streak, noise_scale
from analysis.runs import Study
from analysis.traces import label, traces_of

WATCHED = (
    *("policy/kl_to_sft", "policy/response_length", "policy/perplexity", "reward/proxy"),
    *("ppo/policy_loss", "ppo/value_loss", "policy/entropy", "policy/distinct"),
)
"""Monitors whose first move is looked for: the paper's four, the two losses, two more."""

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


def stability_table(study: Study) -> pd.DataFrame:
    """Tabulate every run: outcome, collapse, gold and proxy, over-optimisation gap, alignment tax.

    Returns:
        One row a run. outcome and collapse_iteration are what the run itself tagged. From the curves:
        collapse and rule (see `collapse.collapses`), gold_falls, win_rate_falls, monitors_fall: the
        iteration by each rule alone; agrees: whether tag and curves say the same.
        gap: over-optimisation, the gain of the proxy less that of gold from the first to the last
        tenth of the evaluations, each in standard deviations of the SFT policy's scores over
        responses (the last tenth of reward/gap where these were not recorded).
        alignment_tax: rise of the held-out perplexity from the start to the end;
        alignment_tax_share: that over the start.
    """
    found = collapses(study).set_index("run_id")
    rows = [_stability_row(study, run, found.loc[run["run_id"]]) for _, run in study.runs.iterrows()]
    return pd.DataFrame(rows, columns=_STABILITY_COLUMNS)


def _stability_row(study: Study, run: "pd.Series[Any]", found: "pd.Series[Any]") -> dict[str, Any]:
    run_id = str(run["run_id"])
    steps, gold = finite(study, run_id, "eval/gold")
    best = int(np.argmax(gold)) if len(gold) else None
    last = {name: study.series(run_id, f"final/{name}")[1][-1:] for name in _FINALS}
    final = {name: value[0] if len(value) else np.nan for name, value in last.items()}
    tax = final["held_out_perplexity"] - _start(study, run_id, "eval/held_out_perplexity")
    return {
        "arm": run["arm"],
        "seed": run["seed"],
        "outcome": run["outcome"],
        "collapse_iteration": run["collapse_iteration"],
        "collapse": found["collapse"],
        "rule": found["rule"],
        "gold_falls": found["gold"],
        "win_rate_falls": found["win_rate"],
        "monitors_fall": found["monitors"],
        "agrees": found["agrees"],
        "last_iteration": last_iteration(study, run_id),
        "start_gold": _start(study, run_id, "eval/gold"),
        "best_gold": gold[best] if best is not None else np.nan,
        "best_gold_iteration": steps[best] if best is not None else np.nan,
        "gap": _gap(study, run_id, final),
        "alignment_tax": tax,
        "alignment_tax_share": tax / _start(study, run_id, "eval/held_out_perplexity"),
        **{f"final_{name}": value for name, value in final.items()},
        "seconds": seconds(run),
        "collapse_reason": run["collapse_reason"],
        "error": run.get("error", ""),
        "run_id": run_id,
    }


_STABILITY_COLUMNS = [
    *("arm", "seed", "outcome", "collapse_iteration", "collapse", "rule", "gold_falls"),
    *("win_rate_falls", "monitors_fall", "agrees", "last_iteration"),
    *("start_gold", "best_gold", "best_gold_iteration", "gap", "alignment_tax"),
    *("alignment_tax_share", "final_gold", "final_proxy", "final_win_rate"),
    *("final_held_out_perplexity", "final_kl_to_sft", "final_response_length"),
    *("seconds", "collapse_reason", "error", "run_id"),
]
_FINALS = ("gold", "proxy", "win_rate", "held_out_perplexity", "kl_to_sft", "response_length")


def _start(study: Study, run_id: str, metric: str) -> float:
    """Return a metric at iteration 0, NaN if it was not recorded there."""
    steps, values = finite(study, run_id, metric)
    return float(values[0]) if len(steps) and steps[0] == 0 else np.nan


def _gap(study: Study, run_id: str, final: dict[str, float]) -> float:
    start = study.prepared.get("start", {})
    spread = [start.get(f"{name}_std") for name in ("proxy", "gold")]
    if all(spread):
        gain = [final[name] - _start(study, run_id, f"eval/{name}") for name in ("proxy", "gold")]
        return float(gain[0] / spread[0] - gain[1] / spread[1])
    gap = finite(study, run_id, "reward/gap")[1]
    return float(gap[-max(1, len(gap) // 10) :].mean()) if len(gap) else np.nan


def drift_table(study: Study) -> pd.DataFrame:
    """Tabulate drift and spikes of every monitor of every run that recorded it.

    Returns:
        monitor, label, arm, seed, run_id, points; drift: slope over the second half per 100
        iterations (`robust.drift`); spikes: points off the running median (`robust.spikes`).
    """
    traces = traces_of(study)
    frames = []
    for monitor in traces.monitors:
        values = traces.values(monitor)
        there = np.isfinite(values)
        for extent in np.unique(there, axis=0):  # runs that recorded the same iterations
            same = np.flatnonzero((there == extent).all(axis=1))
            curves, steps = values[same][:, extent], traces.steps[extent]
            if len(steps):
                runs = traces.runs.iloc[same].assign(monitor=monitor, label=label(monitor))
                drift, spikes = robust.drift(steps, curves), robust.spikes(curves)
                frames.append(runs.assign(points=len(steps), drift=drift, spikes=spikes))
    if not frames:
        return pd.DataFrame(columns=_DRIFT_COLUMNS)
    return pd.concat(frames, ignore_index=True)[_DRIFT_COLUMNS]


_DRIFT_COLUMNS = ["monitor", "label", "arm", "seed", "run_id", "points", "drift", "spikes"]


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
    """Return the runs that finished, and did not collapse by tag or curves."""
    finished = study.runs.loc[study.runs["outcome"] == "ok", "run_id"]
    found = collapses(study).set_index("run_id")["collapse"]
    return [run_id for run_id in finished if np.isnan(found[run_id])]


def head_of(values: FloatArray) -> FloatArray:
    """Return the first tenth of a curve, at least HEAD_MIN points."""
    return values[: max(HEAD_MIN, round(HEAD_SHARE * len(values)))]


def own_band(values: FloatArray) -> tuple[float, float]:
    """Return low and high of the band of a curve's first iterations; see RULES[OWN_BAND]."""
    head = head_of(values)
    centre = float(np.median(head))
    half = max(BAND_WIDTH * noise_scale(head), 1e-9 + 1e-6 * abs(centre))
    return centre - half, centre + half


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
        found = {run: finite(study, run, monitor) for run in study.runs["run_id"]}
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
    found = collapses(study).set_index("run_id").loc[run["run_id"], "gold"]
    return float(run["collapse_iteration"]) if np.isnan(found) else float(found)


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
