"""Write a study's report, and what of it belongs into MLflow, from one reading of its runs."""

from pathlib import Path

from analysis.progress import progress_bar
from analysis.report import read_with, report_on
from analysis.summary import summarise

_SUMMARY_WORK = 4.0
"""About how many seconds the summary takes."""


def publish(study: str, tracking_uri: str, folder: Path) -> Path:
    """Write the report into a folder, log it to MLflow, and refresh the summary experiment.

    Args:
        study: name of the study.
        tracking_uri: any MLflow tracking URI.
        folder: of the report.
    Returns:
        the path of report.html.
    Raises:
        ValueError: if the store or the study is missing.
    """
    with progress_bar("report") as bar:
        bar.expect(_SUMMARY_WORK)
        loaded = read_with(bar, study, tracking_uri)
        page = report_on(loaded, folder, bar)
        bar.say("summary for MLflow")
        summarise(loaded, folder)
        bar.done(_SUMMARY_WORK)
    return page
