"""PPO on language models on one page, plain `if`s and one response at a time: the oracle.

Written from the formulas and independent of the workbench, of which it imports nothing. There is no
padding, no mask and no batch: what the library does to padded batches has to come out the same.
It is also the page to read first.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel


@dataclass
class Args:
    """What an update does; the defaults are the textbook, where 0 and False mean off."""

    iterations: int = 2
    temperature: float = 1.0
    policy_lr: float = 1e-3
    critic_lr: float = 2e-3
    warmup: float = 0.0
    critic_pretraining: int = 0
    reward_scaling: bool = False
    reward_norm: bool = False
    return_scaling: bool = False
    reward_clip: float = 0.0
    kl_weight: float = 0.0
    monte_carlo: bool = False
    gae_lambda: float = 0.95
    discount: float = 1.0
    advantage_norm: bool = False
    unbiased: bool = False
    advantage_clip: float = 0.0
    policy_loss: str = "clipped"
    clip: float = 0.2
    value_clip: float = 0.0
    sequence_mean: bool = False
    entropy_bonus: float = 0.0
    entropy_clip: float = 0.0
    entropy_target: float = 1.0
    ptx: float = 0.0
    max_gradient_norm: float = 0.0


@dataclass
class Buffer:
    """Sampled responses, the rows of each minibatch in turn, and its pre-training texts."""

    prompts: list[list[int]]
    responses: list[list[int]]
    minibatches: list[list[int]]
    texts: list[list[list[int]]]


@dataclass
class Log:
    """What one buffer gave: per response rewards, advantages, returns; per step three losses."""

    rewards: list[Tensor] = field(default_factory=list)
    advantages: list[Tensor] = field(default_factory=list)
    returns: list[Tensor] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)


def flat_ppo(
    args: Args,
    policy: GPT2LMHeadModel,
    critic: GPT2ForSequenceClassification,
    reference: GPT2LMHeadModel,
    reward_model: GPT2ForSequenceClassification,
    iterations: list[list[Buffer]],
) -> list[Log]:
    """Train policy and critic in place on responses that were sampled before."""
    optimiser = torch.optim.Adam(
        [{"params": list(policy.parameters())}, {"params": list(critic.parameters())}], eps=1e-8
    )
    all_scores: list[float] = []
    all_sums: list[float] = []
    logs = []
    for k, buffers in enumerate(iterations):
        warm = min(1.0, (k + 1) / (args.warmup * args.iterations)) if args.warmup else 1.0
        optimiser.param_groups[0]["lr"] = warm * args.policy_lr
        optimiser.param_groups[1]["lr"] = warm * args.critic_lr
        for buffer in buffers:
            log, rows = Log(), range(len(buffer.prompts))
            texts = [(buffer.prompts[i], buffer.responses[i]) for i in rows]

            # what the models say of the responses
            with torch.no_grad():
                old = [log_probs(policy, *text, args.temperature)[0] for text in texts]
                ref = [log_probs(reference, *text, args.temperature)[0] for text in texts]
                old_values = [heads(critic, *text)[:-1] for text in texts]
                scores = [heads(reward_model, *text)[-1].item() for text in texts]

            # statistics of all scores so far, this buffer's included
            all_scores += scores
            for score, (_, response) in zip(scores, texts, strict=True):
                all_sums += [0.0] * (len(response) - 1) + [score]
            if args.reward_norm:
                scores = [(s - mean(all_scores)) / (std(all_scores) + 1e-8) for s in scores]
            if args.reward_scaling:
                scores = [s / (std(all_scores) + 1e-8) for s in scores]
            if args.reward_clip:
                scores = [max(-args.reward_clip, min(args.reward_clip, s)) for s in scores]

            # rewards, advantages and returns, token by token from the end
            for i in rows:
                length = len(buffer.responses[i])
                reward = [0.0] * (length - 1) + [scores[i]]
                if args.return_scaling:
                    reward = [r / (std(all_sums) + 1e-8) for r in reward]
                if args.kl_weight:
                    reward = [
                        r - args.kl_weight * float(old[i][t] - ref[i][t]) for t, r in enumerate(reward)
                    ]
                value = [*old_values[i].tolist(), 0.0]
                advantage, observed = [0.0] * (length + 1), [0.0] * (length + 1)
                for t in reversed(range(length)):
                    observed[t] = reward[t] + args.discount * observed[t + 1]
                    delta = reward[t] + args.discount * value[t + 1] - value[t]
                    advantage[t] = delta + args.discount * args.gae_lambda * advantage[t + 1]
                    if args.monte_carlo:
                        advantage[t] = observed[t] - value[t]
                log.rewards.append(torch.tensor(reward))
                log.advantages.append(torch.tensor(advantage[:length]))
                log.returns.append(log.advantages[i] + old_values[i])

            for batch, pretraining in zip(buffer.minibatches, buffer.texts, strict=True):
                new = [log_probs(policy, *texts[i], args.temperature) for i in batch]
                values = [heads(critic, *texts[i])[:-1] for i in batch]
                flat = torch.cat([log.advantages[i] for i in batch])
                policy_losses, value_losses = [], []
                for j, i in enumerate(batch):
                    advantage_i = log.advantages[i]
                    if args.advantage_norm:
                        variance = flat.var(unbiased=args.unbiased)
                        advantage_i = (advantage_i - flat.mean()) / (variance + 1e-6).sqrt()
                    if args.advantage_clip:
                        advantage_i = advantage_i.clamp(-args.advantage_clip, args.advantage_clip)
                    log_prob = new[j][0]
                    if args.policy_loss == "none":
                        policy_losses.append(-log_prob * advantage_i)
                    else:
                        base = ref[i] if args.policy_loss == "reference" else old[i]
                        ratio = torch.exp(log_prob - base)
                        loss = -ratio * advantage_i
                        if args.policy_loss != "unclipped":
                            clipped = torch.clamp(ratio, 1 - args.clip, 1 + args.clip)
                            loss = torch.max(loss, -clipped * advantage_i)
                        policy_losses.append(loss)
                    error = (values[j] - log.returns[i]) ** 2
                    if args.value_clip:
                        low, high = old_values[i] - args.value_clip, old_values[i] + args.value_clip
                        near = torch.max(torch.min(values[j], high), low)
                        error = torch.max(error, (near - log.returns[i]) ** 2)
                    value_losses.append(0.5 * error)

                policy_loss = aggregate(policy_losses, args.sequence_mean)
                value_loss = aggregate(value_losses, args.sequence_mean)
                regulariser = torch.zeros(())
                entropy = torch.cat([entropies for _, entropies in new]).mean()
                if args.entropy_bonus:
                    regulariser = regulariser - args.entropy_bonus * entropy
                if args.entropy_clip:
                    regulariser = regulariser + args.entropy_clip * abs(entropy - args.entropy_target)
                if args.ptx:
                    known = [log_probs(policy, text[:1], text[1:], 1.0)[0] for text in pretraining]
                    regulariser = regulariser - args.ptx * torch.cat(known).mean()

                optimiser.zero_grad()
                torch.autograd.backward(policy_loss + value_loss + regulariser)
                if k < args.critic_pretraining:
                    policy.zero_grad()
                if args.max_gradient_norm:
                    both = [*policy.parameters(), *critic.parameters()]
                    torch.nn.utils.clip_grad_norm_(both, args.max_gradient_norm)
                optimiser.step()
                log.losses.append([x.item() for x in (policy_loss, value_loss, regulariser)])
            logs.append(log)
    return logs


def log_probs(
    model: GPT2LMHeadModel, prompt: list[int], response: list[int], temperature: float
) -> tuple[Tensor, Tensor]:
    """Say the log-probability of each response token and the entropy before it."""
    logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1] / temperature
    log_p = torch.log_softmax(logits, dim=-1)
    return log_p[range(len(response)), response], -(log_p.exp() * log_p).sum(-1)


def heads(model: GPT2ForSequenceClassification, prompt: list[int], response: list[int]) -> Tensor:
    """Say the head's output before each response token, and at last after the last one."""
    hidden = model.transformer(torch.tensor([prompt + response])).last_hidden_state[0]
    outputs: Tensor = model.score(hidden)[len(prompt) - 1 :, 0]
    return outputs


def aggregate(losses: list[Tensor], sequence_mean: bool) -> Tensor:
    """Average over tokens, or over each response first."""
    if sequence_mean:
        return torch.stack([loss.mean() for loss in losses]).mean()
    return torch.cat(losses).mean()


def mean(numbers: list[float]) -> float:
    """Average."""
    return sum(numbers) / len(numbers)


def std(numbers: list[float]) -> float:
    """Unbiased standard deviation; 1 for a single number."""
    if len(numbers) < 2:
        return 1.0
    centre = mean(numbers)
    return float((sum((x - centre) ** 2 for x in numbers) / (len(numbers) - 1)) ** 0.5)
