"""Search: what may be proposed, what a proposal is worth, when it is given up, and how trials run."""

import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
from optuna.trial import Trial, TrialState

from ablations.folder import StudyFolder
from ablations.preparation import check_inputs
from ablations.processes import Process
from ablations.records import DONE, Claim, Outcome
from ablations.runner import ablate
from ablations.search.judging import excess, is_hopeless, worth
from ablations.search.proposals import again
from ablations.search.settings import Search
from ablations.search.space import Space
from ablations.search.trials import SearchTrials
from tests.ablations.databases import let_fail
from tests.ablations.toy import OPTIONS, gone, run_here, run_names, toy, toy_plan
from tests.builders import TinyTask
from workbench.commands.findings import status
from workbench.recipe import Recipe
from workbench.recipes import find_recipe

ME = Process.this("me")
TRICKS = ["value_clip", "reward_norm", "reward_scaling", "reward_clip"]


def search(**changes: Any) -> Search:
    return Search(**{"recipe": "ppo_max", "tricks": TRICKS, "trials": 6, "startup": 3, **changes})


def names(recipe: Recipe) -> set[str]:
    return {trick.name for trick in recipe.tricks}


def test_a_trick_alone_is_a_boolean_and_rivals_are_one_choice() -> None:
    choices = Space(find_recipe("vanilla"), search(recipe="vanilla")).choices
    assert choices["reward_clip"] == (False, True)
    assert choices["value_loss"] == ("value_mse", "value_clip")  # one of them the textbook needs
    assert choices["reward_normaliser"] == ("none", "reward_norm", "reward_scaling")


def test_the_start_is_the_recipe_itself() -> None:
    base = find_recipe("ppo_max")
    space = Space(base, search())
    start = space.start()
    assert space.rebuild(start.params).fingerprint() == base.fingerprint()
    assert start.params["reward_clip"] is True
    assert start.params["value_loss"] == "value_clip"
    assert start.params["value_clip.clip_range"] == 0.2


def test_a_point_without_a_trick_has_no_fields_of_it() -> None:
    space = Space(find_recipe("vanilla"), search(recipe="vanilla"))
    recipe = space.rebuild(
        {"value_loss": "value_mse", "reward_normaliser": "reward_scaling", "reward_clip": False}
        | {f"reward_scaling.{name}": value for name, value in _defaults("reward_scaling").items()}
    )
    assert "value_clip" not in names(recipe)
    assert "reward_scaling" in names(recipe)
    assert "reward_norm" not in names(recipe)


def _defaults(name: str) -> dict[str, Any]:
    from workbench.registry import registry

    return dict(registry()[name]().hypers())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tricks": ["value_clop"]}, "did you mean 'value_clip'"),
        ({"ranges": {"value_clip.clip": (0.1, 0.3)}}, "unknown field 'value_clip.clip' in the search"),
        ({"ranges": {"value_clip.clip_range": (0.3, 0.1)}}, "from low to high, got 0.3 to 0.1"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Space(find_recipe("ppo_max"), search(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objectives": {"final/goldd": "maximize"}}, "did you mean 'final/gold'"),
        ({"constraints": {"policy/kl_to_sft": 4.0}}, "did you mean 'final/kl_to_sft'"),
        ({"constraints": {"collapse": 0.0}}, "did you mean 'collapsed'"),
    ],
)
def test_objectives_and_constraints_are_final_metrics(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"unknown final metric .*; {sentence}"):
        search(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},  # final/gold is the default
        {"objectives": {"final/win_rate": "maximize"}, "constraints": {"final/best_gold": 2.0}},
    ],
)
def test_a_search_by_gold_is_refused_on_a_task_without_a_judge(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"recipe": "ppo_max", "tricks": TRICKS, "trials": 2}
    asked, by_wins = (
        toy(arms={}, baseline=None, search={**wanted, **more})
        for more in (changes, {"objectives": {"final/win_rate": "maximize"}})
    )
    check_inputs(asked, "cpu")
    monkeypatch.setattr("ablations.preparation.make_task", lambda settings: TinyTask(has_gold=False))
    check_inputs(by_wins, "cpu")
    with pytest.raises(ValueError, match=r"search goes by final/(best_)?gold, and the task has no gold"):
        check_inputs(asked, "cpu")


