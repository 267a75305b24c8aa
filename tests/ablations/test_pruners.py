"""Pruning by stability: which record ends a run, and what becomes of a run that was ended."""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite, nan
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from ablations.folder import StudyFolder
from ablations.plan import make_plan
from ablations.preparation import check_inputs
from ablations.pruners import CollapsePruner, make_pruner
from ablations.study_files import change_study
from ablations.trials import Trials
from analysis.loading import load
from analysis.page.limits import limits
from analysis.tables import tables_of
from tests.ablations.toy import TOY, run_here, toy
from tests.builders import SETTINGS, ListTracker, TinyTask, make_prepared, make_run
from tests.test_checkpoint import assert_same, stop_after, without_times
from tests.test_collapse import GOLD_ERROR, evaluated, monitored, unjudged
from workbench.checkpoint import CheckpointError, Record
from workbench.collapse import Collapse
from workbench.evaluation import Evaluator
from workbench.settings import CollapseRule, PruneSettings
from workbench.stages.prepare import Prepared
from workbench.training import Interrupted, Run

FALL = evaluated((1, 0), (1, 1), (0.7, 2), (0.6, 3), (0.6, 3), (0.6, 3))
"""Evaluated at 0, 2, 4, …: gold is below its start from 4 on, and known to be at 6."""
FEW = [
    *unjudged(monitored(), *[monitored(distinct=0.44)] * 5),
    *((k, monitored()) for k in range(7, 12)),
]
"""Few distinct responses from 2 to 6, so that the fifth in a row is 6; recovered after that."""
WHY_FEW = "fewer than half as many distinct responses"


def make(rule: Any = "collapse", patience: int = 0, **numbers: Any) -> CollapsePruner:
    return CollapsePruner(PruneSettings(rule=rule, patience=patience), CollapseRule(**numbers))


def end(pruner: CollapsePruner, history: list[Record], gold_error: float | None) -> Any:
    """Return the step with which a run ends and the collapse that is told, None if it goes on."""
    prune = pruner.start(gold_error)
    found = ((step, prune((step, metrics))) for step, metrics in history)
    return next(((step, collapse) for step, collapse in found if collapse), None)


@pytest.mark.parametrize("rule", ["collapse", "gold"])
@pytest.mark.parametrize("patience", [0, 1, 4])
def test_a_fall_of_gold_ends_a_run_with_the_record_that_tells_it_and_patience(
    rule: str, patience: int
) -> None:
    step, collapse = end(make(rule, patience), FALL, GOLD_ERROR)
    assert (step, collapse.iteration) == (6 + patience, 4)
    assert "gold" in collapse.reason


@pytest.mark.parametrize("rule", ["collapse", "gold", "monitors"])
def test_gold_within_the_margin_ends_nothing(rule: str) -> None:
    assert end(make(rule), evaluated((1, 0), *[(0.81, 2)] * 9), GOLD_ERROR) is None


@pytest.mark.parametrize("patience", [0, 1, 5])
def test_the_monitors_end_a_run_after_patience_even_if_it_recovers(patience: int) -> None:
    for rule in ("collapse", "monitors"):
        assert end(make(rule, patience), FEW, None) == (6 + patience, Collapse(2, WHY_FEW))


def test_the_monitors_are_gone_by_beside_a_judge_if_asked_for_and_only_then() -> None:
    assert end(make("monitors"), FEW, GOLD_ERROR) == (6, Collapse(2, WHY_FEW))
    assert end(make("collapse"), FEW, GOLD_ERROR) is None
    assert end(make("gold"), FEW, GOLD_ERROR) is None


def test_one_iteration_short_of_the_patience_a_run_goes_on() -> None:
    assert end(make(patience=5), FEW[:-1], None) is None


def test_the_numbers_of_the_study_decide() -> None:
    assert end(make(iterations_in_a_row=3), FEW, None) == (4, Collapse(2, WHY_FEW))
    assert end(make(iterations_in_a_row=6), FEW, None) is None
    assert end(make(standard_errors=3.5, evaluations_in_a_row=1), FALL, GOLD_ERROR)[0] == 6


def test_the_rule_gold_without_a_judge_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"^prune.rule is gold, and the task has no gold judge; write "):
        make("gold").start(None)


def test_nan_in_a_monitor_is_not_bad_and_breaks_the_row() -> None:
    bad, broken = monitored(distinct=0.1), monitored(distinct=nan)
    assert end(make(), unjudged(*[bad] * 4, broken, *[bad] * 4), None) is None


def test_a_run_whose_numbers_ran_away_has_ended_by_itself() -> None:
    history = [*unjudged(*[monitored()] * 3), (4, monitored() | {"policy/kl_to_sft": nan})]
    assert end(make(), history, None) is None


def test_a_pruner_started_anew_on_the_same_records_says_the_same() -> None:
    pruner = make(patience=2)
    one = pruner.start(None)
    said = [one(record) for record in FEW]
    for done in range(len(FEW)):
        two = pruner.start(None)
        assert [two(record) for record in FEW[: done + 1]] == said[: done + 1]


