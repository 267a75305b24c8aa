"""The models' answers against plain forward passes of the library they come from."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    Gemma2Config,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GraniteConfig,
    Qwen2Config,
)

from tests.builders import EOS, PAD, VOCABULARY, as_policy, make_rollout, tiny_gpt2, tiny_llama
from workbench import forward as library
from workbench.forward import compare, evaluate, log_probabilities
from workbench.loading import load_causal, load_scorer, require_folder
from workbench.models import Batch, Models, Policy, Scorer
from workbench.recipe import Recipe
from workbench.recipes.vanilla import VANILLA
from workbench.stages.prepare import Prepared
from workbench.trick import AdvantageEstimator, LogitTransform
from workbench.tricks.regulariser.entropy_bonus import EntropyBonus
from workbench.types import Draft, Evaluation, Rollout, Sampling

ROLLOUT = make_rollout(dtype=torch.float32)
BATCH = Batch.of(ROLLOUT.tokens, ROLLOUT.prompt_length, ROLLOUT.mask)
close = partial(assert_close, rtol=1e-5, atol=1e-5)


SAMPLING = Sampling(temperature=1.0, max_response_tokens=5, buffer_size=4)
WITH_ENTROPY = VANILLA.plus(EntropyBonus())


def said(
    model: Any, temperature: float = 1.0, recipe: Recipe = WITH_ENTROPY, rollout: Rollout = ROLLOUT
) -> Evaluation:
    """Let a policy say what it makes of a rollout, beside a critic that nothing is asked of."""
    critic = Scorer()
    critic.forward = lambda batch: torch.zeros(batch.mask.shape)  # type: ignore[method-assign]
    policy = as_policy(model)
    sampling = replace(SAMPLING, temperature=temperature, log_prob_temperature=temperature)
    models = Models(policy, critic, policy, critic)
    return evaluate(models, recipe, rollout, sampling, eos=EOS, pretraining=None)


def spread(rollout: Rollout, of_row: Any) -> Tensor:
    """Apply `of_row(tokens without padding, prompt length)` to each row; [B, T], 0 outside the mask."""
    found = torch.zeros(rollout.mask.shape)
    for row, (prompt, length) in enumerate(
        zip(rollout.prompt_length.tolist(), rollout.mask.sum(1).tolist(), strict=True)
    ):
        found[row, :length] = of_row(rollout.tokens[row, : prompt + length], prompt)
    return found


def log_softmax(model: Any, tokens: Tensor, prompt: int, temperature: float = 1.0) -> Tensor:
    """Return [T, V] log π before each response token of one row, by the model's own forward."""
    with torch.no_grad():
        logits: Tensor = model(tokens[None]).logits[0, prompt - 1 : -1]
    return (logits / temperature).log_softmax(-1)


