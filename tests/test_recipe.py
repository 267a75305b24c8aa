"""Recipes: set algebra, groups, order, state, names."""

import json
import random
from dataclasses import replace
from itertools import combinations
from math import inf

import pytest
import torch
from torch.testing import assert_close

from tests.builders import make_evaluation, make_rollout
from workbench.recipe import Recipe, make_trick
from workbench.recipes import find_recipe, recipes
from workbench.recipes.ppo_max import PPO_MAX
from workbench.recipes.vanilla import VANILLA
from workbench.registry import registry
from workbench.trick import SLOTS, ScoreTransform, Trick, state
from workbench.tricks import TEXTBOOK
from workbench.tricks.advantage.advantage_norm import AdvantageNorm
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.regulariser.entropy_bonus import EntropyBonus
from workbench.tricks.reward_function.greedy_baseline import GreedyBaseline
from workbench.tricks.reward_function.missing_eos_penalty import MissingEosPenalty
from workbench.tricks.schedule.critic_pretraining import CriticPretraining
from workbench.tricks.score.missing_eos_score import MissingEosScore
from workbench.tricks.score.reward_clip import RewardClip
from workbench.tricks.score.reward_norm import RewardNorm
from workbench.tricks.score.reward_scaling import RewardScaling
from workbench.tricks.value_loss.value_clip import ValueClip
from workbench.types import Optimisation, Rates, Sampling

EMPTY = Recipe("empty")


def names(recipe: Recipe) -> list[str]:
    return [trick.name for trick in recipe.tricks]


def test_an_empty_recipe_is_the_textbook_in_the_order_of_the_update() -> None:
    assert set(names(EMPTY)) == set(TEXTBOOK)
    slots = [trick.slot for trick in EMPTY.tricks]
    assert slots == sorted(slots, key=list(SLOTS).index)


def test_construction_order_never_matters() -> None:
    first_of_group: dict[str, type[Trick]] = {}
    for name, kind in registry().items():
        first_of_group.setdefault(kind.group or name, kind)
    one_per_group = [k for k in first_of_group.values() if not (k.requires or k.excludes)]
    shuffler, orders = random.Random(0), set()
    for _ in range(20):
        shuffler.shuffle(one_per_group)
        orders.add(tuple(names(Recipe("all", tuple(kind() for kind in one_per_group)))))
    (order,) = orders
    for first, then in combinations(order, 2):
        assert not registry()[first].follows(registry()[then])


def test_a_plugins_member_of_a_group_is_ordered_with_it() -> None:
    class SquashedScore(ScoreTransform):
        group = "reward_normaliser"

    order = names(Recipe("both", (RewardClip(), SquashedScore())))
    assert order.index("squashed_score") == order.index("reward_clip") - 1
    assert RewardClip.follows(SquashedScore) and not SquashedScore.follows(RewardClip)


def test_a_group_of_another_slot_is_no_predecessor() -> None:
    # missing_eos has members in reward_function and in score; the baselines follow the former alone
    assert GreedyBaseline.follows(MissingEosPenalty)
    assert not GreedyBaseline.follows(MissingEosScore)


def test_a_cycle_is_refused_by_name() -> None:
    class First(ScoreTransform):
        after = ("second",)

    class Second(ScoreTransform):
        after = ("first",)

    with pytest.raises(ValueError, match=r"slot score are each after the other: .*first.*second"):
        Recipe("cyclic", (First(), Second()))


def test_a_missing_prerequisite_is_refused() -> None:
    class Dependent(ScoreTransform):
        requires = ("reward_norm",)

    with pytest.raises(ValueError, match="dependent needs reward_norm, which recipe lone lacks"):
        Recipe("lone", (Dependent(),))
    assert "dependent" in names(Recipe("both", (Dependent(), RewardNorm())))


def test_the_last_one_added_of_a_group_wins() -> None:
    recipe = EMPTY.plus(RewardScaling()).plus(RewardNorm())
    assert "reward_norm" in names(recipe) and "reward_scaling" not in names(recipe)
    assert "value_mse" not in names(EMPTY.plus(ValueClip()))