class Counted(dict[str, float]):
    """Metrics that count how often they are looked at."""

    looks = 0

    def __getitem__(self, key: str) -> float:
        Counted.looks += 1
        return super().__getitem__(key)


def test_a_record_is_looked_at_when_it_comes_and_never_again() -> None:
    prune, looks = make().start(None), []
    start = monitored()
    prune((0, start))
    for step in range(1, 3000):
        Counted.looks = 0
        prune((step, Counted(start)))
        looks.append(Counted.looks)
    assert set(looks) == {looks[0]}


# A policy that is trained at this rate repeats one response to the cap from iteration 2 on.
HASTY = SETTINGS.model_copy(
    update={"iterations": 12, "policy_learning_rate": 0.2, "eval_every": 1, "checkpoint_every": 3}
)
BY_MONITORS = make("monitors", patience=2)
STOP = 8
"""Perplexity is off from iteration 1 on, known at 5, and two iterations are waited for: 6 and 7."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Folders of tiny random models; `prepared` is a home folder here."""
    return make_prepared(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def hasty(tiny: Prepared, tmp_path: Path) -> Callable[..., Run]:
    def make_hasty(
        name: str = "pruned", pruner: CollapsePruner | None = BY_MONITORS, **more: Any
    ) -> Run:
        run = make_run(tiny, tmp_path / name, settings=HASTY)
        return replace(run, pruner=pruner, **more)

    return make_hasty


def test_a_pruned_run_is_the_unpruned_one_up_to_its_stop(hasty: Callable[..., Run]) -> None:
    tracker = ListTracker()
    whole, pruned = hasty("whole", None).train(ListTracker()), hasty().train(tracker)
    assert pruned.stopped_at == STOP and whole.stopped_at is None
    assert without_times(pruned.history[:STOP]) == without_times(whole.history[:STOP])
    *_, (step, last) = pruned.history
    assert (step, set(last)) == (STOP, {key for key in last if key.startswith(("eval/", "stability/"))})
    there = dict(whole.history)[STOP]
    assert {k: there[k] for k in last if k.startswith("eval/")} == {
        k: v for k, v in last.items() if k.startswith("eval/")
    }
    assert tracker.records == pruned.history


def test_a_pruned_run_has_collapsed_as_the_pruner_found(hasty: Callable[..., Run]) -> None:
    assert hasty("whole", None).train(ListTracker()).collapse is None  # gold is within two errors
    pruned = hasty().train(ListTracker())
    assert pruned.collapse == Collapse(1, "perplexity off by a factor of two")
    assert pruned.final["final/collapsed"] == 1
    assert isfinite(pruned.final["final/gold"])
    assert set(pruned.samples["iteration"]) == {STOP}


def test_where_the_verdicts_own_rule_saw_a_collapse_that_one_is_told(hasty: Callable[..., Run]) -> None:
    rule = CollapseRule(standard_errors=0)
    pruned = hasty(collapse_rule=rule).train(ListTracker())
    assert pruned.stopped_at == STOP
    assert pruned.collapse is not None and pruned.collapse.iteration == 2
    assert "gold" in pruned.collapse.reason


def test_a_run_that_reaches_its_end_within_the_patience_is_not_pruned(hasty: Callable[..., Run]) -> None:
    for patience in (6, 7):  # due at the last iteration, and after it
        result = hasty(f"p{patience}", make("monitors", patience)).train(ListTracker())
        assert (result.stopped_at, result.collapse) == (None, None)
        assert result.history[-1][0] == HASTY.iterations


@pytest.mark.parametrize("stop", [1, 5, 6, 7])
def test_a_run_taken_up_again_ends_where_it_would_have_ended(
    stop: int, hasty: Callable[..., Run]
) -> None:
    straight, broken, resumed = hasty("straight"), hasty("broken"), hasty("broken")
    expected, tracker = straight.train(ListTracker()), ListTracker()
    with pytest.raises(Interrupted):
        broken.train(tracker, stop_after(stop))
    found = resumed.train(tracker)
    assert_same(straight, resumed, (expected, found))
    assert (found.stopped_at, found.collapse) == (expected.stopped_at, expected.collapse)
    assert [step for step, _ in tracker.records] == list(range(STOP + 1))


def test_a_pruned_run_killed_after_its_stop_does_not_train_on(
    hasty: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = hasty("straight")
    expected = straight.train(ListTracker())
    measure, calls = Evaluator.metrics, []

    def die_at_the_stop(self: Evaluator) -> dict[str, float]:
        calls.append(1)
        if len(calls) > STOP:
            raise KeyboardInterrupt  # stands for SIGKILL
        return measure(self)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Evaluator, "metrics", die_at_the_stop)
        hasty("killed").train(ListTracker())

    def refuse(self: Run, k: int) -> dict[str, float]:
        raise AssertionError(f"trained iteration {k}")

    monkeypatch.setattr(Run, "_iterate", refuse)
    resumed = hasty("killed")
    assert_same(straight, resumed, (expected, resumed.train(ListTracker())))


def test_a_run_without_a_judge_is_pruned_by_the_verdicts_own_rule(
    tiny: Prepared, tmp_path: Path
) -> None:
    run = make_run(tiny, tmp_path / "run", settings=HASTY, task=TinyTask(has_gold=False))
    result = replace(run, pruner=make(patience=2)).train(ListTracker())
    assert (result.stopped_at, result.collapse) == (
        STOP,
        Collapse(1, "perplexity off by a factor of two"),
    )
    with pytest.raises(ValueError, match="no gold judge"):
        replace(run, pruner=make("gold"), folder=tmp_path / "gold").train(ListTracker())


def test_another_pruner_or_rule_is_another_run_and_the_default_is_none(
    hasty: Callable[..., Run],
) -> None:
    hasty().train(ListTracker())
    for other in (
        hasty(pruner=None),
        hasty(pruner=make("monitors", 3)),
        hasty(collapse_rule=CollapseRule(distinct_share=0.4)),
    ):
        with pytest.raises(CheckpointError, match="belongs to a run with other settings"):
            other.train(ListTracker())
    assert hasty(collapse_rule=CollapseRule()).fingerprint == hasty().fingerprint


PRUNED: dict[str, Any] = {
    "ppo": {**TOY["ppo"], "iterations": 9, "policy_learning_rate": 0.2},
    "collapse": {"iterations_in_a_row": 2, "perplexity_factor": 1.5},
    "prune": {"rule": "monitors", "patience": 1},
    "arms": {"vanilla": "vanilla"},
    "baseline": "vanilla",
    "seeds": 1,
}


def test_a_pruned_cell_completes_and_the_analysis_says_what_it_is(prepared: Path) -> None:
    [status] = run_here(toy(**PRUNED), prepared)
    assert status.state == "collapsed"
    folder = StudyFolder(prepared, "toy")
    [trial] = Trials(folder, folder.outline()).study.trials
    assert trial.state == TrialState.COMPLETE and trial.value is not None and isfinite(trial.value)
    assert (folder.cell(status.cell) / "policy" / "model.safetensors").is_file()

    study = load("toy", f"sqlite:///{prepared / 'mlflow.db'}")
    [run] = study.runs.to_dict("records")
    stop = int(run["stopped_at"])
    assert run["outcome"] == "collapsed" and run["collapse_iteration"] < stop < 9
    assert (run["collapse.perplexity_factor"], run["prune.patience"]) == ("1.5", "1")
    tables = tables_of(study)
    assert tables.runs["last_iteration"].tolist() == [stop]
    assert tables.survival["iteration"].max() == run["collapse_iteration"]
    said = f"1 run that had collapsed was ended early (vanilla/s0 after {stop} iterations): final values"
    assert any(sentence.startswith(said) for sentence in limits(study, tables))
    recipe = study.artifact_path(run["run_id"], "recipe.txt")
    assert recipe is not None
    assert "collapse.perplexity_factor = 1.5\n" in recipe.read_text()
    assert "prune.rule = monitors\n" in recipe.read_text()


def test_a_study_says_nothing_of_pruning_unless_asked() -> None:
    assert make_pruner(toy()) is None
    plan = make_plan(toy(), tracking_uri=None, device="cpu", threads=1, command="")
    assert not [key for key in plan.settings if key.startswith(("collapse", "prune"))]
    plan = make_plan(toy(**PRUNED), tracking_uri=None, device="cpu", threads=1, command="")
    assert {
        key: value for key, value in plan.settings.items() if key.startswith(("collapse", "prune"))
    } == {
        "collapse.iterations_in_a_row": 2,
        "collapse.perplexity_factor": 1.5,
        "prune.rule": "monitors",
        "prune.patience": 1,
    }


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"prune": {"rule": "golden"}},
            "prune.rule: it should be 'collapse', 'gold' or 'monitors', got 'golden'",
        ),
        ({"prune": {"patience": -1}}, "prune.patience: it should be greater than or equal to 0, got -1"),
        ({"prune": {"patiense": 1}}, "unknown key 'patiense' in prune; did you mean 'patience'?"),
        (
            {"prune": "gold"},
            "prune: it should be 'key: value' lines, got 'gold'",
        ),
        (
            {"collapse": {"distinct_share": 2}},
            "collapse.distinct_share: it should be less than or equal to 1",
        ),
        ({"retries": -1}, "retries: it should be greater than or equal to 0, got -1"),
    ],
)
def test_a_wrong_rule_is_one_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        toy(**wrong)
    assert str(error.value).startswith("toy.yaml: ") and sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_line_can_ask_a_study_without_a_pruner_for_one() -> None:
    study = change_study(toy(), {"prune.patience": 3})
    assert study.prune == PruneSettings(rule="collapse", patience=3)


def test_a_study_that_wants_a_judge_is_refused_on_a_task_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = toy(prune={"rule": "gold"})
    check_inputs(study, "cpu")
    monkeypatch.setattr("ablations.preparation.make_task", lambda settings: TinyTask(has_gold=False))
    with pytest.raises(ValueError, match="the task has no gold judge"):
        check_inputs(study, "cpu")
