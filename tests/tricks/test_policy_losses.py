"""Golden numbers of the clipped, softened and penalised policy losses."""

from dataclasses import replace
from math import exp, inf, log

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import make_evaluation, make_rollout, row
from workbench.trick import PolicyLoss
from workbench.tricks.aggregation.sequence_mean import SequenceMean
from workbench.tricks.aggregation.token_mean import TokenMean
from workbench.tricks.policy_loss.annealed_clip import AnnealedClip
from workbench.tricks.policy_loss.cispo import Cispo
from workbench.tricks.policy_loss.clip_cov import ClipCov
from workbench.tricks.policy_loss.clip_higher import ClipHigher
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.policy_loss.dual_clip import DualClip
from workbench.tricks.policy_loss.gmpo import Gmpo
from workbench.tricks.policy_loss.kl_cov import KlCov
from workbench.tricks.policy_loss.ppo_penalty import PpoPenalty
from workbench.tricks.policy_loss.sapo import Sapo
from workbench.tricks.policy_loss.unclipped_surrogate import UnclippedSurrogate
from workbench.tricks.ratio.sequence_ratio import SequenceRatio

# Four tokens: ratio up and down, advantage up and down. log π_old = −1.
RATIO, ADVANTAGE = row(1.5, 1.5, 0.5, 0.5), row(1, -1, 1, -1)


def policy_loss(
    trick: PolicyLoss, ratio: Tensor = RATIO, advantage: Tensor = ADVANTAGE
) -> tuple[Tensor, Tensor]:
    """Return the loss at a ratio, and the gradient of its sum in log π."""
    rollout = make_rollout([ratio.shape[1]], log_prob=-torch.ones_like(ratio))
    log_prob = (rollout.log_prob + ratio.log()).requires_grad_()
    new = replace(make_evaluation(rollout), log_prob=log_prob)
    loss = trick(log_prob - rollout.log_prob, new, rollout, advantage)
    (gradient,) = torch.autograd.grad(loss.sum(), log_prob)
    return loss.detach(), gradient


def close(found: Tensor, *expected: float) -> None:
    assert_close(found, row(*expected), rtol=1e-9, atol=1e-12)


def test_clip_higher_clips_further_above_than_below() -> None:
    loss, gradient = policy_loss(ClipHigher(clip_range_low=0.2, clip_range_high=0.28))
    # −min(1.5, 1.28), −min(−1.5, −1.28), −min(0.5, 0.8), −min(−0.5, −0.8)
    close(loss, -1.28, 1.5, -0.5, 0.8)
    close(gradient, 0, 1.5, -0.5, 0)


def test_clip_higher_with_equal_ranges_is_the_clipped_surrogate() -> None:
    found = policy_loss(ClipHigher(clip_range_low=0.3, clip_range_high=0.3))
    assert_close(found, policy_loss(ClippedSurrogate(clip_range=0.3)), rtol=0, atol=0)


def test_dual_clip_caps_what_a_bad_token_costs() -> None:
    loss, gradient = policy_loss(DualClip(clip_range=0.2, ratio_cap=1.4))
    # as the clipped surrogate (−1.2, 1.5, −0.5, 0.8), but min(1.5, 1.4·1) where Â = −1
    close(loss, -1.2, 1.4, -0.5, 0.8)
    close(gradient, 0, 0, -0.5, 0)
    found = policy_loss(DualClip(clip_range=0.2, ratio_cap=3.0))
    assert_close(found, policy_loss(ClippedSurrogate(clip_range=0.2)), rtol=0, atol=0)


def test_dual_clip_without_a_cap_leaves_an_advantage_of_zero_at_zero() -> None:
    # ∞·0 is no number, and nothing is capped where Â is not below 0
    close(policy_loss(DualClip(ratio_cap=inf), advantage=row(0, 0, 0, 0))[0], 0, 0, 0, 0)


def two_sided_clip(ratio: Tensor, advantage: Tensor, clip_range: float, cap: float) -> Tensor:
    """TRL's two-sided clip: −min(min(ρ, δ) Â, clip(ρ, 1 ± ε) Â)."""
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.minimum(ratio.clamp(max=cap) * advantage, clipped * advantage)


