"""Golden numbers and properties of GAE, Monte Carlo and what is done to advantages."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.builders import make_rollout, table
from workbench.recipe import Recipe
from workbench.registry import registry
from workbench.trick import AdvantageTransform, Trick
from workbench.tricks.advantage.advantage_clip import AdvantageClip
from workbench.tricks.advantage.advantage_norm import AdvantageNorm
from workbench.tricks.advantage.advantage_standardisation import AdvantageStandardisation
from workbench.tricks.advantage.padded_advantage_norm import PaddedAdvantageNorm
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.advantage_estimator.monte_carlo import MonteCarlo
from workbench.tricks.rollout_advantage.rollout_advantage_centre import RolloutAdvantageCentre
from workbench.tricks.rollout_advantage.rollout_advantage_norm import RolloutAdvantageNorm
from workbench.types import Rollout

rollouts = st.builds(
    make_rollout, st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers(0, 10**6)
)


def test_gae_on_three_tokens_with_a_score_on_the_last() -> None:
    # V = ½, γ = 1: δ = (½ − ½, ½ − ½, 1 − ½) = (0, 0, ½); λ = 0.95: Â₁ = 0.475, Â₀ = 0.45125
    rollout = make_rollout([3], reward=table([0, 0, 1]), value=table([0.5, 0.5, 0.5]))
    advantage, returns = Gae(trace=0.95, discount=1.0)(rollout)
    assert_close(advantage, table([0.45125, 0.475, 0.5]), rtol=1e-12, atol=0)
    assert_close(returns, table([0.95125, 0.975, 1.0]), rtol=1e-12, atol=0)


def test_gae_with_a_discount_and_a_padded_row() -> None:
    # γ = 0.5, λ = 0.5.  Row 0: δ₁ = 4 − 2 = 2, δ₀ = 1 + 0.5·2 − 1 = 1  ->  Â₀ = 1 + 0.25·2 = 1.5
    # Row 1 ends after one token: Â₀ = 3 − 5 = −2; its V = 9 behind the end is not looked at
    rollout = make_rollout([2, 1], reward=table([1, 4], [3, 0]), value=table([1, 2], [5, 9]))
    advantage, returns = Gae(trace=0.5, discount=0.5)(rollout)
    assert_close(advantage, table([1.5, 2], [-2, 0]), rtol=1e-12, atol=0)
    assert_close(returns, table([2.5, 4], [3, 0]), rtol=1e-12, atol=0)


def test_monte_carlo_sums_discounted_rewards() -> None:
    # γ = ½, r = (1, 2, 4): R₂ = 4, R₁ = 2 + 2 = 4, R₀ = 1 + 2 = 3; V = ½ is only subtracted
    rollout = make_rollout([3], reward=table([1, 2, 4]), value=table([0.5, 0.5, 0.5]))
    advantage, returns = MonteCarlo(discount=0.5)(rollout)
    assert_close(returns, table([3, 4, 4]), rtol=1e-12, atol=0)
    assert_close(advantage, table([2.5, 3.5, 3.5]), rtol=1e-12, atol=0)


@given(rollouts, st.floats(0, 1))
def test_gae_with_trace_one_gives_return_minus_value(rollout: Rollout, discount: float) -> None:
    advantage, returns = Gae(trace=1.0, discount=discount)(rollout)
    expected = MonteCarlo(discount=discount)(rollout)
    assert_close((advantage, returns), expected, rtol=1e-9, atol=1e-9)


@given(rollouts, st.floats(0, 1))
def test_gae_with_trace_zero_is_the_temporal_difference_error(rollout: Rollout, discount: float) -> None:
    advantage, returns = Gae(trace=0.0, discount=discount)(rollout)
    for row, length in enumerate(rollout.mask.sum(1).tolist()):
        value = [*rollout.value[row, :length].tolist(), 0.0]
        for step in range(length):
            target = float(rollout.reward[row, step]) + discount * value[step + 1]
            assert abs(float(returns[row, step]) - target) < 1e-9
            assert abs(float(advantage[row, step]) - (target - value[step])) < 1e-9


@given(rollouts, st.floats(0, 1), st.floats(0, 1))
def test_gae_equals_the_backward_recursion(rollout: Rollout, trace: float, discount: float) -> None:
    advantage, _ = Gae(trace=trace, discount=discount)(rollout)
    for row, length in enumerate(rollout.mask.sum(1).tolist()):
        value, following = [*rollout.value[row, :length].tolist(), 0.0], 0.0
        for step in reversed(range(length)):
            delta = float(rollout.reward[row, step]) + discount * value[step + 1] - value[step]
            following = delta + discount * trace * following
            assert abs(float(advantage[row, step]) - following) < 1e-9


@given(rollouts, st.floats(0, 1))
def test_padding_never_leaks_into_gae(rollout: Rollout, trace: float) -> None:
    clean = Gae(trace=trace)(rollout)
    for name in ("value", "reward"):
        setattr(rollout, name, torch.where(rollout.mask, getattr(rollout, name), 1e6))
    assert_close(Gae(trace=trace)(rollout), clean, rtol=0, atol=0)


# The table printed in "The N implementation details of RLHF with PPO", values 1.2 … 2.0, mean 1.6:
#   biased variance 0.6/9: (1.2 − 1.6)/√(0.6/9) + 1.6 = 0.0508; unbiased 0.6/8: 0.1394
GRID = table([1.2, 1.3, 1.4], [1.5, 1.6, 1.7], [1.8, 1.9, 2.0])


def test_advantage_norm_gives_the_published_whitening_tables() -> None:
    everything = torch.ones(3, 3, dtype=torch.bool)
    for unbiased, variance, first in ((False, 0.6 / 9, 0.0508), (True, 0.6 / 8, 0.1394)):
        found = AdvantageNorm(epsilon=0.0, unbiased=unbiased)(GRID, everything)
        assert_close(found, (GRID - 1.6) / variance**0.5, rtol=1e-9, atol=1e-9)
        assert round(float(found[0, 0]) + 1.6, 4) == first


def test_advantage_norm_sees_response_tokens_only() -> None:
    # TRL's vector: values 2 and 3 under the mask, mean 2.5, unbiased variance ½: ∓0.5/√½ = ∓0.7071
    mask = torch.tensor([[False, True, True, False]])
    found = AdvantageNorm(epsilon=0.0, unbiased=True)(table([1, 2, 3, 4]), mask)
    assert_close(found, table([0, -(0.5**0.5), 0.5**0.5, 0]), rtol=1e-12, atol=0)


def test_advantage_norm_puts_epsilon_inside_the_root() -> None:
    # values 0 and 2: mean 1, biased variance 1; ε = 3: ∓1/√(1 + 3) = ∓½
    mask = torch.ones(1, 2, dtype=torch.bool)
    found = AdvantageNorm(epsilon=3.0)(table([0, 2]), mask)
    assert_close(found, table([-0.5, 0.5]), rtol=1e-12, atol=0)


@given(rollouts.filter(lambda rollout: int(rollout.mask.sum()) > 1))
def test_normalised_advantages_have_mean_zero_and_variance_one(rollout: Rollout) -> None:
    found = AdvantageNorm(epsilon=0.0)(rollout.advantage, rollout.mask)[rollout.mask]
    assert_close(found.mean(), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-9)
    assert_close(found.var(unbiased=False), torch.ones((), dtype=torch.float64), rtol=0, atol=1e-9)


def test_advantage_clip_bounds_both_sides_after_the_normalisation() -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert AdvantageClip(max_abs=0.5)(table([-2, 0.25, 3]), mask).tolist() == [[-0.5, 0.25, 0.5]]
    # (−1, 0, 1)/√(2/3) = (−1.22, 0, 1.22), then cut at 1
    both = Recipe("both", (AdvantageClip(max_abs=1.0), AdvantageNorm(epsilon=0.0)))
    assert_close(both.advantage(table([1, 2, 3]), mask), table([-1, 0, 1]), rtol=0, atol=1e-12)


def alternatives() -> list[AdvantageTransform]:
    """Return the ways to normalise the advantages of a minibatch."""
    members = [kind for kind in registry().values() if kind.group == "advantage_norm"]
    return [kind() for kind in members if issubclass(kind, AdvantageTransform)]


def test_the_clip_comes_after_every_normalisation() -> None:
    assert all(AdvantageClip.follows(trick) for trick in alternatives())


def test_normalisations_displace_each_other_as_the_last_one_would_undo_the_others() -> None:
    start = Recipe("start", (RolloutAdvantageNorm(),)).plus(AdvantageNorm())
    names = {
        trick.name for trick in start.plus(PaddedAdvantageNorm(), AdvantageStandardisation()).tricks
    }
    assert "advantage_standardisation" in names
    assert not {"advantage_norm", "padded_advantage_norm", "rollout_advantage_norm"} & names


def test_advantage_standardisation_puts_epsilon_outside_the_root() -> None:
    # values 1 and 3 beside padding: mean 2, unbiased variance 2; ε = 1: ∓1/(√2 + 1) = ∓(√2 − 1)
    mask = torch.tensor([[True, True, False]])
    found = AdvantageStandardisation(epsilon=1.0)(table([1, 3, 9]), mask)
    assert_close(found, table([1 - 2**0.5, 2**0.5 - 1, 0]), rtol=1e-12, atol=0)


def test_padded_advantage_norm_counts_padding_as_zeros() -> None:
    # 2 places of 2 and 4, padding as 0 and 0: mean 6/4 = 1.5, squares ¼ + 6¼ + 2¼ + 2¼ = 11, var 11/3
    #   ε = ⅓: √(12/3) = 2: (2 − 1.5)/2 = ¼, (4 − 1.5)/2 = 1¼; without padding mean 3, var 2: ∓1/√(2 + ⅓)
    mask = torch.tensor([[True, True], [False, False]])
    advantage = table([2, 4], [7, 7])
    found = PaddedAdvantageNorm(epsilon=1 / 3)(advantage, mask)
    assert_close(found, table([0.25, 1.25], [0, 0]), rtol=1e-12, atol=0)
    without = AdvantageNorm(epsilon=1 / 3, unbiased=True)(advantage, mask)
    one = (7 / 3) ** -0.5
    assert_close(without, table([-one, one], [0, 0]), rtol=1e-12, atol=0)


def test_without_padding_all_normalisations_of_a_minibatch_agree_but_for_epsilon() -> None:
    # 1.2 … 2.0, unbiased variance 0.6/8
    everything = torch.ones(3, 3, dtype=torch.bool)
    for trick in (
        PaddedAdvantageNorm(epsilon=1e-12),
        AdvantageStandardisation(epsilon=1e-12),
        AdvantageNorm(epsilon=1e-12, unbiased=True),
    ):
        assert_close(trick(GRID, everything), (GRID - 1.6) / 0.075**0.5, rtol=1e-9, atol=1e-9)


def test_rollout_advantage_norm_gives_trls_whitening() -> None:
    # values 2 and 3 under the mask: mean 2.5, variance ½ unbiased, ¼ biased; ε = ½: ∓½/√1, ∓½/√¾
    rollout = make_rollout([2, 1], mask=torch.tensor([[True, False], [True, False]]))
    advantage = table([2, 9], [3, 9])
    found = RolloutAdvantageNorm(epsilon=0.5)(advantage, rollout)
    assert_close(found, table([-0.5, 0], [0.5, 0]), rtol=1e-12, atol=0)
    biased = RolloutAdvantageNorm(epsilon=0.5, unbiased=False)(advantage, rollout)
    assert_close(biased, table([-(3**-0.5), 0], [3**-0.5, 0]), rtol=1e-12, atol=0)


@given(rollouts.filter(lambda rollout: int(rollout.mask.sum()) > 1))
def test_normalised_over_the_rollout_a_minibatch_need_not_be(rollout: Rollout) -> None:
    found = RolloutAdvantageNorm(epsilon=1e-12)(rollout.advantage, rollout)
    assert_close(found[rollout.mask].std(), torch.ones((), dtype=torch.float64), rtol=1e-6, atol=0)
    whole = AdvantageNorm(epsilon=1e-12, unbiased=True)(rollout.advantage, rollout.mask)
    assert_close(found, whole, rtol=1e-9, atol=1e-9)
    row = AdvantageNorm(epsilon=1e-12, unbiased=True)(rollout.advantage[:1], rollout.mask[:1])
    assert len(rollout.mask) == 1 or not torch.allclose(found[:1], row)


def test_rollout_advantage_centre_keeps_the_scale() -> None:
    # 1, 2 and 6 over three tokens: mean 3
    rollout = make_rollout([2, 1])
    found = RolloutAdvantageCentre()(table([1, 2], [6, 9]), rollout)
    assert found.tolist() == [[-2, -1], [3, 0]]


@given(rollouts)
def test_what_is_centred_and_then_normalised_is_what_is_normalised(rollout: Rollout) -> None:
    norm, centred = RolloutAdvantageNorm(), RolloutAdvantageCentre()(rollout.advantage, rollout)
    assert_close(norm(centred, rollout), norm(rollout.advantage, rollout), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("trick", alternatives(), ids=lambda trick: trick.name)
def test_one_token_and_equal_advantages_give_finite_numbers(trick: Trick) -> None:
    # one number, or the same twice, in float32 too: its deviation is 0, and 0/ε = 0
    for row in ([3.0], [2.0, 2.0]):
        for dtype in (torch.float32, torch.float64):
            advantage = torch.tensor([row], dtype=dtype)
            found = trick(advantage, torch.ones_like(advantage, dtype=torch.bool))  # type: ignore[operator]
            assert found.tolist() == [[0.0] * len(row)]


def test_one_token_gives_a_rollouts_normalisation_finite_numbers() -> None:
    for trick in (RolloutAdvantageNorm(), RolloutAdvantageCentre()):
        assert trick(table([3]), make_rollout([1])).tolist() == [[0]]
