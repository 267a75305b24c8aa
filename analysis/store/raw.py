"""What is read of an MLflow store, before it is a study: runs and points as they were recorded."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]

MLFLOW_INFINITY = 1.7e308
"""MLflow stores ±inf as the largest float; a value beyond this was infinite when it was logged."""


@dataclass(frozen=True)
class RawRun:
    """One MLflow run; times in milliseconds since 1970, None where not set."""

    run_id: str
    status: str
    start_ms: int | None
    end_ms: int | None
    artifact_uri: str
    params: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True)
class Points:
    """Metric points of one run, sorted by metric and step, one for each pair of the two.

    Attributes:
        names: the metrics, sorted.
        metric: [P] int16, place of each point's metric in `names`.
        step: [P] int64.
        value: [P] float64.
    """

    names: tuple[str, ...]
    metric: Numbers
    step: Numbers
    value: Numbers


@dataclass(frozen=True)
class RawStudy:
    """One experiment: its id and tags, its runs, the points of each run by its id, the deleted runs."""

    experiment_id: str
    tags: dict[str, str]
    runs: tuple[RawRun, ...]
    points: dict[str, Points]
    deleted: tuple[RawRun, ...] = ()


Tell = Callable[[int, int], object]
"""Is told after each run how many are read, and how many there are."""


def silent(done: int, total: int) -> None:
    """Take no notice of how far the reading has come."""


def without_password(text: str, tracking_uri: str) -> str:
    """Return a text that may hold an address, to be shown."""
    password = urlsplit(tracking_uri).password
    return text.replace(f":{password}@", ":***@") if password else text


def newest(
    names: Sequence[str], metric: Numbers, step: Numbers, value: Numbers, time: Numbers
) -> Points:
    """Keep of the points of each metric and step the newest.

    Args:
        names: the metrics, sorted.
        metric: [P] place of each point's metric in `names`.
        step, value, time: [P]; points of equal time are ordered by value, NaN before any other.
    """
    value = np.where(np.abs(value) > MLFLOW_INFINITY, np.copysign(math.inf, value), value)
    floor = np.where(np.isnan(value), -math.inf, value)
    order = np.arange(len(step))
    if not _is_sorted(metric, step):
        order = np.lexsort((floor, time, step, metric))
        same = (np.diff(metric[order]) == 0) & (np.diff(step[order]) == 0)
        order = order[~np.append(same, False)]
    return Points(
        tuple(names), metric[order].astype(np.int16), step[order].astype(np.int64), value[order]
    )


def _is_sorted(metric: Numbers, step: Numbers) -> bool:
    """Say whether points are in the order of metric and step, with one for each pair."""
    return bool(np.all((np.diff(metric) > 0) | ((np.diff(metric) == 0) & (np.diff(step) > 0))))