@pytest.mark.parametrize("model", [tiny_gpt2(), tiny_llama()], ids=["gpt2", "llama"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_and_entropies_equal_a_plain_forward(model: Any, temperature: float) -> None:
    def log_prob(tokens: Tensor, prompt: int) -> Tensor:
        log_p = log_softmax(model, tokens, prompt, temperature)
        return log_p.gather(1, tokens[prompt:, None]).squeeze(1)

    def entropy(tokens: Tensor, prompt: int) -> Tensor:
        log_p = log_softmax(model, tokens, prompt, temperature)
        return -(log_p.exp() * log_p).sum(-1)

    found = said(model, temperature)
    close(found.log_prob.detach(), spread(ROLLOUT, log_prob))
    close(found.entropy.detach(), spread(ROLLOUT, entropy))


def test_entropies_are_zero_where_no_trick_needs_them() -> None:
    assert not said(tiny_gpt2(), recipe=VANILLA).entropy.any()


def test_gradients_equal_those_of_a_plain_forward() -> None:
    model = tiny_gpt2()
    torch.autograd.backward(said(model).log_prob.sum())
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    for row, tokens in enumerate(ROLLOUT.tokens):
        prompt, length = int(ROLLOUT.prompt_length[row]), int(ROLLOUT.mask[row].sum())
        logits = model(tokens[None, : prompt + length]).logits[0, prompt - 1 : -1]
        chosen = logits.log_softmax(-1)[range(length), tokens[prompt : prompt + length]]
        torch.autograd.backward(chosen.sum())
    for name, parameter in model.named_parameters():
        assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": PAD,
    "bos_token_id": EOS, "eos_token_id": EOS,
}  # fmt: skip
ODD_HEADS = [
    Gemma2Config(**SIZES, final_logit_softcapping=0.01),
    CohereConfig(**SIZES, logit_scale=3.0),
    GraniteConfig(**SIZES, logits_scaling=4.0),
    Qwen2Config(**SIZES),
]


@pytest.mark.parametrize("config", ODD_HEADS, ids=lambda config: config.model_type)
def test_logits_equal_the_models_own_whatever_its_head_does(config: Any) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    tokens = ROLLOUT.tokens[:2]
    with torch.no_grad():
        hidden = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
        close(as_policy(model).logits(hidden), model(tokens).logits)


def test_language_loss_is_the_mean_cross_entropy_of_the_masked_tokens() -> None:
    model, mask = tiny_gpt2(), torch.zeros(ROLLOUT.tokens.shape, dtype=torch.bool)
    mask[0, 3:6] = True
    mask[1, 1] = True
    with torch.no_grad():
        log_p = model(ROLLOUT.tokens).logits.log_softmax(-1)
    picked = [(0, 3), (0, 4), (0, 5), (1, 1)]
    nats = [-log_p[row, at - 1, ROLLOUT.tokens[row, at]] for row, at in picked]
    found = as_policy(model).language_loss(ROLLOUT.tokens, mask)
    close(found.detach(), torch.stack(nats).mean())


def test_a_scorer_reads_its_head_before_each_response_token_and_at_the_last(
    prepared: Prepared,
) -> None:
    scorer = Scorer()
    scorer.load_weights(prepared.reward_model)
    trunk, head = scorer.model.base_model, scorer.model.score

    def outputs(tokens: Tensor) -> Tensor:
        with torch.no_grad():
            return head(trunk(tokens[None]).last_hidden_state)[0, :, 0]  # type: ignore[no-any-return]

    values = spread(ROLLOUT, lambda tokens, prompt: outputs(tokens)[prompt - 1 : -1])
    last = [outputs(row[:n])[-1] for row, n in zip(ROLLOUT.tokens, BATCH.length, strict=True)]
    with torch.no_grad():
        close(scorer(BATCH), values)
        close(scorer.last(BATCH.rows), torch.stack(last))


def test_compare_tells_log_probabilities_entropy_and_exact_kl_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = tiny_gpt2(1), tiny_gpt2(2)
    pair = [(policy, policy.states(BATCH)) for policy in map(as_policy, (one, other))]
    whole = compare(pair[0], pair[1], BATCH, 0.8)
    monkeypatch.setattr(library, "CHUNK_ELEMENTS", 3 * VOCABULARY)  # 13 tokens in chunks of 3
    chunked = compare(pair[0], pair[1], BATCH, 0.8)

    def kl(tokens: Tensor, prompt: int) -> Tensor:
        log_p, log_q = (log_softmax(model, tokens, prompt, 0.8) for model in (one, other))
        return (log_p.exp() * (log_p - log_q)).sum(-1)

    close(whole.kl, spread(ROLLOUT, kl))
    for name, tensor in vars(whole).items():
        assert_close(getattr(chunked, name), tensor, rtol=1e-6, atol=1e-6)
    expected = (said(one, 0.8).log_prob, said(one, 0.8).entropy, said(other, 0.8).log_prob)
    found = (whole.log_prob, whole.entropy, whole.ref_log_prob)
    close(found, tuple(tensor.detach() for tensor in expected))


def test_prompt_log_probabilities_leave_out_the_first_token_and_padding() -> None:
    policy = as_policy(tiny_gpt2())
    tokens, length = torch.tensor([[2, 3, 4], [5, 6, PAD]]), torch.tensor([3, 2])
    with torch.no_grad():
        output = policy.model(tokens, output_hidden_states=True)
        log_p = output.logits.log_softmax(-1)
        found = log_probabilities(policy, output.hidden_states[-1], tokens, length)
    expected = [[0.0, float(log_p[0, 0, 3]), float(log_p[0, 1, 4])], [0.0, float(log_p[1, 0, 6]), 0.0]]
    close(found, torch.tensor(expected))


def test_an_evaluation_of_the_rollouts_own_models_repeats_it(prepared: Prepared) -> None:
    policy, critic = Policy(), Scorer()
    policy.load_weights(prepared.sft)
    critic.load_weights(prepared.reward_model)
    models = Models(policy, critic, policy, critic)
    new = evaluate(models, VANILLA, ROLLOUT, SAMPLING, eos=EOS, pretraining=None)
    assert_close(new.log_prob, said(policy.model).log_prob, rtol=0, atol=0)
    assert_close(new.value, critic(BATCH), rtol=0, atol=0)
    assert not new.entropy.any() and float(new.pretraining_loss) == 0


def test_padding_tokens_change_nothing() -> None:
    tokens = ROLLOUT.tokens.clone()
    for row, n in enumerate(BATCH.length.tolist()):
        tokens[row, n:] = PAD
    dirty = replace(ROLLOUT, tokens=tokens)
    for model in (tiny_gpt2(), tiny_llama()):
        clean, leaked = said(model), said(model, rollout=dirty)
        assert_close(leaked.log_prob, clean.log_prob, rtol=0, atol=0)
        assert_close(leaked.entropy, clean.entropy, rtol=0, atol=0)


def test_the_exact_kl_in_the_update_equals_that_of_the_rollout() -> None:
    one, other = (as_policy(tiny_gpt2(seed)) for seed in (1, 2))
    whole = compare((one, one.states(BATCH)), (other, other.states(BATCH)), BATCH, 1.0)
    models = Models(one, Scorer(), other, Scorer())
    recipe = Recipe("kl", (NeedsAll(),))
    new = evaluate(models, recipe, ROLLOUT, SAMPLING, eos=EOS, pretraining=None)
    close(new.ref_kl.detach(), whole.kl)
    assert new.ref_kl.requires_grad


def test_without_logits_tricks_the_behaviour_is_the_policy_at_the_sampling_temperature() -> None:
    policy = as_policy(tiny_gpt2())
    models = Models(policy, Scorer(), policy, Scorer())
    sampling = replace(SAMPLING, temperature=0.7)
    recipe = Recipe("behaviour", (NeedsAll(),))
    new = evaluate(models, recipe, ROLLOUT, sampling, eos=EOS, pretraining=None)
    assert_close(new.behaviour_log_prob, said(policy.model, 0.7).log_prob, rtol=1e-5, atol=1e-6)
    assert_close(new.log_prob, said(policy.model, 1.0).log_prob, rtol=0, atol=0)


def test_a_logits_trick_knows_step_history_and_end_of_every_state() -> None:
    policy = as_policy(tiny_gpt2())
    models = Models(policy, Scorer(), policy, Scorer())
    recipe = Recipe("recording", (NeedsAll(), Recording()))
    evaluate(models, recipe, ROLLOUT, SAMPLING, eos=EOS, pretraining=None)
    draft = Recording.seen[-1]
    row, state = 1, int(BATCH.mask[0].sum()) + 2  # the third token of the second response
    start = int(ROLLOUT.prompt_length[row])
    assert int(draft.step[state]) == 2 and int(draft.eos) == EOS
    expected = [*ROLLOUT.tokens[row, start : start + 2].tolist(), -1, -1, -1]
    assert draft.history[state].tolist() == expected


class NeedsAll(AdvantageEstimator):
    """Has no critic, and needs what the update can add to its log-probabilities."""

    needs = frozenset({"ref_kl", "behaviour_log_prob"})


class Recording(LogitTransform):
    """Remembers what it was shown."""

    seen: ClassVar[list[Draft]] = []

    def __call__(self, logits: Tensor, draft: Draft) -> Tensor:
        self.seen.append(draft)
        return logits


def test_the_state_after_the_last_token_gets_a_value_too(prepared: Prepared) -> None:
    critic = Scorer()
    critic.load_weights(prepared.reward_model)
    with torch.no_grad():
        value, end = critic.with_end(BATCH)
        assert_close(value, critic(BATCH), rtol=1e-6, atol=1e-6)
        assert_close(end, critic.last(BATCH.rows), rtol=1e-6, atol=1e-6)


def test_a_loaded_model_has_no_dropout_and_no_half_precision(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=1, n_head=1, resid_pdrop=0.5)
    GPT2LMHeadModel(config).half().save_pretrained(tmp_path)
    model = load_causal(tmp_path)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_missing_folder_is_one_sentence_and_a_hub_name_passes() -> None:
    for path in ("./nowhere", "/nowhere/at/all", Path("nowhere")):
        with pytest.raises(FileNotFoundError, match=r"^there is no model folder .*nowhere"):
            require_folder(path)
    assert require_folder("someone/some-model") == "someone/some-model"
    assert require_folder("gpt2") == "gpt2"


def test_a_relative_path_with_a_slip_is_no_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "gpt2-mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"gpt2_mine; did you mean 'models/gpt2-mine'\?$"):
        require_folder("models/gpt2_mine")
    assert require_folder("models/gpt2-mine") == "models/gpt2-mine"


def test_an_architecture_without_a_score_head_is_refused(tmp_path: Path) -> None:
    config = DistilBertConfig(
        vocab_size=VOCABULARY, dim=8, n_layers=1, n_heads=1, hidden_dim=8, num_labels=1
    )
    DistilBertForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no linear `score` head to score tokens with"):
        load_scorer(tmp_path)


def test_a_head_with_two_outputs_is_refused_in_a_sentence(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=1, n_head=1, num_labels=2)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"^the model in .* does not give one score per token[^\n]*$"):
        load_scorer(tmp_path)