def test_dual_clip_is_the_two_sided_clip_of_trl_beyond_the_clip_range() -> None:
    ratio = torch.linspace(0.05, 6, 200, dtype=torch.float64)[None]
    for sign in (1.0, -1.0, 0.0):
        advantage = torch.full_like(ratio, sign)
        loss, gradient = policy_loss(DualClip(clip_range=0.2, ratio_cap=3.0), ratio, advantage)
        theirs = ratio.clone().requires_grad_()
        other = two_sided_clip(theirs, advantage, 0.2, 3.0)
        (slope,) = torch.autograd.grad(other.sum(), theirs)
        assert_close(loss, other.detach(), rtol=1e-12, atol=0)
        assert_close(gradient, slope * ratio, rtol=1e-12, atol=1e-12)  # d/dlog π = ρ d/dρ
    # inside the clip range they part: at δ = 1.1 TRL caps the good token at 1.1 too, and for the bad
    # one the clip at 1.2 is the worse branch; here the bad one is capped at 1.1 and the good one at 1.2
    other = two_sided_clip(row(1.5, 1.5), row(1, -1), 0.2, 1.1)
    close(other, -1.1, 1.2)
    close(policy_loss(DualClip(clip_range=0.2, ratio_cap=1.1))[0][:, :2], -1.2, 1.1)


@pytest.mark.parametrize(("low", "weight"), [(1.0, 0.5), (0.2, 0.8)])
def test_cispo_clips_the_weight_and_keeps_the_gradient(low: float, weight: float) -> None:
    loss, gradient = policy_loss(Cispo(clip_range_low=low, clip_range_high=0.2))
    # log π = ln 1.5 − 1 and ln 0.5 − 1; weights clip(1.5) = 1.2 and 0.5 or, from below, 0.8
    high, fall = log(1.5) - 1, log(0.5) - 1
    close(loss, -1.2 * high, 1.2 * high, -weight * fall, weight * fall)
    close(gradient, -1.2, 1.2, -weight, weight)


def test_cispo_without_bounds_has_the_gradient_of_the_unclipped_surrogate() -> None:
    found = policy_loss(Cispo(clip_range_low=inf, clip_range_high=inf))[1]
    assert_close(found, policy_loss(UnclippedSurrogate())[1], rtol=1e-12, atol=0)


def test_sapo_gates_by_a_sigmoid_of_the_ratio() -> None:
    loss, gradient = policy_loss(Sapo(temperature_positive=1.0, temperature_negative=2.0))
    # τ₊ = 1: ∓(4/1) σ(±0.5)        σ(0.5) = 0.62245933, σ(−0.5) = 0.37754067
    # τ₋ = 2: ±(4/2) σ(±1)          σ(1) = 0.73105858, σ(−1) = 0.26894142
    expected = row(-4 * 0.6224593312, 2 * 0.7310585786, -4 * 0.3775406688, 2 * 0.2689414214)
    assert_close(loss, expected, rtol=1e-9, atol=0)
    # d/dlog π = −4 σ (1 − σ) ρ Â:   4·0.62245933·0.37754067 = 0.94001483, 4·0.7311·0.2689 = 0.78644773
    expected = row(-1.5 * 0.9400148488, 1.5 * 0.7864477329, -0.5 * 0.9400148488, 0.5 * 0.7864477329)
    assert_close(gradient, expected, rtol=1e-9, atol=0)


def test_sapo_at_ratio_one_has_the_value_of_trl_and_the_gradient_of_the_surrogate() -> None:
    ones = torch.ones_like(ADVANTAGE)
    loss, gradient = policy_loss(Sapo(), ones)
    # TRL's test_get_sapo_token_loss: ratio 1, temperature 1 gives 2; at 1.05: 2/1.05
    close(loss, -2, 2 / 1.05, -2, 2 / 1.05)
    assert_close(gradient, -ADVANTAGE, rtol=1e-12, atol=0)


