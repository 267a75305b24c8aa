"""Golden numbers of the slots logits and sampling."""

from math import exp, inf, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from workbench.recipe import Recipe
from workbench.trick import LogitTransform
from workbench.tricks.logits.min_length import MinLength
from workbench.tricks.logits.nlpo_mask import NlpoMask
from workbench.tricks.logits.repetition_penalty import RepetitionPenalty
from workbench.tricks.logits.top_k import TopK
from workbench.tricks.logits.top_p import TopP
from workbench.tricks.sampling.experience_buffer import ExperienceBuffer
from workbench.tricks.sampling.fixed_length import FixedLength
from workbench.tricks.sampling.response_cap import ResponseCap
from workbench.tricks.sampling.responses_per_prompt import ResponsesPerPrompt
from workbench.tricks.sampling.sampling_temperature import SamplingTemperature
from workbench.tricks.sampling.uncorrected_temperature import UncorrectedTemperature
from workbench.types import Draft, Sampling

SAMPLING = Sampling(temperature=1.0, max_response_tokens=8, buffer_size=128)
OAI = torch.tensor([[1.0, 1.01, 1.001, 0.0, 0.0, 0.0, 2.0]])
"""The logits of lm-human-preferences' own tests (utils/test_core_utils.py, commit cbfd210b)."""
EOS = 1


def draft(
    logits: Tensor, *, step: int = 0, history: Tensor | None = None, guide: Tensor | None = None
) -> Draft:
    rows = len(logits)
    return Draft(
        step=torch.full((rows,), step),
        history=torch.full((rows, 4), -1) if history is None else history,
        guide=logits if guide is None else guide,
        eos=torch.tensor(EOS),
    )


def kept(logits: Tensor) -> list[int]:
    """Return the tokens of the first row that may be drawn."""
    return logits[0].isfinite().nonzero().squeeze(1).tolist()


def log_shares(*shares: float) -> Tensor:
    return torch.tensor([shares], dtype=torch.float64).log()


def random_logits(seed: int, rows: int = 5, vocabulary: int = 12) -> Tensor:
    return 3 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


# top_k


@pytest.mark.parametrize(
    ("k", "tokens"), [(1, [6]), (2, [1, 6]), (3, [1, 2, 6]), (4, [0, 1, 2, 6]), (0, list(range(7)))]
)
def test_top_k_keeps_what_lm_human_preferences_keeps(k: int, tokens: list[int]) -> None:
    assert kept(TopK(k=k)(OAI, draft(OAI))) == tokens


def test_top_k_leaves_the_kept_logits_as_they_are() -> None:
    found = TopK(k=2)(OAI, draft(OAI))
    assert torch.equal(found[0, [1, 6]], OAI[0, [1, 6]])


def test_top_k_keeps_every_token_tied_with_the_last_one() -> None:
    # the 5th largest of 2, 1.01, 1.001, 1, 0, 0, 0 is a 0, and so are two others
    assert kept(TopK(k=5)(OAI, draft(OAI))) == list(range(7))


def test_top_k_beyond_the_vocabulary_keeps_all() -> None:
    assert torch.equal(TopK(k=50)(OAI, draft(OAI)), OAI)


# top_p


@pytest.mark.parametrize(
    ("share", "ours", "theirs"),
    [
        (0.0, [6], [6]),
        (0.5, [1, 6], [6]),
        (0.6, [1, 2, 6], [1, 6]),
        (0.7, [0, 1, 2, 6], [1, 2, 6]),
        (1.0, list(range(7)), list(range(7))),
    ],
)
def test_top_p_reaches_the_share_where_lm_human_preferences_stays_within(
    share: float, ours: list[int], theirs: list[int]
) -> None:
    # softmax, sorted: .3978 .1478 .1465 .1464 .0538 ×3; summed: .3978 .5456 .6921 .8385 .8923 .9462 1
    # The nucleus of Holtzman et al. is the smallest set whose mass reaches p. Theirs counts the sums
    # that are at most p, a set that stays within p, and keeps one token at least.
    order = OAI[0].argsort(descending=True, stable=True)
    within = int((OAI[0][order].softmax(0).cumsum(0) <= share + 1e-6).sum())
    assert sorted(order[: max(1, within)].tolist()) == theirs
    assert kept(TopP(share=share)(OAI, draft(OAI))) == ours


def test_top_p_keeps_the_token_that_carries_the_sum_to_the_share() -> None:
    # shares .5 .3 .15 .05: before each, likelier tokens hold 0, .5, .8, .95; kept where that is < p
    logits = log_shares(0.05, 0.5, 0.15, 0.3)
    assert kept(TopP(share=0.45)(logits, draft(logits))) == [1]
    assert kept(TopP(share=0.6)(logits, draft(logits))) == [1, 3]
    assert kept(TopP(share=0.9)(logits, draft(logits))) == [1, 2, 3]
    assert kept(TopP(share=0.96)(logits, draft(logits))) == [0, 1, 2, 3]


