"""The stages: losses by hand, the cache of prepared models, given models, and PPO's own loop."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import ReferenceType, ref

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from tests.builders import (
    EOS,
    PAD,
    SETTINGS,
    VOCABULARY,
    ListTracker,
    TinyTask,
    as_policy,
    make_run,
    save_model,
    tiny_gemma3,
    tiny_gpt2,
    tiny_llama,
)
from workbench import device
from workbench.device import make_accelerator
from workbench.experience import minibatches
from workbench.loading import load_causal, load_scorer
from workbench.models import Batch, Scorer
from workbench.optimiser import make_optimiser, take_step
from workbench.recipes.ppo_max import PPO_MAX
from workbench.recipes.vanilla import VANILLA
from workbench.sampling import Samples, sample
from workbench.settings import ModelSettings, PrepareSettings, RewardModelSettings, TrainingSettings
from workbench.stages import ppo as ppo_stage
from workbench.stages import prepare as preparation
from workbench.stages import pretrain as pretraining
from workbench.stages.prepare import Prepared, prepare
from workbench.stages.pretrain import held_out_nats, pretrain
from workbench.stages.reward_model import (
    RewardModelTraining,
    measure,
    score_rows,
    train_reward_model,
)
from workbench.stages.sft import fine_tune
from workbench.stages.supervised import batches, language_batch, warmup_cosine
from workbench.tasks.base import Demonstration, PreferencePair, Preferences, Respond, Tokens
from workbench.textbook import textbook_optimisation
from workbench.training import Run
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.types import Rates

CPU: Any = {"accelerator": Accelerator(cpu=True), "pad": PAD, "seed": 0}
ONE_STEP = TrainingSettings(steps=1, batch_size=2, learning_rate=1e-3)


def nats(model: Any, text: Tokens, start: int) -> list[float]:
    """Return −log π of each token from `start` on, by a plain forward."""
    with torch.no_grad():
        log_p = model(torch.tensor([text])).logits[0].log_softmax(-1)
    return [-float(log_p[at - 1, text[at]]) for at in range(start, len(text))]


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


# What the supervised stages share.


def test_batches_go_through_every_example_once_an_epoch() -> None:
    drawn = [index for batch in batches(10, 4, 5, ("seed",)) for index in batch]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:]
    assert drawn == [index for batch in batches(10, 4, 5, ("seed",)) for index in batch]
    assert drawn != [index for batch in batches(10, 4, 5, ("other",)) for index in batch]


def test_a_batch_is_all_there_is_where_there_is_less() -> None:
    assert [sorted(batch) for batch in batches(3, 64, 2, ("seed",))] == [[0, 1, 2]] * 2


def test_the_learning_rate_warms_up_over_a_twentieth_and_falls_to_a_tenth() -> None:
    # of 100 steps 5 warm up; then 0.1 + 0.45 (1 + cos πx), x from 0 at step 5 to 1 at step 100
    assert [warmup_cosine(k, 100) for k in (0, 4, 5)] == pytest.approx([0.2, 1.0, 1.0])
    assert warmup_cosine(100, 100) == pytest.approx(0.1)
    assert warmup_cosine(5 + 19, 100) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 5)))


def test_a_language_batch_marks_the_tokens_to_predict() -> None:
    tokens, mask = language_batch([(2, 3, 4), (5, 6)], [1, 1], PAD)
    assert tokens.tolist() == [[2, 3, 4], [5, 6, PAD]]
    assert mask.tolist() == [[False, True, True], [False, True, False]]


# Losses by hand.


def test_pretraining_predicts_every_token_but_the_first() -> None:
    model, texts = tiny_gpt2(), [(2, 3, 4, 5), (6, 7)]
    expected = mean([*nats(model, texts[0], 1), *nats(model, texts[1], 1)])
    assert pretrain(as_policy(model), texts, ONE_STEP, **CPU) == pytest.approx([expected], rel=1e-5)


def test_held_out_texts_are_read_by_the_trunk_together_and_their_logits_made_in_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy, texts = as_policy(tiny_gpt2()), TinyTask().held_out_texts()  # six of seven tokens
    expected = held_out_nats(policy, texts, pad=PAD)
    rows, chunks, logits, predicting = [], [], policy.logits, policy.predicting

    def read(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        rows.append(len(tokens))
        return predicting(tokens, mask)

    def listed(hidden: Tensor) -> Tensor:
        chunks.append(len(hidden))
        return logits(hidden)

    monkeypatch.setattr(policy, "predicting", read)
    monkeypatch.setattr(policy, "logits", listed)
    monkeypatch.setattr(pretraining, "CHUNK_ELEMENTS", 10 * policy.vocabulary)
    monkeypatch.setattr(pretraining, "TRUNK_TOKENS", 3 * 7)
    assert held_out_nats(policy, texts, pad=PAD) == pytest.approx(expected, rel=1e-6)
    assert (rows, chunks) == ([3, 3], [10, 8, 10, 8])  # three rows have 18 tokens to predict


def test_fine_tuning_predicts_the_response_alone() -> None:
    model = tiny_gpt2()
    shown = [Demonstration((2, 3), (4, 5, 1)), Demonstration((6, 7, 8), (9, 1))]
    expected = mean([*nats(model, (2, 3, 4, 5, 1), 2), *nats(model, (6, 7, 8, 9, 1), 3)])
    assert fine_tune(as_policy(model), shown, ONE_STEP, **CPU) == pytest.approx([expected], rel=1e-5)


PAIRS = [PreferencePair((2, 3), (4, 5, 1), (6, 1)), PreferencePair((7,), (8, 1), (9, 10, 11))]


def scorer_of(prepared: Prepared) -> Scorer:
    scorer = Scorer()
    scorer.load_weights(prepared.reward_model)
    return scorer


def scored(scorer: Scorer, text: Tokens) -> float:
    with torch.no_grad():
        hidden = scorer.model.base_model(torch.tensor([text])).last_hidden_state
        return float(scorer.model.score(hidden)[0, -1, 0])


def ranking_loss(scorer: Scorer) -> float:
    """Return mean −log σ(r_w − r_l) = mean log(1 + exp(r_l − r_w))."""
    margins = [
        scored(scorer, (*p.prompt, *p.chosen)) - scored(scorer, (*p.prompt, *p.rejected)) for p in PAIRS
    ]
    return mean([math.log1p(math.exp(-margin)) for margin in margins])


def test_the_reward_model_minimises_the_ranking_loss(prepared: Prepared) -> None:
    scorer = scorer_of(prepared)
    expected = ranking_loss(scorer)
    settings = RewardModelSettings(epochs=1, batch_size=2)
    found = train_reward_model(scorer, PAIRS, settings, **CPU)
    assert found.losses == pytest.approx([expected], rel=1e-5)


def test_beta_rm_adds_the_language_loss_of_the_chosen_responses(prepared: Prepared) -> None:
    scorer = scorer_of(prepared)
    trunk = scorer.model.base_model
    expected: list[float] = []
    for pair in PAIRS:
        text = (*pair.prompt, *pair.chosen)
        with torch.no_grad():
            hidden = trunk(torch.tensor([text])).last_hidden_state[0]
            log_p = (hidden @ trunk.get_input_embeddings().weight.T).log_softmax(-1)
        expected += [-float(log_p[at - 1, text[at]]) for at in range(len(pair.prompt), len(text))]
    ranking = ranking_loss(scorer)
    settings = RewardModelSettings(epochs=1, batch_size=2, lm_weight=0.5)
    found = train_reward_model(scorer, PAIRS, settings, **CPU)
    assert found.losses == pytest.approx([ranking + 0.5 * mean(expected)], rel=1e-5)


def test_a_reward_model_learns_what_tells_pairs_apart(prepared: Prepared) -> None:
    pairs = [PreferencePair((2, i), (3, 1), (4, 1)) for i in range(2, 12)]
    scorer = scorer_of(prepared)
    settings = RewardModelSettings(epochs=6, batch_size=5, learning_rate=1e-2)
    losses = train_reward_model(scorer, pairs, settings, **CPU).losses
    assert len(losses) == 12 and losses[-1] < 0.1
    assert measure(scorer, pairs, pad=PAD).accuracy == 1.0


def test_accuracy_is_watched_while_a_reward_model_learns_and_changes_nothing(
    prepared: Prepared,
) -> None:
    pairs = [PreferencePair((2, i), (3, 1), (4, 1)) for i in range(2, 12)]
    settings = RewardModelSettings(epochs=12, batch_size=5, learning_rate=1e-2)
    unseen = [PreferencePair((5, i), (3, 1), (4, 1)) for i in range(2, 9)]
    untrained, watched, alone = (scorer_of(prepared) for _ in range(3))
    found = train_reward_model(watched, pairs, settings, held_out=unseen, **CPU)
    # 24 steps: looked at every 24 // 10 = 2, the first time before any
    assert [step for step, _ in found.accuracies] == list(range(0, 24, 2))
    assert found.accuracies[0][1] == measure(untrained, unseen, pad=PAD).accuracy
    assert found.accuracies[-1][1] == measure(watched, unseen, pad=PAD).accuracy == 1.0
    assert train_reward_model(alone, pairs, settings, **CPU).losses == found.losses


def test_accuracy_is_the_share_of_positive_margins(prepared: Prepared) -> None:
    scorer = scorer_of(prepared)
    tie = PreferencePair((2,), (3, 1), (3, 1))
    quality = measure(scorer, [*PAIRS, tie], pad=PAD, batch_size=2)
    expected = [
        scored(scorer, (*p.prompt, *p.chosen)) - scored(scorer, (*p.prompt, *p.rejected)) for p in PAIRS
    ]
    assert quality.margins == pytest.approx([*expected, 0.0], rel=1e-4, abs=1e-6)
    assert quality.accuracy == sum(margin > 0 for margin in expected) / 3  # a tie is no success


# Preparing.

SMALL = ModelSettings(width=16, layers=1, heads=2, context=24)
QUICK = PrepareSettings(
    policy=SMALL,
    pretrain=TrainingSettings(steps=3, batch_size=4),
    sft=TrainingSettings(steps=3, batch_size=4),
    reward_model=RewardModelSettings(epochs=1, batch_size=4),
)


def prepared_in(home: Path, settings: PrepareSettings = QUICK, task: TinyTask | None = None) -> Prepared:
    return prepare(task or TinyTask(), settings, home, Accelerator(cpu=True), 5)


def given(path: Path, **reward_model: Any) -> PrepareSettings:
    return QUICK.model_copy(
        update={
            "policy": ModelSettings(path=str(path)),
            "reward_model": RewardModelSettings(epochs=1, batch_size=4, **reward_model),
        }
    )


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("a stage ran that was in the cache")


def test_preparing_twice_trains_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared_in(tmp_path)
    for stage in ("pretrain", "fine_tune", "train_reward_model", "measure"):
        monkeypatch.setattr(preparation, stage, refuse)
    assert prepared_in(tmp_path) == first


def test_preparing_elsewhere_gives_the_same_weights(tmp_path: Path) -> None:
    one, other = prepared_in(tmp_path / "one"), prepared_in(tmp_path / "other")
    assert one.fingerprint == other.fingerprint
    for stage in ("base", "sft", "reward_model"):
        files = [getattr(home, stage) / "model.safetensors" for home in (one, other)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_the_reward_models_head_starts_with_the_deviation_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # N(0, 1/(h + 1)) unless said otherwise, as lm-human-preferences: width 16 gives 1/√17
    started: list[float] = []

    def no_training(scorer: Scorer, *_: Any, **__: Any) -> RewardModelTraining:
        started.append(float(scorer.model.score.weight.detach().std()))
        return RewardModelTraining([], [])

    monkeypatch.setattr(preparation, "train_reward_model", no_training)
    prepared_in(tmp_path)
    settings = QUICK.reward_model.model_copy(update={"head_std": 0.5})
    prepared_in(tmp_path, QUICK.model_copy(update={"reward_model": settings}))
    # one draw of 16 numbers, scaled by both
    assert started[1] / started[0] == pytest.approx(0.5 * 17**0.5, rel=1e-5)
    assert 0.1 < started[0] < 0.4


def test_a_changed_stage_remakes_only_what_depends_on_it(tmp_path: Path) -> None:
    first = prepared_in(tmp_path)
    sft = QUICK.model_copy(update={"sft": TrainingSettings(steps=4, batch_size=4)})
    second = prepared_in(tmp_path, sft)
    assert second.base == first.base
    assert second.sft != first.sft and second.reward_model != first.reward_model
    assert second.fingerprint != first.fingerprint


def test_facts_tell_losses_perplexities_and_the_reward_models_quality(tmp_path: Path) -> None:
    facts = prepared_in(tmp_path).facts
    assert set(facts) == {"pretrain", "sft", "reward_model", "hash"}
    assert len(facts["pretrain"]["curve"]) == 3
    assert facts["sft"]["held_out_perplexity"] > 1
    assert (facts["reward_model"]["pairs"], facts["reward_model"]["held_out_pairs"]) == (6, 2)
    assert sum(facts["reward_model"]["margin_histogram"]["counts"]) == 2
    assert 0 <= facts["reward_model"]["accuracy"] <= 1
    # six pairs in batches of four: one step, looked at before it
    assert [point["step"] for point in facts["reward_model"]["accuracy_curve"]] == [0]
    assert (facts["reward_model"]["accuracy_curve_pairs"], facts["reward_model"]["steps"]) == (2, 1)


def test_prepared_folders_hold_safetensors_tokenizer_and_nothing_half_made(tmp_path: Path) -> None:
    prepared = prepared_in(tmp_path)
    for folder in (prepared.base, prepared.sft, prepared.reward_model):
        suffixes = {file.suffix for file in folder.iterdir()}
        assert suffixes <= {".json", ".safetensors", ".jinja"}
        assert (folder / "tokenizer.json").exists()
    assert not list(prepared.base.parent.glob(".partial-*"))


def test_a_stage_that_fails_leaves_nothing_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "fine_tune", refuse)
    with pytest.raises(AssertionError, match="a stage ran"):
        prepared_in(tmp_path)
    assert [folder.name.split("-")[0] for folder in (tmp_path / "prepared").iterdir()] == ["base"]
    monkeypatch.undo()
    assert prepared_in(tmp_path).sft.is_dir()


def test_a_missing_model_folder_is_one_sentence_before_any_training(tmp_path: Path) -> None:
    for settings in (given(tmp_path / "none"), given_reward_model(tmp_path / "none")):
        with pytest.raises(FileNotFoundError, match=r"^there is no model folder .*none; .*'none'$"):
            prepared_in(tmp_path, settings)
    assert not (tmp_path / "prepared").exists()


def given_reward_model(path: Path) -> PrepareSettings:
    return QUICK.model_copy(update={"reward_model": RewardModelSettings(path=str(path))})


def test_a_task_without_pairs_is_one_sentence(tmp_path: Path) -> None:
    class NoPairs(TinyTask):
        def preferences(self, respond: Respond) -> Preferences:
            return Preferences([], [])

    with pytest.raises(ValueError, match=r"^the task has no preference pairs to train on$"):
        prepared_in(tmp_path, task=NoPairs())


def test_a_given_reward_model_is_measured_and_used_as_it_is(prepared: Prepared, tmp_path: Path) -> None:
    found = prepared_in(tmp_path, given_reward_model(prepared.reward_model))
    theirs = load_scorer(prepared.reward_model).state_dict()
    for name, tensor in load_scorer(found.reward_model).state_dict().items():
        assert torch.equal(tensor, theirs[name])
    assert found.facts["reward_model"]["loss"] is None
    assert found.facts["reward_model"]["held_out_pairs"] == 2


def own_scores(folder: Path, rows: Sequence[Tokens]) -> Tensor:
    """Score rows by the forward of a model's own class, padded as it says."""
    model = load_scorer(folder)
    width, pad = max(map(len, rows)), model.config.pad_token_id
    padded = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    with torch.no_grad():
        scores: Tensor = model(padded).logits.squeeze(1)
    return scores


@pytest.mark.parametrize("pad", [PAD, EOS])
def test_a_given_reward_model_is_read_where_its_own_forward_reads(
    pad: int, prepared: Prepared, tmp_path: Path
) -> None:
    model = load_scorer(prepared.reward_model)
    model.config.pad_token_id = pad
    theirs = save_model(model, tmp_path / "theirs")
    found = prepared_in(tmp_path, given_reward_model(theirs)).reward_model
    rows = [(7, 8, 9, EOS), (3, 4), (5, EOS, 6, EOS, EOS), (2, 6, 10, 11, 3)]
    scorer = Scorer()
    scorer.load_weights(found)
    with torch.no_grad():
        assert_close(score_rows(scorer, rows, PAD), own_scores(theirs, rows), rtol=1e-5, atol=1e-6)
    again = prepared_in(tmp_path / "again", given_reward_model(found)).reward_model
    assert load_scorer(again).config.score_skips == (EOS if pad == EOS else None)


def test_a_reward_model_trained_here_is_read_at_the_end_token_wherever_it_is_given(
    tmp_path: Path,
) -> None:
    model = tiny_gpt2()
    model.config.pad_token_id = EOS
    policy = save_model(model, tmp_path / "policy")
    trained = prepared_in(tmp_path, given(policy)).reward_model
    assert load_scorer(trained).config.pad_token_id == EOS
    again = prepared_in(tmp_path / "again", given_reward_model(trained)).reward_model
    assert load_scorer(again).config.score_skips is None


