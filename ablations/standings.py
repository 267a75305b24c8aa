"""How a study stands, as tables for people and plain data for programs."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ablations.records import DONE, Status
from workbench.progress import in_words

if TYPE_CHECKING:
    from ablations.estimate import Estimate

MANY = 60
"""Cells from which on a table has a row per arm, and rows of cells only where something is going on."""
STATES = ("ok", "collapsed", "failed", "running", "stopped", "waiting", "missing")
NAMES = {"missing": "to run"}
COLOURS = {"ok": "green", "collapsed": "yellow", "failed": "red", "running": "cyan"}


@dataclass(frozen=True)
class Standing:
    """How the cells of one arm stand.

    Attributes:
        arm: its name.
        counts: cells by state.
        score: mean final gold score, or win rate, of those that are done; None before the first.
    """

    arm: str
    counts: Counter[str]
    score: float | None

    @property
    def done(self) -> int:
        """Cells that are done."""
        return sum(self.counts[state] for state in DONE)

    @property
    def collapsed(self) -> int:
        """Cells that collapsed."""
        return self.counts["collapsed"]


def standings(statuses: Sequence[Status]) -> list[Standing]:
    """Sum the cells up by arm, in the order of the study."""
    by_arm: dict[str, list[Status]] = {}
    for status in statuses:
        by_arm.setdefault(status.cell.arm, []).append(status)
    found = []
    for arm, own in by_arm.items():
        scores = [status.value for status in own if status.value is not None]
        counted = Counter[str](status.state for status in own)
        found.append(Standing(arm, counted, fmean(scores) if scores else None))
    return found


def counts(statuses: Sequence[Status]) -> dict[str, int]:
    """Count cells by state, under the names that people read."""
    counted = Counter[str](status.state for status in statuses)
    return {NAMES.get(state, state): counted[state] for state in STATES if counted[state]}


def status_tables(statuses: Sequence[Status], iterations: int) -> list[Table]:
    """Tabulate how a study stands: every cell, or where they are many, arms and what is going on."""
    if len(statuses) <= MANY:
        return [_cell_table(statuses, iterations)]
    astir = [status for status in statuses if status.state in ("running", "stopped", "failed")]
    arms = _arm_table(standings(statuses))
    return [arms, _cell_table(astir[:MANY], iterations)] if astir else [arms]


def status_facts(statuses: Sequence[Status]) -> dict[str, Any]:
    """Return how every cell stands, and how many are in each state, as plain data."""
    cells = [
        {
            "arm": status.cell.arm,
            "seed": status.cell.seed,
            "state": status.state,
            "iteration": status.iteration,
            "final_score": status.value,
            "error": status.error,
            "run_id": status.run_id,
            "worker": status.worker,
            "heard_at": status.heard_at,
            "seconds": status.seconds,
        }
        for status in statuses
    ]
    counted = dict(Counter(status.state for status in statuses))
    return {"count": counted, "seconds_left": seconds_left(statuses), "cells": cells}


def summary(statuses: Sequence[Status]) -> str:
    """Say how many cells are in each state, and how long the rest will take."""
    counted = ", ".join(f"{count} {state}" for state, count in counts(statuses).items())
    left = seconds_left(statuses)
    return f"{len(statuses)} cells: {counted}{f'; about {in_words(left)} left' if left else ''}"


def seconds_left(statuses: Sequence[Status]) -> float | None:
    """Extrapolate from the cells that are done, with the workers that are at work now.

    Returns:
        None while nothing is done or nobody works.
    """
    taken = [status.seconds for status in statuses if status.seconds]
    busy = sum(status.state == "running" for status in statuses)
    todo = sum(not status.is_over for status in statuses)
    return fmean(taken) * todo / busy if taken and busy else None


def estimate_lines(statuses: Sequence[Status], estimate: "Estimate | None", workers: int) -> list[str]:
    """Say what is left to do and what it costs."""
    done = sum(status.is_done for status in statuses)
    counted = f"{len(statuses)} cells, {done} done"
    if estimate is None:
        return [f"{counted}: nothing to run"]
    lines = [f"{counted}; with {workers} worker{'s' * (workers > 1)}:"]
    if estimate.prepare_seconds is not None:
        also = ", and the reward model on top, not timed" if estimate.trains_reward_model else ""
        lines.append(f"  prepare  {in_words(estimate.prepare_seconds)}{also}")
    return [
        *lines,
        f"  train    {in_words(estimate.train_seconds)} (from {estimate.basis})",
        f"  memory   {estimate.memory_bytes / 2**30:.1f} GiB at most",
        f"  disk     {estimate.disk_bytes / 1e6:.0f} MB",
    ]


def _cell_table(statuses: Sequence[Status], iterations: int) -> Table:
    head = ("arm", "seed", "state", "iterations", "final gold or win rate", "worker")
    table = Table(*head, box=None, header_style="bold")
    for status in statuses:
        value = "" if status.value is None else f"{status.value:.3f}"
        cell, reached = status.cell, f"{status.iteration}/{iterations}"
        table.add_row(cell.arm, str(cell.seed), _state(status.state), reached, value, _worker(status))
    return table


def _arm_table(arms: Sequence[Standing]) -> Table:
    states = [state for state in STATES if any(arm.counts[state] for arm in arms)]
    names = [NAMES.get(state, state) for state in states]
    table = Table("arm", *names, "mean final gold or win rate", box=None, header_style="bold")
    for arm in arms:
        score = "" if arm.score is None else f"{arm.score:.3f}"
        table.add_row(arm.arm, *(str(arm.counts[state] or "") for state in states), score)
    return table


def _worker(status: Status) -> str:
    """Name the worker, and say since when it is silent if that is long."""
    if status.worker is None or status.state != "running":
        return ""
    silent = time.time() - status.heard_at if status.heard_at else 0.0
    return f"{status.worker}, silent for {in_words(silent)}" if silent > 30 else status.worker


def _state(state: str) -> Text:
    return Text(NAMES.get(state, state), style=COLOURS.get(state, ""))
