"""Has a run collapsed, and when? One rule with a gold judge, one from the monitors alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workbench.checkpoint import Record
from workbench.glossary import CAP
from workbench.settings import CollapseRule

Metrics = dict[str, float]
Condition = Callable[[Metrics, Metrics], bool]
"""Whether a record is bad, given its metrics and those of the run's start."""
DEFAULT_RULE = CollapseRule()


@dataclass(frozen=True)
class Collapse:
    """When a run collapsed and by which rule.

    Attributes:
        iteration: first iteration at which the rule held, and went on holding.
        reason: the rule in words.
    """

    iteration: int
    reason: str


def find_collapse(
    history: Sequence[Record], gold_error: float | None, rule: CollapseRule = DEFAULT_RULE
) -> Collapse | None:
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
        rule: its numbers; those above by default.
    Returns:
        the earliest collapse, or None.
    """
    watch = CollapseWatch(rule, gold_error)
    for record in history:
        watch.see(record)
    return watch.collapse


def has_diverged(metrics: Metrics) -> bool:
    """Say whether the policy's numbers are no longer finite; infinities are logged as ±CAP."""
    return not abs(metrics["policy/kl_to_sft"]) < CAP


class CollapseWatch:
    """Reads the records of a run one by one, each once and in order, at a cost that does not grow.

    Attributes:
        noticed: step of the record that completed the first streak, so that the collapse was known
            from then on; None before.
    """

    def __init__(self, rule: CollapseRule, gold_error: float | None) -> None:
        """Begin with a run's first record.

        Args:
            rule: when it counts as collapsed.
            gold_error: standard error of the start's gold score; None to go by the monitors.
        """
        self._streaks = [
            *(_monitor_streaks(rule) if gold_error is None else [_gold_fall(rule, gold_error)]),
            _divergence(),
        ]
        self.noticed: int | None = None

    def see(self, record: Record) -> None:
        """Take the next record."""
        for streak in self._streaks:
            streak.see(record)
        if self.noticed is None and any(streak.since is not None for streak in self._streaks):
            self.noticed = record[0]

    @property
    def collapse(self) -> Collapse | None:
        """The earliest collapse so far."""
        found = [Collapse(s.since, s.reason) for s in self._streaks if s.since is not None]
        return min(found, key=lambda collapse: collapse.iteration, default=None)


@dataclass
class Streak:
    """Waits until a condition has held several times in a row.

    Attributes:
        reason: the condition in words.
        metric: records without it are passed over; the first with it is the start.
        wanted: how often in a row the condition has to hold.
        condition: whether a record is bad.
        since: step at which the streak began that was long enough; None before.
    """

    reason: str
    metric: str
    wanted: int
    condition: Condition
    since: int | None = field(default=None, init=False)
    _start: Metrics | None = field(default=None, init=False)
    _steps: list[int] = field(default_factory=list, init=False)

    def see(self, record: Record) -> None:
        """Take the next record."""
        step, metrics = record
        if self.since is not None or self.metric not in metrics:
            return
        self._start = self._start or metrics
        self._steps = [*self._steps, step] if self.condition(metrics, self._start) else []
        if len(self._steps) == self.wanted:
            self.since = self._steps[0]


def _divergence() -> Streak:
    reason = "the policy's numbers are no longer finite"
    return Streak(reason, "policy/kl_to_sft", 1, lambda now, start: has_diverged(now))


def _gold_fall(rule: CollapseRule, gold_error: float) -> Streak:
    margin = rule.standard_errors * gold_error
    return Streak(
        "gold score below its start while the reward-model score is above its own",
        "eval/gold",
        rule.evaluations_in_a_row,
        lambda now, start: (
            now["eval/gold"] < start["eval/gold"] - margin and now["eval/proxy"] > start["eval/proxy"]
        ),
    )


def _monitor_streaks(rule: CollapseRule) -> list[Streak]:
    share, rise, factor = rule.distinct_share, rule.truncated_rise, rule.perplexity_factor
    conditions: dict[str, Condition] = {
        f"fewer than {_share(share)} as many distinct responses": lambda now, start: (
            now["policy/distinct"] < share * start["policy/distinct"]
        ),
        f"more than {_share(rise)} of the responses cut at the cap": lambda now, start: (
            now["policy/truncated"] > start["policy/truncated"] + rise
        ),
        f"perplexity off by a factor of {'two' if factor == 2 else f'{factor:g}'}": lambda now, start: (
            abs(math.log(now["policy/perplexity"] / start["policy/perplexity"])) > math.log(factor)
        ),
    }
    wanted = rule.iterations_in_a_row
    return [Streak(why, "policy/distinct", wanted, bad) for why, bad in conditions.items()]


def _share(value: float) -> str:
    return "half" if value == 0.5 else f"{100 * value:g} %"
