"""Logits in chunks: the numbers and gradients of the whole, with a chunk of them there at a time."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import EOS, as_policy, make_rollout, tiny_gpt2, tiny_llama
from workbench import chunks
from workbench.forward import evaluate
from workbench.models import Models, Policy, Scorer
from workbench.recipe import Recipe
from workbench.trick import AdvantageEstimator
from workbench.tricks.logits.min_length import MinLength
from workbench.tricks.logits.nlpo_mask import NlpoMask
from workbench.tricks.logits.repetition_penalty import RepetitionPenalty
from workbench.tricks.logits.top_p import TopP
from workbench.types import Evaluation, Sampling

ROLLOUT = make_rollout(dtype=torch.float32)
STATES, TOKENS = int(ROLLOUT.mask.sum()), ROLLOUT.tokens.numel()
SAMPLING = Sampling(0.7, max_response_tokens=5, buffer_size=4, log_prob_temperature=0.8)
WIDE = 5000
"""A vocabulary for which the last layer is oneDNN's, where there is one."""
ASKED = ("log_prob", "entropy", "ref_kl", "behaviour_log_prob")


class NeedsAll(AdvantageEstimator):
    """Has no critic, and needs all that the update can take from logits."""

    needs = frozenset(ASKED[1:])


RECIPE = Recipe("all", (NeedsAll(), NlpoMask(), TopP(), MinLength(), RepetitionPenalty(penalty=1.2)))


def judged(model: Any, other: Any) -> Evaluation:
    policy, still = as_policy(model), as_policy(other)
    models = Models(policy, Scorer(), still, Scorer(), guide=still)
    return evaluate(models, RECIPE, ROLLOUT, SAMPLING, eos=EOS, pretraining=None)


def language_loss(model: Any) -> Tensor:
    return as_policy(model).language_loss(ROLLOUT.tokens, ROLLOUT.tokens % 2 == 0)


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    torch.autograd.backward(loss)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def hold(monkeypatch: pytest.MonkeyPatch, states: int, model: Any) -> None:
    """Leave room for the logits of so many states."""
    monkeypatch.setattr(chunks, "GRADIENT_ELEMENTS", states * model.config.vocab_size)


PAIRS = {
    "gpt2": (tiny_gpt2(1), tiny_gpt2(2)),
    "wide gpt2": (tiny_gpt2(1, WIDE), tiny_gpt2(2, WIDE)),
    "llama": (tiny_llama(1), tiny_llama(2)),
}
MODELS = pytest.mark.parametrize(("model", "other"), PAIRS.values(), ids=PAIRS)


@MODELS
@pytest.mark.parametrize("states", [1, 4, STATES - 1])
def test_chunks_give_the_outputs_and_gradients_of_the_whole(
    model: Any, other: Any, states: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = torch.randn((len(ASKED), *ROLLOUT.mask.shape), generator=torch.Generator().manual_seed(0))
    found = []
    for room in (STATES, states):
        hold(monkeypatch, room, model)
        new = judged(model, other)
        said = torch.stack([getattr(new, name) for name in ASKED])
        assert all(part.any() for part in said)
        found.append((said.detach(), gradients(model, (weights * said).sum())))
    (whole, expected), (chunked, grad) = found
    assert_close(chunked, whole, rtol=1e-5, atol=1e-6)
    assert_close(grad, expected, rtol=1e-4, atol=1e-5)


@MODELS
def test_a_language_loss_in_chunks_is_that_of_the_whole(
    model: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for room in (TOKENS, 4):
        hold(monkeypatch, room, model)
        loss = language_loss(model)
        found.append((loss.detach(), gradients(model, loss)))
    assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ask", [language_loss, lambda model: judged(model, tiny_gpt2(2, WIDE))])
@pytest.mark.parametrize("fits", [True, False])
def test_beyond_a_limit_no_logits_are_kept_for_the_gradient(
    ask: Any, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_gpt2(1, WIDE)
    made: list[int] = []
    logits = Policy.logits

    def counted(policy: Policy, hidden: Tensor) -> Tensor:
        made.append(len(hidden))
        return logits(policy, hidden)

    monkeypatch.setattr(Policy, "logits", counted)
    hold(monkeypatch, TOKENS if fits else 4, model)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        if tensor.shape[-1:] == (WIDE,) and tensor.untyped_storage().data_ptr() not in own:
            kept.append(tensor.numel() // WIDE)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        said = ask(model)
    loss = said if isinstance(said, Tensor) else said.log_prob.sum()
    gradients(model, loss)
    assert (max(made) > 4 and max(kept) > 4) if fits else (max(made) == 4 and not kept)
