"""A learnt judge: trained on a side of its own, made once, told of, and asked for gold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from ablations.folder import StudyFolder
from tests.tasks.preference_data import Row, make, write_jsonl
from tests.tasks.test_preferences_pipeline import CAPS, PPO, SETTINGS, Memory
from workbench.evaluation import deviation, mean
from workbench.models import Scorer, Wrapper
from workbench.packing import Wanted
from workbench.recipes.vanilla import VANILLA
from workbench.stages.prepare import Prepared, prepare
from workbench.stages.reward_model import score_rows
from workbench.tasks.base import PreferencePair, Tokens
from workbench.tasks.dialogue import DialogueTask
from workbench.tasks.preferences import PreferencesTask
from workbench.training import Run

JUDGE: dict[str, Any] = {
    "policy": {"width": 32, "layers": 1, "heads": 2, "context": 36},
    "pretrain": {"steps": 3},
    "sft": {"steps": 3},
    "reward_model": {"epochs": 12, "batch_size": 8, "learning_rate": 5e-3},
}


def rows() -> list[Row]:
    """Forty things, two questions about each; every preferred answer begins with "Yes"."""
    starts = [f"\n\nHuman: {ask} thing {n}?\n\nAssistant:" for n in range(40) for ask in ("Do", "Is")]
    return [{"chosen": f"{start} Yes, it is.", "rejected": f"{start} No way."} for start in starts]


def judged(folder: Path, **own: Any) -> PreferencesTask:
    data = write_jsonl(folder / "pairs.jsonl", rows())
    return make(data, **{**CAPS, "held_out_share": 0.5, "judge": JUDGE, **own})


def prepared(task: PreferencesTask, home: Path) -> Prepared:
    return prepare(task, SETTINGS, home, Accelerator(cpu=True), PPO.max_response_tokens)


def seated(folder: Path) -> tuple[PreferencesTask, Prepared]:
    task = judged(folder)
    models = prepared(task, folder)
    assert models.judge is not None
    task.seat_judge(models.judge, torch.device("cpu"))
    return task, models


def pairs_of(task: PreferencesTask) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Return the pairs that the judge is trained on, and those that it is measured on."""
    assert task.judge_plan is not None
    pairs = task.judge_plan.task.preferences(lambda prompts, seed: [])
    return pairs.train, pairs.held_out


def test_the_judge_is_trained_on_pairs_that_serve_nothing_else(tmp_path: Path) -> None:
    task = judged(tmp_path)
    own, measured = pairs_of(task)
    # Half of 80 pairs are held out, three quarters of these are the judge's.
    assert (len(task.train_prompts()), len(own), len(measured)) == (40, 30, 10)
    pairs = task.preferences(lambda prompts, seed: [])
    assert pairs.held_out == measured
    shown = {demonstration.prompt for demonstration in task.demonstrations()}
    others = {pair.prompt for pair in [*pairs.train, *measured]} | shown | set(task.train_prompts())
    assert not {pair.prompt for pair in own} & (others | set(task.eval_prompts()))
    texts = {*task.pretraining_texts(), *task.held_out_texts()}
    assert not {(*pair.prompt, *pair.chosen) for pair in own} & texts


def test_a_dialogue_is_on_one_of_the_three_sides(tmp_path: Path) -> None:
    told = []
    for row in rows():
        first, follow = row["chosen"].rsplit(" Yes", 1)[0], "\n\nHuman: Sure?\n\nAssistant:"
        told += [row, {name: f"{first} Yes.{follow} {name}" for name in row}]
    task = make(
        write_jsonl(tmp_path / "a.jsonl", told), held_out_share=0.5, judge=JUDGE, eval_prompts=1000
    )
    own, measured = pairs_of(task)
    prompts = [task.train_prompts(), *([pair.prompt for pair in side] for side in (own, measured))]
    openings = [
        {task.tokenizer.decode(prompt).split("\n\nAssistant:")[0] for prompt in side} for side in prompts
    ]
    assert [len(side) for side in openings] == [40, 30, 10]
    assert len(set().union(*openings)) == 80


def test_prompts_that_become_equal_when_cut_are_never_the_judges_too(tmp_path: Path) -> None:
    # Of "Is thing 39?" and "Do thing 39?" the same 16 bytes are left: " 39?" and the marker.
    task = judged(tmp_path, max_prompt_tokens=16)
    own, measured = pairs_of(task)
    sides = [set(task.train_prompts()), *({pair.prompt for pair in side} for side in (own, measured))]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 40


def test_a_run_is_judged_by_the_learnt_judge(tmp_path: Path) -> None:
    task = judged(tmp_path)
    tracker = Memory()
    Run(task, VANILLA, PPO, prepared(task, tmp_path), 0, tmp_path / "run", Accelerator(cpu=True)).train(
        tracker
    )
    assert all("eval/gold" in metrics for _, metrics in tracker.records)
    assert "reward/gold" in tracker.records[0][1]