def result(gold: float, kl: float = 1.0, collapsed: float = 0.0) -> dict[str, float]:
    return {"final/gold": gold, "final/kl_to_sft": kl, "collapsed": collapsed}


def test_a_recipe_is_worth_its_mean_and_exceeds_bounds_by_the_mean() -> None:
    both = search(
        objectives={"final/gold": "maximize", "final/kl_to_sft": "minimize"},
        constraints={"final/kl_to_sft": 4.0, "collapsed": 0.0},
    )
    results = {0: result(1.0, 3.0), 1: result(2.0, 7.0, 1.0)}
    assert worth(results, both) == [1.5, 5.0]
    assert excess(results, both) == {"final/kl_to_sft": 1.0, "collapsed": 0.5}
    assert worth({0: result(float("-inf"))}, search()) == [-1e9]


def test_easy_seeds_do_not_make_a_recipe_that_was_given_up_the_best() -> None:
    # All are 2 better at seed 0 than at seed 1; one collapsed there without end, which tells nothing.
    whole = [{0: result(gold), 1: result(gold - 2.0)} for gold in (3.0, 4.0)]
    whole.append({0: result(3.5), 1: result(float("-inf"))})
    assert worth({0: result(3.5)}, search(), whole[:2]) == [2.5]
    assert worth({0: result(3.5)}, search(), whole) == [2.5]
    assert worth(whole[1], search(), whole) == [3.0]


def test_a_recipe_that_half_of_the_others_beat_on_the_same_seeds_is_hopeless() -> None:
    others = [{0: result(gold), 1: result(9.0)} for gold in (1.0, 2.0, 3.0, 4.0)]
    assert is_hopeless({0: result(2.5)}, others, search())  # 3 and 4 are better: 2 of 4
    assert not is_hopeless({0: result(3.5)}, others, search())
    assert not is_hopeless({0: result(0.0)}, others[:2], search())  # too few to judge by
    assert not is_hopeless({7: result(0.0)}, others, search())  # nobody ran this seed


def test_with_two_objectives_a_recipe_has_to_lose_in_both() -> None:
    both = search(objectives={"final/gold": "maximize", "final/kl_to_sft": "minimize"})
    others = [{0: result(2.0, kl=5.0)} for _ in range(4)]
    assert not is_hopeless({0: result(1.0, kl=1.0)}, others, both)
    assert is_hopeless({0: result(1.0, kl=6.0)}, others, both)


def test_where_no_seed_may_collapse_one_collapse_is_enough() -> None:
    assert is_hopeless({0: result(9.0, collapsed=1.0)}, [], search(constraints={"collapsed": 0}))
    assert not is_hopeless({0: result(9.0, collapsed=1.0)}, [], search(constraints={"collapsed": 0.5}))


def open_trials(home: Path, wanted: Search, seeds: int = 3) -> SearchTrials:
    outline = toy_plan(seeds=seeds).outline
    space = Space(find_recipe(wanted.recipe), wanted)
    return SearchTrials(StudyFolder(home, "toy"), outline, wanted, space)


def states(trials: SearchTrials) -> list[str]:
    return [status.state for status in trials.status()]


def train(
    trials: SearchTrials, claim: Claim, gold: float, kl: float = 1.0, *, ease: float = 0.0
) -> list[int]:
    """Pass a proposal's seeds with one result, seed 0 with so much more gold; return the seeds."""
    seeds = []
    while not claim.is_over:
        seeds.append(claim.cell.seed)
        more = ease if claim.cell.seed == 0 else 0.0
        final = {"final/gold": gold + more, "final/win_rate": 0.5, "final/kl_to_sft": kl}
        trials.record(claim, Outcome("ok", final, None, 4))
    return seeds


