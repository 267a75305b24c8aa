"""A study so small that all of it takes a second, and ways to run it and to read what it left."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablations.liveness import Stop
from ablations.opening import open_trials
from ablations.plan import Plan, make_plan
from ablations.processes import Process
from ablations.records import Status
from ablations.runner import Options, begun, prepare_study
from ablations.study import Study
from ablations.study_files import make_study
from ablations.worker import Worker

TOY: dict[str, Any] = {
    "name": "toy",
    "question": "Does it run?",
    "task": {
        "name": "dialogue",
        "pretraining_texts": 100,
        "held_out_texts": 8,
        "demonstrations": 100,
        "train_prompts": 32,
        "eval_prompts": 8,
        "held_out_prompts": 8,
        "preference_pairs": 32,
        "held_out_pairs": 16,
    },
    "prepare": {
        "policy": {"width": 16, "layers": 1, "heads": 2},
        "pretrain": {"steps": 3, "batch_size": 8},
        "sft": {"steps": 3, "batch_size": 8},
        "reward_model": {"epochs": 1, "batch_size": 16},
    },
    "ppo": {
        "iterations": 4,
        "rollout_size": 8,
        "minibatch_size": 4,
        "max_response_tokens": 12,
        "eval_every": 2,
        "eval_prompts": 4,
        "checkpoint_every": 1,
    },
    "arms": {"vanilla": "vanilla", "ppo_max": "ppo_max"},
    "baseline": "vanilla",
    "seeds": 2,
}
OPTIONS = Options(workers=2, command="workbench ablate toy.yaml")


def toy(**changes: Any) -> Study:
    """Return the toy study with some keys replaced; `iterations` is that of PPO."""
    iterations = changes.pop("iterations", None)
    content = {**TOY, **changes}
    if iterations:
        content["ppo"] = {**TOY["ppo"], "iterations": iterations}
    return make_study(content, "toy.yaml")


def toy_plan(**changes: Any) -> Plan:
    """Return the plan of the toy study with some keys replaced."""
    return make_plan(toy(**changes), tracking_uri=None, device="cpu", threads=1, command="")


def gone() -> Process:
    """Return a process of this machine that has ended."""
    return replace(Process.this("gone"), started=1.0)


def run_here(
    study: Study, home: Path, stop: Stop | None = None, process: Process | None = None
) -> list[Status]:
    """Run a study with the one worker in this process, or one that passes for another process."""
    with begun(study, home, OPTIONS) as (folder, plan, task):
        trials = open_trials(folder, plan)
        trials.sweep()
        trials.enqueue("missing", "failed")
        prepare_study(folder, plan, task)
        worker = Worker(folder, plan, stop or Stop(), process or Process.this())
        assert worker.work(until_done=False) == 0
        return trials.status()


def points(home: Path) -> list[tuple[str, str, int, float, bool]]:
    """Return every metric point as (run name, metric, step, value, is NaN), but for wall-clock times."""
    query = (
        "SELECT name, key, step, value, is_nan FROM metrics JOIN runs USING (run_uuid)"
        " WHERE key NOT LIKE 'time/%' ORDER BY name, key, step"
    )
    with closing(sqlite3.connect(home / "mlflow.db")) as db:
        return db.execute(query).fetchall()


def run_names(home: Path) -> list[str]:
    """Return the names of all MLflow runs."""
    with closing(sqlite3.connect(home / "mlflow.db")) as db:
        return sorted(name for (name,) in db.execute("SELECT name FROM runs"))
