"""From rewards to advantages, of a buffer and of a minibatch, and to what is learnt from."""

from tests.reference.flat.args import Args
from tests.reference.flat.response import Response, clip, mean, std, variance


def estimate(args: Args, responses: list[Response]) -> None:
    """Give every token its advantage and its return."""
    for response in responses:
        if args.has_critic:
            from_values(args, response)
        elif args.estimator in ("reinforce", "reinforce_baseline"):
            response.returns = weighted(response.reward, args.discount)
            response.advantage = list(response.returns)
            if args.estimator == "reinforce_baseline":
                baseline = mean([other.score for other in group(responses, response)])
                response.advantage = [a - baseline for a in response.advantage]
        else:
            credit = from_rivals(args, responses, response)
            response.advantage = [credit] * response.length

    everything = [a for response in responses for a in response.advantage]
    for response in responses:
        if args.rollout_centre:
            response.advantage = [a - mean(everything) for a in response.advantage]
        if args.rollout_norm:
            scale = (variance(everything, args.rollout_unbiased) + 1e-8) ** 0.5
            response.advantage = [(a - mean(everything)) / scale for a in response.advantage]


def from_values(args: Args, response: Response) -> None:
    """Compare what comes with what the critic expects."""
    value = [*response.value[:-1].tolist(), 0.0]
    errors = [r + args.discount * value[t + 1] - value[t] for t, r in enumerate(response.reward)]
    policy_lambda = args.gae_lambda
    value_lambda = policy_lambda if args.value_lambda is None else args.value_lambda
    if args.estimator == "monte_carlo":
        policy_lambda = value_lambda = 1.0
    if args.estimator == "length_adaptive":
        policy_lambda = max(0.0, 1 - 1 / (args.horizon_fraction * response.length))
        value_lambda = 1.0
    response.advantage = weighted(errors, args.discount * policy_lambda)
    target = weighted(errors, args.discount * value_lambda)
    response.returns = [a + v for a, v in zip(target, value, strict=False)]


def weighted(numbers: list[float], decay: float) -> list[float]:
    """The sum from each token on, from the end: S_t = x_t + c S_{t+1}."""
    sums, following = [0.0] * len(numbers), 0.0
    for t in reversed(range(len(numbers))):
        following = sums[t] = numbers[t] + decay * following
    return sums


def from_rivals(args: Args, responses: list[Response], response: Response) -> float:
    """Compare the response's rewards with those of the other responses to its prompt."""
    members = group(responses, response)
    totals, own = [sum(member.reward) for member in members], sum(response.reward)
    others = [sum(member.reward) for member in members if member is not response]
    if args.estimator == "rloo":
        return own - mean(others)
    if args.estimator == "grpo":
        return (own - mean(totals)) / (std(totals) + args.group_epsilon)
    if args.estimator == "dr_grpo":
        return own - mean(totals)
    if args.estimator == "group_mean_batch_std":
        spread = std([sum(other.reward) for other in responses])
        return (own - mean(totals)) / (spread + args.group_epsilon)
    if args.estimator == "opo":
        tokens = sum(member.length for member in members)
        return own - sum(member.length * sum(member.reward) for member in members) / tokens
    if args.estimator == "pass_at_k":
        return max(0.0, own - max(others))
    assert args.estimator == "gpg"
    speaking = [r for r in responses if len({sum(m.reward) for m in group(responses, r)}) > 1]
    return len(responses) / len(speaking) * (own - mean(totals)) / args.gpg_normaliser


def group(responses: list[Response], response: Response) -> list[Response]:
    """All responses to the same prompt, itself among them."""
    return [other for other in responses if other.group == response.group]


def select(args: Args, responses: list[Response]) -> list[Response]:
    """Choose the responses to learn from; all of them if there would be none."""
    kept = []
    for response in responses:
        scores = [other.score for other in group(responses, response)]
        reasons_to_drop = [
            response.text_length < args.drop_short,
            args.drop_truncated and not response.has_ended,
            args.best_of_group and sum(s > response.score for s in scores) >= args.best_of_group,
            args.extremes_of_group and response.score not in (min(scores), max(scores)),
            args.dynamic_filtering is not None
            and len(scores) > 1
            and max(scores) - min(scores) <= args.dynamic_filtering,
            args.score_range is not None
            and not args.score_range[0] < mean(scores) < args.score_range[1],
        ]
        if not any(reasons_to_drop):
            kept.append(response)
    return kept or responses


def of_minibatch(args: Args, batch: list[Response]) -> list[list[float]]:
    """The advantages by which a minibatch is learnt from."""
    advantages = [list(response.advantage) for response in batch]
    everything = [a for tokens in advantages for a in tokens]
    if args.advantage_norm == "padded":
        longest = max(response.length for response in batch)
        everything += [0.0] * (longest * len(batch) - len(everything))
    centre, scale = 0.0, 1.0
    if args.advantage_norm == "norm":
        centre = mean(everything)
        scale = (variance(everything, args.advantage_unbiased) + args.advantage_epsilon) ** 0.5
    if args.advantage_norm == "padded":
        centre, scale = mean(everything), (variance(everything, True) + 1e-8) ** 0.5
    if args.advantage_norm == "standardise":
        centre, scale = mean(everything), variance(everything, True) ** 0.5 + 1e-8
    advantages = [[(a - centre) / scale for a in tokens] for tokens in advantages]
    if args.advantage_clip:
        bound = args.advantage_clip
        advantages = [[clip(a, -bound, bound) for a in tokens] for tokens in advantages]
    return advantages