def test_a_search_tries_the_start_and_then_as_many_as_it_may(tmp_path: Path) -> None:
    wanted = search(give_up=False)
    trials = open_trials(tmp_path, wanted)
    assert trials.enqueue("missing") == 1
    assert trials.enqueue("missing") == 0
    arms = []
    while claim := trials.claim(ME):
        arms.append(claim.unit)
        assert train(trials, claim, gold=len(arms)) == [0, 1, 2]
    assert len(arms) == wanted.trials
    assert len(set(arms)) == wanted.trials
    assert arms[0] == "t0000"
    done = [trial for trial in trials.study.trials if trial.state == TrialState.COMPLETE]
    assert [trial.value for trial in done] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    points = [tuple(sorted(trial.params.items())) for trial in done]
    assert len(set(points)) == wanted.trials
    assert [status.state for status in trials.status()] == ["ok"] * 18


def test_a_hopeless_recipe_leaves_its_other_seeds_out(tmp_path: Path) -> None:
    trials = open_trials(tmp_path, search())
    trials.enqueue("missing")
    for gold in (1.0, 2.0, 3.0):
        claim = trials.claim(ME)
        assert claim is not None
        train(trials, claim, gold, ease=3.0)
    claim = trials.claim(ME)
    assert claim is not None
    assert train(trials, claim, 0.5, ease=3.0) == [0]
    trial = trials.study.trials[claim.number]
    # 3.5 at a seed that gives others 2 more than all three do on average
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 1.5)
    assert trial.user_attrs["given_up"] is True


def test_two_objectives_and_a_bound_reach_optuna(tmp_path: Path) -> None:
    wanted = search(
        objectives={"final/gold": "maximize", "final/kl_to_sft": "minimize"},
        constraints={"final/kl_to_sft": 4.0}, give_up=False,
    )  # fmt: skip
    trials = open_trials(tmp_path, wanted, seeds=1)
    trials.enqueue("missing")
    for gold, kl in ((1.0, 2.0), (2.0, 9.0), (0.5, 3.0)):
        claim = trials.claim(ME)
        assert claim is not None
        train(trials, claim, gold, kl)
    front = {tuple(trial.values) for trial in trials.study.best_trials}
    assert front == {(1.0, 2.0)}  # (2, 9) exceeds the bound, (0.5, 3) is dominated


def test_a_proposal_whose_worker_died_goes_on_with_its_next_seed(tmp_path: Path) -> None:
    trials = open_trials(tmp_path, search())
    trials.enqueue("missing")
    claim = trials.claim(ME)
    assert claim is not None
    trials.record(claim, Outcome("collapsed", result(1.0) | {"final/win_rate": 0.5}, "run", 4))
    trials.give_back(claim)
    assert [status.state for status in trials.status()][:3] == ["collapsed", "waiting", "missing"]
    taken = open_trials(tmp_path, search()).claim(ME)
    assert taken is not None
    assert (taken.unit, taken.cell.seed) == ("t0000", 1)
    assert train(trials, taken, 1.0) == [1, 2]
    assert [status.value for status in trials.status()][:3] == [1.0, 1.0, 1.0]


class Killed(Exception):
    pass


def killed(*_: Any) -> None:
    raise Killed


def noted(gold: float, state: Literal["ok", "collapsed"] = "ok") -> Outcome:
    return Outcome(state, result(gold) | {"final/win_rate": 0.5}, None, 4)


def started(home: Path, **changes: Any) -> tuple[SearchTrials, Claim]:
    """Return the trials of a search, and a claim on its first recipe."""
    trials = open_trials(home, search(**changes))
    claim = trials.claim(ME)
    assert claim is not None
    return trials, claim


