"""What a run says of itself, from its parameters to how it ended: into its spool, and so to MLflow."""

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.checkpoint import CheckpointError
from workbench.environment import git_commit, hardware, versions
from workbench.errors import one_sentence
from workbench.settings import PpoSettings
from workbench.tracking.delivery import Delivery
from workbench.tracking.spool import Spool, open_spool
from workbench.tracking.store import Store, store_address
from workbench.tracking.uploader import Uploader
from workbench.training import Interrupted, Result, Run

HURRY_SECONDS = 5.0
"""How long a run that was asked to stop waits for the store."""


@dataclass(frozen=True)
class RunLog:
    """The MLflow run of one arm and seed.

    Training writes a spool beside the checkpoints, and a thread replays it into MLflow. A store that
    is locked or away, even from the start, costs the training no time.

    Attributes:
        store: where the run belongs.
        experiment: name of the experiment.
        arm: name of the arm.
        run: what is trained.
        tags: tags besides those that every run has, such as `optuna_trial`.
    """

    store: Store
    experiment: str
    arm: str
    run: Run
    tags: Mapping[str, str]

    def train(self, is_interrupted: Callable[[], bool] = lambda: False) -> tuple[str | None, Result]:
        """Train the run to its end and write down how it ended.

        Returns:
            MLflow's run id, None if the store was never there, and the result.
        Raises:
            Interrupted: if asked to stop.
            CheckpointError: if the disk is full, or the checkpoint belongs to another run.
            Exception: whatever made the run fail; its outcome and error are written down.
        """
        with open_spool(self.run.folder, self.run.fingerprint) as spool:
            spool.write("open", self.opening())
            spool.write("text", {"path": "recipe.txt", "text": describe_run(self.run)})
            delivery = Delivery(self.store, spool.path)
            with Uploader(delivery, self.store.interval_seconds, spool.share()) as uploader:
                result = self._train(spool, uploader, is_interrupted)
            return delivery.run_id, result

    def _train(self, spool: Spool, uploader: Uploader, is_interrupted: Callable[[], bool]) -> Result:
        def patience() -> float:
            return HURRY_SECONDS if is_interrupted() else self.store.patience_seconds

        try:
            result = self.run.train(spool, is_interrupted)
        except (Interrupted, CheckpointError):
            uploader.finish(lambda: HURRY_SECONDS)
            raise
        except Exception as error:
            _write_failure(spool, error)
            _deliver(spool, uploader, patience)
            raise
        _write_result(spool, result)
        _deliver(spool, uploader, patience)
        return result

    def opening(self) -> dict[str, Any]:
        """Say who the run is and where it belongs."""
        name, run = f"{self.arm}/s{self.run.seed}", self.run.fingerprint
        return {
            "name": name,
            "run": run,
            "experiment": self.experiment,
            "store": store_address(self.store, self.run.folder),
            "params": {key: str(value) for key, value in self.params().items()},
            "tags": {"workbench.cell": name, "workbench.run": run, "outcome": "running"}
            | self.facts()
            | dict(self.tags),
        }

    def params(self) -> dict[str, Any]:
        """Return arm, seed, task, and the recipe and settings flattened."""
        run = self.run
        params: dict[str, Any] = {"arm": self.arm, "seed": run.seed, "task": run.task.name}
        params |= {f"trick.{trick.name}": "true" for trick in run.recipe.tricks}
        params |= run.recipe.parameters()
        return params | run_settings(run)

    def facts(self) -> dict[str, str]:
        """Return the tags that every run has."""
        return {
            "recipe_hash": self.run.recipe.fingerprint(),
            "prepared_hash": self.run.prepared.fingerprint,
            "reward_model": json.dumps(_without_curves(self.run.prepared.facts.get("reward_model", {}))),
            "git_commit": git_commit(),
            "hardware": hardware(self.run.accelerator.device),
            "versions": json.dumps(versions()),
        }


def _without_curves(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the study's own tag has at length: the loss and the histogram."""
    return {key: fact for key, fact in facts.items() if key not in ("curve", "margin_histogram")}


def run_settings(run: Run) -> dict[str, Any]:
    """Return what a run was told besides its recipe, flattened: PPO, the collapse rule, pruning."""
    parts = {"ppo": run.settings, "collapse": run.collapse_rule}
    parts |= {"prune": run.pruner.settings} if run.pruner else {}
    settings = ((name, key, value) for name, part in parts.items() for key, value in part)
    return {f"{name}.{key}": value for name, key, value in settings if key not in PpoSettings.UNTOLD}


def describe_run(run: Run) -> str:
    """Write down recipe and settings as text."""
    lines = [f"{run.recipe.name} {run.recipe.fingerprint()}", ""]
    lines += [f"{key} = {value}" for key, value in run.recipe.parameters().items()]
    bare = [trick.name for trick in run.recipe.tricks if not trick.hypers()]
    lines += [*bare, "", *(f"{key} = {value}" for key, value in run_settings(run).items())]
    return "\n".join(lines) + "\n"


def _write_result(spool: Spool, result: Result) -> None:
    spool.write("text", {"path": "samples.json", "text": _table(result.samples)})
    spool.write("final", {"metrics": result.final})
    collapse = result.collapse
    tags = {"mlflow.loggedArtifacts": json.dumps([{"path": "samples.json", "type": "table"}])}
    if collapse:
        tags |= {"collapse_iteration": str(collapse.iteration), "collapse_reason": collapse.reason}
    if result.stopped_at is not None:
        tags["stopped_at"] = str(result.stopped_at)
    tags |= {"outcome": "collapsed" if collapse else "ok"}
    spool.write("end", {"tags": tags, "status": "FINISHED"})


def _write_failure(spool: Spool, error: Exception) -> None:
    text = "".join(traceback.format_exception(error))
    spool.write("text", {"path": "error.txt", "text": text})
    tags = {"error": one_sentence(error), "outcome": "failed"}
    spool.write("end", {"tags": tags, "status": "FAILED"})


def _deliver(spool: Spool, uploader: Uploader, patience: Callable[[], float]) -> None:
    """Keep the spool of a run that has ended only if not all of it has arrived."""
    spool.flush()
    if uploader.finish(patience):
        spool.path.unlink()


def _table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Write a table as MLflow's `log_table` does, which would append to what a crash left behind."""
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return json.dumps({"columns": list(columns), "data": rows})
