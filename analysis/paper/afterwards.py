"""Where a claim failed: what was looked at afterwards to see why.

Chosen when the verdicts were known, so that these numbers have no bound to pass, no p, and no part in
any verdict.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from analysis import evidence as of
from analysis.claims import Open
from analysis.monitor_contest import advantage_of_action_space, lead_of_action_space
from analysis.paper.results import mean_row
from analysis.reward_model_facts import accuracy, early_share

Found = dict[str, Any]
"""A row of `mean_row`."""
Look = Callable[[Open], Iterator[Found]]
STUDIES = tuple(
    f"afterwards_{name}" for name in ("entropy", "kl", "few_pairs", "short", "early", "slow")
)
"""Studies that were run for these questions alone."""
GOLD = of.end("eval/gold")


def c01(study: Open) -> Iterator[Found]:
    """Where does learning slow, if not after a fifth of an epoch?"""
    for fifths in (2, 3):
        found = study("02").values("ppo_max", partial(early_share, by=fifths / 5))
        what = f"share of the rise in the first {fifths} fifths of an epoch, clear"
        yield mean_row(what, "share", found)


def c02(study: Open) -> Iterator[Found]:
    """And where the reward model is stopped much earlier, after 50 of 374 steps?"""
    full, early = study("02"), study("afterwards_early")
    for what, unit, quantity in (
        ("accuracy, full less early", "share", accuracy),
        ("final gold, full less early", "gold", GOLD),
        ("share of runs that hold, full less early", "share", of.held),
    ):
        pair = full.of("ppo_max", quantity), early.of("ppo_max", quantity)
        yield mean_row(what, unit, of.paired(*pair))


def c03(study: Open) -> Iterator[Found]:
    """How much better are the reward models themselves?"""
    few, default, many = (
        study(name).of("ppo_max", accuracy)
        for name in ("reward_model_few_pairs", "02", "reward_model_many_pairs")
    )
    yield mean_row("accuracy, default less few pairs", "share", of.paired(default, few))
    yield mean_row("accuracy, many less default pairs", "share", of.paired(many, default))


def c05(study: Open) -> Iterator[Found]:
    """And beside an arm whose critic starts as vanilla PPO's does, that with the KL penalty?"""
    arms, pair = study("07"), ("vanilla", "kl_penalty")
    area = advantage_of_action_space(arms, pair)
    yield mean_row("area, action space less reward and losses", "area", area)
    lead = lead_of_action_space(arms, pair)
    yield mean_row("lead, action space less reward and losses", "iterations", lead)


def c06(study: Open) -> Iterator[Found]:
    """Do tails grow with a poorer reward model, or where responses cannot double in length?"""
    tail = of.minus(of.log(of.tail(of.end)), of.log(of.tail(of.start)))
    for name, words in (("few_pairs", "a twelfth of the pairs"), ("short", "at most 32 tokens")):
        found = study(f"afterwards_{name}").values("vanilla", tail)
        yield mean_row(f"ln lower tail, end less start, {words}", "ln", found)


def c07(study: Open) -> Iterator[Found]:
    """And at half the learning rates, for twice as long?"""
    yield from _slow_lasting(study, "reward_norm_clip_0.3")


def c08(study: Open) -> Iterator[Found]:
    """Does a larger entropy bonus make PPO last?"""
    arms = study("afterwards_entropy")
    for weight in ("0.03", "0.1"):
        last = arms.less(f"entropy_{weight}", "vanilla", of.lasting)
        yield mean_row(f"lasting, weight {weight} less vanilla", "iterations", last)


def c13(study: Open) -> Iterator[Found]:
    """And in what the policy is worth at the end?"""
    arms = study("14")
    alone = arms.of("reward_advantage", GOLD) - arms.of("reward", GOLD)
    beside = arms.of("reward_advantage_value", GOLD) - arms.of("reward_value", GOLD)
    what = "final gold gained by advantage normalisation, without less with value clip"
    yield mean_row(what, "gold", of.paired(alone, beside))


def c14(study: Open) -> Iterator[Found]:
    """Does the score feel larger weights?"""
    arms = study("afterwards_kl")
    for low, high in (("0.2", "0.4"), ("0.4", "0.8")):
        score = arms.score(f"kl_{low}", f"kl_{high}")
        yield mean_row(f"final score, weight {low} less {high}", "σ", score)


def c15(study: Open) -> Iterator[Found]:
    """And with a bonus ten times as large?"""
    arms, name = study("afterwards_entropy"), "entropy_clip_0.1"
    wild = arms.less("entropy_0.1", name, of.end("policy/entropy"))
    yield mean_row("final entropy, bonus less clipped bonus", "nats/token", wild)
    last = arms.less(name, "entropy_0.1", of.lasting)
    yield mean_row("lasting, clipped bonus less bonus", "iterations", last)
    others = (arms.of(f"{name}_low", GOLD) + arms.of(f"{name}_high", GOLD)) / 2
    yield mean_row("final gold, δ less δ a tenth off", "gold", of.paired(arms.of(name, GOLD), others))


def c16(study: Open) -> Iterator[Found]:
    """And at half the learning rates, for twice as long?"""
    yield from _slow_lasting(study, "no_clip")


def c17(study: Open) -> Iterator[Found]:
    """And at half the learning rates, for twice as long?"""
    yield from _slow_lasting(study, "gradient_clip_0.5")


def _slow_lasting(study: Open, arm: str) -> Iterator[Found]:
    arms = study("afterwards_slow")
    yield mean_row(f"lasting, {arm} less vanilla", "iterations", arms.less(arm, "vanilla", of.lasting))
    yield mean_row(f"final score, {arm} less vanilla", "σ", arms.score(arm, "vanilla"))


LOOKS: Mapping[str, Look] = {
    look.__name__.upper(): look for look in (c01, c02, c03, c05, c06, c07, c08, c13, c14, c15, c16, c17)
}


def looked_at(open_study: Open) -> dict[str, Any]:
    """Return, by claim, the question and what was found, as plain data; none where runs are missing."""
    found = {}
    for claim, look in LOOKS.items():
        try:
            rows = list(look(open_study))
        except LookupError:
            continue
        found[claim] = {"question": look.__doc__, "parts": rows}
    return found
