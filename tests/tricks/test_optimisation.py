"""Golden numbers of the slot optimisation."""

import pytest

from workbench.recipe import Recipe
from workbench.tricks.optimisation.adam_betas import AdamBetas
from workbench.tricks.optimisation.adam_epsilon import AdamEpsilon
from workbench.tricks.optimisation.adam_tensorflow_style import AdamTensorflowStyle
from workbench.tricks.optimisation.critic_learning_rate import CriticLearningRate
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.policy_learning_rate import PolicyLearningRate
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.optimisation.single_shuffle import SingleShuffle
from workbench.tricks.optimisation.weight_decay import WeightDecay
from workbench.types import Optimisation

BEFORE = Optimisation(epochs=1, minibatch_size=32)


def test_adam_epsilon_is_set_apart_for_policy_and_critic() -> None:
    found = AdamEpsilon(policy=1e-6, critic=1e-5)(BEFORE, 128)
    assert found == Optimisation(1, 32, policy_epsilon=1e-6, critic_epsilon=1e-5)


def test_adam_betas_are_first_and_second_moment() -> None:
    assert AdamBetas(first=0.8, second=0.95)(BEFORE, 128) == Optimisation(1, 32, betas=(0.8, 0.95))


def test_weight_decay_is_passed_on() -> None:
    assert WeightDecay(decay=0.02)(BEFORE, 128) == Optimisation(1, 32, weight_decay=0.02)


def test_adam_tensorflow_style_changes_the_form_and_nothing_else() -> None:
    assert AdamTensorflowStyle()(BEFORE, 128) == Optimisation(1, 32, is_tensorflow_style=True)


def test_learning_rates_are_factors_that_multiply() -> None:
    # 2·3 and 2·0.5
    rates = Optimisation(1, 32, policy_rate=2.0, critic_rate=2.0)
    found = CriticLearningRate(factor=3.0)(PolicyLearningRate(factor=0.5)(rates, 128), 128)
    assert found == Optimisation(1, 32, policy_rate=1.0, critic_rate=6.0)


def test_ppo_epochs_replace_the_runs_own() -> None:
    assert PpoEpochs(epochs=4)(Optimisation(2, 32), 128) == Optimisation(4, 32)


def test_minibatches_split_the_buffer_evenly() -> None:
    # 128 / 8 = 16; a buffer of 24: 24 / 8 = 3
    assert Minibatches(count=8)(BEFORE, 128) == Optimisation(1, 16)
    assert Minibatches(count=8)(BEFORE, 24) == Optimisation(1, 3)


def test_minibatches_must_divide_the_buffer() -> None:
    with pytest.raises(ValueError, match=r"minibatches\.count must divide the buffer size 12, got 8"):
        Minibatches(count=8)(BEFORE, 12)


def test_single_shuffle_keeps_one_order_for_all_epochs() -> None:
    assert SingleShuffle()(BEFORE, 128) == Optimisation(1, 32, is_reshuffled=False)


def test_a_recipe_changes_the_settings_one_after_the_other() -> None:
    tricks = AdamBetas(), PpoEpochs(epochs=4), Minibatches(count=4), CriticLearningRate(factor=9.0)
    found = Recipe("several", tricks).optimisation(BEFORE, 64)
    assert found == Optimisation(4, 16, critic_rate=9.0, betas=(0.9, 0.95))