@given(st.integers(0, 10**6), st.floats(0, 0.999))
def test_the_nucleus_reaches_the_share_and_would_not_without_its_last_token(
    seed: int, share: float
) -> None:
    logits = random_logits(seed).double()
    probability = logits.softmax(-1)
    is_kept = TopP(share=share)(logits, draft(logits)).isfinite()
    held = torch.where(is_kept, probability, 0.0)
    least = torch.where(is_kept, probability, inf).amin(-1)
    assert (held.sum(-1) >= share - 1e-9).all() and is_kept.any(-1).all()
    assert ((held.sum(-1) - least <= share + 1e-9) | (is_kept.sum(-1) == 1)).all()


@pytest.mark.parametrize("trick", [TopP(share=0.5), NlpoMask(share=0.5, min_tokens=2)])
def test_a_nucleus_that_has_the_share_exactly_is_complete(trick: LogitTransform) -> None:
    # four shares of ¼: two reach p = ½; the end token, 1, has none
    logits = torch.tensor([[0.0, -inf, 0.0, 0.0, 0.0]])
    assert set(kept(trick(logits, draft(logits)))) == {0, 2}


@pytest.mark.parametrize("trick", [TopP(share=1.0), NlpoMask(share=1.0)])
def test_a_share_of_one_keeps_what_has_no_probability_in_float32(trick: LogitTransform) -> None:
    # e^−200 is 0 in float32
    logits = torch.tensor([[0.0, -1.0, -200.0, -300.0]])
    assert kept(trick(logits, draft(logits))) == [0, 1, 2, 3]


# repetition_penalty


def test_repetition_penalty_lowers_the_tokens_of_the_response_once() -> None:
    # θ = 2, response (2, 3, 2): 3/2, −4·2; tokens 0 and 1 are not in it
    logits = torch.tensor([[3.0, -4.0, 3.0, -4.0]])
    history = torch.tensor([[2, 3, 2, -1]])
    found = RepetitionPenalty(penalty=2.0)(logits, draft(logits, history=history))
    assert_close(found, torch.tensor([[3.0, -4.0, 1.5, -8.0]]), rtol=0, atol=0)


def test_repetition_penalty_knows_token_0_and_logits_below_one() -> None:
    # θ = 2, response (0, 1): 0.5/2, −0.5·2
    logits = torch.tensor([[0.5, -0.5, 0.5]])
    history = torch.tensor([[0, 1, -1, -1]])
    found = RepetitionPenalty(penalty=2.0)(logits, draft(logits, history=history))
    assert_close(found, torch.tensor([[0.25, -1.0, 0.5]]), rtol=0, atol=0)


def test_repetition_penalty_leaves_an_empty_response_alone() -> None:
    logits = torch.tensor([[3.0, -4.0, 3.0, -4.0]])
    assert torch.equal(RepetitionPenalty(penalty=2.0)(logits, draft(logits)), logits)


def test_repetition_penalty_commutes_with_the_temperature() -> None:
    # MOSS-RLHF penalises before it divides by the temperature, the workbench after
    logits, history = random_logits(0), torch.tensor([[2, 5, 7, -1]]).repeat(5, 1)
    trick, at = RepetitionPenalty(penalty=1.1), 0.8
    before = trick(logits, draft(logits, history=history)) / at
    after = trick(logits / at, draft(logits, history=history))
    assert_close(before, after, rtol=1e-6, atol=1e-6)


# min_length


def test_min_length_forbids_the_end_token_until_the_response_is_long_enough() -> None:
    logits = torch.tensor([[0.5, 2.0, 1.0]])
    for step, tokens in ((0, [0, 2]), (2, [0, 2]), (3, [0, 1, 2])):
        assert kept(MinLength(tokens=3)(logits, draft(logits, step=step))) == tokens


# nlpo_mask


def test_nlpo_mask_keeps_the_top_p_set_of_the_guide_and_the_end_token() -> None:
    # guide .05 .02 .6 .03 .3: before each, likelier tokens hold .9, .98, 0, .95, .6; p = .8: 2 and 4
    guide = log_shares(0.05, 0.02, 0.6, 0.03, 0.3)
    logits = torch.zeros_like(guide)
    found = NlpoMask(share=0.8)(logits, draft(logits, guide=guide))
    assert kept(found) == [EOS, 2, 4]
    assert not found[0, [1, 2, 4]].any()


def test_nlpo_mask_keeps_a_least_number_of_tokens() -> None:
    # p = .5 alone would keep token 2; the three likeliest are 2, 4, 0
    guide = log_shares(0.05, 0.02, 0.6, 0.03, 0.3)
    logits = torch.zeros_like(guide)
    found = NlpoMask(share=0.5, min_tokens=3)(logits, draft(logits, guide=guide))
    assert kept(found) == [0, EOS, 2, 4]


