"""Stability of each run: when it collapsed, what it gained and lost, how its monitors drifted."""

from typing import Any

import numpy as np
import pandas as pd

from analysis import robust
from analysis.collapse import collapses, finite
from analysis.runs import Study
from analysis.traces import label, traces_of
from workbench.glossary import last_tenth


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
    return float(gap[last_tenth(len(gap))].mean()) if len(gap) else np.nan


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
