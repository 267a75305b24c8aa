"""Addresses of MLflow's pages: of the study's curves and of single runs."""

from urllib.parse import quote

from analysis.runs import Study

UI = "http://127.0.0.1:5000"
"""Where `workbench ui` serves a SQLite store."""

CHART_VIEW = "workbench-arms"
"""Key of the saved view that shows the curves grouped by arm."""

_TRAINING = "workflowType=machine_learning"
"""Opens the pages on training, where MLflow would show those on agents first."""

VIEW_SUFFIX = f"?compareRunsMode=CHART&viewStateShareKey={CHART_VIEW}&{_TRAINING}"


def study_link(study: Study) -> str:
    """Return the address of the study's chart page, its curves grouped by arm."""
    return f"{_experiment(study)}/runs{VIEW_SUFFIX}"


def run_link(study: Study, run_id: str) -> str:
    """Return the address of a run's page."""
    return f"{_experiment(study)}/runs/{quote(run_id)}?{_TRAINING}"


def _experiment(study: Study) -> str:
    is_server = study.tracking_uri.startswith(("http://", "https://"))
    server = study.tracking_uri.rstrip("/") if is_server else UI
    return f"{server}/#/experiments/{quote(study.experiment_id)}"
