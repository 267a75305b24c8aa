"""The paper's eighteen claims, each as a rule that was written down before the runs that decide it.

A rule names the studies, the arms, the metric, the direction and the smallest effect that counts;
`analysis.verdicts` says how parts become a verdict. Gold is the judge's score, σ the standard deviation
of the reward-model scores of the SFT policy's responses, lasting the iterations before a collapse.
Where the paper's words leave the measure open, the docstring says which was chosen.
Source of every claim: Zheng et al. 2023, arXiv:2307.04964.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from analysis import evidence as of
from analysis.evidence import Arms
from analysis.intervals import FloatArray, floats
from analysis.monitor_contest import advantage_of_action_space, lead_of_action_space
from analysis.reward_model_facts import accuracy, early_share, margin_spread
from analysis.verdicts import Part

GOLD = 0.15
"""Smallest difference in gold that counts: a quarter of what SFT lacks to a good demonstration."""
SCORE = 0.1
"""Smallest difference in reward-model score that counts, in σ."""
SHARE = 0.05
"""Smallest difference between shares of prompts that counts."""
ITERATIONS = 10.0
"""Smallest difference in lasting that counts."""
RATIO, CLEAR_RATIO = float(np.log(1.1)), float(np.log(1.25))
"""Smallest ratios that count: of length, perplexity and noise, and of KL, which varies more."""
AREA = 0.05
"""Smallest difference between areas under the ROC curve that counts."""
ALIKE = 15.0
"""Iterations of lasting within which arms count as alike."""

Open = Callable[[str], Arms]
"""Opens a study of the paper by its figure, such as "04"."""


def above(what: str, unit: str, values: FloatArray, bound: float) -> Part:
    """State that a mean exceeds a bound."""
    return Part(what, unit, values, bound, "above")


def within(what: str, unit: str, values: FloatArray, bound: float) -> Part:
    """State that a mean lies between −bound and bound."""
    return Part(what, unit, values, bound, "within")


def c01(study: Open) -> Iterator[Part]:
    """Clear gaps between responses give higher accuracy and wider margins; learning slows early.

    Ten reward models a data set. The slowing: more than half of the rise in held-out accuracy comes in
    the first fifth of the first epoch.
    """
    clear, subtle = study("02"), study("03")
    pair = clear.of("ppo_max", accuracy), subtle.of("ppo_max", accuracy)
    yield above("accuracy, clear less subtle", "share", of.paired(*pair), 0.02)
    spread = of.log(margin_spread)
    pair = clear.of("ppo_max", spread), subtle.of("ppo_max", spread)
    yield above("ln width of margins, clear less subtle", "ln", of.paired(*pair), RATIO)
    for name, arms in (("clear", clear), ("subtle", subtle)):
        early = arms.values("ppo_max", early_share)
        yield above(f"share of the rise in the first fifth of an epoch, {name}", "share", early, 0.5)


def c02(study: Open) -> Iterator[Part]:
    """A reward model stopped early, though about as accurate, gives the worse policy.

    About as accurate: within 0.03.
    """
    full, early = study("02"), study("reward_model_early")
    pair = full.of("ppo_max", accuracy), early.of("ppo_max", accuracy)
    yield within("accuracy, full less early", "share", of.paired(*pair), 0.03)
    gold = of.end("eval/gold")
    pair = full.of("ppo_max", gold), early.of("ppo_max", gold)
    yield above("final gold, full less early", "gold", of.paired(*pair), GOLD)


def c03(study: Open) -> Iterator[Part]:
    """Better reward models give better policies: final gold rises from step to step of their data."""
    ladder = ("reward_model_few_pairs", "02", "reward_model_many_pairs")
    gold = of.end("eval/gold")
    ends = [study(name).of("ppo_max", gold) for name in ladder]
    yield above("final gold, default less few pairs", "gold", of.paired(ends[1], ends[0]), GOLD)
    yield above("final gold, many less default pairs", "gold", of.paired(ends[2], ends[1]), 0.0)


def c04(study: Open) -> Iterator[Part]:
    """Pattern collapse of vanilla PPO: the score rises, the win rate rises and then falls below ½.

    KL rises and responses lengthen by more than a tenth, perplexity falls by more than a tenth.
    """
    arms = study("04")
    score = arms.values("vanilla", of.rise("eval/proxy")) / arms.score_unit
    yield above("rise of the reward-model score", "σ", score, 0.5)
    best, last = of.best("eval/win_rate"), of.end("eval/win_rate")
    yield above("best win rate over one half", "share", arms.values("vanilla", best) - 0.5, SHARE)
    yield above("one half over the final win rate", "share", 0.5 - arms.values("vanilla", last), SHARE)
    yield above("rise of KL", "nats", arms.values("vanilla", of.rise("policy/kl_to_sft")), 1.0)
    for name, sign, word in (("response_length", 1, "rise"), ("perplexity", -1, "fall")):
        metric = f"policy/{name}"
        ratio = of.minus(of.log(of.end(metric)), of.log(of.start(metric)))
        change = sign * arms.values("vanilla", ratio)
        yield above(f"{word} of ln {name.replace('_', ' ')}", "ln", change, RATIO)


def c05(study: Open) -> Iterator[Part]:
    """Perplexity, length and KL tell a collapse better and earlier than reward and losses do.

    Better: the area under the ROC curve for a collapse within 20 iterations. Earlier: iterations
    between alarm and collapse. Means over three monitors each, per seed, in the runs of vanilla PPO
    and PPO-max; directions and thresholds are learnt from the other seeds.
    """
    arms = study("08")
    yield above(
        "area, action space less reward and losses", "area", advantage_of_action_space(arms), AREA
    )
    yield above(
        "lead, action space less reward and losses", "iterations", lead_of_action_space(arms), 5.0
    )


def c06(study: Open) -> Iterator[Part]:
    """Long tails of the reward appear after the collapse of vanilla PPO.

    Tail: the distance of the 5 % quantile from the median, over that of the quartiles.
    """
    tail = of.minus(of.log(of.tail(of.end)), of.log(of.tail(of.start)))
    found = study("04").values("vanilla", tail)
    yield above("ln lower tail, end less start", "ln", found, RATIO)


def c07(study: Open) -> Iterator[Part]:
    """Reward scaling is like vanilla; norm and clip only delay; a larger clip ends at a higher score."""
    arms = study("06")
    last = arms.less("reward_scaling", "vanilla", of.lasting)
    yield within("lasting, reward scaling less vanilla", "iterations", last, ALIKE)
    last = arms.less("reward_norm_clip_0.3", "vanilla", of.lasting)
    yield above("lasting, norm and clip 0.3 less vanilla", "iterations", last, ITERATIONS)
    drift = of.minus(of.end("policy/kl_to_sft"), of.at_share("policy/kl_to_sft", 2 / 3))
    kl = arms.values("reward_norm_clip_0.3", drift)
    yield above("KL still rising in the last third, norm and clip 0.3", "nats", kl, 1.0)
    score = arms.score("reward_norm_clip_0.8", "reward_norm_clip_0.3")
    yield above("final score, clip 0.8 less 0.3", "σ", score, SCORE)


def c08(study: Open) -> Iterator[Part]:
    """Only KL penalty or entropy bonus last; KL with importance sampling drifts and scores least."""
    arms = study("07")
    for arm in ("kl_penalty", "entropy_bonus"):
        last = arms.less(arm, "vanilla", of.lasting)
        yield above(f"lasting, {arm} less vanilla", "iterations", last, ITERATIONS)
    kl = of.log(of.end("policy/kl_to_sft"))
    drift = arms.less("kl_penalty", "kl_and_importance_sampling", kl)
    yield above("ln KL, penalty less penalty with sampling", "ln", drift, CLEAR_RATIO)
    score = arms.score("kl_penalty", "kl_and_importance_sampling")
    yield above("final score, penalty less penalty with sampling", "σ", score, SCORE)


def c09(study: Open) -> Iterator[Part]:
    """No SFT fails; the critic's start does not matter in the end; its pre-training steadies PPO early.

    Steadier: the critic's loss over the first 30 iterations in which the policy learns.
    """
    arms, gold = study("08"), of.end("eval/gold")
    yield above(
        "final gold, PPO-max less PPO-max without SFT", "gold",
        arms.less("ppo_max", "without_sft", gold), GOLD,
    )  # fmt: skip
    same = arms.less("ppo_max", "critic_from_sft", gold)
    yield within("final gold, critic from reward model less from SFT", "gold", same, GOLD)
    waited = arms.of("vanilla_critic_pretraining", of.log(of.mean_over("ppo/value_loss", 8, of.EARLY)))
    at_once = arms.of("vanilla", of.log(of.mean_over("ppo/value_loss", 0, of.EARLY)))
    calm = of.paired(at_once, waited)
    yield above("ln early value loss, vanilla less pre-trained critic", "ln", calm, RATIO)


def c10(study: Open) -> Iterator[Part]:
    """PPO-max holds ten times longer than vanilla PPO lasts, and keeps its gold."""
    arms = study("09")
    yield above(
        "share of runs that hold over one half", "share", arms.values("ppo_max", of.held) - 0.5, 0.0
    )
    change = of.minus(of.end("eval/gold"), of.at_share("eval/gold", 0.1))
    kept = arms.values("ppo_max", change)
    yield above("gold at the end less gold after a tenth", "gold", kept, -GOLD)


def c11(study: Open) -> Iterator[Part]:
    """RLHF beats SFT on helpful and on harmless prompts, most on the harmless ones."""
    arms, net = study("08"), {}
    for kind in ("helpful", "harmless"):
        won = of.minus(of.end(f"eval/{kind}_win"), of.end(f"eval/{kind}_loss"))
        net[kind] = arms.of("ppo_max", won)
        yield above(f"won less lost, {kind}", "share", floats(net[kind].dropna()), SHARE)
    more = of.paired(net["harmless"], net["helpful"])
    yield above("won less lost, harmless less helpful", "share", more, SHARE)


def c12(study: Open) -> Iterator[Part]:
    """PPO costs ability on held-out language, and PPO-ptx gives most of it back."""
    arms, name = study("12"), "eval/held_out_perplexity"
    tax = of.minus(of.log(of.end(name)), of.log(of.start(name)))
    without = arms.of("without_ptx", tax)
    cost = floats(without.dropna())
    yield above("rise of ln held-out perplexity without ptx", "ln", cost, float(np.log(1.02)))
    back = of.paired(0.5 * without, arms.of("ppo_max", tax))
    yield above("half of that less the rise with ptx", "ln", back, 0.0)


def c13(study: Open) -> Iterator[Part]:
    """Operations on advantages and on values conflict: each helps less where the other is.

    Conflict: lasting with both, less with either one, plus with neither, all beside a normalised reward.
    """
    arms = study("14")
    with_both = arms.of("reward_advantage_value", of.lasting) - arms.of("reward_value", of.lasting)
    with_one = arms.of("reward_advantage", of.lasting) - arms.of("reward", of.lasting)
    yield above(
        "lasting gained by advantage normalisation, without less with value clip", "iterations",
        of.paired(with_one, with_both), ITERATIONS,
    )  # fmt: skip


def c14(study: Open) -> Iterator[Part]:
    """A larger KL weight gives a lower score and less drift, step by step; early fluctuation stays.

    It stays if the noise of the score over the first 30 iterations is within a factor 1.5.
    """
    arms, kl = study("15"), of.log(of.end("policy/kl_to_sft"))
    for low, high in (("0.05", "0.1"), ("0.1", "0.2")):
        score = arms.score(f"kl_{low}", f"kl_{high}")
        yield above(f"final score, weight {low} less {high}", "σ", score, SCORE)
        drift = arms.less(f"kl_{low}", f"kl_{high}", kl)
        yield above(f"ln KL, weight {low} less {high}", "ln", drift, CLEAR_RATIO)
    jumps = arms.less("kl_0.2", "kl_0.05", of.log(of.noise("reward/proxy")))
    yield within("ln early noise, weight 0.2 less 0.05", "ln", jumps, float(np.log(1.5)))


def c15(study: Open) -> Iterator[Part]:
    """Without its clip the entropy bonus blows up; the clip's δ is brittle: a tenth breaks it."""
    arms = study("16")
    wild = arms.less("entropy_bonus", "entropy_clip", of.end("policy/entropy"))
    yield above("final entropy, bonus less clipped bonus", "nats/token", wild, 0.2)
    last = arms.less("entropy_clip", "entropy_bonus", of.lasting)
    yield above("lasting, clipped bonus less bonus", "iterations", last, ITERATIONS)
    gold = of.end("eval/gold")
    others = (arms.of("entropy_clip_low", gold) + arms.of("entropy_clip_high", gold)) / 2
    best = of.paired(arms.of("entropy_clip", gold), others)
    yield above("final gold, δ less δ a tenth off", "gold", best, GOLD)


def c16(study: Open) -> Iterator[Part]:
    """The range of the policy's clip matters little, and does not replace the KL penalty."""
    arms = study("17")
    for arm in ("no_clip", "clip_0.5"):
        last = arms.less(arm, "vanilla", of.lasting)
        yield within(f"lasting, {arm} less clip 0.2", "iterations", last, ALIKE)
        gold = arms.less("kl_penalty", arm, of.end("eval/gold"))
        yield above(f"final gold, KL penalty less {arm}", "gold", gold, GOLD)


def c17(study: Open) -> Iterator[Part]:
    """Global gradient clips of none, 0.5 and 1 cannot be told apart."""
    arms = study("18")
    for arm, other in (("clip_0.5", "vanilla"), ("clip_1", "vanilla"), ("clip_1", "clip_0.5")):
        last = arms.less(arm, other, of.lasting)
        yield within(f"lasting, {arm} less {other}", "iterations", last, ALIKE)
        yield within(f"final score, {arm} less {other}", "σ", arms.score(arm, other), 0.25)


def c18(study: Open) -> Iterator[Part]:
    """λ = 0 is unstable; λ = 1 is noisier.

    Unstable: it lasts less long than λ = 0.9. Noisier: its advantages spread wider.
    """
    arms = study("19")
    last = arms.less("lambda_0.9", "lambda_0", of.lasting)
    yield above("lasting, λ 0.9 less 0", "iterations", last, ITERATIONS)
    spread = of.log(of.mean_over("ppo/advantage_std", 0, of.EARLY))
    noisy = arms.less("lambda_1", "lambda_0.9", spread)
    yield above("ln early spread of advantages, λ 1 less 0.9", "ln", noisy, RATIO)


@dataclass(frozen=True)
class Claim:
    """One claim of the paper and the rule that decides it."""

    id: str
    figure: str
    rule: Callable[[Open], Iterator[Part]]

    @property
    def says(self) -> str:
        """What the paper says, in one sentence."""
        return (self.rule.__doc__ or "").partition("\n")[0]


FIGURES = {
    **{"C01": "2, 3", "C02": "§4.4", "C03": "§1", "C04": "4", "C05": "§5.2", "C06": "13", "C07": "6"},
    **{"C08": "7", "C09": "8", "C10": "9", "C11": "10", "C12": "12", "C13": "14", "C14": "15"},
    **{"C15": "16", "C16": "17", "C17": "18", "C18": "19"},
}
RULES = (c01, c02, c03, c04, c05, c06, c07, c08, c09, c10, c11, c12, c13, c14, c15, c16, c17, c18)
CLAIMS = tuple(Claim(*named, rule) for named, rule in zip(FIGURES.items(), RULES, strict=True))