def test_adding_a_namesake_replaces_it() -> None:
    recipe = EMPTY.plus(RewardClip(max_abs=1.0)).plus(RewardClip(max_abs=2.0))
    assert recipe.parameters()["reward_clip.max_abs"] == 2.0
    assert names(recipe).count("reward_clip") == 1


def test_leaving_out_a_choice_falls_back_to_the_textbook() -> None:
    assert "value_mse" in names(PPO_MAX.without("value_clip"))
    assert names(EMPTY.plus(RewardNorm()).without("reward_norm")) == names(EMPTY)


def test_the_textbooks_own_choice_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="gae is the textbook's choice"):
        VANILLA.without("gae")


def test_a_trick_that_the_recipe_lacks_is_not_called_unknown() -> None:
    with pytest.raises(ValueError, match=r"^recipe vanilla has no token_kl_penalty; it has: .*\bgae\b"):
        VANILLA.without("token_kl_penalty")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown trick 'value_clp' in recipe ppo_max; .*'value_clip'"):
        PPO_MAX.without("value_clp")
    with pytest.raises(ValueError, match=r"unknown trick 'reward_nrom'; did you mean 'reward_norm'\?"):
        VANILLA.set({"reward_nrom.epsilon": 1e-8})
    with pytest.raises(ValueError, match=r"unknown hyper-parameter 'clip' in trick value_clip; .*range"):
        VANILLA.set({"value_clip.clip": 0.1})
    with pytest.raises(ValueError, match=r"unknown recipe 'ppomax'; did you mean 'ppo_max'\?"):
        find_recipe("ppomax")


def test_set_changes_present_tricks_and_adds_absent_ones() -> None:
    recipe = VANILLA.set({"gae.trace": 0.5, "value_clip.clip_range": 1})
    values = recipe.parameters()
    assert (values["gae.trace"], values["gae.discount"]) == (0.5, 1.0)
    assert isinstance(values["value_clip.clip_range"], float)  # YAML writes 1 for 1.0
    assert VANILLA.parameters()["gae.trace"] == 0.95  # the recipe it was made from is as it was


@pytest.mark.parametrize("value", ["wide", True])
def test_a_value_of_the_wrong_kind_is_one_sentence(value: str | bool) -> None:
    with pytest.raises(ValueError, match=r"^value_clip.clip_range must be a number, got"):
        make_trick("value_clip", {"clip_range": value})


def test_a_value_outside_the_domain_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^gae.trace must be at most 1, got 1.5$"):
        VANILLA.set({"gae.trace": 1.5})


def test_state_that_no_checkpoint_can_keep_is_one_sentence() -> None:
    class Counting(ScoreTransform):
        rollouts: int = state(int)

    with pytest.raises(
        ValueError, match=r"^counting.rollouts is state of type int, which no checkpoint"
    ):
        Counting()


def test_a_started_recipe_has_fresh_state() -> None:
    used = EMPTY.plus(RewardNorm())
    used.observe(make_rollout())
    fresh = used.start()
    assert float(fresh.state_dict()["reward_norm"]["moments"]["count"]) == 0
    assert float(used.state_dict()["reward_norm"]["moments"]["count"]) == 4
    assert fresh.parameters() == used.parameters()


def test_state_survives_saving_and_loading() -> None:
    one, other = EMPTY.plus(RewardNorm()), EMPTY.plus(RewardNorm()).start()
    one.observe(make_rollout())
    other.load_state_dict(one.state_dict())
    rollout = make_rollout(seed=1)
    for recipe in (one, other):
        recipe.observe(rollout)
    assert torch.equal(one.score(rollout.score, rollout), other.score(rollout.score, rollout))


def test_a_recipes_fingerprint_is_of_its_content() -> None:
    tricks = (RewardClip(max_abs=inf), RewardNorm())
    one, other = Recipe("one", tricks), Recipe("other", tricks[::-1])
    assert one.fingerprint() == other.fingerprint()
    assert one.fingerprint() != one.set({"reward_clip.max_abs": 1.0}).fingerprint()
    assert one.fingerprint() != one.without("reward_clip").fingerprint()


def test_parameters_are_flat_and_can_be_written_as_json() -> None:
    for recipe in recipes().values():
        values = recipe.parameters()
        assert json.loads(json.dumps(values)) == values
        assert all(key.count(".") == 1 for key in values)


