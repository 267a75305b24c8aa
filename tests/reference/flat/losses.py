"""The losses of one minibatch."""

from dataclasses import dataclass
from math import floor

import torch
from torch import Tensor

from tests.reference.flat.args import Args
from tests.reference.flat.response import Memory, Response, clip, divergence, mean


@dataclass
class New:
    """What the models being trained say of a response, with gradient, and its advantages.

    Attributes:
        log_prob: [T].
        drawn: [T] log-probabilities of what tokens are drawn from; the plain ones unless needed.
        entropy: [T].
        kl: [T] divergence from the reference over the vocabulary.
        value: [T + 1].
        advantage: [T].
    """

    log_prob: Tensor
    drawn: Tensor
    entropy: Tensor
    kl: Tensor
    value: Tensor
    advantage: Tensor


def policy_loss(args: Args, memory: Memory, batch: list[Response], new: list[New]) -> Tensor:
    """The loss of each token, weighted, as one number."""
    losses = []
    for response, now in zip(batch, new, strict=True):
        log_ratio = log_ratios(args, response, now)
        losses.append(per_token(args, memory, log_ratio, now))
    if args.policy_loss in ("clip_cov", "kl_cov"):
        losses = by_covariance(args, batch, new, losses)
    kept = [
        loss * weights(args, new, response, now)
        for loss, response, now in zip(losses, batch, new, strict=True)
    ]
    return aggregate(args, kept)


def log_ratios(args: Args, response: Response, now: New) -> Tensor:
    """The log-ratio of each token."""
    log_ratio = now.log_prob - response.old
    if args.ratio == "reference":
        log_ratio = now.log_prob - response.ref
    if args.ratio == "drawn":
        log_ratio = now.drawn - response.drawn
    if args.ratio_level == "mean":
        log_ratio = log_ratio.mean() * torch.ones(response.length)
    if args.ratio_level == "sum":
        log_ratio = log_ratio.sum() * torch.ones(response.length)
    return log_ratio.clamp(-args.ratio_clamp, args.ratio_clamp)


def per_token(args: Args, memory: Memory, log_ratio: Tensor, now: New) -> Tensor:
    """The policy's loss, token by token."""
    advantage, ratio = now.advantage, torch.exp(log_ratio)
    high = args.clip_high or args.clip
    if args.policy_loss == "none":
        return -now.log_prob * advantage
    if args.policy_loss == "cispo":
        return -ratio.detach().clamp(1 - args.clip, 1 + high) * advantage * now.log_prob
    if args.policy_loss == "sapo":
        gate = [args.gate_positive if a > 0 else args.gate_negative for a in advantage]
        temperature = torch.tensor(gate)
        return -4 / temperature * torch.sigmoid(temperature * (ratio - 1)) * advantage
    if args.policy_loss == "gmpo":
        sign = torch.sign(advantage)
        near = log_ratio.clamp(-args.clip, args.clip)
        kept = sign * torch.min(sign * log_ratio, sign * near)
        return -advantage.mean() * torch.exp(kept.mean()) * torch.ones(len(advantage))
    loss = -ratio * advantage
    if args.policy_loss == "penalty":
        return loss + args.penalty * (ratio - 1 - log_ratio)
    if args.policy_loss == "kl_cov":
        return loss
    if args.policy_loss in ("clipped", "clip_cov"):
        done = min(1.0, memory.buffers / args.clip_rollouts)
        narrowed = 1 - (1 - args.clip_final) * done
        clipped = ratio.clamp(1 - args.clip * narrowed, 1 + high * narrowed)
        loss = torch.max(loss, -clipped * advantage)
        highest = [-args.ratio_cap * a if a < 0 else torch.inf for a in advantage.tolist()]
        loss = torch.min(loss, torch.tensor(highest))
    return loss


def by_covariance(
    args: Args, batch: list[Response], new: list[New], losses: list[Tensor]
) -> list[Tensor]:
    """Drop or hold back the tokens whose log-probability and advantage are both high, or both low."""
    log_prob, advantage = (
        torch.cat([getattr(now, n) for now in new]) for n in ("log_prob", "advantage")
    )
    log_prob = log_prob.detach()
    covariance = (advantage - advantage.mean()) * (log_prob - log_prob.mean())
    flat = torch.cat(losses)
    log_ratio = torch.cat([log_ratios(args, r, now) for r, now in zip(batch, new, strict=True)])
    plain = -torch.exp(log_ratio) * advantage
    candidates = list(range(len(flat)))
    if args.policy_loss == "clip_cov":
        low, high = args.covariance_low, args.covariance_high
        candidates = [i for i in candidates if low < covariance[i] < high and flat[i] <= plain[i]]
    candidates.sort(key=lambda i: -float(covariance[i]))
    chosen = candidates[: max(1, floor(args.covariance_share * len(flat)))]
    is_chosen = torch.tensor([i in chosen for i in range(len(flat))])
    instead = plain + args.covariance_weight * abs(log_ratio)
    if args.policy_loss == "clip_cov":
        instead = torch.zeros(len(flat))
    return list(torch.split(torch.where(is_chosen, instead, flat), [len(loss) for loss in losses]))