def test_other_weights_in_a_given_folder_are_another_model(tmp_path: Path) -> None:
    hashes = []
    for seed in (1, 2):
        save_model(tiny_gpt2(seed), tmp_path / "given")
        hashes.append(prepared_in(tmp_path, given(tmp_path / "given")).fingerprint)
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama, tiny_gemma3])
def test_a_given_model_goes_through_the_whole_pipeline(make: Any, tmp_path: Path) -> None:
    source = save_model(make(), tmp_path / "given")
    prepared = prepared_in(tmp_path, given(source))
    theirs = load_causal(source).state_dict()
    for name, tensor in load_causal(prepared.base).state_dict().items():
        assert torch.equal(tensor, theirs[name])  # a given model is not pre-trained
    for recipe in (VANILLA, PPO_MAX):
        run = make_run(prepared, tmp_path / recipe.name, recipe)
        result = run.train(ListTracker())
        assert result.final["final/collapsed"] in (0.0, 1.0)
        assert all(metrics["stability/nonfinite_count"] == 0 for _, metrics in result.history)


def test_tokens_that_the_tokenizer_lacks_are_never_drawn(prepared: Prepared, tmp_path: Path) -> None:
    # the policy has room for 40 tokens; tokenizer, reward model and critic know 12
    padded = save_model(tiny_gpt2(2, vocabulary=40), tmp_path / "padded")
    recipe = VANILLA.plus(CriticFromRewardModel())
    run = make_run(replace(prepared, sft=padded), tmp_path / "run", recipe)
    (experience,) = run.ppo.iteration(0, run.prompts(0))
    rollout, start = experience.rollout, run.ppo.models.reference
    assert int(rollout.tokens.max()) < VOCABULARY
    batch = Batch.of(rollout.tokens, rollout.prompt_length, rollout.mask)
    logits = start.logits(start.states(batch))
    assert_close(logits, start.model(rollout.tokens).logits[batch.row, batch.at, :VOCABULARY])
    log_prob = batch.spread(logits.log_softmax(-1).gather(1, batch.target[:, None]).squeeze(1))
    assert_close(rollout.log_prob, log_prob)
    assert_close(rollout.behaviour_log_prob, log_prob)


