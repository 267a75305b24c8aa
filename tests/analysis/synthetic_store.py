"""Write an MLflow SQLite store of a made-up study, with collapses and effects planted in it.

Rows go in by SQL, into a copy of an empty store, so that a study of a dozen runs takes a tenth of a
second. The curves are those of the first task in shape: gold rises, and in an arm that collapses
falls back through its start exactly at the planted iteration, after KL, length and perplexity have
left the range of the arms that hold.
"""

import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

GOLD_START, PROXY_START = 0.7, -0.4
KL_LEAD, LENGTH_LEAD, PERPLEXITY_LEAD = 15, 10, 5
"""Iterations before the fall of gold at which each monitor leaves its range, as planted."""


@dataclass(frozen=True)
class Arm:
    """What is planted: gold gained by the end, collapse iteration per seed (None: holds)."""

    gain: float = 0.8
    collapse: tuple[int | None, ...] = ()
    params: dict[str, str] = field(default_factory=dict)

    def collapse_of(self, place: int) -> int | None:
        return self.collapse[place] if place < len(self.collapse) else None


@dataclass(frozen=True)
class Plan:
    """A study to write; `drop` names metrics left out, `noise` scales all noise."""

    arms: dict[str, Arm]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    iterations: int = 60
    eval_every: int = 5
    name: str = "demo"
    gold: bool = True
    noise: float = 1.0
    drop: tuple[str, ...] = ()
    stop: dict[str, int] = field(default_factory=dict)
    """Runs by name that are still running: the iteration they have reached."""
    failed: dict[str, str] = field(default_factory=dict)
    """Runs by name that failed at once: the error."""
    broken: tuple[str, ...] = ()
    """Runs by name whose every value is NaN from the second iteration on."""
    design: dict[str, Any] | None = None
    """What the study's tag says of its design."""


QUICKSTART = Plan(
    {
        "vanilla": Arm(collapse=(30, 34, 38, 32, 36), params={"trick.gae": "true"}),
        "ppo_max": Arm(gain=1.0, params={"trick.gae": "true", "kl_penalty.weight": "0.05"}),
    }
)


def curves(plan: Plan, arm: Arm, place: int) -> dict[str, np.ndarray]:
    """Return each metric's values at iterations 0..N (the last for evaluations alone)."""
    n = plan.iterations
    step = np.arange(n + 1.0)
    rng = np.random.default_rng([place, n])
    late = np.inf if (at := arm.collapse_of(place)) is None else float(at)

    def noise(scale: float) -> np.ndarray:
        return np.asarray(rng.normal(0.0, scale * plan.noise, n + 1))

    def after(lead: int) -> np.ndarray:
        return np.maximum(0.0, step - (late - lead)) if np.isfinite(late) else 0.0 * step

    learn = 1.0 - np.exp(-step / 8.0)
    fall = np.where(step >= late, 0.3 + 0.03 * (step - late), 0.0)
    gold = GOLD_START + np.where(step >= late, 0.0, arm.gain * learn) - fall
    proxy = PROXY_START + 1.2 * learn + 0.01 * after(KL_LEAD)
    seed_shift = noise(0.03)[0]
    values = {
        "reward/gold": gold + seed_shift + noise(0.02),
        "eval/gold": gold + seed_shift + noise(0.01),
        "reward/proxy": proxy + noise(0.03),
        "eval/proxy": proxy + noise(0.02),
        "reward/proxy_std": 1.0 - 0.3 * learn + noise(0.01),
        "policy/kl_to_sft": 4.0 * learn + 3.0 * after(KL_LEAD) + np.abs(noise(0.05)) * (step > 0),
        "policy/response_length": 15.0 + 8.0 * learn + 2.0 * after(LENGTH_LEAD) + noise(0.2),
        "policy/perplexity": 2.4 + 0.3 * after(PERPLEXITY_LEAD) + noise(0.02),
        "policy/reference_perplexity": 2.4 * np.exp(0.3 * after(PERPLEXITY_LEAD)) + noise(0.02),
        "policy/entropy": 0.9 - 0.2 * learn + noise(0.01),
        "policy/distinct": 0.99 - 0.01 * after(PERPLEXITY_LEAD) + noise(0.003),
        "ppo/policy_loss": noise(0.01),
        "ppo/value_loss": 0.5 * np.exp(-step / 10.0) + noise(0.01),
        "ppo/approx_kl": 0.01 + noise(0.001),
        "ppo/policy_gradient_norm": 1.0 + noise(0.1),
        "eval/win_rate": np.clip(0.5 + 0.3 * (gold - GOLD_START) + noise(0.01), 0.0, 1.0),
        "eval/held_out_perplexity": 3.0 + 0.3 * learn + 0.1 * after(KL_LEAD) + noise(0.01),
        "time/iteration_seconds": 0.5 + np.abs(noise(0.02)),
    }
    won = values["eval/win_rate"]
    ties = 0.1 * np.minimum(won, 1.0 - won)
    values |= {"eval/win": won - ties / 2, "eval/tie": ties, "eval/loss": 1.0 - won - ties / 2}
    values |= {
        "policy/repeated": 0.05 + np.abs(noise(0.003)),
        "policy/truncated": 0.01 + np.abs(noise(0.003)),
        "ppo/clip_fraction": 0.05 + np.abs(noise(0.01)),
        "ppo/explained_variance": learn + noise(0.02),
    }
    for name, z in (("q05", -1.64), ("q25", -0.67), ("q50", 0.0), ("q75", 0.67), ("q95", 1.64)):
        values[f"reward/{name}"] = proxy + z * (1.0 - 0.3 * learn)
    values["reward/gap"] = (proxy - PROXY_START) / 1.1 - (gold - GOLD_START) / 0.9
    unwanted = set(plan.drop)
    if not plan.gold:
        unwanted |= {"reward/gold", "reward/gap", "eval/gold"}
    return {name: value for name, value in values.items() if name not in unwanted}


