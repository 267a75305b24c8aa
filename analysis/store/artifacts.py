"""Where the artifacts of a run lie: on this machine, beside a store that was moved, or on a server."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from analysis import store


def artifact_path(artifact_uri: str, name: str, tracking_uri: str) -> Path | None:
    """Find an artifact by its path: `file:` URIs, plain paths, and `mlflow-artifacts:/` URIs.

    The last, and any path that is gone because the store was moved, are looked for in the folder
    `artifacts` (or `mlruns`) beside the SQLite file. From a tracking server it is downloaded.
    """
    parts = urlsplit(artifact_uri)
    location = Path(unquote(parts.path) if parts.scheme else artifact_uri)
    folders = [location] if parts.scheme in ("", "file") else []
    database = store.sqlite_file(tracking_uri)
    if database:
        roots = (database.parent / "artifacts", database.parent / "mlruns")
        folders += [root.joinpath(*location.parts[-n:]) for root in roots for n in (3, 2)]
    found = next((folder / name for folder in folders if (folder / name).exists()), None)
    return found if found or database else _download(artifact_uri, name, tracking_uri)


def _download(artifact_uri: str, name: str, tracking_uri: str) -> Path | None:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    address = f"{artifact_uri.rstrip('/')}/{name}"
    try:
        return Path(download_artifacts(artifact_uri=address, tracking_uri=tracking_uri))
    except (MlflowException, OSError):
        return None