# PPO's own loop; its arithmetic is in test_oracle.py.


def test_minibatches_go_through_every_response_once_an_epoch(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder)
    (experience,) = run.ppo.iteration(0, run.prompts(0))
    rollout = experience.rollout
    rollout.score = torch.arange(8.0)  # numbers the rows
    drawn = [
        b.score.tolist()
        for b in minibatches(rollout, torch.arange(8), textbook_optimisation(SETTINGS), (0, 0, 0))
    ]
    assert [len(part) for part in drawn] == [4, 4, 4, 4]
    assert sorted(drawn[0] + drawn[1]) == sorted(drawn[2] + drawn[3]) == list(range(8))


def test_the_hidden_states_of_the_samples_are_gone_when_the_update_begins(
    prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[ReferenceType[Tensor]] = []

    def watched(*given: Any, **named: Any) -> Samples:
        samples = sample(*given, **named)
        drawn.extend(map(ref, (samples.hidden, samples.prompt_hidden)))
        return samples

    def update(*_: Any) -> None:
        assert len(drawn) == 2 and not any(hidden() is not None for hidden in drawn)

    run = make_run(prepared, folder)
    monkeypatch.setattr(ppo_stage, "sample", watched)
    monkeypatch.setattr(run.ppo, "update", update)
    (experience,) = run.ppo.iteration(0, run.prompts(0))
    assert len(experience.samples.responses()) == SETTINGS.rollout_size


def test_a_frozen_policy_keeps_weights_and_optimiser_state(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, VANILLA.set({"critic_pretraining.iterations": 2}))
    ppo = run.ppo
    before = [parameter.clone() for parameter in ppo.models.policy.parameters()]
    critic = [parameter.clone() for parameter in ppo.models.critic.parameters()]
    ppo.iteration(0, run.prompts(0))
    assert all(map(torch.equal, before, ppo.models.policy.parameters()))
    assert not all(map(torch.equal, critic, ppo.models.critic.parameters()))
    policy = {id(parameter) for parameter in ppo.models.policy.parameters()}
    assert not policy & {id(parameter) for parameter in ppo.optimiser.state}
    ppo.iteration(2, run.prompts(2))
    assert not all(map(torch.equal, before, ppo.models.policy.parameters()))


def test_reference_and_reward_model_never_move(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, PPO_MAX.set({"critic_pretraining.iterations": 0}))
    run.train(ListTracker())
    models = run.ppo.models
    theirs = load_causal(prepared.sft).state_dict()
    assert all(torch.equal(t, theirs[n]) for n, t in models.reference.model.state_dict().items())
    theirs = load_scorer(prepared.reward_model).state_dict()
    assert all(torch.equal(t, theirs[n]) for n, t in models.reward_model.model.state_dict().items())


def test_arms_share_prompts_and_the_samples_of_their_first_iteration(
    prepared: Prepared, tmp_path: Path
) -> None:
    one, other = (make_run(prepared, tmp_path / r.name, r) for r in (VANILLA, PPO_MAX))
    assert all(one.prompts(k) == other.prompts(k) for k in range(5))
    tokens = [run.ppo.iteration(0, run.prompts(0))[0].samples.tokens for run in (one, other)]
    assert torch.equal(tokens[0], tokens[1])


def test_a_smaller_buffer_works_off_the_same_prompts(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, VANILLA.set({"experience_buffer.responses": 4}))
    experiences = run.ppo.iteration(0, run.prompts(0))
    assert [len(experience.score) for experience in experiences] == [4, 4]
    starts = [
        tuple(row[:length])
        for experience in experiences
        for row, length in zip(
            experience.samples.tokens.tolist(), experience.samples.prompt_length.tolist(), strict=True
        )
    ]
    assert starts == run.prompts(0)


def test_prompts_go_through_all_of_them_in_a_new_order_each_pass(
    prepared: Prepared, folder: Path
) -> None:
    run = make_run(prepared, folder)  # 20 prompts, 8 an iteration: five iterations are two passes
    drawn = [prompt for k in range(5) for prompt in run.prompts(k)]
    every = sorted(run.task.train_prompts())
    assert sorted(drawn[:20]) == sorted(drawn[20:]) == every
    assert drawn[:20] != drawn[20:]
    assert make_run(prepared, folder, seed=1).prompts(0) != drawn[:8]


def test_the_optimiser_is_adam_with_a_rate_for_each_model(prepared: Prepared, folder: Path) -> None:
    models = make_run(prepared, folder).ppo.models
    policy, critic = make_optimiser(models, SETTINGS, VANILLA).param_groups
    assert (policy["lr"], critic["lr"]) == (1e-3, 2e-3)
    for group in (policy, critic):
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.0)


