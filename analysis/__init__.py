"""What we learned: from runs in MLflow to statements with effect, interval and n. Never torch."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.runs import Study


def load(study: str, uri: str | None = None) -> "Study":
    """Read a study, for a notebook: `tables_of(analysis.load("quickstart"))` has all its tables.

    Args:
        study: name of the study.
        uri: any MLflow tracking URI; by default that of MLFLOW_TRACKING_URI, else the workbench's own
            store, in the folder that WORKBENCH_HOME names, or `runs`.
    Raises:
        ValueError: if the store or the study is missing.
    """
    from analysis.loading import load as read  # seconds of import that `import analysis` does not need

    home = Path(os.environ.get("WORKBENCH_HOME", "runs"))
    own = f"sqlite:///{(home / 'mlflow.db').resolve()}"
    return read(study, uri or os.environ.get("MLFLOW_TRACKING_URI") or own)