def test_nlpo_mask_with_the_policy_as_its_guide_is_top_p_but_for_what_it_always_keeps() -> None:
    logits = random_logits(3).double()
    logits[:, EOS] = logits.amax(-1) + 1e-3  # then the end token is in every nucleus
    found = NlpoMask(share=0.95)(logits, draft(logits))
    expected = TopP(share=0.95)(logits, draft(logits))
    rank = logits.argsort(-1, descending=True).argsort(-1)
    assert torch.equal(found, torch.where(rank < 2, logits, expected))


# All five.


def test_logits_tricks_forbid_first_and_truncate_last() -> None:
    tricks = TopP(), TopK(), MinLength(), RepetitionPenalty(), NlpoMask()
    names = [trick.name for trick in Recipe("all", tricks).tricks if trick.slot == "logits"]
    assert names == ["min_length", "nlpo_mask", "repetition_penalty", "top_k", "top_p"]


@given(st.integers(0, 10**6))
def test_a_token_is_left_whatever_is_forbidden(seed: int) -> None:
    # an end token that both policy and guide are sure of, and everything as strict as can be
    logits, guide = random_logits(seed), random_logits(seed + 1)
    logits[:, EOS], guide[:, EOS] = 50.0, 50.0
    tricks = TopP(share=0.0), TopK(k=1), MinLength(tokens=4), NlpoMask(share=0.01), RepetitionPenalty()
    found = Recipe("all", tricks).logits(logits, draft(logits, guide=guide))
    assert (found.isfinite().sum(-1) == 1).all() and not found[:, EOS].isfinite().any()


def test_what_a_token_is_drawn_from_sums_to_one() -> None:
    # kept: e^2, e^1.01 -> π_b(6) = 1/(1 + e^{−.99})
    found = TopK(k=2)(OAI, draft(OAI)).log_softmax(-1)
    assert_close(found[0, 6], torch.tensor(-log(1 + exp(-0.99))), rtol=1e-5, atol=0)


# Sampling settings.


def test_sampling_temperature_is_that_of_log_probabilities_too() -> None:
    found = SamplingTemperature(temperature=0.7)(SAMPLING)
    assert found == Sampling(0.7, 8, 128, log_prob_temperature=0.7)


def test_uncorrected_temperature_leaves_log_probabilities_at_one() -> None:
    warm = Sampling(1.3, 8, 128, log_prob_temperature=1.3)
    found = UncorrectedTemperature(temperature=0.8)(warm)
    assert found == Sampling(0.8, 8, 128, log_prob_temperature=1.0)


def test_the_two_temperatures_are_alternatives_and_agree_at_one() -> None:
    recipe = Recipe("warm", (SamplingTemperature(),)).plus(UncorrectedTemperature())
    assert recipe.sampling(SAMPLING).log_prob_temperature == 1.0
    one = SamplingTemperature(temperature=1.0)(SAMPLING)
    assert one == UncorrectedTemperature(temperature=1.0)(SAMPLING) == SAMPLING


def test_response_cap_only_ever_shortens() -> None:
    assert ResponseCap(tokens=5)(SAMPLING).max_response_tokens == 5
    assert ResponseCap(tokens=32)(SAMPLING) == SAMPLING


def test_fixed_length_goes_on_behind_the_end_token() -> None:
    assert FixedLength()(SAMPLING) == Sampling(1.0, 8, 128, is_fixed_length=True)


def test_responses_per_prompt_must_divide_the_buffer() -> None:
    assert ResponsesPerPrompt(count=4)(SAMPLING).responses_per_prompt == 4
    with pytest.raises(ValueError, match="count must divide the buffer size 128, got 3"):
        ResponsesPerPrompt(count=3)(SAMPLING)


def test_a_group_is_never_split_between_buffers() -> None:
    # 12 responses: buffers of 6 hold groups of 3, but not of 4, though both 6 and 4 divide 12
    dozen = Sampling(temperature=1.0, max_response_tokens=8, buffer_size=12)
    found = Recipe("groups", (ResponsesPerPrompt(count=3), ExperienceBuffer(responses=6)))
    assert found.sampling(dozen) == Sampling(1.0, 8, 6, responses_per_prompt=3)
    split = Recipe("split", (ResponsesPerPrompt(count=4), ExperienceBuffer(responses=6)))
    with pytest.raises(ValueError, match="count must divide the buffer size 6, got 4"):
        split.sampling(dozen)
    with pytest.raises(ValueError, match="responses must divide the rollout size 12, got 8"):
        Recipe("uneven", (ResponsesPerPrompt(count=4), ExperienceBuffer(responses=8))).sampling(dozen)