def test_rates_scale_the_adam_step_of_each_model(prepared: Prepared, folder: Path) -> None:
    ppo = make_run(prepared, folder).ppo
    parameters = [p for part in ppo.models.parameters() for p in part]
    before = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.5)
    take_step(ppo.optimiser, ppo.recipe, Rates(policy=1.0, critic=0.5))
    # the first Adam step is −rate · g/(|g| + ε) = −rate, whatever the gradient
    for old, new in zip(before, parameters, strict=True):
        assert_close(new, old - 1e-3, rtol=0, atol=1e-6)  # the policy's 1e-3, half the critic's 2e-3
        assert new.grad is None


def test_a_response_cap_that_leaves_no_room_is_one_sentence(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, settings=SETTINGS.model_copy(update={"max_response_tokens": 21}))
    message = "a prompt of 4 tokens and a response of 21 exceed the model's context of 24; lower"
    with pytest.raises(ValueError, match=message):
        run.train(ListTracker())


def test_a_reward_model_that_gives_nan_is_one_sentence(prepared: Prepared, tmp_path: Path) -> None:
    broken = scorer_of(prepared)
    with torch.no_grad():
        broken.model.score.weight.fill_(math.nan)
    save_model(broken.model, tmp_path / "broken")
    start = Prepared(prepared.base, prepared.sft, tmp_path / "broken", "broken", {})
    with pytest.raises(ValueError, match=r"the reward model in .*broken returned NaN at iteration 0"):
        make_run(start, tmp_path / "run").train(ListTracker())


