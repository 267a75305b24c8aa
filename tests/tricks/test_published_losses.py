"""Losses and gradients that other systems' own code gave on the batch of published_batch.py.

Each number was computed once, in float64, by the named function at the named commit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import make_evaluation, make_rollout
from tests.tricks.published_batch import (
    ADVANTAGE,
    MASK,
    NEW,
    REF,
    published_evaluation,
    published_rollout,
    table,
)
from workbench.maths import kl_estimate
from workbench.recipe import Recipe
from workbench.registry import registry
from workbench.trick import Value
from workbench.tricks.ratio.log_ratio_clamp import LogRatioClamp

RTOL, ATOL = 1e-6, 1e-9
PPO = table(
    (0, 0, 0.1871630754, -0.03234680297, 0.08352345397),
    (0, -0.04193542678, 0.02550394426),
    (0,),
    (0, -0.01876475353, 0.03574874593, 0.1902370697),
)
"""The gradient of plain PPO with a clip of 0.2, token mean."""
FIRST = torch.where(MASK, ADVANTAGE[:, :1], 0.0)
"""One advantage per response: that of its first token."""


@dataclass(frozen=True)
class Case:
    """What a system's policy loss gave, and the tricks that give it here.

    Attributes:
        loss: its value.
        gradient: its gradient in log π; not compared where None.
        ours: tricks by name with "on", and `trick.field` to value.
        advantage: [B, T].
    """

    loss: float
    gradient: Tensor | None
    ours: dict[str, Value]
    advantage: Tensor = field(default_factory=lambda: ADVANTAGE)


# verl b178a3cd, verl/trainer/ppo/core_algos.py, compute_policy_loss_*; config: clip_ratio_low 0.2,
# clip_ratio_high 0.2 or, where said, 0.28; loss_agg_mode "token-mean" where the function heeds it.
VERL = {
    # _vanilla, clip_ratio_c = 3
    "dual clip": Case(
        0.09119699982,
        table(
            (0, 0, 0, -0.03234680297, 0.08352345397),
            (0, -0.04193542678, 0.02550394426),
            (0,),
            (0, -0.01876475353, 0.03574874593, 0.1902370697),
        ),
        {"dual_clip.clip_range": 0.2, "dual_clip.ratio_cap": 3.0, "log_ratio_clamp.max_abs": 20.0},
    ),
    # _vanilla, clip_ratio_high = 0.28, clip_ratio_c = 1e9: no cap
    "clip higher": Case(
        0.1180405782,
        table(
            (0, 0, 0.1871630754, -0.03234680297, 0.08352345397),
            (0, -0.04193542678, 0.02550394426),
            (0,),
            (-0.1917041124, -0.01876475353, 0.03574874593, 0.1902370697),
        ),
        {"clip_higher.clip_range_low": 0.2, "clip_higher.clip_range_high": 0.28},
    ),
    # _vanilla with rollout_is_weights = min(π_old/μ_old, 2)
    "truncated importance sampling": Case(
        0.3325768325,
        table(
            (0, 0, 0, -0.0118997238, 0.1670469079),
            (0, -0.0170496722, 0.01986249176),
            (0,),
            (0, -0.01390127132, 0.04366361688, 0.1153846154),
        ),
        {
            "dual_clip.clip_range": 0.2, "dual_clip.ratio_cap": 3.0,
            "truncated_importance_sampling.low": 0.0, "truncated_importance_sampling.high": 2.0,
        },
    ),
    # _gspo, clip_ratio_high = 0.28, on FIRST
    "gspo": Case(
        -1.044264026,
        table((0,) * 5, (0,) * 3, (0,), (-0.1240660065,) * 4),
        {
            "sequence_ratio": "on", "sequence_mean": "on",
            "clip_higher.clip_range_low": 0.2, "clip_higher.clip_range_high": 0.28,
        },
        FIRST,
    ),
    # _cispo, clip_ratio_high = 0.28
    "cispo": Case(
        0.04576897446,
        table(
            (-0.1476923077, 0.04923076923, 0.05907692308, -0.03234680297, 0.08352345397),
            (-0.08861538462, -0.04307692308, 0.02550394426),
            (0.06769230769,),
            (-0.1917041124, -0.03692307692, 0.03574874593, 0.1476923077),
        ),
        {"cispo.clip_range_low": 0.2, "cispo.clip_range_high": 0.28},
    ),
    # _sapo, tau_pos = 1, tau_neg = 1.05; "seq-mean-token-mean" by itself
    "sapo": Case(
        0.08724728746,
        table(
            (-0.09820357465, 0.02602533461, 0.01817862124, -0.02101161042, 0.05415495968),
            (-0.06671805258, -0.04487883333, 0.02754521132),
            (0.1427619897,),
            (-0.1534252285, -0.01397909969, 0.02883718739, 0.1379392339),
        ),
        {
            "sapo.temperature_positive": 1.0, "sapo.temperature_negative": 1.05, "sequence_mean": "on",
        },
    ),
    # _geo_mean; a mean over responses by itself
    "gmpo": Case(
        0.1176391635,
        table(
            (0, 0, 0.009169751114, 0.009169751114, 0.009169751114),
            (0, -0.03671800613, -0.03671800613),
            (0,),
            (0, -0.01080163214, -0.01080163214, -0.01080163214),
        ),
        {"gmpo.clip_range": 0.2, "sequence_mean": "on"},
    ),
    # _clip_cov, clip_cov_ratio = 1, bounds 0 and 5: both candidates go, whatever the draw
    "clip-cov, all candidates": Case(
        0.02062633685,
        table(
            (0, 0, 0.1871630754, -0.03234680297, 0),
            (0, -0.04193542678, 0.02550394426),
            (0,),
            (0, -0.01876475353, 0, 0.1902370697),
        ),
        {"clip_cov.clip_range": 0.2, "clip_cov.share": 1.0, "clip_cov.low": 0.0},
    ),
    # _clip_cov, clip_cov_ratio = 0.08: one of 13, bounds 0.1 and 5: one candidate
    "clip-cov, one candidate": Case(
        0.05637508278,
        table(
            (0, 0, 0.1871630754, -0.03234680297, 0),
            (0, -0.04193542678, 0.02550394426),
            (0,),
            (0, -0.01876475353, 0.03574874593, 0.1902370697),
        ),
        {"clip_cov.clip_range": 0.2, "clip_cov.share": 0.08, "clip_cov.low": 0.1},
    ),
    # _kl_cov, kl_cov_ratio = 0.2: two of 13, ppo_kl_coef = 0.1
    "kl-cov": Case(
        -0.07835991224,
        table(
            (-0.1557529393, 0.04125046437, 0.1871630754, -0.03234680297, 0.08352345397),
            (-0.2540282308, -0.04193542678, 0.02550394426),
            (0.03874559998,),
            (-0.1840118047, -0.01876475353, 0.03574874593, 0.1902370697),
        ),
        {"kl_cov.share": 0.2, "kl_cov.weight": 0.1},
    ),
    # _gpg
    "policy gradient": Case(0.01115384615, -ADVANTAGE / 13, {"policy_gradient": "on"}),
}  # fmt: skip

# OpenRLHF 3c3be623, openrlhf/models/loss.py, PolicyLoss; thresholds (0.5, 5) where it corrects.
OPENRLHF = {
    "ppo": Case(0.1398985368, PPO, {"clipped_surrogate.clip_range": 0.2}),
    # clip_eps_high = 0.27
    "dapo": Case(
        0.119886732,
        PPO + table((0,) * 5, (0,) * 3, (0,), (-0.1917041124, 0, 0, 0)),
        {"clip_higher.clip_range_low": 0.2, "clip_higher.clip_range_high": 0.27},
    ),
    # dual_clip = 3
    "dual clip": Case(0.09119699982, VERL["dual clip"].gradient, {"dual_clip.ratio_cap": 3.0}),
    # token_level_loss = False
    "sequence mean": Case(
        0.2274871603,
        table(
            (0, 0, 0.1216559988, -0.02102542189, 0.05429024497),
            (0, -0.04543004553, 0.02762927286),
            (0,),
            (0, -0.0152463622, 0.029045856, 0.1545676187),
        ),
        {"sequence_mean": "on"},
    ),
    "tis": Case(
        0.6348894394,
        table(
            (0, 0, 0.2068471879, -0.01617340148, 0.4176172699),
            (0, -0.02096771339, 0.01986249176),
            (0,),
            (0, -0.01390127132, 0.04366361688, 0.1153846154),
        ),
        {"truncated_importance_sampling.low": 0.5, "truncated_importance_sampling.high": 5.0},
    ),
    "icepop": Case(
        0.2959517459,
        table(
            (0, 0, 0.2068471879, 0, 0),
            (0, 0, 0.01986249176),
            (0,),
            (0, -0.01390127132, 0.04366361688, 0.1153846154),
        ),
        {"icepop.low": 0.5, "icepop.high": 5.0},
    ),
    "seq-mask-tis": Case(
        0.8813490173,
        table(
            (0, 0, 0.2068471879, -0.0118997238, 0.617159487),
            (0,) * 3,
            (0,),
            (0, -0.01390127132, 0.04366361688, 0.1153846154),
        ),
        {"sequence_mask_tis.low": 0.5, "sequence_mask_tis.high": 5.0},
    ),
    # policy_loss_type "gspo", clip_eps_low = 0.05, clip_eps_high = 0.08; advantages differ over tokens
    "gspo": Case(
        0.1748293746,
        table((0.03338466077,) * 5, (0.01222639166,) * 3, (0,), (-0.01085577557,) * 4),
        {
            "sequence_ratio": "on", "sequence_mean": "on",
            "clip_higher.clip_range_low": 0.05, "clip_higher.clip_range_high": 0.08,
        },
    ),
}  # fmt: skip

OTHERS = {
    # trlX 3340c2f3, trlx/models/modeling_ppo.py, PPOConfig.loss, its policy_loss; cliprange 0.2
    "trlX": Case(0.1398985368, PPO, {}),
    # DeepSpeed-Chat 83757d9c, dschat/rlhf/ppo_trainer.py, actor_loss_fn; cliprange 0.2
    "DeepSpeed-Chat": Case(0.1398985368, PPO, {}),
    # MOSS-RLHF 4865d826, ppo/ppo_trainer.py, criterion, on logits of two tokens; vf_loss_weight 0
    "MOSS-RLHF": Case(0.1398985368, None, {}),
    "MOSS-RLHF, no policy clip": Case(-0.08466760455, None, {"unclipped_surrogate": "on"}),
    "MOSS-RLHF, advantage norm": Case(0.1522370467, None, {"advantage_norm": "on"}),
    "MOSS-RLHF, advantage clip": Case(0.1605746646, None, {"advantage_clip.max_abs": 0.5}),
    "MOSS-RLHF, advantage norm and clip": Case(
        0.1630649812, None, {"advantage_norm": "on", "advantage_clip.max_abs": 0.5}
    ),
    # RL4LMs 97df0bd2, algorithms/ppo/ppo.py, lines 220-255 of train, its minibatch our 13 tokens
    "RL4LMs": Case(
        0.1462646889,
        table(
            (0, 0, 0.1763613316, -0.02857497348, 0.07771927603),
            (0, -0.0376805726, 0.02463283584),
            (0,),
            (0, -0.01679769402, 0.03410664805, 0.1765690477),
        ),
        {"advantage_standardisation": "on"},
    ),
}
SYSTEMS = {"verl": VERL, "OpenRLHF": OPENRLHF, "others": OTHERS}


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=f"{s}: {n}") for s, cases in SYSTEMS.items() for n, c in cases.items()]
)
def test_a_policy_loss_and_its_gradient_equal_what_the_system_gave(case: Case) -> None:
    rollout, new, recipe = published_rollout(), published_evaluation(), with_tricks(case.ours)
    advantage = recipe.advantage(case.advantage, rollout.mask)
    found = recipe.policy_loss(new, rollout, advantage)
    assert float(found.detach()) == pytest.approx(case.loss, rel=RTOL)
    if case.gradient is not None:
        (gradient,) = torch.autograd.grad(found, new.log_prob)
        assert_close(gradient, case.gradient, rtol=RTOL, atol=ATOL)


def test_gspo_of_verl_has_our_loss_but_leaves_token_advantages_where_they_are() -> None:
    # verl _gspo, clip 0.2 and 0.28, advantages that differ over tokens.  Its ratio at token t is
    # ρ̃ π(y_t)/sg π(y_t), so the gradient of a token is its own term of the loss; ours goes through the
    # mean, as OpenRLHF's, and gives every token of a response the mean of those terms.
    theirs = table(
        (0, 0.05136101656, 0.03852076242, 0, 0.07704152485),
        (0, 0, 0.03667917498),
        (0,),
        (-0.1240660065, -0.03721980196, 0.02481320131, 0.09304950491),
    )
    new, case = published_evaluation(), VERL["gspo"]
    found = with_tricks(case.ours).policy_loss(new, published_rollout(), ADVANTAGE)
    (gradient,) = torch.autograd.grad(found, new.log_prob)
    assert float(found.detach()) == pytest.approx(0.08791270847, rel=RTOL)
    mean = theirs.sum(1, keepdim=True) / MASK.sum(1, keepdim=True)
    assert_close(gradient, torch.where(MASK, mean, 0.0), rtol=RTOL, atol=ATOL)


def test_the_count_of_kl_cov_is_rounded_down_as_in_verl() -> None:
    # verl _kl_cov, ppo_kl_coef = 0.1, 100 tokens of Â from −1 to 1 and ℓ from −½ to ½, log π_old = −1:
    # kl_cov_ratio 0.29 takes int(0.29·100) = int(28.999999999999996) = 28 tokens, 0.295 takes 29
    ramp = torch.linspace(-1, 1, 100, dtype=torch.float64)[None]
    old = torch.full_like(ramp, -1.0)
    rollout = make_rollout([100], log_prob=old)
    new = replace(make_evaluation(rollout), log_prob=old + ramp / 2)
    for share, expected in ((0.29, -0.162247867), (0.295, -0.1618892812)):
        recipe = with_tricks({"kl_cov.share": share, "kl_cov.weight": 0.1})
        assert float(recipe.policy_loss(new, rollout, ramp)) == pytest.approx(expected, rel=RTOL)


def test_a_far_log_ratio_is_clamped_as_in_verl() -> None:
    # verl _vanilla, clip_ratio_c = 1e12: log π_old = (−30, −1), log π = (−1, −26), Â = (−1, 2)
    # gave a loss of 242582597.7 = (e²⁰ − 2e⁻²⁰)/2 and no gradient
    old, advantage = table((-30.0, -1.0)), table((-1.0, 2.0))
    log_prob = table((-1.0, -26.0)).requires_grad_()
    rollout = make_rollout([2], log_prob=old)
    log_ratio = LogRatioClamp()(log_prob - old, make_evaluation(rollout), rollout)
    found = -torch.minimum(log_ratio.exp() * advantage, log_ratio.exp().clamp(0.8, 1.2) * advantage)
    assert float(found.detach().mean()) == pytest.approx(242582597.7, rel=1e-9)
    assert torch.autograd.grad(found.mean(), log_prob)[0].tolist() == [[0, 0]]


# Value losses.

VALUE_CLIPPED = table(
    (0, -0.06153846154, -0.1230769231, -0.04230769231, 0),
    (0.1076923077, 0, 0.1307692308),
    (0,),
    (-0.01538461538, 0.06153846154, -0.05384615385, 0),
)
VALUE_CASES = {
    # verl compute_value_loss, cliprange_value 0.2; trlX PPOConfig.loss, its value_loss;
    # DeepSpeed-Chat critic_loss_fn; MOSS-RLHF criterion: all 0.6977884615
    "clipped at 0.2": Case(0.6977884615, VALUE_CLIPPED, {"value_clip.clip_range": 0.2}),
    # OpenRLHF ValueLoss, clip_eps = 0.5
    "clipped at 0.5": Case(
        0.6216346154,
        table(
            (-0.007692307692, -0.06153846154, -0.1230769231, -0.04230769231, -0.04615384615),
            (0.1076923077, 0, 0.1307692308),
            (-0.1923076923,),
            (-0.01538461538, 0.06153846154, -0.05384615385, -0.007692307692),
        ),
        {"value_clip.clip_range": 0.5},
    ),
    # MOSS-RLHF criterion, use_critic_loss_clip False
    "not clipped": Case(0.62125, None, {}),
    # RL4LMs lines 245-255 of train, clip_range_vf = 0.2: no ½, so 1.278653846 and twice the gradient
    "clipped hard": Case(
        1.278653846 / 2,
        0.5
        * table(
            (0, -0.1230769231, 0, -0.08461538462, 0),
            (0.2153846154, 0, 0),
            (0,),
            (-0.03076923077, 0, -0.1076923077, 0),
        ),
        {"value_clip_hard.clip_range": 0.2},
    ),
}


@pytest.mark.parametrize("name", VALUE_CASES)
def test_a_value_loss_and_its_gradient_equal_what_the_systems_gave(name: str) -> None:
    case, new = VALUE_CASES[name], published_evaluation()
    new.value.requires_grad_()
    found = with_tricks(case.ours).value_loss(new, published_rollout())
    assert float(found.detach()) == pytest.approx(case.loss, rel=RTOL)
    if case.gradient is not None:
        (gradient,) = torch.autograd.grad(found, new.value)
        assert_close(gradient, case.gradient, rtol=RTOL, atol=ATOL)


# KL to the reference, entropy, aggregation.

# verl kl_penalty(NEW, REF, ·): values, and gradients in log π; OpenRLHF's compute_approx_kl is the same
KL = {
    "k1": (table((0.5, -0.5, 1.8, 0.1, -0.4), (1.8, -0.15, -0.1), (-0.75,), (0.52, -1.5, 0.25, 0.75)),
           table((1,) * 5, (1,) * 3, (1,), (1,) * 4)),
    "abs": (table((0.5, 0.5, 1.8, 0.1, 0.4), (1.8, 0.15, 0.1), (0.75,), (0.52, 1.5, 0.25, 0.75)),
            table((1, -1, 1, 1, -1), (1, -1, -1), (-1,), (1, -1, 1, 1))),
    "k2": (table((0.125, 0.125, 1.62, 0.005, 0.08), (1.62, 0.01125, 0.005), (0.28125,),
                 (0.1352, 1.125, 0.03125, 0.28125)),
           table((0.5, -0.5, 1.8, 0.1, -0.4), (1.8, -0.15, -0.1), (-0.75,), (0.52, -1.5, 0.25, 0.75))),
    "k3": (table((0.1065306597, 0.1487212707, 0.9652988882, 0.004837418036, 0.09182469764),
                 (0.9652988882, 0.01183424273, 0.005170918076), (0.3670000166,),
                 (0.114520548, 1.98168907, 0.02880078307, 0.2223665527)),
           table((0.3934693403, -0.6487212707, 0.8347011118, 0.09516258196, -0.4918246976),
                 (0.8347011118, -0.1618342427, -0.1051709181), (-1.117000017,),
                 (0.405479452, -3.48168907, 0.2211992169, 0.5276334473))),
}  # fmt: skip


@pytest.mark.parametrize("estimator", KL)
def test_kl_estimates_and_their_gradients_equal_those_of_verl(estimator: str) -> None:
    # "k3+" and the like cannot be compared: kl_penalty hands the name on with its plus sign, and
    # kl_penalty_forward raises NotImplementedError for it
    value, gradient = KL[estimator]
    assert_close(kl_estimate(NEW - REF, estimator), value, rtol=RTOL, atol=ATOL)
    new = published_evaluation()
    recipe = with_tricks({"kl_loss.weight": 1.0, "kl_loss.estimator": estimator})
    found = recipe.regulariser(new, published_rollout())
    assert_close(found.detach(), value.sum() / 13, rtol=RTOL, atol=ATOL)
    assert_close(torch.autograd.grad(found, new.log_prob)[0], gradient / 13, rtol=RTOL, atol=ATOL)


def test_k3_of_verl_stops_at_ten_and_ours_does_not() -> None:
    # verl kl_penalty(·, ·, "k3") at log π = (−30, −1), log π_ref = (−1, −40) gave 10 and 10, without
    # gradient: log-ratios are held within ±20 and the estimate within ±10.  Ours is the estimator:
    # d = −29: e²⁹ − 30          d = 39: e⁻³⁹ + 38
    far = table((-29.0, 39.0))
    assert_close(kl_estimate(far, "k3"), table((exp(29) - 30, 38)), rtol=1e-9, atol=0)
    assert kl_estimate(far.clamp(-20, 20), "k3").clamp(-10, 10).tolist() == [[10, 10]]


def test_entropy_clip_equals_that_of_moss() -> None:
    # MOSS-RLHF criterion, entropy_loss_weight 0.5, on logits of two tokens of probabilities p and 1 − p,
    # p = exp NEW; entropy_clip 0.3 and 0.9 on both sides of the mean entropy
    p = NEW.exp()
    entropy = torch.where(MASK, -(p * p.log() + (1 - p) * torch.log1p(-p)), 0.0)
    rollout, new = published_rollout(), published_evaluation()
    new.entropy.data = entropy
    for target, expected in ((0.3, 0.123886515), (0.9, 0.176113485)):
        recipe = with_tricks({"entropy_clip.weight": 0.5, "entropy_clip.target": target})
        assert float(recipe.regulariser(new, rollout).detach()) == pytest.approx(expected, rel=RTOL)


@pytest.mark.parametrize(
    ("mode", "tricks", "expected"),
    [
        ("token-mean", {"token_mean": "on"}, 0.01538461538),
        ("seq-mean-token-sum", {"sequence_sum": "on"}, 0.05),
        ("seq-mean-token-mean", {"sequence_mean": "on"}, -0.1579166643),
    ],
)
def test_aggregations_equal_agg_loss_of_verl(
    mode: str, tricks: dict[str, Value], expected: float
) -> None:
    # verl agg_loss(ADVANTAGE, MASK, mode)
    assert float(aggregate(tricks, ADVANTAGE, MASK)) == pytest.approx(expected, rel=RTOL)


def test_constant_length_is_a_mean_over_responses_where_verls_is_a_sum() -> None:
    # verl agg_loss(ADVANTAGE, MASK, "seq-mean-token-sum-norm") gave 0.04 = 0.2/5, and 0.025 = 0.2/8 with
    # loss_scale_factor = 8; Dr. GRPO's mean, which is ours, divides by the 4 responses too
    for tokens, theirs in ((5, 0.04), (8, 0.025)):
        found = aggregate({"constant_length.tokens": tokens}, ADVANTAGE, MASK)
        assert float(found.detach()) == pytest.approx(theirs / 4, rel=RTOL)


# OpenRLHF tests/test_loss_aggregation.py at 3c3be623: its literals, and what its code gave for them.


def test_token_mean_on_the_literals_of_openrlhf() -> None:
    loss = table((1, 2, 0), (3, 4, 5), (7,))
    mask = table((1, 1, 0), (1, 1, 1), (1,)).bool()
    assert float(aggregate({"token_mean": "on"}, loss, mask)) == pytest.approx(22 / 6)


def test_sequence_mean_on_the_literals_of_openrlhf() -> None:
    loss = table((1, 3, 9), (2, 4, 0), (8,))
    mask = table((1, 1, 0), (1, 1, 0), (1,)).bool()
    assert float(aggregate({"sequence_mean": "on"}, loss, mask)) == pytest.approx((2 + 3 + 8) / 3)


def test_token_mean_over_the_window_of_openrlhfs_gradient_accumulation() -> None:
    # micro-batches of 2 and 5 tokens: 28/7 over the window; a mean of their means would be (1.5 + 5)/2
    loss = table((1, 2, 0), (3, 4, 5), (6, 7, 0))
    mask = table((1, 1, 0), (1, 1, 1), (1, 1, 0)).bool()
    assert float(aggregate({"token_mean": "on"}, loss, mask)) == pytest.approx(4.0)


def test_policy_loss_on_the_literals_of_openrlhf() -> None:
    # PolicyLoss gave −0.1364135325; its third mask has a hole, (1, 0, 1), at a token of no advantage
    log_prob = table((-0.20, -0.40, -0.10), (-0.70, -0.30, -0.20), (-0.60, -0.10, -0.50))
    moved = table((0.03, -0.04, 0.01), (0.02, 0.05, -0.03), (0.04, 0.0, -0.02))
    advantage = table((1.0, -0.5, 0.0), (0.3, -1.2, 0.5), (1.5, 0.0, -0.7))
    mask = table((1, 1, 0), (1, 1, 1), (1, 0, 1)).bool()
    rollout = make_rollout([2, 3, 3], log_prob=log_prob - moved, mask=mask)
    new = make_evaluation(rollout)
    new.log_prob.copy_(log_prob)
    assert float(with_tricks({}).policy_loss(new, rollout, advantage)) == pytest.approx(
        -0.1364135325, rel=RTOL
    )


def with_tricks(tricks: Mapping[str, Value]) -> Recipe:
    """Return the textbook with PPO's clip at 0.2 and these tricks."""
    plain = [registry()[name]() for name, value in tricks.items() if value == "on"]
    ppo = Recipe("published").set({"clipped_surrogate.clip_range": 0.2}).plus(*plain)
    return ppo.set({name: value for name, value in tricks.items() if value != "on"})


def aggregate(tricks: Mapping[str, Value], loss: Tensor, mask: Tensor) -> Tensor:
    """Aggregate a loss [B, T] by the one trick given."""
    (name,) = {key.partition(".")[0] for key in tricks}
    values = {key.partition(".")[2]: value for key, value in tricks.items() if value != "on"}
    return registry()[name](**values)(loss, mask)
