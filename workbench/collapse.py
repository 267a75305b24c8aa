"""Has a run collapsed, and when? One rule with a gold judge, one from the monitors alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.glossary import CAP

Record = tuple[int, dict[str, float]]

EVALUATIONS_IN_A_ROW = 2
ITERATIONS_IN_A_ROW = 5
STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Collapse:
    """When a run collapsed and by which rule.

    Attributes:
        iteration: first iteration at which the rule held, and went on holding.
        reason: the rule in words.
    """

    iteration: int
    reason: str


def find_collapse(history: Sequence[Record], gold_error: float | None) -> Collapse | None:
    """Find the collapse of a run.

    With a gold judge: the gold score on held-out prompts is more than two standard errors below the
    run's start while the reward-model score is above its start, at two evaluations in a row. Without:
    for five iterations in a row fewer than half as many distinct responses as at the start, or more
    than half of the responses cut at the cap beyond the start, or a perplexity of less than half or
    more than twice the start. Either way: numbers that are no longer finite. The start is the SFT
    policy, unless a trick starts the policy elsewhere.

    Args:
        history: records (step, metrics) in order.
        gold_error: standard error of the start's gold score; None without a judge.
    Returns:
        the earliest collapse, or None.
    """
    diverged = _first(history, has_diverged, "policy/kl_to_sft", 1)
    found = [
        _by_monitors(history) if gold_error is None else _by_gold(history, STANDARD_ERRORS * gold_error),
        diverged
        if diverged is None
        else Collapse(diverged, "the policy's numbers are no longer finite"),
    ]
    return min(filter(None, found), key=lambda collapse: collapse.iteration, default=None)


def has_diverged(metrics: dict[str, float]) -> bool:
    """Say whether the policy's numbers are no longer finite; infinities are logged as ±CAP."""
    return not abs(metrics["policy/kl_to_sft"]) < CAP


def _by_gold(history: Sequence[Record], margin: float) -> Collapse | None:
    evaluations = [m for _, m in history if "eval/gold" in m]
    if not evaluations:
        return None
    gold, proxy = evaluations[0]["eval/gold"], evaluations[0]["eval/proxy"]
    found = _first(
        history,
        lambda m: m["eval/gold"] < gold - margin and m["eval/proxy"] > proxy,
        "eval/gold",
        EVALUATIONS_IN_A_ROW,
    )
    reason = "gold score below its start while the reward-model score is above its own"
    return None if found is None else Collapse(found, reason)


def _by_monitors(history: Sequence[Record]) -> Collapse | None:
    monitored = [m for _, m in history if "policy/distinct" in m]
    if not monitored:
        return None
    start = monitored[0]
    rules: dict[str, Callable[[dict[str, float]], bool]] = {
        "fewer than half as many distinct responses": lambda m: (
            m["policy/distinct"] < 0.5 * start["policy/distinct"]
        ),
        "more than half of the responses cut at the cap": lambda m: (
            m["policy/truncated"] > start["policy/truncated"] + 0.5
        ),
        "perplexity off by a factor of two": lambda m: (
            abs(math.log(m["policy/perplexity"] / start["policy/perplexity"])) > math.log(2)
        ),
    }
    found = [
        Collapse(at, reason)
        for reason, rule in rules.items()
        if (at := _first(history, rule, "policy/distinct", ITERATIONS_IN_A_ROW)) is not None
    ]
    return min(found, key=lambda collapse: collapse.iteration, default=None)


def _first(
    history: Sequence[Record], rule: Callable[[dict[str, float]], bool], needed: str, in_a_row: int
) -> int | None:
    """Return the step at which the rule starts to hold `in_a_row` times among records that have it."""
    streak: list[int] = []
    for step, metrics in history:
        if needed not in metrics:
            continue
        streak = [*streak, step] if rule(metrics) else []
        if len(streak) == in_a_row:
            return streak[0]
    return None
