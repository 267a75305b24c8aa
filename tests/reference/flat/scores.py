"""From the reward model's score of each response to the score that is paid out, and to values."""

from math import sqrt

from tests.reference.flat.args import Args
from tests.reference.flat.response import Memory, Response, clip, mean, std, variance


def judge(args: Args, memory: Memory, responses: list[Response]) -> None:
    """Change the scores, and turn the critic's output into values."""
    for response in responses:
        response.score = penalised(args, response)
    raw = [response.score for response in responses]
    memory.buffers += 1
    memory.scores += raw
    memory.first = memory.first or raw
    for response in responses:
        memory.sums += [0.0] * (response.length - 1) + [response.score]
        response.value = response.output * 1.0
        if args.value_scale == "norm":
            response.value = mean(memory.scores) + std(memory.scores) * response.output
        if args.value_scale == "output_norm":
            response.value = (response.output - mean(memory.scores)) / (std(memory.scores) + 1e-8)
    for response in responses:
        response.score = normalised(args, memory, response.score, raw)
        if args.reward_clip:
            response.score = clip(response.score, -args.reward_clip, args.reward_clip)
        if args.missing_eos_score is not None and not response.has_ended:
            response.score = args.missing_eos_score


def penalised(args: Args, response: Response) -> float:
    """The score with penalties for length and a missing end, and relative to another response's."""
    score = response.score - args.length_penalty * response.text_length
    if args.overlong_factor:
        into = response.text_length - (args.overlong_cap - args.overlong_buffer)
        score -= args.overlong_factor * clip(into / args.overlong_buffer, 0.0, 1.0)
    if not response.has_ended:
        score -= args.missing_eos_penalty
        if args.missing_eos_share is not None:
            score *= args.missing_eos_share
    if args.baseline:
        score -= response.rival
    if args.raw_reward_clip:
        score = clip(score, -args.raw_reward_clip, args.raw_reward_clip)
    return score


def normalised(args: Args, memory: Memory, score: float, batch: list[float]) -> float:
    """The score relative to earlier ones, to the first buffer's, or to those of this buffer."""
    if args.normaliser == "norm":
        return (score - mean(memory.scores)) / (std(memory.scores) + 1e-8)
    if args.normaliser == "scaling":
        return score / (std(memory.scores) + 1e-8)
    if args.normaliser == "return_scaling":
        return score / (std(memory.sums) + 1e-8)
    if args.normaliser == "first_scaling":
        return score / (std(memory.first) + 1e-8)
    if args.normaliser == "first_norm":
        return (score - mean(memory.first)) / (std(memory.first) + 1e-8)
    if args.normaliser == "first_centring":
        return score - mean(memory.first)
    if args.normaliser == "batch_whitening":
        return (score - mean(batch)) / sqrt(variance(batch, True) + 1e-8) + mean(batch)
    return score
