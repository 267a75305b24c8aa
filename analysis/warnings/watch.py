"""Follow runs under way and warn when a monitor leaves what a reference study's healthy runs kept to."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import Study
from analysis.traces import ITERATION, Traces, traces_of
from analysis.warnings import forecast
from analysis.warnings.alarms import first_over
from analysis.warnings.early_warning import too_few
from analysis.warnings.ranking import ranking
from analysis.wording import UNITLESS, number
from workbench.glossary import metric

MONITORS = 3
"""Monitors that are watched unless more are asked for."""

SAME = 0.95
"""Rank correlation of two monitors' scores from which the second adds nothing."""


EVERY_ITERATION = "policy/kl_to_sft"
"""What every run records in every iteration: with it evaluations stand until the next, as they did where
the thresholds were learnt; without it their medians would be over other spans."""


@dataclass(frozen=True)
class Alarm:
    """One monitor's threshold and what it did in the reference study, on runs unknown to it.

    Attributes:
        study: the reference.
        monitor, label, unit: what is watched.
        direction: 1 where a rise announces, −1 where a fall does.
        threshold: departure from the run's own start, in the monitor's unit, signed.
        announced, falls, lead_median, false_alarms, held: see `alarms.alarms_of`.
    """

    study: str
    monitor: str
    label: str
    unit: str
    direction: int
    threshold: float
    announced: int
    falls: int
    lead_median: float
    false_alarms: int
    held: int

    @property
    def sentence(self) -> str:
        """What is watched, and what to think of it."""
        way = "above" if self.direction > 0 else "below"
        return (
            f"watching {self.label} ({self.monitor}): {number(abs(self.threshold))}{self.unit} {way}"
            f" the run's start. In {self.study} {self.record}."
        )

    @property
    def record(self) -> str:
        """What it did in the reference study."""
        lead = f", {number(self.lead_median)} iterations ahead (median)" if self.announced else ""
        return (
            f"this came before {self.announced} of {self.falls} collapses{lead}, and in "
            f"{self.false_alarms} of {self.held} runs that held"
        )


@dataclass(frozen=True)
class Alert:
    """An alarm that went off.

    Attributes:
        arm, seed: the run.
        iteration: the first at which the monitor was over its threshold.
        departure: how far it was from its start there.
        alarm: which.
    """

    arm: str
    seed: int
    iteration: int
    departure: float
    alarm: Alarm

    @property
    def sentence(self) -> str:
        """One line for people."""
        alarm = self.alarm
        way = "above" if alarm.direction > 0 else "below"
        return (
            f"{self.arm}/s{self.seed}, iteration {self.iteration}: {alarm.label} at "
            f"{number(abs(self.departure))}{alarm.unit} {way} its start, over the threshold of "
            f"{number(abs(alarm.threshold))}{alarm.unit}. In {alarm.study} {alarm.record}."
        )

    @property
    def facts(self) -> dict[str, Any]:
        """The same for programs."""
        own = {"arm": self.arm, "seed": self.seed, "iteration": self.iteration}
        return own | {"departure": self.departure} | asdict(self.alarm)


def learn_alarms(study: Study, most: int = MONITORS) -> list[Alarm]:
    """Take a study's best thresholds: those of the monitors that lead its ranking.

    A monitor is left out if it asks the gold judge, if its forecasts' interval reaches ½, if its
    alarm told collapses from none no better than by chance, or if it says what a better one says.

    Raises:
        ValueError: if too few of its runs collapsed or held, or no monitor announced anything.
    """
    traces = traces_of(study)
    if why := too_few(int(traces.fell.sum()), int(traces.held.sum())):
        raise ValueError(f"no thresholds can be learnt from {study.name}: {why}; name another --from")
    table = ranking(study)
    is_good = (table["low"] > 0.5) & (table["informedness"] > 0) & ~table["judged"].astype(bool)
    chosen: list[pd.Series[Any]] = []
    for _, row in table[is_good & (table["monitor"] != ITERATION)].iterrows():
        if len(chosen) < most and not any(_is_same(traces, row, other) for other in chosen):
            chosen.append(row)
    if not chosen:
        raise ValueError(f"no monitor announced the collapses of {study.name}; name another --from")
    return [_alarm(study.name, row) for row in chosen]