@pytest.mark.parametrize("retries", [0, 1])
def test_a_proposal_that_was_ended_and_not_enqueued_again_is_taken_up(
    retries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, claim = started(tmp_path)
    trials.outline = replace(trials.outline, retries=retries)
    trials.record(claim, noted(1.0))
    with monkeypatch.context() as patched:
        patched.setattr(trials, "_create", killed)
        with pytest.raises(Killed):
            trials.fail(claim, "out of memory") if retries else trials.give_back(claim)
    assert states(trials)[:3] == ["ok", "missing", "missing"]
    assert trials.enqueue("missing") == 1
    assert trials.enqueue("missing") == 0
    taken = trials.claim(ME)
    assert taken is not None
    assert (taken.unit, taken.cell.seed) == ("t0000", 1)
    assert train(trials, taken, 2.0) == [1, 2]


def test_a_proposal_that_was_enqueued_twice_counts_once(tmp_path: Path) -> None:
    trials, claim = started(tmp_path)
    trials.give_back(claim)
    [waiting] = trials._trials(TrialState.WAITING)
    trials._create(again(waiting))  # as a second process does that looked at the same moment
    taken = trials.claim(ME)
    assert taken is not None
    [doubled] = trials._trials(TrialState.WAITING)
    assert trials._take(doubled, ME) is None
    assert states(trials)[0] == "running"
    trials.fail(taken, "out of memory")
    assert states(trials)[0] == "failed"


def test_a_failed_proposal_is_tried_again_by_the_next_command_and_keeps_its_runs(tmp_path: Path) -> None:
    trials, claim = started(tmp_path)
    trials.record(claim, noted(1.0))
    trials.fail(claim, "out of memory")
    assert trials.enqueue("missing") == 0
    assert states(trials)[:3] == ["ok", "failed", "failed"]
    assert trials.enqueue("missing", "failed") == 1
    retried = trials.claim(ME)
    assert retried is not None
    assert train(trials, retried, 2.0) == [1, 2]
    assert trials.enqueue("missing", "failed") == 0


def test_a_proposal_whose_worker_died_after_its_last_seed_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = open_trials(tmp_path, search(trials=1))
    claim = trials.claim(gone())
    assert claim is not None
    with monkeypatch.context() as patched:
        patched.setattr(trials, "_complete", killed)
        with pytest.raises(Killed):
            train(trials, claim, 1.5)
    assert states(trials) == ["ok", "ok", "stopped"]
    trials.sweep()
    assert trials.claim(ME) is None
    assert states(trials) == ["ok", "ok", "ok"]
    assert trials.study.best_value == 1.5


def test_a_proposal_that_is_put_back_while_another_is_asked_for_stays_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, claim = started(tmp_path)
    blank = trials._blank

    def put_back_first(at_random: bool) -> Trial:
        trials.give_back(claim)
        return blank(at_random)

    monkeypatch.setattr(trials, "_blank", put_back_first)
    other = trials.claim(ME)
    assert other is not None and other.unit != claim.unit
    [waiting] = trials._trials(TrialState.WAITING)
    assert waiting.user_attrs["cell"] == claim.unit


def test_what_died_before_it_had_proposed_is_no_proposal(tmp_path: Path) -> None:
    trials, _ = started(tmp_path)
    trials.study.ask()
    [_, half] = trials._trials(TrialState.RUNNING)
    trials._bury(half)
    assert not trials._trials(TrialState.WAITING)


def test_a_proposal_that_was_taken_away_is_noticed_when_its_run_ends(tmp_path: Path) -> None:
    trials = open_trials(tmp_path, search())
    claim = trials.claim(gone())
    assert claim is not None
    trials.sweep()
    trials.record(claim, noted(9.0))
    assert claim.is_over
    assert states(trials)[:3] == ["waiting", "missing", "missing"]


def test_a_search_waits_for_its_storage_wherever_it_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = search(constraints={"final/kl_to_sft": 4.0}, give_up=False)
    trials = open_trials(tmp_path, wanted)
    let_fail(trials.storage, monkeypatch)
    for gold in range(wanted.trials):
        claim = trials.claim(ME)
        assert claim is not None
        assert train(trials, claim, gold) == [0, 1, 2]
    assert trials.claim(ME) is None
    assert states(trials) == ["ok"] * 18


FEW = ["value_norm", "summed_ratio", "skip_nonfinite_gradients"]
"""Tricks without fields: eight recipes."""


def test_a_space_that_is_used_up_ends_the_search_and_says_so(tmp_path: Path) -> None:
    trials = open_trials(tmp_path, search(recipe="vanilla", tricks=FEW, trials=20), seeds=1)
    gold = count()
    while claim := trials.claim(ME):
        assert trials.shortfall is None
        train(trials, claim, gold=next(gold))
    assert states(trials) == ["ok"] * 8
    assert trials.shortfall == (
        "the search ends after 8 of 20 recipes: 200 more proposals were made before, or cannot be run"
    )
    before = len(trials.study.trials)
    assert trials.claim(ME) is None
    assert len(trials.study.trials) == before
    assert open_trials(tmp_path, search(recipe="vanilla", tricks=FEW, trials=8)).shortfall is None


def test_a_search_through_a_space_that_is_used_up_is_done(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {"recipe": "vanilla", "tricks": FEW[-1:], "trials": 3}
    study = toy(arms={}, baseline=None, search=wanted, seeds=1)
    assert len(run_here(study, prepared)) == 2
    assert all(status.is_done for status in ablate(study, prepared, OPTIONS))
    assert "the search ends after 2 of 3 recipes" in capsys.readouterr().err
    status(study.name, prepared)
    assert "the search ends after 2 of 3 recipes" in capsys.readouterr().out
    status(study.name, prepared, as_json=True)
    assert json.loads(capsys.readouterr().out)["shortfall"].startswith("the search ends after 2 of 3")


def test_of_a_proposal_one_run_waits_as_it_is_one_thing_to_claim(tmp_path: Path) -> None:
    trials = open_trials(tmp_path, search(trials=2))
    assert states(trials) == ["waiting", "missing", "missing"] * 2
    first = trials.claim(ME)
    assert first is not None
    assert states(trials) == ["running", "missing", "missing", "waiting", "missing", "missing"]
    assert trials.claim(ME) is not None
    assert states(trials) == ["running", "missing", "missing"] * 2
    trials.give_back(first)
    assert states(trials)[:3] == ["waiting", "missing", "missing"]


def test_a_search_as_a_user_writes_it_runs_and_can_go_on(prepared: Path) -> None:
    wanted = {"recipe": "ppo_max", "tricks": TRICKS, "trials": 2, "give_up": False}
    content = {"arms": {}, "baseline": None, "search": wanted}
    statuses = run_here(toy(**content), prepared)
    assert [status.cell.name for status in statuses[:2]] == ["t0000/s0", "t0000/s1"]
    assert all(status.state in DONE for status in statuses)
    before = run_names(prepared)
    assert len(before) == 4
    more = run_here(toy(**content | {"search": {**wanted, "trials": 3}}), prepared)
    assert all(status.state in DONE for status in more)
    assert set(run_names(prepared)) > set(before)
    assert len(run_names(prepared)) == 6


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arms": {"vanilla": "vanilla"}}, "a search stands alone"),
        ({"search": {"recipe": "ppo_max", "tricks": ["x"], "trials": 2}}, "unknown trick 'x'"),
        ({"search": {"recipe": "ppo_max", "tricks": TRICKS}}, "trials"),
    ],
)
def test_a_wrong_search_is_refused_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    wanted = {"recipe": "ppo_max", "tricks": TRICKS, "trials": 2}
    with pytest.raises(ValueError, match=sentence):
        toy(**{"arms": {}, "baseline": None, "search": wanted, **changes})
