"""Dress a study for MLflow's pages: a view of its curves by arm, and runs in the colours of the figures.

A saved view is an experiment tag that MLflow's pages read and write, a run's colour a tag of the run;
their form is not documented (measured with 3.17.2), so that nothing depends on it: where they cannot be
written, a warning is logged.
"""

import base64
import json
import logging
import time
import zlib
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from analysis import store
from analysis.loading import SPEC
from analysis.page.links import CHART_VIEW, VIEW_SUFFIX
from analysis.selection import MAX_ARMS, OKABE_ITO
from workbench.glossary import PAPER_FOUR

MAX_TAG = 20_000
"""Longest value that MLflow takes for an experiment's tag."""

MAX_RUNS = 50_000
"""Most runs that MLflow looks up at a time."""

_DESCRIPTION, _COLOUR = "mlflow.note.content", "mlflow.runColor"
_LOG = logging.getLogger(__name__)

_SECTIONS = {
    "Action-space monitors": PAPER_FOUR,
    "Proxy and gold": ("eval/gold", "eval/proxy", "reward/gold", "reward/gap", "eval/win_rate"),
    "Alignment tax": ("eval/held_out_perplexity",),
    "Other monitors": (
        *("policy/entropy", "policy/distinct", "policy/repeated", "policy/truncated"),
        *("policy/kl_to_sft_exact", "policy/reference_perplexity", "policy/true_perplexity"),
    ),
    "The update": (
        *("ppo/policy_loss", "ppo/value_loss", "ppo/approx_kl", "ppo/clip_fraction"),
        *("ppo/explained_variance", "ppo/policy_gradient_norm", "ppo/critic_gradient_norm"),
    ),
}
_LOGARITHMIC = ("policy/perplexity", "policy/reference_perplexity")
_BARS = ("final/gold", "final/kl_to_sft", "final/collapsed")
_AT_END = "At the end"


def dress(tracking_uri: str, study: str | None = None) -> dict[str, str]:
    """Dress a store's studies, or one of them; what is there already stays, but for the view.

    A study is described by its question and has a saved view of its curves by arm; its runs have the
    colours of arms in figures. A study of more arms than figures draw keeps MLflow's own colours.

    Returns:
        where the curves of each study are, below the address of the server.
    Raises:
        MlflowException: if the store cannot be read.
    """
    client = MlflowClient(tracking_uri)
    found = [client.get_experiment_by_name(study)] if study else client.search_experiments()
    views = {}
    for experiment in found:
        if experiment and SPEC in experiment.tags:
            _describe(client, experiment)
            metrics = store.metric_names(tracking_uri, experiment.name)
            suffix = _save_view(client, experiment, metrics)
            views[experiment.name] = f"#/experiments/{experiment.experiment_id}/runs{suffix}"
    return views


def _describe(client: MlflowClient, experiment: Experiment) -> None:
    """Write the description and the colours of runs that are not there."""
    try:
        spec = _object(experiment.tags[SPEC])
        if spec.get("question") and _DESCRIPTION not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, _DESCRIPTION, spec["question"])
        arms = spec.get("arms") or ()
        if not 0 < len(arms) <= MAX_ARMS:
            return
        colours = dict(zip(arms, OKABE_ITO, strict=False))
        where = f"tags.`{_COLOUR}` IS NULL"
        for run in client.search_runs([experiment.experiment_id], where, max_results=MAX_RUNS):
            if colour := colours.get(run.data.params.get("arm")):
                client.set_tag(run.info.run_id, _COLOUR, colour)
    except (MlflowException, OSError) as error:
        _LOG.warning("the description and the colours of arms could not be saved: %s", error)


def _save_view(client: MlflowClient, experiment: Experiment, metrics: frozenset[str]) -> str:
    """Save the view; return what an address needs to open it, nothing where it could not be saved."""
    value = view_tag(metrics, int(time.time() * 1000))
    if len(value) > MAX_TAG:
        _LOG.warning("the chart view has %d characters, over MLflow's %d", len(value), MAX_TAG)
        return ""
    try:
        client.set_experiment_tag(
            experiment.experiment_id, f"mlflow.sharedViewState.{CHART_VIEW}", value
        )
    except (MlflowException, OSError) as error:
        _LOG.warning("the chart view could not be saved: %s", error)
        return ""
    return VIEW_SUFFIX


def _object(text: str) -> dict[str, Any]:
    """Return what a tag says, nothing where it is no JSON object: reading the study will complain."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def view_tag(metrics: frozenset[str], now_ms: int) -> str:
    """Return the value of the tag: JSON around the deflated state of MLflow's chart page."""
    state = json.dumps(view_state(metrics), separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(state.encode(), level=9)).decode("ascii")
    view = {"name": "workbench: arms", "createdAt": now_ms, "updatedAt": now_ms}
    return json.dumps(view | {"state": f"deflate;{packed}"})


def view_state(metrics: frozenset[str]) -> dict[str, Any]:
    """Return the state of the chart page: sections, charts, columns, and runs grouped by arm."""
    charts = [
        _line(metric, section)
        for section, members in _SECTIONS.items()
        for metric in members
        if metric in metrics
    ]
    charts += [_chart("BAR", metric, _AT_END, metricKey=metric) for metric in _BARS]
    axes = {"xaxis": _axis("final/kl_to_sft"), "yaxis": _axis("final/gold")}
    charts.append(_chart("SCATTER", "gold-against-kl", _AT_END, **axes))
    used = {chart["metricSectionId"] for chart in charts}
    columns = ["params.`arm`", "params.`seed`", "tags.`outcome`", "tags.`collapse_iteration`"]
    return {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*columns, *(f"metrics.`{metric}`" for metric in _BARS)],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOWALL",
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "compareRunCharts": charts,
        "compareRunSections": [_section(name) for name in (*_SECTIONS, _AT_END) if name in used],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "param", "groupByData": "arm"}],
        },
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _axis(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC"}


def _section(name: str) -> dict[str, Any]:
    flags = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return {"uuid": name, "name": name} | flags


def _chart(kind: str, name: str, section: str, **settings: Any) -> dict[str, Any]:
    return {
        "uuid": f"{kind.lower()}-{name.replace('/', '-')}",
        "type": kind,
        "runsCountToCompare": 100,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
    } | settings


def _line(metric: str, section: str) -> dict[str, Any]:
    return _chart(
        "LINE",
        metric,
        section,
        metricKey=metric,
        selectedMetricKeys=[metric],
        lineSmoothness=0,
        xAxisScaleType="linear",
        scaleType="log" if metric in _LOGARITHMIC else "linear",
        range={},
        xAxisKey="step",
        selectedXAxisMetricKey="",
        yAxisKey="metric",
        yAxisExpressions=[],
        ignoreOutliers=False,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )
