"""PPO on language models in plain `if`s and one response at a time: the oracle.

Written from the formulas and independent of the workbench, of which it imports nothing. There is no
padding, no mask and no batch: what the library does to padded batches has to come out the same.
It is also the page to read first; each line of the update is a page of its own in `flat`.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel

from tests.reference.flat.advantages import estimate, of_minibatch, select
from tests.reference.flat.args import Args
from tests.reference.flat.losses import (
    New,
    adapt_entropy,
    is_too_far,
    policy_loss,
    regulariser,
    value_loss,
)
from tests.reference.flat.optimiser import Adam, change_gradients, factor
from tests.reference.flat.response import Memory, Response, mean, std
from tests.reference.flat.rewards import pay
from tests.reference.flat.says import chosen, drawn_log_probs, greedy, heads, states
from tests.reference.flat.scores import judge


@dataclass
class Models:
    """The four models, and slow copies of the policy; those that are trained change in place."""

    policy: GPT2LMHeadModel
    critic: GPT2ForSequenceClassification
    reference: GPT2LMHeadModel
    reward_model: GPT2ForSequenceClassification

    def __post_init__(self) -> None:
        """Copy the policy as it starts."""
        self.guide, self.average = deepcopy(self.policy), deepcopy(self.policy)


@dataclass
class Buffer:
    """Sampled responses, and the dice of an update.

    Attributes:
        prompts: one per response; those that are the same stand together.
        responses: to the end token, or beyond it.
        own_responses: the task's own responses to the prompts.
        shuffle: order of so many responses in an epoch: (epoch, count) to indices.
        texts: pre-training texts of a minibatch: (number of the minibatch, its size) to texts.
    """

    prompts: list[list[int]]
    responses: list[list[int]]
    own_responses: list[list[int]]
    shuffle: Callable[[int, int], list[int]]
    texts: Callable[[int, int], list[list[int]]]


@dataclass
class Log:
    """What one buffer gave: its responses, and policy, value and regularising loss of each step."""

    responses: list[Response]
    losses: list[list[float]] = field(default_factory=list)


def flat_ppo(args: Args, models: Models, iterations: list[list[Buffer]]) -> list[Log]:
    """Train policy and critic in place on responses that were sampled before."""
    freeze(args, models.policy)
    policy = [p for p in models.policy.parameters() if p.requires_grad]
    critic = [
        p for p in models.critic.parameters() if not any(p is q for q in models.policy.parameters())
    ]
    policy_adam = Adam(args, policy, args.policy_epsilon)
    critic_adam = Adam(args, critic, args.critic_epsilon)
    memory, logs = Memory(), []
    for k, buffers in enumerate(iterations):
        for buffer in buffers:
            with torch.no_grad():
                responses = [listen(args, models, buffer, i) for i in range(len(buffer.prompts))]
                judge(args, memory, responses)
                pay(args, memory, responses)
                estimate(args, responses)
                adapt_entropy(args, memory, responses)
            log = Log(responses)
            logs.append(log)

            for number, batch in enumerate(minibatches(args, buffer, select(args, responses))):
                new = [evaluate(args, models, memory, response) for response in batch]
                for now, advantage in zip(new, of_minibatch(args, batch), strict=True):
                    now.advantage = torch.tensor(advantage)
                losses = [policy_loss(args, memory, batch, new), torch.zeros(()), torch.zeros(())]
                if args.has_critic:
                    losses[1] = value_loss(args, batch, new)
                losses[2] = regulariser(args, memory, responses, batch, new)
                if args.ptx:
                    losses[2] = losses[2] + args.ptx * ptx(
                        models.policy, buffer.texts(number, len(batch))
                    )
                if is_too_far(args, batch, new):
                    break

                log.losses.append([loss.item() for loss in losses])
                for parameter in [*policy, *critic]:
                    parameter.grad = None
                torch.autograd.backward(torch.stack(losses).sum())
                moving = policy if k >= args.critic_pretraining else []
                fitted = critic if args.has_critic else []
                change_gradients(args, moving, fitted)
                if moving:
                    policy_adam.step(args.policy_lr * factor(args, k))
                if fitted:
                    critic_adam.step(args.critic_lr * factor(args, k))
        follow(args, models, k)
    return logs


def freeze(args: Args, policy: GPT2LMHeadModel) -> None:
    """Train the top blocks alone."""
    blocks = policy.transformer.h
    if args.trained_blocks and args.trained_blocks < len(blocks):
        for part in (policy.transformer.wte, policy.transformer.wpe, *blocks[: -args.trained_blocks]):
            part.requires_grad_(False)


def listen(args: Args, models: Models, buffer: Buffer, i: int) -> Response:
    """Collect what the models say of a sampled response."""
    prompt, response = buffer.prompts[i], buffer.responses[i]
    text = response[: response.index(args.eos) + 1] if args.eos in response else response
    raw = states(models.policy, prompt, response)
    log_p = torch.log_softmax(raw / args.temperature, dim=-1)
    log_q = torch.log_softmax(states(models.reference, prompt, response) / args.temperature, dim=-1)
    rival = 0.0
    if args.baseline == "greedy":
        rival = float(heads(models.reward_model, prompt, greedy(args, models.policy, prompt))[-1])
    if args.baseline == "own":
        rival = float(heads(models.reward_model, prompt, buffer.own_responses[i])[-1])
    return Response(
        prompt=prompt,
        tokens=response,
        text_length=len(text),
        has_ended=args.eos in response,
        group=i // args.group_size,
        old=chosen(log_p, response),
        drawn=drawn_log_probs(args, raw, models.guide, prompt, response),
        ref=chosen(log_q, response),
        kl=(log_p.exp() * (log_p - log_q)).sum(-1),
        entropy=-(log_p.exp() * log_p).sum(-1),
        output=heads(models.critic, prompt, response),
        score=float(heads(models.reward_model, prompt, text)[-1]),
        rival=rival,
    )


def minibatches(args: Args, buffer: Buffer, kept: list[Response]) -> list[list[Response]]:
    """Go over the responses several times, in minibatches, in a new order each time."""
    size = len(buffer.prompts) // args.minibatches if args.minibatches else args.minibatch_size
    batches = []
    for epoch in range(args.epochs):
        order = buffer.shuffle(0 if args.single_shuffle else epoch, len(kept))
        for first in range(0, len(kept), size):
            batches.append([kept[i] for i in order[first : first + size]])
    return batches


def evaluate(args: Args, models: Models, memory: Memory, response: Response) -> New:
    """Let the models that are trained speak about a response, with gradient."""
    prompt, tokens = response.prompt, response.tokens
    raw = states(models.policy, prompt, tokens)
    log_p = torch.log_softmax(raw / args.temperature, dim=-1)
    log_prob = chosen(log_p, tokens)
    drawn, kl, value = log_prob, response.kl, response.value
    if args.ratio == "drawn":
        drawn = drawn_log_probs(args, raw, models.guide, prompt, tokens).clamp(min=-50.0)
    if args.kl_loss and args.kl_loss_estimator == "full":
        with torch.no_grad():
            log_q = torch.log_softmax(
                states(models.reference, prompt, tokens) / args.temperature, dim=-1
            )
        kl = (log_p.exp() * (log_p - log_q)).sum(-1)
    if args.has_critic:
        value = heads(models.critic, prompt, tokens)
        if args.value_scale == "norm":
            value = mean(memory.scores) + std(memory.scores) * value
        if args.value_scale == "output_norm":
            value = (value - mean(memory.scores)) / (std(memory.scores) + 1e-8)
    return New(log_prob, drawn, -(log_p.exp() * log_p).sum(-1), kl, value, torch.zeros(0))


def ptx(policy: GPT2LMHeadModel, texts: list[list[int]]) -> Tensor:
    """The language-model loss on pre-training texts."""
    said = []
    for text in texts:
        log_p = torch.log_softmax(states(policy, text[:1], text[1:]), dim=-1)
        said.append(-chosen(log_p, text[1:]))
    return torch.cat(said).mean()


@torch.no_grad()
def follow(args: Args, models: Models, k: int) -> None:
    """Move the slow copies after iteration k."""
    if args.guide_every and (k + 1) % args.guide_every == 0:
        models.guide = deepcopy(models.policy)
    if args.reference_every and (k + 1) % args.reference_every == 0:
        for slow, fast in zip(models.reference.parameters(), models.policy.parameters(), strict=True):
            slow.copy_(args.reference_share * fast + (1 - args.reference_share) * slow)
    if args.average_decay:
        for slow, fast in zip(models.average.parameters(), models.policy.parameters(), strict=True):
            slow.copy_(args.average_decay * slow + (1 - args.average_decay) * fast)