def points_of(plan: Plan, arm: Arm, place: int, reached: int) -> list[tuple[str, int, float]]:
    """Return (metric, step, value) of one run that has done `reached` iterations."""
    points, tail = [], max(1, plan.iterations // 10)
    values = curves(plan, arm, place)
    for name, value in values.items():
        is_eval = name.startswith("eval/")
        steps = range(0, reached + 1, plan.eval_every) if is_eval else range(reached)
        points += [(name, step, float(value[step])) for step in steps]
    if reached < plan.iterations:
        return points
    evals = range(0, plan.iterations + 1, plan.eval_every)
    for name in ("gold", "proxy", "win_rate", "held_out_perplexity"):
        if f"eval/{name}" in values:
            last = values[f"eval/{name}"][list(evals)][-max(1, len(evals) // 10) :]
            points.append((f"final/{name}", 0, float(last.mean())))
    for name in ("kl_to_sft", "response_length", "perplexity"):
        if f"policy/{name}" in values:
            last = values[f"policy/{name}"][plan.iterations - tail : plan.iterations]
            points.append((f"final/{name}", 0, float(last.mean())))
    if "eval/gold" in values:
        points.append(("final/best_gold", 0, float(values["eval/gold"][list(evals)].max())))
    points.append(("final/collapsed", 0, float(arm.collapse_of(place) is not None)))
    return points


def write_store(plan: Plan, folder: Path, template: Path) -> str:
    """Copy the empty store and write the study into it; return its tracking URI."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "mlflow.db"
    if not file.exists():
        shutil.copy(template, file)
    with closing(sqlite3.connect(file)) as db, db:
        experiment = _insert_experiment(db, plan, folder)
        for name, arm in plan.arms.items():
            for place, seed in enumerate(plan.seeds):
                _insert_run(db, plan, folder, experiment, name, arm, place, seed)
    return f"sqlite:///{file}"


def study_tag(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "question": "Does PPO-max hold where vanilla PPO collapses?",
        "task": "dialogue",
        "settings": {"task.seed": 3, "ppo.iterations": plan.iterations},
        "arms": list(plan.arms),
        "baseline": next(iter(plan.arms), None),
        "seeds": list(plan.seeds),
        "iterations": plan.iterations,
        "rollout_size": 128,
        "command": f"workbench ablate {plan.name}.yaml",
        "design": plan.design,
    }


def prepared_tag(plan: Plan) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    counts, edges = np.histogram(rng.normal(0.6, 1.0, 1000), bins=30)
    return {
        "hash": "0123456789abcdef",
        "pretrain": {"loss": 1.1, "held_out_perplexity": 3.2},
        "sft": {"loss": 0.8, "held_out_perplexity": 3.0},
        "reward_model": {
            "accuracy": 0.655,
            "pairs": 6000,
            "held_out_pairs": 1000,
            "gold_correlation": 0.83 if plan.gold else None,
            "margin_histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
            "curve": [{"step": s, "loss": 0.7 - 0.001 * s} for s in range(0, 101, 10)],
            "steps": 101,
            "accuracy_curve": [{"step": s, "accuracy": 0.5 + 0.0015 * s} for s in range(0, 101, 10)],
            "accuracy_curve_pairs": 512,
        },
        "start": {
            "gold": GOLD_START if plan.gold else None,
            "gold_std": 0.9 if plan.gold else None,
            "proxy": PROXY_START,
            "proxy_std": 1.1,
            "held_out_perplexity": 3.0,
            "response_length": 15.0,
        },
        "seconds": 210.0,
    }


def _insert_experiment(db: sqlite3.Connection, plan: Plan, folder: Path) -> int:
    db.execute(
        "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, "
        "last_update_time, workspace) VALUES (?, ?, 'active', 0, 0, 'default')",
        (plan.name, f"file://{folder}/artifacts"),
    )
    (experiment,) = db.execute("SELECT last_insert_rowid()").fetchone()
    for key, tag in (("study", study_tag(plan)), ("prepared", prepared_tag(plan))):
        row = (f"workbench.{key}", json.dumps(tag), experiment)
        db.execute("INSERT INTO experiment_tags VALUES (?, ?, ?)", row)
    return int(experiment)


def _insert_run(
    db: sqlite3.Connection,
    plan: Plan,
    folder: Path,
    experiment: int,
    name: str,
    arm: Arm,
    place: int,
    seed: int,
) -> None:
    cell, run = f"{name}/s{seed}", uuid.uuid5(uuid.NAMESPACE_OID, f"{plan.name}/{name}/{seed}").hex
    reached = 0 if cell in plan.failed else plan.stop.get(cell, plan.iterations)
    tags = _tags(plan, cell, arm.collapse_of(place), reached)
    start = 1_700_000_000_000 + 60_000 * place
    artifacts = folder / "artifacts" / str(experiment) / run / "artifacts"
    artifacts.mkdir(parents=True)
    (artifacts / "samples.json").write_text(json.dumps(samples(plan, reached)), encoding="utf-8")
    db.execute(
        "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, "
        "lifecycle_stage, artifact_uri, experiment_id) VALUES (?,?,?,?,?,?,?,?,?,?)",
        (
            *(run, cell, "LOCAL", "me", "FINISHED", start, start + 45_000, "active"),
            *(f"file://{artifacts}", experiment),
        ),
    )
    params = {"arm": name, "seed": str(seed), "task": "dialogue", "ppo.epochs": "1"} | arm.params
    db.executemany("INSERT INTO params VALUES (?,?,?)", [(k, v, run) for k, v in params.items()])
    db.executemany("INSERT INTO tags VALUES (?,?,?)", [(k, v, run) for k, v in tags.items()])
    points = points_of(plan, arm, place, reached)
    if cell in plan.broken:
        points = [(key, step, value if step == 0 else np.nan) for key, step, value in points]
    insert_points(db, run, points)


def insert_points(
    db: sqlite3.Connection,
    run: str,
    points: Iterable[tuple[str, int, float]],
    timestamp: int = 1,
) -> None:
    """Insert metric points as MLflow does: NaN as 0 with a flag, and the latest in its own table."""
    rows = [
        (key, 0.0 if np.isnan(value) else value, timestamp, run, step, bool(np.isnan(value)))
        for key, step, value in points
    ]
    db.executemany("INSERT INTO metrics VALUES (?,?,?,?,?,?)", rows)
    latest = {row[0]: row for row in sorted(rows, key=lambda row: row[4])}
    db.executemany(
        "INSERT OR REPLACE INTO latest_metrics VALUES (?,?,?,?,?,?)",
        [(key, value, at, step, nan, run) for key, value, at, run, step, nan in latest.values()],
    )


def _tags(plan: Plan, cell: str, collapse: int | None, reached: int) -> dict[str, str]:
    tags = {
        "mlflow.runName": cell,
        "workbench.cell": cell,
        "recipe_hash": f"recipe-{cell.split('/')[0]}",
        "prepared_hash": "0123456789abcdef",
        "git_commit": "abc1234",
        "hardware": "2 cores",
        "versions": json.dumps({"torch": "2.13.0", "mlflow": "3.17.2"}),
        "outcome": "running" if reached < plan.iterations else "ok",
    }
    if cell in plan.failed:
        return tags | {"outcome": "failed", "error": plan.failed[cell]}
    if collapse is not None and collapse < reached == plan.iterations:
        reason = "gold fell below its start while the proxy rose"
        tags |= {"outcome": "collapsed", "collapse_iteration": str(collapse)}
        tags |= {"collapse_reason": reason}
    return tags


def samples(plan: Plan, reached: int) -> dict[str, Any]:
    columns = ["iteration", "prompt", "sft_response", "response", "proxy", "gold"]
    columns += ["sft_proxy", "sft_gold"]
    gold = [1.5, 0.4] if plan.gold else [None, None]
    rows = [
        [
            *(at, f"how do i start bread <{i}> ?", "hello . mix flour .", f"knead at {at} & rest ."),
            *(0.9, gold[0], -0.3, gold[1]),
        ]
        for at in sorted({0, reached})
        for i in range(4)
    ]
    return {"columns": columns, "data": rows}
