"""A whole study at toy size: what it leaves behind, how it goes on, what it refuses."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import BAD_REQUEST, MlflowException

from ablations import runner
from ablations.cells import Cell
from ablations.folder import find_study
from ablations.liveness import Stop
from ablations.plan import ChangedStudyError, open_study, require_plan
from ablations.processes import Process
from ablations.records import Status
from ablations.runner import ablate, begun, dry_run, prepare_only
from ablations.standings import estimate_lines
from ablations.study import Study
from ablations.trials import Trials
from ablations.worker import Worker
from tests.ablations.toy import OPTIONS, TOY, points, run_here, run_names, toy
from tests.tasks.preference_data import hh_rows, write_jsonl
from workbench.commands.findings import status
from workbench.commands.shared import how_to_go_on
from workbench.glossary import GLOSSARY
from workbench.locks import LockedError
from workbench.tracking.store import TrackingError, default_store
from workbench.tracking.sync import sync
from workbench.training import Run

CELLS = ["vanilla/s0", "ppo_max/s0", "vanilla/s1", "ppo_max/s1"]


def client(home: Path) -> MlflowClient:
    return default_store(home).client


def test_cells_run_seed_by_seed_and_end_once_each(undisturbed: Path) -> None:
    folder = find_study(undisturbed, "toy")
    statuses = Trials(folder, folder.outline()).status()
    assert [status.cell.name for status in statuses] == CELLS
    assert all(status.state in ("ok", "collapsed") for status in statuses)
    assert run_names(undisturbed) == sorted(CELLS)


def test_runs_carry_parameters_tags_and_artifacts(undisturbed: Path) -> None:
    store = default_store(undisturbed)
    runs = store.runs(store.create_experiment("toy"))
    run = next(run for run in runs if run.info.run_name == "ppo_max/s1")
    params, tags = run.data.params, run.data.tags
    assert (params["arm"], params["seed"], params["task"]) == ("ppo_max", "1", "dialogue")
    assert params["trick.value_clip"] == "true"
    assert params["value_clip.clip_range"] == "0.2"
    assert params["ppo.rollout_size"] == "8"
    assert tags["outcome"] in ("ok", "collapsed")
    assert tags["workbench.cell"] == "ppo_max/s1"
    assert "torch" in json.loads(tags["versions"])
    assert {"recipe_hash", "prepared_hash", "git_commit", "hardware", "optuna_trial"} <= set(tags)
    assert run.info.status == "FINISHED"
    artifacts = {file.path for file in store.client.list_artifacts(run.info.run_id)}
    assert artifacts == {"recipe.txt", "samples.json"}


def test_metrics_stand_in_the_glossary_at_the_right_steps(undisturbed: Path) -> None:
    steps: dict[str, set[int]] = {}
    for _, key, step, _, _ in points(undisturbed):
        steps.setdefault(key, set()).add(step)
    assert set(steps) <= set(GLOSSARY)
    assert steps["reward/proxy"] == {0, 1, 2, 3}
    assert steps["eval/gold"] == {0, 2, 4}
    assert steps["final/gold"] == {0}


def test_experiment_tags_describe_study_and_prepared_models(undisturbed: Path) -> None:
    found = client(undisturbed).get_experiment_by_name("toy")
    study = json.loads(found.tags["workbench.study"])
    assert study["arms"] == ["vanilla", "ppo_max"]
    assert (study["baseline"], study["seeds"], study["iterations"]) == ("vanilla", [0, 1], 4)
    prepared = json.loads(found.tags["workbench.prepared"])
    assert set(prepared) >= {"hash", "pretrain", "sft", "reward_model", "start", "seconds"}
    assert prepared["start"]["gold"] is not None
    assert client(undisturbed).get_experiment_by_name("toy/summary") is not None


def test_final_policies_are_kept_and_checkpoints_are_not(undisturbed: Path) -> None:
    for cell in (undisturbed / "studies" / "toy" / "cells").iterdir():
        assert (cell / "policy" / "model.safetensors").is_file()
        assert not list(cell.glob("checkpoint-*"))


def test_trial_parameters_are_booleans_per_trick_and_never_the_arm(undisturbed: Path) -> None:
    folder = find_study(undisturbed, "toy")
    trial = Trials(folder, folder.outline()).study.trials[1]
    assert trial.user_attrs["arm"] == "ppo_max"
    assert "arm" not in trial.params
    assert trial.params["seed"] == 0
    assert trial.params["value_clip"] is True
    assert trial.params["advantage_norm"] is False
    # Of the fields, those that the arms set differently where both have the trick, and no others.
    assert not any(name.startswith("value_clip.") for name in trial.params)


def test_a_finished_study_started_again_runs_nothing(finished: Path) -> None:
    before = points(finished)
    statuses = ablate(toy(), finished, OPTIONS)
    assert len(statuses) == 4
    assert points(finished) == before


def test_added_seeds_and_arms_run_without_redoing_anything(finished: Path) -> None:
    more = toy(seeds=[0, 1, 5], arms={"vanilla": "vanilla", "ppo_max": "ppo_max"})
    before = points(finished)
    statuses = run_here(more, finished)
    assert [status.cell.name for status in statuses][-2:] == ["vanilla/s5", "ppo_max/s5"]
    assert all(status.state in ("ok", "collapsed") for status in statuses)
    assert [point for point in points(finished) if not point[0].endswith("s5")] == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"iterations": 9}, "ppo.iterations was 4 and is now 9"),
        ({"arms": {"vanilla": "vanilla"}}, "arm ppo_max is gone"),
        ({"arms": {"vanilla": "ppo_max", "ppo_max": "vanilla"}}, "arm vanilla is another recipe now"),
        ({"seeds": [0]}, "seeds 1 are gone"),
    ],
)
def test_a_changed_study_is_refused_with_what_changed(
    undisturbed: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ChangedStudyError, match=sentence):
        ablate(toy(**changes), undisturbed, OPTIONS)


def test_an_experiment_with_runs_of_another_study_is_refused(finished: Path) -> None:
    (finished / "studies" / "toy" / "study.json").unlink()
    with pytest.raises(ChangedStudyError, match=r"already holds .* with other settings"):
        ablate(toy(iterations=9), finished, OPTIONS)


def test_data_edited_after_preparing_are_refused_where_they_would_be_trained_on(
    new_home: Path, tmp_path: Path
) -> None:
    data = write_jsonl(tmp_path / "mine.jsonl", hh_rows())
    caps = {"vocabulary_size": 258, "max_prompt_tokens": 24, "max_response_tokens": 12}
    study = toy(task={"name": "preferences", "data": str(data), "held_out_share": 0.25, **caps})
    prepare_only(study, new_home, OPTIONS)
    folder = find_study(new_home, "toy")
    plan = require_plan(folder)
    Worker(folder, plan, Stop(), Process.this())

    write_jsonl(data, hh_rows()[1:])
    changed = "the content of the data has changed since study toy was prepared; put the old data back"
    with pytest.raises(ChangedStudyError, match=changed):
        prepare_only(study, new_home, OPTIONS)
    with pytest.raises(ChangedStudyError, match=changed):
        Worker(folder, plan, Stop(), Process.this())

    known = folder.path / "prepared.json"
    known.write_text(json.dumps({k: v for k, v in json.loads(known.read_text()).items() if k != "data"}))
    prepare_only(study, new_home, OPTIONS)  # begun before they were kept


@pytest.mark.parametrize(
    "mistyped",
    [
        {"device": "gpu"},
        {"tracking_uri": "foo://store"},
        {"storage": "grpc://nowhere"},
    ],
)
def test_a_mistyped_device_or_address_does_not_bind_the_study(
    mistyped: dict[str, str], new_home: Path
) -> None:
    with (
        pytest.raises((ValueError, TrackingError)),
        begun(toy(), new_home, replace(OPTIONS, **mistyped)),
    ):
        pass
    with pytest.raises(FileNotFoundError, match="toy"):
        find_study(new_home, "toy")


def test_a_damaged_plan_is_refused_by_its_name(finished: Path) -> None:
    file = find_study(finished, "toy").file
    file.write_text(file.read_text()[:100])
    with pytest.raises(ValueError, match=f"{file} is damaged"):
        open_study("toy", finished, {})


def test_status_of_a_finished_study_names_its_report(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status("toy", finished)
    assert f"report: {finished}/studies/toy/report/report.html\n" in capsys.readouterr().out


def test_status_says_how_to_go_on_from_any_folder(
    new_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = new_home.rename(new_home.with_name("my runs"))
    with begun(toy(), home, OPTIONS):
        status("toy", home)
    assert "it is being run by another process\n" in capsys.readouterr().out
    status("toy", home)
    assert f"go on with: workbench ablate toy --home '{home}'\n" in capsys.readouterr().out
    with begun(toy(), home, replace(OPTIONS, command="python -m ablations.paper")):
        pass
    status("toy", home)
    assert "go on with: python -m ablations.paper\n" in capsys.readouterr().out


@pytest.mark.parametrize(("silent", "next_step"), [(1, "it is being run by w7"), (99, "go on with: ")])
def test_a_worker_that_is_heard_of_runs_the_study(finished: Path, silent: int, next_step: str) -> None:
    at_work = Status(Cell("vanilla", 0), "running", 2, worker="w7", heard_at=time.time() - silent)
    assert how_to_go_on(find_study(finished, "toy"), [at_work]).startswith(next_step)


def test_status_names_a_run_that_was_deleted_in_mlflow(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = default_store(finished)
    [run] = store.runs(store.create_experiment("toy"), "attributes.run_name = 'vanilla/s1'")
    store.client.delete_run(run.info.run_id)
    status("toy", finished)
    assert f"left out: vanilla/s1 (run {run.info.run_id}); to have" in capsys.readouterr().err
    status("toy", finished, as_json=True)
    assert json.loads(capsys.readouterr().out)["deleted"] == ["vanilla/s1"]


def test_an_arm_that_never_moves_its_policy_is_named(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ablate(toy(), finished, OPTIONS)
    said = [line for line in capsys.readouterr().err.splitlines() if "does not move" in line]
    assert len(said) == 1
    assert said[0].startswith("arm ppo_max: the policy does not move in a run of 4 iterations")


def test_a_second_start_is_refused_with_the_process_that_runs(new_home: Path) -> None:
    with begun(toy(), new_home, OPTIONS):
        with pytest.raises(LockedError, match=rf"already running as process {os.getpid()}"):
            ablate(toy(), new_home, OPTIONS)


def test_a_failed_trial_keeps_its_error_and_the_others_go_on(
    prepared: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterate = Run._iterate

    def fail_once(self: Run, k: int) -> dict[str, float]:
        if self.recipe.name == "ppo_max" and self.seed == 0 and k == 2:
            raise MemoryError("out of memory")
        return iterate(self, k)

    monkeypatch.setattr(Run, "_iterate", fail_once)
    statuses = {status.cell.name: status for status in run_here(toy(), prepared)}
    assert statuses["ppo_max/s0"].state == "failed"
    assert statuses["ppo_max/s0"].error == "MemoryError: out of memory"
    assert sum(status.state == "failed" for status in statuses.values()) == 1
    store = default_store(prepared)
    [run] = store.runs(store.create_experiment("toy"), "tags.outcome = 'failed'")
    assert run.data.tags["error"] == "MemoryError: out of memory"
    assert run.info.status == "FAILED"

    monkeypatch.undo()  # the cause is gone: the same command tries it again, from its checkpoint
    assert all(status.state in ("ok", "collapsed") for status in run_here(toy(), prepared))
    assert points(prepared) == points(undisturbed)


class AfterThree(Stop):
    """Asks to stop when it has been asked three times."""

    count = 0

    @property  # type: ignore[override]
    def is_asked(self) -> bool:
        self.count += 1
        return self.count > 3

    @is_asked.setter
    def is_asked(self, value: bool) -> None:
        pass


def test_a_stopped_study_goes_on_to_the_same_numbers(prepared: Path, undisturbed: Path) -> None:
    stopped = run_here(toy(), prepared, AfterThree())
    assert any(status.state == "stopped" for status in stopped)
    run_here(toy(), prepared)
    assert points(prepared) == points(undisturbed)
    assert run_names(prepared) == sorted(CELLS)


def test_a_study_file_edited_between_two_starts_goes_on_or_is_refused(
    prepared: Path, undisturbed: Path, tmp_path: Path
) -> None:
    file = tmp_path / "toy.yaml"

    def edited(**changes: Any) -> Study:
        file.write_text(yaml.safe_dump({**TOY, **changes}))
        return open_study(str(file), prepared, {})

    run_here(edited(), prepared, AfterThree())
    before = points(prepared)
    with pytest.raises(ChangedStudyError, match=r"ppo\.temperature was 1\.0 and is now 0\.5"):
        run_here(edited(ppo={**TOY["ppo"], "temperature": 0.5}), prepared)
    assert points(prepared) == before
    more = {"arms": {**TOY["arms"], "unclipped": {"recipe": "ppo_max", "without": ["value_clip"]}}}
    statuses = run_here(edited(question="And now?", seeds=3, **more), prepared)
    assert len(statuses) == 9 and all(status.state in ("ok", "collapsed") for status in statuses)
    assert [point for point in points(prepared) if point[0] in CELLS] == points(undisturbed)
    with pytest.raises(ChangedStudyError, match="arm unclipped is gone; seeds 2 are gone"):
        run_here(edited(), prepared)


def test_a_dry_run_estimates_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses, estimate = dry_run(toy(), tmp_path / "home", OPTIONS)
    assert capsys.readouterr().err == "timing each arm: 2/2, 0 s left\n"
    assert [status.state for status in statuses] == ["missing"] * 4
    assert estimate is not None
    assert estimate.train_seconds > 0
    assert "untrained" in estimate.basis
    assert ", and the reward model on top, not timed" in "".join(estimate_lines(statuses, estimate, 1))
    assert not (tmp_path / "home").exists()


def test_a_dry_run_refuses_what_preparing_would(tmp_path: Path) -> None:
    policy = {**TOY["prepare"]["policy"], "context": 3}
    study = toy(prepare={**TOY["prepare"], "policy": policy})
    with pytest.raises(ValueError, match="the context of the policy is 3"):
        dry_run(study, tmp_path / "home", OPTIONS)


def test_a_dry_run_does_not_count_the_pretraining_of_a_given_policy(
    prepared: Path, tmp_path: Path
) -> None:
    [base] = (prepared / "prepared").glob("base-*")
    reward_model = {"path": str(next((prepared / "prepared").glob("reward*")))}
    own = {"policy": {"path": str(base)}, "sft": {"steps": 0}, "reward_model": reward_model}
    statuses, estimate = dry_run(toy(prepare={**TOY["prepare"], **own}), tmp_path / "home", OPTIONS)
    assert estimate is not None and estimate.prepare_seconds == 0
    assert "reward model" not in "".join(estimate_lines(statuses, estimate, 1))


def test_a_dry_run_shows_how_trials_stand_when_it_has_measured(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure_for_long(*_: Any) -> None:
        run_here(toy(), prepared)

    monkeypatch.setattr(runner, "estimate", measure_for_long)
    statuses, _ = dry_run(toy(), prepared, OPTIONS)
    assert all(status.state in ("ok", "collapsed") for status in statuses)


def test_a_dry_run_of_a_finished_study_has_nothing_to_estimate(undisturbed: Path) -> None:
    assert dry_run(toy(), undisturbed, OPTIONS)[1] is None


def test_a_store_that_refuses_costs_no_trial_and_gets_everything_later(
    prepared: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MlflowException("not today", error_code=BAD_REQUEST)

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_batch", refuse)
        statuses = run_here(toy(), prepared)
    assert all(status.state in ("ok", "collapsed") for status in statuses)
    assert points(prepared) == []  # the runs were created, and nothing else

    run_here(toy(), prepared)  # such runs do not block the study
    assert [upload.state for upload in sync(prepared)] == ["arrived"] * len(CELLS)
    assert points(prepared) == points(undisturbed)
    assert run_names(prepared) == sorted(CELLS)
    assert sync(prepared) == []
