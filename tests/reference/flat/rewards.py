"""From scores to a reward for every token."""

from tests.reference.flat.args import Args
from tests.reference.flat.response import Memory, Response, clip, divergence, mean, variance


def pay(args: Args, memory: Memory, responses: list[Response]) -> None:
    """Pay the score, charge the divergence from the reference, normalise."""
    for response in responses:
        last = response.score
        if args.score_after_end and response.has_ended:
            # what one more step of GAE, whose reward is the score, hands down to the last token
            end = float(response.value[-1])
            last = args.discount * (end + args.gae_lambda * (last - end))
        reward = [0.0] * (response.length - 1) + [last]
        response.reward = [r - c for r, c in zip(reward, charges(args, memory, response), strict=True)]
    adapt_kl(args, memory, responses)

    everything = [r for response in responses for r in response.reward]
    for response in responses:
        if args.whiten_rewards:
            scale = (variance(everything, args.whiten_unbiased) + 1e-8) ** 0.5
            centre = mean(everything)
            response.reward = [(r - centre) / scale + centre for r in response.reward]
        if args.norm_rewards:
            scale = variance(everything, False) ** 0.5 + 1e-8
            response.reward = [(r - mean(everything)) / scale for r in response.reward]
        if args.truncation_bootstrap and not response.has_ended:
            response.reward[-1] += args.discount * float(response.value[-1])


def charges(args: Args, memory: Memory, response: Response) -> list[float]:
    """What each token pays for leaving the reference."""
    apart = divergence(response.old - response.ref, args.kl_estimator)
    if args.kl_estimator == "full":
        apart = response.kl
    charged = apart.clamp(-args.kl_clamp, args.kl_clamp).tolist()
    for t in range(response.length):
        is_behind = t >= response.text_length
        if args.kl_tokens == "until_end" and is_behind:
            charged[t] = 0.0
        if args.kl_tokens == "before_end" and t >= response.text_length - 1:
            charged[t] = 0.0
    if args.kl_penalty == "sequence":
        charged = [0.0] * (response.length - 1) + [sum(charged)]
    return [args.kl_weight * memory.kl_factor * c for c in charged]


def adapt_kl(args: Args, memory: Memory, responses: list[Response]) -> None:
    """Move the weight of the penalty towards a target, for the buffers that follow."""
    apart = [(response.old - response.ref).tolist() for response in responses]
    if args.kl_penalty == "adaptive":
        error = mean([sum(tokens) for tokens in apart]) / args.kl_target - 1
        error = clip(error, -args.kl_error_clip, args.kl_error_clip)
        memory.kl_factor *= 1 + error * len(responses) / args.kl_horizon
    if args.kl_penalty == "adaptive_per_token":
        error = mean([d for tokens in apart for d in tokens]) / args.kl_target - 1
        error = clip(error, -args.kl_error_clip, args.kl_error_clip)
        memory.kl_factor *= 1 + args.kl_gain * error