def test_the_judge_learns_what_people_prefer_and_its_accuracy_is_told(tmp_path: Path) -> None:
    task, models = seated(tmp_path)
    own, measured = pairs_of(task)
    facts = models.facts["judge"]
    assert (facts["pairs"], facts["held_out_pairs"]) == (len(own), len(measured))
    prompts = [pair.prompt for pair in measured]
    chosen = task.gold(prompts, [pair.chosen for pair in measured])
    rejected = task.gold(prompts, [pair.rejected for pair in measured])
    assert chosen is not None and rejected is not None
    better = [one > other for one, other in zip(chosen, rejected, strict=True)]
    assert facts["accuracy"] == sum(better) / len(better) == 1.0


def test_gold_is_the_judges_score_standardised_over_held_out_responses(tmp_path: Path) -> None:
    task, models = seated(tmp_path)
    _, measured = pairs_of(task)
    rows_ = [(pair.prompt, answer) for pair in measured for answer in (pair.chosen, pair.rejected)]
    gold = task.gold(*map(list, zip(*rows_, strict=True)))
    assert gold is not None and models.judge is not None
    scorer = Scorer()
    scorer.load_weights(models.judge)
    with torch.no_grad():
        texts: list[Tokens] = [(*prompt, *answer) for prompt, answer in rows_]
        score = score_rows(scorer, texts, int(task.tokenizer.pad_token_id))
    standardised = (score.double() - score.double().mean()) / score.double().std()
    assert gold == pytest.approx(standardised.tolist(), rel=1e-4)
    assert (mean(gold), deviation(gold)) == pytest.approx((0.0, 1.0), abs=1e-5)


def test_the_judge_is_made_once_for_all_reward_models(tmp_path: Path) -> None:
    first = prepared(judged(tmp_path), tmp_path)
    few = prepared(judged(tmp_path, preference_pairs=5), tmp_path)
    assert few.judge == first.judge and few.reward_model != first.reward_model
    wide = {**JUDGE, "policy": {**JUDGE["policy"], "width": 64}}
    other = prepared(judged(tmp_path, judge=wide), tmp_path)
    assert other.judge != first.judge and other.reward_model == first.reward_model
    assert len({models.fingerprint for models in (first, few, other)}) == 3


def test_workers_find_the_judge_with_the_prepared_models(tmp_path: Path) -> None:
    models = prepared(judged(tmp_path), tmp_path)
    folder = StudyFolder(tmp_path, "study")
    folder.path.mkdir(parents=True)
    folder.write_prepared(models, {}, 0.0)
    found = folder.read_prepared()
    assert found is not None and found.judge == models.judge
    assert models.judge is not None
    models.judge.rename(tmp_path / "elsewhere")
    assert folder.read_prepared() is None


def test_models_without_a_judge_are_found_as_before(tmp_path: Path) -> None:
    models = prepared(judged(tmp_path, judge=None), tmp_path)
    assert models.judge is None and "judge" not in models.facts
    folder = StudyFolder(tmp_path, "study")
    folder.path.mkdir(parents=True)
    folder.write_prepared(models, {}, 0.0)
    found = folder.read_prepared()
    assert found is not None and replace(found, facts={}) == replace(models, facts={})


def test_gold_before_the_judge_is_there_is_refused_in_a_sentence(tmp_path: Path) -> None:
    task = judged(tmp_path)
    assert task.gold([], []) == []
    with pytest.raises(ValueError, match="the judge of task preferences is not there yet"):
        task.gold(task.eval_prompts()[:1], [(0,)])


def test_a_task_without_a_plan_for_a_judge_seats_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task dialogue has no plan for a judge"):
        DialogueTask().seat_judge(tmp_path, torch.device("cpu"))


def test_a_judge_without_room_for_the_texts_is_refused(tmp_path: Path) -> None:
    short = {**JUDGE, "policy": {**JUDGE["policy"], "context": 30}}
    with pytest.raises(ValueError, match="the context of the policy is 30"):
        prepared(judged(tmp_path, judge=short), tmp_path)


def test_few_preference_pairs_are_drawn_anew_for_each_run_and_change_no_other_stage(
    tmp_path: Path,
) -> None:
    task, few, fewer = (judged(tmp_path, preference_pairs=n) for n in (None, 12, 5))

    def trained(one: Any) -> list[PreferencePair]:
        return list(one.preferences(lambda prompts, seed: []).train)

    assert len(trained(few.redrawn(3))) == 12
    assert set(trained(few.redrawn(3))) < set(trained(task))
    assert trained(few.redrawn(3)) == trained(judged(tmp_path, preference_pairs=12).redrawn(3))
    assert set(trained(few.redrawn(3))) != set(trained(few.redrawn(4)))
    assert set(trained(fewer.redrawn(3))) < set(trained(few.redrawn(3)))
    assert trained(task.redrawn(3)) == trained(task)
    assert few.demonstrations() == task.demonstrations()
    assert few.preferences(lambda prompts, seed: []).held_out == pairs_of(task)[1]
    assert len({one.fingerprint() for one in (task, few, fewer)}) == 3


def test_the_judge_reads_so_many_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, read = judged(tmp_path), Wrapper._read
    folder, rows = prepared(task, tmp_path).judge, []

    def listed(wrapper: Wrapper, wanted: Wanted) -> Tensor:
        rows.append(len(wanted.rows.length))
        return read(wrapper, wanted)

    monkeypatch.setattr(Wrapper, "_read", listed)
    assert folder is not None
    task.seat_judge(folder, torch.device("cpu"), 3)
    assert max(rows) == 3