def test_gmpo_averages_clipped_log_ratios() -> None:
    ratio = row(exp(0.6), exp(-0.2))
    # Â = 1: ℓ̃ = min(0.6, 0.4), min(−0.2, −0.2), mean 0.1: −e^0.1 on both tokens; 0.6 is clipped
    loss, gradient = policy_loss(Gmpo(clip_range=0.4), ratio, row(1, 1))
    close(loss, -exp(0.1), -exp(0.1))
    close(gradient, 0, -exp(0.1))  # two tokens, each through a mean of two
    # Â = −1: ℓ̃ = −min(−0.6, −0.4) = 0.6 and −0.2, mean 0.2
    loss, gradient = policy_loss(Gmpo(clip_range=0.4), ratio, row(-1, -1))
    close(loss, exp(0.2), exp(0.2))
    close(gradient, exp(0.2), exp(0.2))
    # Â = −1 and ℓ = −0.6: −min(0.6, 0.4) = −0.4
    close(policy_loss(Gmpo(clip_range=0.4), row(exp(-0.6)), row(-1))[0], exp(-0.4))


def test_gmpo_takes_the_mean_of_sequences() -> None:
    # ρ = 1: −Ā = −2 over three tokens, −5 over one: (−2 − 5)/2, where the token mean is (−6 − 5)/4
    rollout = make_rollout([3, 1])
    advantage = torch.tensor([[2.0, 2.0, 2.0], [5.0, 0.0, 0.0]], dtype=torch.float64)
    zero = torch.zeros_like(advantage)
    loss = Gmpo()(zero, make_evaluation(rollout), rollout, advantage)
    assert float(SequenceMean()(loss, rollout.mask)) == pytest.approx(-3.5)
    assert float(TokenMean()(loss, rollout.mask)) == pytest.approx(-2.75)


def test_gmpo_without_a_clip_is_the_surrogate_of_the_sequence_ratio() -> None:
    rollout = make_rollout()
    new = make_evaluation(rollout)
    level = rollout.score[:, None] * rollout.mask
    log_ratio = new.log_prob - rollout.log_prob
    theirs = UnclippedSurrogate()(SequenceRatio()(log_ratio, new, rollout), new, rollout, level)
    ours = Gmpo(clip_range=inf)(log_ratio, new, rollout, level)
    assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("trick", "expected"),
    [
        # ρ = 1.5, 1.5, 0.5, 0.5 under advantages of ±½ and ±3: −½·1.2, 3·1.5, −½·0.5, 3·0.8
        (ClippedSurrogate(clip_range=0.2), (-0.6, 4.5, -0.25, 2.4)),
        (ClipHigher(clip_range_low=0.2, clip_range_high=0.3), (-0.65, 4.5, -0.25, 2.4)),  # −½·1.3
        (AnnealedClip(clip_range=0.2), (-0.6, 4.5, -0.25, 2.4)),  # nothing observed yet: ε = 0.2
        # 3·min(1.5, 1.4) = 4.2 for the bad token; a good one is not capped, however small Â is
        (DualClip(clip_range=0.2, ratio_cap=1.4), (-0.6, 4.2, -0.25, 2.4)),
        # −w Â log π: log π = ln 1.5 − 1 and ln 0.5 − 1, w = 1.2 and 0.5
        (
            Cispo(clip_range_low=1.0, clip_range_high=0.2),
            (-0.6 * (log(1.5) - 1), 3.6 * (log(1.5) - 1), 0.25 * (log(2) + 1), -1.5 * (log(2) + 1)),
        ),
        # −4 σ(±½) Â at τ = 1: σ(½) = 0.6224593312, σ(−½) = 0.3775406688
        (
            Sapo(temperature_positive=1.0, temperature_negative=1.0),
            (-2 * 0.6224593312, 12 * 0.6224593312, -2 * 0.3775406688, 12 * 0.3775406688),
        ),
    ],
)
def test_policy_losses_are_proportional_to_the_advantage(
    trick: PolicyLoss, expected: tuple[float, ...]
) -> None:
    loss, _ = policy_loss(trick, advantage=row(0.5, -3, 0.5, -3))
    assert_close(loss, row(*expected), rtol=1e-9, atol=0)


# mean Â = 0, log π = ±½ ln 3 about its mean: c = ½ ln 3 · (2, −1, 0, 1) = (1.0986, −0.5493, 0, 0.5493)
MIXED = row(2, -1, 0, -1)


