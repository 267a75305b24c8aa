"""What the models say of one response."""

import torch
from torch import Tensor
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel

from tests.reference.flat.args import Args


def states(model: GPT2LMHeadModel, prompt: list[int], response: list[int]) -> Tensor:
    """Logits [T, V] before each response token."""
    logits: Tensor = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
    return logits


def chosen(log_p: Tensor, response: list[int]) -> Tensor:
    """The entries [T] of the response's tokens in log-probabilities [T, V]."""
    return log_p[range(len(response)), response]


def heads(model: GPT2ForSequenceClassification, prompt: list[int], response: list[int]) -> Tensor:
    """The head's output before each response token, and at last after the last one: [T + 1]."""
    hidden = model.transformer(torch.tensor([prompt + response])).last_hidden_state[0]
    outputs: Tensor = model.score(hidden)[len(prompt) - 1 :, 0]
    return outputs


def drawn_log_probs(
    args: Args, raw: Tensor, guide_model: GPT2LMHeadModel, prompt: list[int], response: list[int]
) -> Tensor:
    """Log-probabilities [T] of the tokens under what they are drawn from, given the policy's logits."""
    temperature = args.drawing_temperature or args.temperature
    guide = raw.detach()
    if args.nlpo_share:
        with torch.no_grad():
            guide = states(guide_model, prompt, response)
    said = []
    for t, token in enumerate(response):
        allowed = restrict(args, raw[t] / temperature, guide[t] / temperature, response[:t])
        said.append(torch.log_softmax(allowed, dim=-1)[token])
    return torch.stack(said)


def restrict(args: Args, logits: Tensor, guide: Tensor, past: list[int]) -> Tensor:
    """Change the logits [V] from which the next token is drawn."""
    vocabulary = range(len(logits))
    if args.repetition_penalty:
        penalty = [args.repetition_penalty if v in past else 1.0 for v in vocabulary]
        changed = [z / c if z > 0 else z * c for z, c in zip(logits, penalty, strict=True)]
        logits = torch.stack(changed)
    forbidden = set()
    if args.nlpo_share:
        kept = {*nucleus(guide, args.nlpo_share), *ranked(guide)[: args.nlpo_min_tokens], args.eos}
        forbidden |= {*vocabulary} - kept
    if len(past) < args.min_length:
        forbidden.add(args.eos)
    logits = without(logits, forbidden)
    if args.top_k:
        logits = without(logits, {*ranked(logits)[args.top_k :]})
    if args.top_p:
        logits = without(logits, {*vocabulary} - {*nucleus(logits, args.top_p)})
    return logits


def without(logits: Tensor, forbidden: set[int]) -> Tensor:
    """Give forbidden tokens no probability."""
    mask = torch.tensor([v in forbidden for v in range(len(logits))])
    return torch.where(mask, -torch.inf, logits)


def ranked(logits: Tensor) -> list[int]:
    """Tokens, the likeliest first."""
    order: list[int] = torch.argsort(logits, descending=True).tolist()
    return order


def nucleus(logits: Tensor, share: float) -> list[int]:
    """The fewest likeliest tokens that together have this share of the probability."""
    p, so_far, kept = torch.softmax(logits, dim=-1).tolist(), 0.0, []
    for v in ranked(logits):
        if so_far < share:
            kept.append(v)
        so_far += p[v]
    return kept


def greedy(args: Args, model: GPT2LMHeadModel, prompt: list[int]) -> list[int]:
    """The response that always takes the likeliest token."""
    response: list[int] = []
    while len(response) < args.cap and args.eos not in response:
        response.append(int(model(torch.tensor([prompt + response])).logits[0, -1].argmax()))
    return response