def test_a_run_that_diverges_ends_early_as_collapsed(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder)
    with torch.no_grad():
        for parameter in run.ppo.models.policy.parameters():
            parameter.fill_(math.nan)
    tracker = ListTracker()
    result = run.train(tracker)
    assert result.collapse is not None and "finite" in result.collapse.reason
    assert result.final["final/collapsed"] == 1.0
    assert [step for step, _ in tracker.records] == [0]


def test_a_device_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda, got tpu"):
        make_accelerator("tpu")
    with pytest.raises(ValueError, match="torch sees no GPU; use --device cpu"):
        make_accelerator("cuda")
    assert make_accelerator("auto").device.type == "cpu"


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "no")])
def test_a_gpu_that_emulates_bf16_trains_in_fp32(
    has_bf16: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_supported(*, including_emulation: bool = True) -> bool:
        return has_bf16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    monkeypatch.setattr(device, "Accelerator", SimpleNamespace)
    assert make_accelerator("cuda") == SimpleNamespace(cpu=False, mixed_precision=precision)


def test_buffers_of_any_size_draw_the_same_numbers_for_a_response(
    prepared: Prepared, folder: Path
) -> None:
    whole = make_run(prepared, folder / "a")
    halves = make_run(prepared, folder / "b", VANILLA.set({"experience_buffer.responses": 4}))
    prompts = whole.prompts(0)
    together = [r for e in whole.ppo.iteration(0, prompts) for r in e.samples.responses()]
    apart = [r for e in halves.ppo.iteration(0, prompts) for r in e.samples.responses()]
    assert len(together) == len(apart) == 8
    assert together[:4] == apart[:4]  # the second buffer comes from an updated policy


def test_a_diverged_run_stays_ended(prepared: Prepared, folder: Path) -> None:
    def run() -> Run:
        return make_run(
            prepared, folder, settings=SETTINGS.model_copy(update={"policy_learning_rate": 1e30})
        )

    first = run().train(ListTracker())
    again = run().train(ListTracker())
    assert first.collapse is not None and "finite" in first.collapse.reason
    assert [step for step, _ in again.history] == [step for step, _ in first.history]


def test_a_reward_model_of_another_seed_shares_all_but_itself(tmp_path: Path) -> None:
    settings = QUICK.model_copy(
        update={"reward_model": QUICK.reward_model.model_copy(update={"seed": "run"})}
    )
    first, second = (prepared_in(tmp_path, settings.for_run(seed)) for seed in (1, 2))
    assert (first.base, first.sft) == (second.base, second.sft)
    assert first.reward_model != second.reward_model
    one, other = (load_file(p.reward_model / "model.safetensors") for p in (first, second))
    assert any((one[name] != other[name]).any() for name in one)


def test_the_reward_model_of_no_run_in_particular_is_refused(tmp_path: Path) -> None:
    own = QUICK.reward_model.model_copy(update={"seed": "run"})
    with pytest.raises(ValueError, match="each run has its own"):
        prepared_in(tmp_path, QUICK.model_copy(update={"reward_model": own}))


def test_a_reward_model_that_stops_early_is_on_the_same_way(prepared: Prepared) -> None:
    pairs = [PreferencePair((2, i), (3, 1), (4, 1)) for i in range(2, 12)]
    settings = RewardModelSettings(epochs=3, batch_size=5)
    stopped = settings.model_copy(update={"stop_after": 2})
    whole = train_reward_model(scorer_of(prepared), pairs, settings, **CPU).losses
    early = train_reward_model(scorer_of(prepared), pairs, stopped, **CPU).losses
    assert (len(whole), early) == (6, whole[:2])