def test_clip_cov_drops_the_tokens_of_the_highest_covariance() -> None:
    wide = ClipCov(clip_range=0.6, share=0.25, low=0.1)
    # nothing is clipped at ε = 0.6: −ρÂ; k = ⌊0.25·4⌋ = 1
    loss, gradient = policy_loss(wide, advantage=MIXED)
    close(loss, 0, 1.5, 0, 0.5)
    close(gradient, 0, 1.5, 0, 0.5)
    close(policy_loss(wide.fresh(share=0.5), advantage=MIXED)[0], 0, 1.5, 0, 0)
    close(policy_loss(wide.fresh(share=0.0002), advantage=MIXED)[0], 0, 1.5, 0, 0.5)  # at least one
    # 0.5493 < high = 1 < 1.0986 passes the highest by, low = 1.1 passes all by
    close(policy_loss(wide.fresh(high=1.0), advantage=MIXED)[0], -3, 1.5, 0, 0)
    close(policy_loss(wide.fresh(low=1.1), advantage=MIXED)[0], -3, 1.5, 0, 0.5)


def test_clip_cov_drops_inside_its_bounds_and_not_on_them() -> None:
    # ρ = 1 and log π = −1: all have c = 0, which is not above low = 0
    ones = row(1, 1)
    close(policy_loss(ClipCov(share=1.0, low=0.0), ones, row(3, 1))[0], -3, -1)
    # Â = (3, 1), log π = −1 and −2: c = (3 − 2)·½ = ½ on both; ½ is inside (0, 5) and (¼, 1), not (0, ½)
    rollout = make_rollout([2], log_prob=row(-1, -2))
    new = replace(make_evaluation(rollout), log_prob=rollout.log_prob)
    for low, high, kept in ((0.0, 5.0, 0.0), (0.25, 1.0, 0.0), (0.0, 0.5, 1.0), (0.5, 5.0, 1.0)):
        trick = ClipCov(share=1.0, low=low, high=high)
        close(trick(row(0, 0), new, rollout, row(3, 1)), -3 * kept, -1 * kept)


def test_covariances_are_taken_about_the_means_of_both() -> None:
    # Â = (6, 2, 4, 4), mean 4, and log π = (−1, −3, −2, −2), mean −2: c = (2·1, −2·−1, 0, 0), where Â
    # alone would give (6, −2, 0, 0) and Â + 4 (10, −6, 0, 0)
    rollout = make_rollout([4], log_prob=row(-1, -3, -2, -2))
    new, advantage = replace(make_evaluation(rollout), log_prob=rollout.log_prob), row(6, 2, 4, 4)
    found = ClipCov(share=1.0, low=1.0, high=5.0)(row(0, 0, 0, 0), new, rollout, advantage)
    close(found, 0, 0, -4, -4)
    # ρ = e on all four: the two of c = 2 pay 10·|1|
    found = KlCov(share=0.5, weight=10.0)(row(1, 1, 1, 1), new, rollout, advantage)
    close(found, 10 - 6 * exp(1), 10 - 2 * exp(1), -4 * exp(1), -4 * exp(1))


def test_a_covariance_is_a_product_and_no_ratio() -> None:
    # Â, of mean 0, is (3, 1, −4) and log π − mean (−1, −1, 2): c = (−3, −1, −8), where the ratios are
    # (−3, −1, −2); ⌊0.67·3⌋ = 2 tokens pay 1·|1| at ρ = e: the first two, not the last two
    rollout = make_rollout([3], log_prob=row(-3, -3, 0))
    new, advantage = replace(make_evaluation(rollout), log_prob=rollout.log_prob), row(3, 1, -4)
    found = KlCov(share=0.67, weight=1.0)(row(1, 1, 1), new, rollout, advantage)
    close(found, 1 - 3 * exp(1), 1 - exp(1), 4 * exp(1))


def test_clip_cov_leaves_alone_what_the_clip_has_stopped() -> None:
    # at ε = 0.2 the first and the last token, the only two of c > 0.1, are clipped already
    found = policy_loss(ClipCov(clip_range=0.2, share=1.0), advantage=MIXED)
    expected = policy_loss(ClippedSurrogate(clip_range=0.2), advantage=MIXED)
    assert_close(found, expected, rtol=0, atol=0)