def test_needs_are_the_union_over_tricks() -> None:
    assert EMPTY.needs == {"value"}
    assert PPO_MAX.plus(EntropyBonus()).needs == {"entropy", "pretraining_loss", "value"}


def test_published_recipes_build_from_their_own_names() -> None:
    assert {"vanilla", "ppo_max"} <= set(recipes())
    for name, recipe in recipes().items():
        assert find_recipe(name) is recipe and recipe.name == name


def test_ppo_max_holds_the_starred_details_and_vanilla_none_that_ties_it_to_sft() -> None:
    ours = {
        "token_kl_penalty", "reward_norm", "reward_clip", "value_clip", "critic_from_reward_model",
        "policy_from_sft", "gae", "clipped_surrogate", "global_gradient_clip", "critic_pretraining",
        "ppo_ptx", "token_mean",
    }  # fmt: skip
    assert set(names(PPO_MAX)) == ours
    assert set(names(VANILLA)) == set(TEXTBOOK) | {"advantage_norm"}


def test_regularisers_add_up_and_none_is_zero() -> None:
    rollout = make_rollout()
    new = make_evaluation(rollout)
    assert float(EMPTY.regulariser(new, rollout)) == 0
    both = EMPTY.set({"entropy_bonus.weight": 0.2, "ppo_ptx.weight": 0.1})
    entropy = float(new.entropy[rollout.mask].mean())
    assert float(both.regulariser(new, rollout)) == pytest.approx(0.1 * 2.5 - 0.2 * entropy)


def test_a_recipe_without_tricks_changes_nothing() -> None:
    rollout = make_rollout()
    sampling, optimisation = Sampling(1.0, 8, 32), Optimisation(epochs=1, minibatch_size=8)
    assert EMPTY.sampling(sampling) == sampling
    assert EMPTY.optimisation(optimisation, 32) == optimisation
    assert EMPTY.rates(0, 10) == Rates(1.0, 1.0)
    assert EMPTY.reward_function(rollout.score, rollout) is rollout.score
    assert EMPTY.value(rollout.value, rollout.mask) is rollout.value
    assert EMPTY.rollout_advantage(rollout.advantage, rollout) is rollout.advantage
    assert EMPTY.selection(rollout).tolist() == [0, 1, 2, 3]
    assert EMPTY.stops(make_evaluation(rollout), rollout) is False
    assert EMPTY.score(rollout.score, rollout) is rollout.score
    assert EMPTY.reward(rollout.reward, rollout) is rollout.reward
    assert EMPTY.advantage(rollout.advantage, rollout.mask) is rollout.advantage
    assert EMPTY.gradient([rollout.value], [])[0][0] is rollout.value


@pytest.mark.parametrize("name", [n for n, kind in registry().items() if kind.neutral is not None])
def test_a_neutral_trick_leaves_the_losses_of_the_recipe_alone(name: str) -> None:
    kind = registry()[name]
    rollout = make_rollout()
    rollout = replace(rollout, ref_log_prob=rollout.log_prob)
    # an estimator's neutral setting is the Monte Carlo return, which is gae at λ = 1
    start = {"gae.trace": 1.0} if kind.slot == "advantage_estimator" else {}
    neutral = kind.neutral or {}
    matched = [(own, other) for own, others in kind.matches.items() for other in others]
    start |= {other: neutral[own] for own, other in matched if own in neutral}
    base = EMPTY.set({"clipped_surrogate.clip_range": inf} | start)
    losses = []
    for recipe in (base, base.plus(kind(**neutral))):
        given = replace(rollout)
        given.score = recipe.reward_function(given.score, given)
        recipe.observe(given)
        given.value = recipe.value(given.value, given.mask)
        given.score = recipe.score(given.score, given)
        given.reward = recipe.reward(given.reward, given)
        given.advantage, given.returns = recipe.advantage_estimator(given)
        given.advantage = recipe.rollout_advantage(given.advantage, given)
        new = make_evaluation(given)
        advantage = recipe.advantage(given.advantage, given.mask)
        policy_loss = recipe.policy_loss(new, given, advantage)
        value_loss = recipe.value_loss(new, given)
        losses.append(torch.stack([policy_loss, value_loss, recipe.regulariser(new, given)]))
    assert_close(losses[1], losses[0], rtol=1e-12, atol=1e-12)


