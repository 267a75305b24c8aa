"""Every metric of the workbench, defined once: name, unit, estimator, source. Pure data.

A metric is a mean over the responses of one PPO iteration unless its estimator says otherwise; where
an iteration has several buffers, its policy and ppo metrics are means over buffers of equal size.
y is a response of |y| tokens (the end-of-sequence token included), π_old the policy that sampled it,
π the policy being updated, π_ref the SFT policy. With `fixed_length`, which samples on to the cap,
perplexities, entropy and KL are over all tokens that were sampled; length, distinct and repeated go by
the text, which ends with the first end token. Prefixes are the sections of the MLflow chart page.
"""

from dataclasses import dataclass, replace
from typing import Literal

CAP = 1e9
"""Infinities are logged as this; MLflow would store 1.8e308, which breaks its charts."""

Direction = Literal["up", "down", "none"]


@dataclass(frozen=True)
class Metric:
    """One logged quantity.

    Attributes:
        name: MLflow key, `section/name`.
        label: what a plot's axis says.
        unit: unit, or "1" for a pure number.
        estimator: formula or rule by which it is computed.
        source: where the definition comes from.
        better: direction a user hopes for; "none" where a monitor has no good direction.
    """

    name: str
    label: str
    unit: str
    estimator: str
    source: str
    better: Direction = "none"


_SECRETS = "Zheng et al. 2023, arXiv:2307.04964"
_GAO = "Gao et al. 2022, arXiv:2210.10760"
_SCHULMAN_KL = "Schulman 2020, Approximating KL Divergence"
_DETAILS = "Huang et al. 2022, The 37 Implementation Details of PPO"
_OURS = "this workbench"