def test_kl_cov_penalises_the_tokens_of_the_highest_covariance() -> None:
    one = KlCov(share=0.25, weight=0.1)
    loss, gradient = policy_loss(one, advantage=MIXED)
    # −ρÂ, and 0.1·ln 1.5 on the first token: slope −3 + 0.1
    close(loss, -3 + 0.1 * log(1.5), 1.5, 0, 0.5)
    close(gradient, -2.9, 1.5, 0, 0.5)
    # k = 2: and 0.1·|ln 0.5| on the last one, whose ratio has fallen: slope 0.5 − 0.1
    loss, gradient = policy_loss(one.fresh(share=0.5), advantage=MIXED)
    close(loss, -3 + 0.1 * log(1.5), 1.5, 0, 0.5 + 0.1 * log(2))
    close(gradient, -2.9, 1.5, 0, 0.4)
    # at least one
    found = policy_loss(one.fresh(share=0.0002), advantage=MIXED)
    assert_close(found, policy_loss(one, advantage=MIXED), rtol=0, atol=0)


def test_kl_cov_takes_tied_tokens_in_their_order() -> None:
    # one advantage for all: every c is 0
    loss, _ = policy_loss(KlCov(share=0.5, weight=1.0), advantage=row(1, 1, 1, 1))
    close(loss, -1.5 + log(1.5), -1.5 + log(1.5), -0.5, -0.5)


def test_covariance_losses_count_response_tokens_only() -> None:
    # 4 + 1 tokens under 8 slots: ⌊0.25·5⌋ = 1 token, where ⌊0.25·8⌋ would be 2
    rollout = make_rollout([4, 1])
    new = make_evaluation(rollout)
    log_ratio = new.log_prob - rollout.log_prob
    arguments = (log_ratio, new, rollout, rollout.advantage)
    penalty = KlCov(share=0.25, weight=1.0)(*arguments) - UnclippedSurrogate()(*arguments)
    assert int((penalty != 0).sum()) == 1
    clip = {"clip_range": inf, "high": inf, "low": 0.0}
    assert int((ClipCov(share=0.25, **clip)(*arguments)[rollout.mask] == 0).sum()) == 1


def test_ppo_penalty_adds_k3_of_the_old_policy_to_the_new() -> None:
    loss, gradient = policy_loss(PpoPenalty(weight=2.0))
    # ρ − 1 − ln ρ: 0.5 − ln 1.5 at 1.5, −0.5 + ln 2 at 0.5
    up, down = 0.5 - log(1.5), log(2) - 0.5
    close(loss, -1.5 + 2 * up, 1.5 + 2 * up, -0.5 + 2 * down, 0.5 + 2 * down)
    # d/dlog π = −ρÂ + 2 (ρ − 1)
    close(gradient, -1.5 + 1, 1.5 + 1, -0.5 - 1, 0.5 - 1)


def test_the_penalty_is_unbiased_for_the_kl_over_all_actions() -> None:
    # π_old = (½, ½), π = (¾, ¼): Σ π_old (ρ − 1 − ln ρ) = −½ ln 1.5 − ½ ln 0.5 = KL(π_old ‖ π)
    loss, _ = policy_loss(PpoPenalty(weight=1.0), row(1.5, 0.5), row(0, 0))
    assert loss.mean().item() == pytest.approx(-0.5 * log(1.5) - 0.5 * log(0.5))


def test_annealed_clip_narrows_to_its_final_share() -> None:
    trick = AnnealedClip(clip_range=0.4, final_share=0.25, rollouts=2)
    # ε = 0.4 (1 − ¾·½) = 0.25 at the first rollout, 0.4·¼ = 0.1 from the second on
    for clip_range in (0.25, 0.1, 0.1):
        trick.observe(make_rollout())
        loss, gradient = policy_loss(trick)
        close(loss, -1 - clip_range, 1.5, -0.5, 1 - clip_range)
        close(gradient, 0, 1.5, -0.5, 0)


def test_annealed_clip_with_a_final_share_of_one_is_the_clipped_surrogate() -> None:
    trick = AnnealedClip(clip_range=0.2, final_share=1.0, rollouts=3)
    trick.observe(make_rollout())
    assert_close(policy_loss(trick), policy_loss(ClippedSurrogate(clip_range=0.2)), rtol=0, atol=0)