def test_tricks_of_one_recipe_have_one_member_per_group() -> None:
    groups = [trick.group for trick in PPO_MAX.plus(AdvantageNorm()).tricks if trick.group]
    assert len(groups) == len(set(groups))


def test_a_cited_recipe_is_the_same_recipe_with_sources() -> None:
    cited = Recipe.cited("one", "What it is.", (RewardClip(max_abs=1.0), "table 1"), (Gae(), "table 2"))
    plain = Recipe("one", (RewardClip(max_abs=1.0), Gae()))
    assert cited == plain and cited.fingerprint() == plain.fingerprint()
    assert cited.sources == {"reward_clip": "table 1", "gae": "table 2"} and not plain.sources
    assert (cited.start().about, cited.start().sources) == (cited.about, cited.sources)


def test_a_trick_that_is_changed_or_displaced_loses_its_source() -> None:
    cited = Recipe.cited("one", "", (RewardNorm(), "table 1"), (RewardClip(max_abs=1.0), "table 2"))
    assert set(cited.plus(ValueClip()).sources) == {"reward_norm", "reward_clip"}
    assert set(cited.plus(RewardScaling()).sources) == {"reward_clip"}
    assert set(cited.set({"reward_clip.max_abs": 2.0}).sources) == {"reward_norm"}
    assert set(cited.set({"reward_clip.max_abs": 1.0}).sources) == {"reward_norm", "reward_clip"}
    assert set(cited.without("reward_norm").sources) == {"reward_clip"}


def test_a_cited_recipe_refuses_rivals_and_empty_sources() -> None:
    with pytest.raises(ValueError, match="recipe one holds both reward_norm and reward_scaling"):
        Recipe.cited("one", "", (RewardNorm(), "table 1"), (RewardScaling(), "table 2"))
    with pytest.raises(ValueError, match="recipe one says no source for reward_norm"):
        Recipe.cited("one", "", (RewardNorm(), " "))


@pytest.mark.parametrize("recipe", recipes().values(), ids=lambda recipe: recipe.name)
def test_a_published_recipe_says_what_it_is_and_cites_every_trick(recipe: Recipe) -> None:
    assert recipe.about
    uncited = set(names(recipe)) - set(recipe.sources)
    assert uncited <= set(TEXTBOOK), f"{recipe.name} cites nothing for {uncited}"


def test_a_run_that_is_shorter_than_critic_pretraining_is_said_to_stand_still() -> None:
    recipe = Recipe("mine", [ClippedSurrogate(), CriticPretraining(iterations=8)])
    still = "the policy does not move in a run of 8 iterations, for critic_pretraining holds it still"
    assert recipe.stillness(8) == still
    assert recipe.stillness(9) == ""


def test_a_recipe_that_contradicts_itself_is_refused_in_a_sentence() -> None:
    critic_free = EMPTY.plus(registry()["reinforce"]())
    with pytest.raises(ValueError, match=r"^critic_pretraining needs a critic, and reinforce does with"):
        critic_free.plus(registry()["critic_pretraining"]())
    with pytest.raises(ValueError, match=r"leave out truncation_bootstrap, critic_pretraining, or let"):
        critic_free.plus(registry()["critic_pretraining"](), registry()["truncation_bootstrap"]())
    with pytest.raises(ValueError, match=r"^icepop and behaviour_ratio cannot be together; leave one"):
        EMPTY.plus(registry()["behaviour_ratio"](), registry()["icepop"]())
    with pytest.raises(ValueError, match=r"^score_after_end.trace must equal gae.trace, got 0.95"):
        EMPTY.set({"gae.trace": 0.9, "score_after_end.trace": 0.95})
    both = EMPTY.set({"gae.trace": 0.9, "score_after_end.trace": 0.9})
    assert {"gae", "score_after_end"} <= set(names(both))
    with pytest.raises(ValueError, match=r"^truncation_bootstrap.discount must equal monte_carlo.disc"):
        EMPTY.set({"monte_carlo.discount": 0.9, "truncation_bootstrap": True})
    with pytest.raises(ValueError, match=r"^value_after_end and token_reward_whitening cannot be"):
        recipes()["trl"].set({"token_reward_whitening": True})