def wanted(alarms: list[Alarm]) -> frozenset[str]:
    """Return the metrics that have to be read to see whether alarms go off."""
    return frozenset({EVERY_ITERATION, *(alarm.monitor for alarm in alarms)})


def _is_same(traces: Traces, one: "pd.Series[Any]", other: "pd.Series[Any]") -> bool:
    scores = [forecast.departure(traces.values(str(row["monitor"]))).ravel() for row in (one, other)]
    correlation = pd.Series(scores[0]).corr(pd.Series(scores[1]), method="spearman")
    return bool(abs(correlation) > SAME)


def _alarm(study: str, row: "pd.Series[Any]") -> Alarm:
    monitor = str(row["monitor"])
    unit = metric(monitor).unit
    return Alarm(
        study=study,
        monitor=monitor,
        label=str(row["label"]),
        unit="" if unit in UNITLESS else f" {unit}",
        direction=1 if row["direction"] == "up" else -1,
        threshold=float(row["threshold"]),
        announced=int(row["announced"]),
        falls=int(row["falls"]),
        lead_median=float(row["lead_median"]),
        false_alarms=int(row["false_alarms"]),
        held=int(row["held"]),
    )


def alerts(study: Study, alarms: list[Alarm]) -> list[Alert]:
    """Find which alarms have gone off in the runs of a study, by run and then by iteration."""
    traces = traces_of(study)
    found = []
    for alarm in alarms:
        towards = alarm.direction * forecast.departure(traces.values(alarm.monitor))
        limit = np.full(len(towards), alarm.direction * alarm.threshold)
        first = first_over(traces.steps, towards, limit)
        for place in np.flatnonzero(np.isfinite(first)):
            run = traces.runs.iloc[place]
            at = float(towards[place, np.searchsorted(traces.steps, first[place])])
            way = alarm.direction * at
            found.append(Alert(run["arm"], int(run["seed"]), int(first[place]), way, alarm))
    return sorted(found, key=lambda alert: (alert.arm, alert.seed, alert.iteration))


def under_way(study: Study) -> set[tuple[str, int]]:
    """Return arm and seed of the runs that have not ended."""
    running = study.runs[study.runs["outcome"] == "running"]
    return {(str(run["arm"]), int(run["seed"])) for _, run in running.iterrows()}


def quiet_sentence(study: Study) -> str:
    """Say what was looked at, where no alarm went off."""
    running = len(under_way(study))
    if running:
        return f"{running} run{'s' * (running > 1)} looked at, no alarm"
    return f"no run of {study.name} is under way ({len(study.runs)} ended)"


def has_ended(study: Study) -> bool:
    """Say whether every run that was asked for is there and none is under way."""
    asked = {(arm, int(seed)) for arm in study.spec["arms"] for seed in study.spec["seeds"]}
    there = set(zip(study.runs["arm"], study.runs["seed"].astype(int), strict=True))
    return not under_way(study) and asked <= there


def follow(
    read: Callable[[], Study],
    alarms: list[Alarm],
    *,
    once: bool = False,
    pause: Callable[[], None] = lambda: time.sleep(30),
) -> Iterator[Alert]:
    """Yield each alert once, of runs that were under way when it was looked at first or began later.

    Args:
        read: reads the study as it stands.
        alarms: of `learn_alarms`.
        once: look once, and at the runs under way alone.
        pause: waits between looks; it ends when every run that was asked for has ended.
    """
    study = read()
    over = set(zip(study.runs["arm"], study.runs["seed"], strict=True)) - under_way(study)
    said: set[tuple[str, int, str]] = set()
    while True:
        for alert in alerts(study, alarms):
            key = (alert.arm, alert.seed, alert.alarm.monitor)
            if key[:2] not in over and key not in said:
                said.add(key)
                yield alert
        if once or has_ended(study):
            return
        pause()
        study = read()