def test_a_folder_without_weights_and_an_unknown_hub_name_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(tiny_gpt2().config.to_json_string())
    for place in (str(tmp_path), "nobody/no-such-model"):
        with pytest.raises(FileNotFoundError, match=rf"^cannot load a model from {place}: [^\n]*$"):
            load_causal(place)


def test_a_folder_without_a_model_and_pickled_weights_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"^{tmp_path} is no model folder: it has no config"):
        load_causal(tmp_path)
    (tmp_path / "config.json").write_text(tiny_gpt2().config.to_json_string())
    (tmp_path / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(FileNotFoundError, match=r"^the weights in .* are pickled \(\.bin\), [^\n]*$"):
        load_causal(tmp_path)


def test_weights_that_are_not_in_the_folder_are_refused_instead_of_drawn(tmp_path: Path) -> None:
    tiny_gpt2().save_pretrained(tmp_path / "policy")
    with pytest.raises(ValueError, match=r"policy is not a sequence-class[^\n]* it lacks score.weight;"):
        load_scorer(tmp_path / "policy")
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=1, n_head=1, tie_word_embeddings=False)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path / "scorer")
    with pytest.raises(ValueError, match=r"scorer is not a causal [^\n]* it lacks lm_head.weight;"):
        load_causal(tmp_path / "scorer")


def test_a_broken_file_of_weights_is_one_sentence(tmp_path: Path) -> None:
    tiny_gpt2().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(FileNotFoundError, match=rf"^cannot load a model from {tmp_path}: [^\n]*$"):
        load_causal(tmp_path)


def test_code_in_a_models_folder_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config"}}'
    )
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')")
    with pytest.raises(ValueError, match=r"comes with code of its own, which is never run[^\n]*$"):
        load_causal(tmp_path)
    assert not (tmp_path / "was_run").exists()


def test_a_fresh_head_follows_its_seed_and_deviation(prepared: Prepared) -> None:
    weights = []
    for seed in (1, 1, 2):
        scorer = Scorer()
        scorer.load_trunk(prepared.sft, head_std=0.5, seed=seed)
        weights.append(scorer.model.score.weight.detach())
    random = torch.Generator().manual_seed(1)
    assert_close(weights[0], 0.5 * torch.randn(weights[0].shape, generator=random), rtol=0, atol=0)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