_METRICS = (
    Metric(
        "reward/proxy",
        "reward-model score",
        "score",
        "mean of the reward model's score",
        _SECRETS,
        "up",
    ),
    Metric(
        "reward/proxy_std",
        "std of reward-model score",
        "score",
        "unbiased standard deviation of the scores of one iteration",
        _SECRETS,
    ),
    Metric("reward/gold", "gold score", "gold", "mean of the gold judge's score", _GAO, "up"),
    Metric(
        "reward/gap",
        "over-optimisation gap",
        "gold standard deviations",
        "(proxy − proxy₀)/σ_proxy₀ − (gold − gold₀)/σ_gold₀; ₀ = SFT policy on the held-out prompts",
        _GAO,
        "down",
    ),
    Metric("reward/q05", "5 % quantile of score", "score", "linear-interpolated quantile", _SECRETS),
    Metric("reward/q25", "25 % quantile of score", "score", "as q05", _SECRETS),
    Metric("reward/q50", "median score", "score", "as q05", _SECRETS),
    Metric("reward/q75", "75 % quantile of score", "score", "as q05", _SECRETS),
    Metric("reward/q95", "95 % quantile of score", "score", "as q05", _SECRETS),
    Metric(
        "policy/perplexity",
        "perplexity of responses",
        "1",
        "exp(−mean over responses of mean_t log π_old(y_t)): geometric, as one rare token would carry "
        "an arithmetic mean; response tokens only",
        "MOSS-RLHF metric.py at evaluation, commit 4865d826, on the response alone",
    ),
    Metric(
        "policy/true_perplexity",
        "exp of policy entropy",
        "1",
        "exp(mean over all response tokens of H(π_old(·|s_t))): no sampling noise in the token",
        _OURS,
    ),
    Metric(
        "policy/reference_perplexity",
        "perplexity under the SFT policy",
        "1",
        "exp(−mean over responses of mean_t log π_ref(y_t))",
        _SECRETS,
    ),
    Metric(
        "policy/moss_perplexity",
        "length-coupled perplexity (MOSS-RLHF)",
        "1",
        "exp(Σ_s NLL_s / Σ_s |y_s|), NLL_s = mean cross-entropy over prompt and response of sample s; "
        "falls when responses lengthen; kept only for comparison with the paper's axis; response tokens "
        "at the temperature of the log-probabilities, prompt tokens at 1",
        "MOSS-RLHF metric.py, commit 4865d826",
    ),
    Metric(
        "policy/response_length",
        "response length",
        "tokens",
        "mean |y|, the end-of-sequence token included",
        _SECRETS,
    ),
    Metric(
        "policy/kl_to_sft",
        "KL to the SFT policy",
        "nats/response",
        "k1: mean over responses of Σ_t log π_old(y_t) − log π_ref(y_t); signed, unbiased",
        _SCHULMAN_KL,
        "down",
    ),
    Metric(
        "policy/kl_to_sft_k3",
        "KL to the SFT policy, k3",
        "nats/response",
        "mean over responses of Σ_t e^{−d_t} − 1 + d_t, d_t = log π_old(y_t) − log π_ref(y_t); "
        "≥ 0, unbiased per token",
        _SCHULMAN_KL,
        "down",
    ),
    Metric(
        "policy/kl_to_sft_exact",
        "KL to the SFT policy, exact per state",
        "nats/response",
        "mean over responses of Σ_t KL(π_old(·|s_t) ‖ π_ref(·|s_t)), summed over the vocabulary; "
        "states sampled, tokens not",
        _OURS,
        "down",
    ),
    Metric(
        "policy/kl_per_token",
        "KL to the SFT policy per token",
        "nats/token",
        "mean over responses of mean_t log π_old(y_t) − log π_ref(y_t), as MOSS-RLHF's ref_kl",
        "MOSS-RLHF ppo_trainer.py, commit 4865d826",
        "down",
    ),
    Metric(
        "policy/entropy",
        "entropy per token",
        "nats/token",
        "mean over all response tokens of H(π_old(·|s_t)), over the whole vocabulary",
        _DETAILS,
    ),
    Metric(
        "policy/distinct",
        "distinct responses",
        "share",
        "number of different responses / number of responses in one iteration",
        _OURS,
        "up",
    ),
    Metric(
        "policy/repeated",
        "repeated bigrams",
        "share",
        "mean over responses of 1 − different bigrams / bigrams; 0 for fewer than two bigrams",
        "Li et al. 2016, arXiv:1510.03055",
        "down",
    ),
    Metric(
        "policy/truncated",
        "responses cut at the cap",
        "share",
        "share of responses that reach the cap without an end-of-sequence token",
        _OURS,
        "down",
    ),
    Metric("ppo/policy_loss", "policy loss", "1", "mean over the iteration's minibatches", _DETAILS),
    Metric("ppo/value_loss", "value loss", "score²", "mean over minibatches", _DETAILS),
    Metric(
        "ppo/regulariser",
        "regularising terms",
        "1",
        "mean over minibatches of their sum",
        _DETAILS,
    ),
    Metric(
        "ppo/approx_kl",
        "KL of the update",
        "nats/token",
        "k3: mean over response tokens and minibatches of ρ − 1 − log ρ, ρ = π/π_old",
        _SCHULMAN_KL,
    ),
    Metric(
        "ppo/optimiser_steps",
        "optimiser steps",
        "steps",
        "minibatches of the iteration's buffers; fewer where a trick stops a buffer early",
        _DETAILS,
    ),
    Metric(
        "ppo/kept_share",
        "responses learnt from",
        "share",
        "responses that the tricks of slot selection keep, over all",
        _OURS,
    ),
    Metric(
        "ppo/clip_fraction",
        "clipped policy ratios",
        "share",
        "share of response tokens with |π/π_old − 1| > 0.2, whatever the recipe clips",
        _DETAILS,
    ),
    Metric(
        "ppo/value_clip_fraction",
        "clipped values",
        "share",
        "share of response tokens with |V − V_old| > 0.2, whatever the recipe clips",
        _DETAILS,
    ),
    Metric(
        "ppo/explained_variance",
        "explained variance of values",
        "share",
        "1 − Var(returns − V_old)/Var(returns) over response tokens",
        _DETAILS,
        "up",
    ),
    Metric(
        "ppo/policy_gradient_norm",
        "policy gradient norm",
        "1",
        "mean over minibatches of the Euclidean norm before any clipping",
        _DETAILS,
    ),
    Metric(
        "ppo/critic_gradient_norm",
        "critic gradient norm",
        "1",
        "mean over minibatches of the Euclidean norm before any clipping; the gradient of a trunk that "
        "both models share is the policy's",
        _DETAILS,
    ),
    Metric(
        "ppo/advantage_mean",
        "advantage",
        "score",
        "mean over response tokens, as estimated; behind the tricks of slot rollout_advantage, before "
        "those of slot advantage",
        _SECRETS,
    ),
    Metric(
        "ppo/advantage_std",
        "std of advantage",
        "score",
        "standard deviation over response tokens, of the same advantages as ppo/advantage_mean: 1 where "
        "those of a rollout are normalised",
        _SECRETS,
    ),
    Metric("ppo/return_mean", "return", "score", "mean over response tokens", _SECRETS),
    Metric("ppo/value_mean", "value", "score", "mean V_old over response tokens", _SECRETS),
    Metric("ppo/policy_learning_rate", "policy learning rate", "1", "in effect", _DETAILS),
    Metric("ppo/critic_learning_rate", "critic learning rate", "1", "in effect", _DETAILS),
    Metric(
        "eval/gold",
        "gold score, held-out prompts",
        "gold",
        "mean gold score of one response per held-out prompt, every eval_every iterations; it is the "
        "policy's, or its moving average's where a trick keeps one, as in all of eval/*",
        _GAO,
        "up",
    ),
    Metric("eval/proxy", "reward-model score, held-out prompts", "score", "as eval/gold", _GAO, "up"),
    Metric(
        "eval/win_rate",
        "win rate against SFT",
        "share",
        "share of held-out prompts on which the judge (gold; the reward model where a task has no "
        "gold judge) scores the policy's response above the SFT policy's; a tie counts ½",
        _SECRETS,
        "up",
    ),
    Metric(
        "eval/win",
        "held-out prompts won against SFT",
        "share",
        "as eval/win_rate: share on which the policy's response scores above the SFT policy's",
        _SECRETS,
        "up",
    ),
    Metric(
        "eval/tie",
        "held-out prompts tied with SFT",
        "share",
        "as eval/win: share on which both score the same, as they do where both say the same",
        _SECRETS,
    ),
    Metric(
        "eval/loss",
        "held-out prompts lost against SFT",
        "share",
        "as eval/win: share on which the SFT policy's response scores higher",
        _SECRETS,
        "down",
    ),
    Metric(
        "eval/helpful_win",
        "helpful prompts won against SFT",
        "share",
        "as eval/win, on prompts that ask for help, where the task tells the two apart",
        _SECRETS,
        "up",
    ),
    Metric(
        "eval/helpful_tie",
        "helpful prompts tied with SFT",
        "share",
        "as eval/tie, on prompts that ask for help, where the task tells the two apart",
        _SECRETS,
    ),
    Metric(
        "eval/helpful_loss",
        "helpful prompts lost against SFT",
        "share",
        "as eval/loss, on prompts that ask for help, where the task tells the two apart",
        _SECRETS,
        "down",
    ),
    Metric(
        "eval/harmless_win",
        "harmless prompts won against SFT",
        "share",
        "as eval/win, on prompts that ask for harm, where the task tells the two apart",
        _SECRETS,
        "up",
    ),
    Metric(
        "eval/harmless_tie",
        "harmless prompts tied with SFT",
        "share",
        "as eval/tie, on prompts that ask for harm, where the task tells the two apart",
        _SECRETS,
    ),
    Metric(
        "eval/harmless_loss",
        "harmless prompts lost against SFT",
        "share",
        "as eval/loss, on prompts that ask for harm, where the task tells the two apart",
        _SECRETS,
        "down",
    ),
    Metric(
        "eval/held_out_perplexity",
        "held-out perplexity (alignment tax)",
        "1",
        "exp(mean over tokens of −log π) on the task's held-out language set",
        "Ouyang et al. 2022, arXiv:2203.02155",
        "down",
    ),
    Metric(
        "stability/nonfinite_count",
        "capped infinities and NaN",
        "count",
        "metrics of this iteration that were not finite; infinities are logged as ±1e9",
        _OURS,
        "down",
    ),
    Metric("time/iteration_seconds", "time per iteration", "s", "wall clock", _OURS, "down"),
    Metric(
        "time/sampling_seconds",
        "time for sampling",
        "s",
        "wall clock, decoding only",
        _OURS,
        "down",
    ),
    Metric(
        "time/scoring_seconds",
        "time for scoring",
        "s",
        "wall clock, reference, reward model and critic",
        _OURS,
        "down",
    ),
    Metric(
        "time/update_seconds",
        "time for the update",
        "s",
        "wall clock, optimiser steps",
        _OURS,
        "down",
    ),
    Metric("time/response_tokens", "response tokens", "tokens", "sampled in this iteration", _OURS),
    Metric(
        "final/gold",
        "final gold score",
        "gold",
        "mean of eval/gold over the last tenth of the evaluations, at least one; of a run that was "
        "pruned, of those up to its stop",
        _GAO,
        "up",
    ),
    Metric(
        "final/proxy",
        "final reward-model score",
        "score",
        "as final/gold of eval/proxy",
        _GAO,
        "up",
    ),
    Metric(
        "final/win_rate",
        "final win rate against SFT",
        "share",
        "as final/gold of eval/win_rate",
        _SECRETS,
        "up",
    ),
    Metric(
        "final/held_out_perplexity",
        "final held-out perplexity",
        "1",
        "as final/gold of eval/held_out_perplexity",
        _SECRETS,
        "down",
    ),
    Metric(
        "final/kl_to_sft",
        "final KL to the SFT policy",
        "nats/response",
        "mean of policy/kl_to_sft over the last tenth of the iterations",
        _GAO,
        "down",
    ),
    Metric(
        "final/response_length",
        "final response length",
        "tokens",
        "mean of policy/response_length over the last tenth of the iterations",
        _SECRETS,
    ),
    Metric(
        "final/perplexity",
        "final perplexity of responses",
        "1",
        "mean of policy/perplexity over the last tenth of the iterations",
        _SECRETS,
    ),
    Metric("final/best_gold", "best gold score", "gold", "maximum of eval/gold", _GAO, "up"),
    Metric(
        "final/collapsed",
        "collapsed",
        "0 or 1",
        "1 where the run's outcome is collapsed; the rule is in docs/monitors.md",
        _OURS,
        "down",
    ),
)

GLOSSARY: dict[str, Metric] = {metric.name: metric for metric in _METRICS}

PAPER_FOUR = ("reward/proxy", "policy/response_length", "policy/kl_to_sft", "policy/perplexity")
"""The action-space monitors that every figure of the paper shows, the reward among them."""

MEAN = "mean/"
"""What the name of a metric's mean over a run begins with: `mean/eval/gold`."""


def last_tenth(points: int) -> slice:
    """Return which of so many points are the end of a run: the last tenth, at least one."""
    return slice(-max(1, points // 10), None)


def metric(name: str) -> Metric:
    """Return the definition of a metric, or of `mean/` and a metric; of any other, its bare name."""
    if name.startswith(MEAN):
        over = metric(name.removeprefix(MEAN))
        rule = f"mean of {over.name} over a run, by trapezoids between its points; not recorded"
        return replace(over, name=name, label=f"mean over the run of {over.label}", estimator=rule)
    return GLOSSARY.get(name, Metric(name, name, "1", "", ""))
