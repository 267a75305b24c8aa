"""Write the summary experiment `<study>/summary`: one run an arm, with intervals over seeds.

MLflow's own grouping draws the least and the greatest seed; here are the interquartile mean and its
95 % interval, as the metrics `<metric>.iqm`, `.low` and `.high`.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from analysis.curves import MAX_POINTS, curve
from analysis.runs import Study
from analysis.selection import shown_arms

BATCH = 1000
"""Most metric points that MLflow takes in one call."""

MOST_POINTS = 50_000
"""About the most points of a summary: ten seconds for a SQLite store."""

_ROLE = "workbench.summary"
_LOG = logging.getLogger(__name__)


def summarise(study: Study, report: Path | None = None) -> None:
    """Write or refresh the summary of a study; runs of an earlier summary are replaced.

    The new runs are written before the old are deleted, so that a summary is there at any moment.
    A store takes minutes for a million points, so that curves are thinned to MOST_POINTS in all, and
    arms that figures do not show get their final metrics alone.

    Args:
        study: as it was read.
        report: folder of the study's report, logged as artifacts of the run `report`; an earlier
            report stays where none is given. Where the store cannot take artifacts, as one whose
            artifacts a server alone can reach, a warning is logged.
    """
    client = MlflowClient(study.tracking_uri)
    experiment = _experiment(client, study.name)
    old = _written(client, experiment, "arm")
    for arm in study.arms:
        run = client.create_run(experiment, run_name=arm, tags={_ROLE: "arm"})
        _log_arm(client, run.info.run_id, study, arm)
        client.set_terminated(run.info.run_id)
    if report is not None:
        old += _written(client, experiment, "report")
        _log_report(client, experiment, report)
    for run_id in old:
        client.delete_run(run_id)


def _experiment(client: MlflowClient, study: str) -> str:
    """Return the id of the summary's experiment; if new, its artifacts go below the study's."""
    name = f"{study}/summary"
    found = client.get_experiment_by_name(name)
    if found is None:
        place = client.get_experiment_by_name(study).artifact_location
        is_local = urlsplit(place).scheme in ("", "file")
        below = f"{place.rstrip('/')}/summary" if is_local else None
        return str(client.create_experiment(name, artifact_location=below))
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _written(client: MlflowClient, experiment: str, role: str) -> list[str]:
    """List the runs of this role that an earlier summary wrote; others are not ours to touch."""
    found: list[str] = []
    token: str | None = None
    while token is None or token:
        page = client.search_runs([experiment], f"tags.`{_ROLE}` = '{role}'", page_token=token)
        found += [run.info.run_id for run in page]
        token = page.token or ""
    return found


def _log_arm(client: MlflowClient, run_id: str, study: Study, arm: str) -> None:
    runs = study.runs_of(arm)
    params = [Param("arm", arm), Param("seeds", ", ".join(map(str, runs["seed"])))]
    tags = [RunTag("runs", str(len(runs)))]
    points = list(_points(study, arm))
    client.log_batch(run_id, params=params, tags=tags)
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH])


def _points(study: Study, arm: str) -> Iterator[Metric]:
    """Give every finite point; an end that is NaN, for want of seeds, is left out."""
    names, shown = sorted(study.metric_names), shown_arms(study)
    kept = names if arm in shown else [name for name in names if name.startswith("final/")]
    steps = MOST_POINTS // (3 * max(1, len(names)) * max(1, len(shown)))
    for metric in kept:
        found = curve(study, metric, arm, int(np.clip(steps, 20, MAX_POINTS)))
        ends: dict[str, Any] = {"iqm": found.centre, "low": found.low, "high": found.high}
        for name, values in ends.items():
            for step, value in zip(found.steps, values, strict=True):
                if np.isfinite(value):
                    yield Metric(f"{metric}.{name}", float(value), 0, int(step))


def _log_report(client: MlflowClient, experiment: str, report: Path) -> None:
    run = client.create_run(experiment, run_name="report", tags={_ROLE: "report"})
    try:
        client.log_artifacts(run.info.run_id, str(report))
    except (MlflowException, OSError) as error:
        _LOG.warning("the report could not be logged to MLflow: %s", error)
    client.set_terminated(run.info.run_id)