def weights(args: Args, new: list[New], response: Response, now: New) -> Tensor:
    """How much each token counts."""
    weight = torch.ones(response.length)
    if args.entropy_share < 1:
        every = torch.cat([other.entropy.detach() for other in new])
        weight = weight * (now.entropy >= torch.quantile(every, 1 - args.entropy_share))
    moved = float((response.old - now.log_prob.detach()).mean())
    if moved > args.off_policy_threshold:
        weight = weight * (now.advantage >= 0)
    drift = torch.exp(response.old - response.drawn)
    low, high = args.correction_low, args.correction_high
    if args.correction == "truncated":
        weight = weight * drift.clamp(low, high)
    if args.correction == "icepop":
        weight = weight * torch.tensor([w if low <= w <= high else 0.0 for w in drift.tolist()])
    if args.correction == "sequence":
        typical = float(torch.exp((response.old - response.drawn).mean()))
        weight = weight * (drift if low <= typical <= high else 0.0)
    return weight


def value_loss(args: Args, batch: list[Response], new: list[New]) -> Tensor:
    """The critic's loss of each state, weighted, as one number."""
    losses = []
    for response, now in zip(batch, new, strict=True):
        states, targets = response.length, list(response.returns)
        if args.value_after_end and response.has_ended:
            states, targets = states + 1, [*targets, response.score]
        value, old, target = now.value[:states], response.value[:states], torch.tensor(targets)
        near = old + (value - old).clamp(-args.value_clip, args.value_clip)
        loss = (value - target) ** 2 / 2
        if args.value_loss == "clipped":
            loss = torch.max(loss, (near - target) ** 2 / 2)
        if args.value_loss == "clipped_hard":
            loss = (near - target) ** 2 / 2
        if args.value_loss == "huber":
            loss = torch.nn.functional.huber_loss(value, target, reduction="none", delta=args.huber)
        text = {"": states, "text": response.text_length, "text_and_end": response.text_length + 1}
        counts = [float(t < text[args.value_states]) for t in range(states)]
        losses.append(args.value_coefficient * torch.tensor(counts) * loss)
    return aggregate(args, losses)


def aggregate(args: Args, losses: list[Tensor]) -> Tensor:
    """Make one number of the losses of every token."""
    if args.aggregation == "sequence_mean":
        return torch.stack([loss.mean() for loss in losses]).mean()
    if args.aggregation == "sequence_sum":
        return torch.stack([loss.sum() for loss in losses]).mean()
    if args.aggregation == "constant":
        return torch.stack([loss.sum() for loss in losses]).mean() / args.constant_length
    return torch.cat(losses).mean()


def regulariser(
    args: Args, memory: Memory, buffer: list[Response], batch: list[Response], new: list[New]
) -> Tensor:
    """What is added to the loss, but for the pre-training texts."""
    total = torch.zeros(())
    entropy = torch.cat([now.entropy for now in new]).mean()
    if args.entropy_bonus:
        total = total - args.entropy_bonus * entropy
    if args.entropy_clip:
        total = total + args.entropy_clip * abs(entropy - args.entropy_target)
    if args.adaptive_entropy and is_too_certain(args, buffer):
        total = total - memory.entropy_weight * entropy
    if args.kl_loss:
        apart = [now.log_prob - response.ref for response, now in zip(batch, new, strict=True)]
        tokens = [divergence(log_ratio, args.kl_loss_estimator) for log_ratio in apart]
        if args.kl_loss_estimator == "full":
            tokens = [now.kl for now in new]
        total = total + args.kl_loss * torch.cat(tokens).mean()
    return total


def adapt_entropy(args: Args, memory: Memory, buffer: list[Response]) -> None:
    """Move the weight of the entropy bonus towards its target, once per buffer."""
    step = args.adaptive_entropy if is_too_certain(args, buffer) else -args.adaptive_entropy
    memory.entropy_weight = clip(memory.entropy_weight + step, 0.0, args.adaptive_entropy_high)


def is_too_certain(args: Args, buffer: list[Response]) -> bool:
    """Say whether the policy of the rollout had too little entropy."""
    return mean([h for response in buffer for h in response.entropy.tolist()]) <= args.entropy_target


def is_too_far(args: Args, batch: list[Response], new: list[New]) -> bool:
    """Say whether the policy has moved too far from that of the rollout to go on."""
    apart = [response.old - now.log_prob for response, now in zip(batch, new, strict=True)]
    moved = divergence(torch.cat(apart), "k3").mean()
    return float(moved.detach()) > 1.5 * args.target_kl
