"""Sampling: decoders against plain forwards, samples against exact probabilities, shared noise."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from scipy.stats import chisquare
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from tests.builders import (
    EOS,
    FAMILIES,
    PAD,
    VOCABULARY,
    TinyTask,
    as_policy,
    family,
    make_prepared,
    make_run,
    save_model,
    tiny_gpt2,
    tiny_llama,
    tiny_model,
)
from workbench import decoder
from workbench import sampling as library
from workbench.decoder import Gpt2Decoder, LibraryDecoder, make_decoder, require_faithful
from workbench.forward import compare
from workbench.models import Batch
from workbench.sampling import Samples, choose, pad_right, sample, uniform
from workbench.seeding import derive, generator
from workbench.settings import ModelSettings, PrepareSettings, RewardModelSettings
from workbench.stages.prepare import prepare
from workbench.types import Draft, Sampling

PROMPTS = [(2, 3), (4, 5, 6, 7), (8, 9, 10), (3, 3)] * 4
close = partial(assert_close, rtol=1e-5, atol=1e-5)


def draw(model: Any, seed: int = 0, cap: int = 6, temperature: float = 1.0) -> Samples:
    sampling = Sampling(temperature, cap, len(PROMPTS))
    noise = uniform(sampling, len(PROMPTS), seed, "test")
    return sample(as_policy(model), PROMPTS, sampling, eos=EOS, pad=PAD, noise=noise)


def decoded(reader: Any, tokens: Tensor, length: Tensor, following: Tensor) -> list[Tensor]:
    """Feed prompts and three tokens, the second row alone for the last; return all hidden states."""
    with torch.no_grad():
        prefilled = reader.prefill(tokens, length)
        real = [row[:n] for row, n in zip(prefilled, length.tolist(), strict=True)]
        states = [reader.step(following[:, step]) for step in range(2)]
        reader.keep(torch.tensor([1]))
        return [*real, *states, reader.step(following[1:, 2])]


@pytest.mark.parametrize(
    "make", [tiny_gpt2, *(partial(family, name) for name in FAMILIES)], ids=["gpt2", *FAMILIES]
)
def test_decoded_states_equal_a_plain_forward(make: Callable[[], Any]) -> None:
    model = make()
    prompts, following = [(2, 3), (4, 5, 6, 7)], torch.tensor([[8, 9, 10], [11, 2, 3]])
    tokens, length = pad_right(prompts, PAD)
    found = decoded(make_decoder(as_policy(model)), tokens, length, following)
    with torch.no_grad():
        whole = [
            model.base_model(torch.tensor([[*prompt, *rest]])).last_hidden_state[0]
            for prompt, rest in zip(prompts, following.tolist(), strict=True)
        ]
    steps = [torch.stack([whole[0][2 + step], whole[1][4 + step]]) for step in range(2)]
    expected = [whole[0][:2], whole[1][:4], *steps, whole[1][None, 6]]
    for ours, theirs in zip(found, expected, strict=True):
        close(ours, theirs)


def test_both_decoders_agree_on_gpt2() -> None:
    model, following = tiny_gpt2(), torch.tensor([[8, 9, 10], [11, 2, 3]])
    tokens, length = pad_right([(2, 3), (4, 5, 6, 7)], PAD)
    lean = decoded(Gpt2Decoder(model.base_model), tokens, length, following)
    general = decoded(LibraryDecoder(as_policy(model)), tokens, length, following)
    for ours, theirs in zip(lean, general, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_that_says_the_same_token_by_token_is_taken(name: str) -> None:
    require_faithful(as_policy(family(name)))


def test_a_model_that_reads_no_cache_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    given = ModelSettings(path=str(save_model(tiny_model("mamba"), tmp_path / "mamba")))
    scored = RewardModelSettings(path=str(make_prepared(tmp_path / "other").reward_model))
    settings = PrepareSettings(policy=given, reward_model=scored)
    with pytest.raises(ValueError, match="a mamba cannot be sampled from here"):
        prepare(TinyTask(), settings, tmp_path, Accelerator(cpu=True), 4)


def test_every_run_looks_whether_its_policy_says_the_same_token_by_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llama = save_model(tiny_llama(), tmp_path / "llama")
    run = make_run(replace(make_prepared(tmp_path), sft=llama), tmp_path / "run")
    monkeypatch.setattr(decoder, "FAITHFUL", -1.0)
    with pytest.raises(ValueError, match="a llama cannot be sampled from here"):
        _ = run.ppo


def test_only_a_plain_gpt2_takes_the_lean_decoder() -> None:
    odd = tiny_gpt2()
    odd.config.scale_attn_by_inverse_layer_idx = True
    assert isinstance(make_decoder(as_policy(tiny_gpt2())), Gpt2Decoder)
    for model in (odd, tiny_llama()):
        assert isinstance(make_decoder(as_policy(model)), LibraryDecoder)


@pytest.mark.parametrize("model", [tiny_gpt2(), tiny_llama()], ids=["gpt2", "llama"])
def test_states_of_samples_give_the_log_probabilities_of_a_full_forward(model: Any) -> None:
    samples, policy = draw(model), as_policy(model)
    batch = Batch.of(samples.tokens, samples.prompt_length, samples.mask)
    with torch.no_grad():
        log_p = policy.logits(samples.hidden[batch.row, batch.step]).log_softmax(-1)
        found = batch.spread(log_p.gather(1, batch.target[:, None]).squeeze(1))
        for row, response in enumerate(samples.responses()):
            tokens = torch.tensor([[*PROMPTS[row], *response]])
            full = model(tokens).logits[0].log_softmax(-1)[len(PROMPTS[row]) - 1 : -1]
            expected = full.gather(1, torch.tensor(response)[:, None]).squeeze(1)
            close(found[row, : len(response)], expected)
    assert not samples.hidden[~samples.mask].any()


def test_samples_follow_the_exact_distribution_over_responses() -> None:
    model, prompt, draws = tiny_gpt2(3, vocabulary=4), (2, 3), 4000
    sampling = Sampling(temperature=1.3, max_response_tokens=2, buffer_size=draws)
    noise = uniform(sampling, draws, 0, "chi")
    samples = sample(as_policy(model), [prompt] * draws, sampling, eos=EOS, pad=PAD, noise=noise)
    with torch.no_grad():
        first = (model(torch.tensor([prompt])).logits[0, -1] / 1.3).softmax(-1)
        exact: dict[tuple[int, ...], float] = {(EOS,): float(first[EOS])}
        for one, two in product((0, 2, 3), range(4)):
            second = (model(torch.tensor([[*prompt, one]])).logits[0, -1] / 1.3).softmax(-1)
            exact[one, two] = float(first[one] * second[two])
    assert sum(exact.values()) == pytest.approx(1, rel=1e-5)
    responses = samples.responses()
    assert set(responses) <= set(exact)
    counts = [responses.count(response) for response in exact]
    assert min(exact.values()) * draws > 5
    total = sum(exact.values())
    found = chisquare(counts, [p * draws / total for p in exact.values()])
    assert found.pvalue > 0.01


def test_choose_inverts_the_cumulative_distribution() -> None:
    # π = (0, ¼, ¼, ½): cumulative 0, ¼, ½, 1; the first one above u, so never a token of probability 0
    logits = torch.tensor([0.0, 0.25, 0.25, 0.5]).log().expand(6, 4)
    uniform = torch.tensor([0.0, 0.2499, 0.25, 0.4999, 0.5, 0.99999994])
    token, log_prob = choose(logits, uniform)
    assert token.tolist() == [1, 1, 2, 2, 3, 3]
    close(log_prob.exp(), torch.tensor([0.25, 0.25, 0.25, 0.25, 0.5, 0.5]))


def test_without_noise_the_likeliest_token_is_chosen() -> None:
    token, log_prob = choose(torch.tensor([[0.2, 0.5, 0.3]]).log(), None)
    assert token.tolist() == [1]
    close(log_prob.exp(), torch.tensor([0.5]))


def test_the_log_probability_of_each_token_is_that_of_the_policy() -> None:
    model = tiny_gpt2()
    samples = draw(model, temperature=0.7)
    batch = Batch.of(samples.tokens, samples.prompt_length, samples.mask)
    pair = as_policy(model), samples.hidden[batch.row, batch.step]
    close(samples.log_prob, compare(pair, pair, batch, 0.7).log_prob)


def test_a_fixed_length_goes_on_behind_the_end_and_its_text_stops_there() -> None:
    model, sampling = tiny_gpt2(), Sampling(1.0, 6, len(PROMPTS), is_fixed_length=True)
    noise = uniform(sampling, len(PROMPTS), 0, "test")
    longer = sample(as_policy(model), PROMPTS, sampling, eos=EOS, pad=PAD, noise=noise)
    stopped = draw(model)
    assert bool(longer.mask.all()) and longer.mask.shape[1] == 6
    assert longer.responses() == stopped.responses()
    assert torch.equal(longer.is_truncated, stopped.is_truncated)
    assert not bool(stopped.is_truncated.all())


def test_logits_tricks_decide_what_may_be_sampled_and_its_probability() -> None:
    def restrict(logits: Tensor, draft: Draft) -> Tensor:
        allowed = torch.full_like(logits, -torch.inf)
        allowed[:, 5:7] = 0.0  # words 5 and 6 only, equally likely
        return allowed

    sampling = Sampling(1.0, 4, len(PROMPTS))
    noise = uniform(sampling, len(PROMPTS), 0, "test")
    samples = sample(
        as_policy(tiny_gpt2()), PROMPTS, sampling, eos=EOS, pad=PAD, noise=noise, restrict=restrict
    )
    assert {token for response in samples.responses() for token in response} == {5, 6}
    close(samples.log_prob.exp(), torch.full_like(samples.log_prob, 0.5))
    assert bool(samples.is_truncated.all())


@pytest.mark.parametrize("model", [tiny_gpt2(), tiny_llama()], ids=["gpt2", "llama"])
def test_logits_tricks_see_step_history_and_the_guides_logits(model: Any) -> None:
    seen: list[tuple[Tensor, Draft]] = []

    def restrict(logits: Tensor, draft: Draft) -> Tensor:
        seen.append((logits, draft))
        return logits

    sampling = Sampling(0.7, 6, len(PROMPTS))
    noise = uniform(sampling, len(PROMPTS), 0, "test")
    policy = as_policy(model)
    samples = sample(
        policy, PROMPTS, sampling, eos=EOS, pad=PAD, noise=noise, restrict=restrict, guide=policy
    )
    for step, (logits, draft) in enumerate(seen):
        assert draft.step.tolist() == [step] * len(logits) and int(draft.eos) == EOS
        close(draft.guide, logits)  # the guide is the policy here
    longest = max(range(len(PROMPTS)), key=lambda row: len(samples.responses()[row]))
    shown = [draft.history.tolist() for _, draft in seen]
    assert list(samples.responses()[longest][:3]) in shown[3]


@pytest.mark.parametrize("model", [tiny_gpt2(), tiny_llama()], ids=["gpt2", "llama"])
def test_autograd_may_keep_what_was_sampled(model: Any) -> None:
    samples = vars(draw(model))
    assert not [name for name, tensor in samples.items() if tensor.is_inference()]


def test_a_logits_trick_may_keep_what_it_sees_and_change_it() -> None:
    kept: list[Tensor] = []

    def restrict(logits: Tensor, draft: Draft) -> Tensor:
        kept.append(logits)
        return logits

    sampling = Sampling(1.0, 3, len(PROMPTS))
    noise = uniform(sampling, len(PROMPTS), 0, "test")
    sample(as_policy(tiny_gpt2()), PROMPTS, sampling, eos=EOS, pad=PAD, noise=noise, restrict=restrict)
    scale = torch.ones(VOCABULARY, requires_grad=True)
    (kept[0].mul_(2) * scale).sum().backward()
    assert scale.grad is not None and scale.grad.abs().sum() > 0


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama])
def test_autocast_casts_each_weight_once_however_many_tokens_are_sampled(make: Any) -> None:
    model = make()
    casts: Counter[int] = Counter()

    class Counted(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            is_cast = func in (torch.ops.aten._to_copy.default, torch.ops.aten.to.dtype)
            if is_cast and args[0].data_ptr() in weights:
                casts[args[0].data_ptr()] += 1
            return func(*args, **(kwargs or {}))

    weights = {weight.data_ptr() for weight in model.parameters()}
    with torch.autocast("cpu", torch.bfloat16), Counted():
        assert draw(model).mask.shape[1] > 1
    assert casts and set(casts.values()) == {1}


def test_two_policies_share_their_noise() -> None:
    # a flat distribution maps the noise u to the token ⌊u·V⌋, whatever the policy
    noise = torch.rand((6, len(PROMPTS)), generator=generator(0, "test"))
    expected = (noise * VOCABULARY).long().T
    for model in (tiny_gpt2(1), tiny_gpt2(2), tiny_llama()):
        samples = draw(model, temperature=1e7)
        for row, response in enumerate(samples.responses()):
            assert list(response) == expected[row, : len(response)].tolist()


def test_a_seed_names_its_samples() -> None:
    one, same, other = draw(tiny_gpt2(), 0), draw(tiny_gpt2(), 0), draw(tiny_gpt2(), 1)
    assert one.responses() == same.responses() != other.responses()


def test_a_low_temperature_takes_the_likeliest_token() -> None:
    model = tiny_gpt2()
    samples = draw(model, temperature=1e-4, cap=3)
    with torch.no_grad():
        for prompt, response in zip(PROMPTS, samples.responses(), strict=True):
            for step, token in enumerate(response):
                logits = model(torch.tensor([[*prompt, *response[:step]]])).logits[0, -1]
                assert token == int(logits.argmax())


@pytest.mark.parametrize("model", [tiny_gpt2(), tiny_llama()], ids=["gpt2", "llama"])
def test_dropping_finished_rows_changes_no_sample(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    for share in (0.0, 1.0):  # never, and as soon as one has finished
        monkeypatch.setattr(library, "KEEP_SHARE", share)
        kept.append(draw(model, temperature=2.0, cap=8))
    never, always = kept
    assert len({len(response) for response in never.responses()}) > 2
    for name in ("tokens", "mask", "is_truncated"):
        assert torch.equal(getattr(never, name), getattr(always, name))
    close(never.hidden, always.hidden)


def test_a_response_ends_with_eos_or_is_marked_as_cut_at_the_cap() -> None:
    samples = draw(tiny_gpt2(), temperature=3.0, cap=8)
    responses = samples.responses()
    for response, is_truncated in zip(responses, samples.is_truncated.tolist(), strict=True):
        assert EOS not in response[:-1]
        assert is_truncated == (response[-1] != EOS)
        assert len(response) == 8 if is_truncated else len(response) <= 8
    assert 0 < sum(samples.is_truncated.tolist()) < len(responses)


def test_rows_hold_prompt_response_padding() -> None:
    samples = draw(tiny_gpt2(), temperature=3.0)
    width = max(len(p) + len(r) for p, r in zip(PROMPTS, samples.responses(), strict=True))
    assert samples.tokens.shape == (len(PROMPTS), width)
    for row, (prompt, response) in enumerate(zip(PROMPTS, samples.responses(), strict=True)):
        rest = [PAD] * (width - len(prompt) - len(response))
        assert samples.tokens[row].tolist() == [*prompt, *response, *rest]
    assert samples.mask.sum(1).tolist() == [len(response) for response in samples.responses()]
    assert samples.mask[:, -1].any()


def test_a_stream_is_named_by_every_part_of_its_name() -> None:
    seeds = [derive(0, 1, "a"), derive(0, 1, "b"), derive(0, 2, "a"), derive(1, 1, "a"), derive(0, 11)]
    assert len(set(seeds)) == len(seeds)
    # sha256("0/1/a") begins 62de5ab5ca713689; without its last bit: the same on every machine
    assert derive(0, 1, "a") == 0x62DE5AB5CA713689 >> 1
