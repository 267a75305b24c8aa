"""Write a study's report: one self-contained HTML page, with its figures and tables beside it."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analysis import stability
from analysis.captions import CAPTIONS, figure_title
from analysis.findings import Finding, Tables, findings, limits, tables_of
from analysis.panels import COLUMN, PAGE, render
from analysis.plots import FIGURES
from analysis.runs import Study, load
from analysis.wording import number
from workbench.glossary import GLOSSARY

SAMPLES = 3
"""Sample responses shown per arm."""

_ARM_COLUMNS = (
    *("final/gold", "final/win_rate", "final/proxy", "final/kl_to_sft"),
    *("final/response_length", "final/perplexity", "final/held_out_perplexity"),
)


def write_report(study: str, tracking_uri: str, folder: Path) -> Path:
    """Write `report.html` with its figures (PNG, SVG) and tables (CSV) into a folder.

    Args:
        study: name of the study.
        tracking_uri: any MLflow tracking URI.
        folder: made if it is not there; files of an earlier report are overwritten.
    Returns:
        the path of report.html.
    Raises:
        ValueError: if the store or the study is missing.
    """
    with _progress(len(FIGURES) + 3) as step:
        loaded = load(study, tracking_uri)
        step("tables")
        tables = tables_of(loaded)
        said = findings(loaded, tables)
        _write_tables(tables, said, folder)
        step("figures")
        pictures = []
        for name in FIGURES:
            pictures.append(_picture(loaded, name, folder / "figures"))
            step(name)
        page = _template().render(
            study=loaded,
            findings=said,
            figures=pictures,
            arms=_arm_rows(loaded, tables),
            effects=_effect_rows(tables.effects),
            runs=_run_rows(tables.runs),
            recipe=recipe_differences(loaded),
            samples=samples(loaded),
            facts=_facts(loaded, tables.runs),
            reward_model=_reward_model_facts(loaded),
            limits=limits(loaded, tables),
            glossary=[GLOSSARY[name] for name in GLOSSARY if name in loaded.metric_names],
            rules=stability.RULES,
        )
        file = folder / "report.html"
        file.write_text(page, encoding="utf-8")
        step("done")
    return file


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Show a progress bar on a terminal; give a function that advances it."""
    console = Console(stderr=True)
    columns = (TextColumn("report: {task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
    bar.disable = not console.is_terminal
    with bar:
        task = bar.add_task("reading", total=total)
        yield lambda text: bar.update(task, advance=1, description=text.replace("_", " "))


def _template() -> Any:
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, unbroken=_unbroken)
    return environment.get_template("report.html")


def _unbroken(text: str) -> str:
    """Keep `95 %` and `n = 5` on one line."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\b[np]) (?==)|(?<==) (?=\d)", "\u00a0", text)


def _write_tables(tables: Tables, said: dict[str, list[Finding]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for field in fields(tables):
        getattr(tables, field.name).to_csv(folder / f"{field.name}.csv", index=False)
    rows = [
        {"question": question, "finding": one.text, "source": one.source}
        for question, answers in said.items()
        for one in answers
    ]
    columns = ["question", "finding", "source"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "findings.csv", index=False)


def _picture(study: Study, name: str, folder: Path) -> dict[str, str]:
    """Draw a figure for page and column; write the first as PNG and SVG, return both inline."""
    folder.mkdir(parents=True, exist_ok=True)
    page = FIGURES[name](study, PAGE)
    wide = render(page, "svg")
    page.set_layout_engine("none")  # keeps the layout found, and so the time to find it again
    (folder / f"{name}.svg").write_bytes(wide)
    (folder / f"{name}.png").write_bytes(render(page, "png"))
    narrow = render(FIGURES[name](study, COLUMN), "svg")
    return {
        "name": name,
        "title": figure_title(name),
        "caption": CAPTIONS[name],
        "wide": _inline(wide),
        "narrow": _inline(narrow),
    }


def _inline(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + b64encode(svg).decode("ascii")


def _arm_rows(study: Study, tables: Tables) -> dict[str, Any]:
    """Return head and rows of the table of arms."""
    metrics = [name for name in _ARM_COLUMNS if name in study.metric_names]
    rows = []
    for arm in study.arms:
        runs = tables.runs[tables.runs["arm"] == arm] if len(tables.runs) else tables.runs
        outcome = runs["outcome"] if len(runs) else pd.Series(dtype=object)
        at = runs["collapse_iteration"].dropna() if len(runs) else pd.Series(dtype=float)
        finished = int(outcome.isin(["ok", "collapsed"]).sum())
        when = f"\nmedian at {at.median():g}" if len(at) else ""
        own = {row["metric"]: row for _, row in tables.arms.iterrows() if row["arm"] == arm}
        values = [_with_interval(own[name], "mean") for name in metrics]
        collapsed = f"{int((outcome == 'collapsed').sum())} of {finished}{when}"
        rows.append([arm, f"{finished} of {len(study.spec['seeds'])}", collapsed, *values])
    labels = [GLOSSARY[name].label.removeprefix("final ") for name in metrics]
    return {"head": ["arm", "finished", "collapsed", *labels], "rows": rows}


def _effect_rows(table: pd.DataFrame) -> dict[str, Any]:
    head = ["metric", "arm", "against", "difference", "n", "p", "p Holm"]
    head += ["detectable", "P(better)", "verdict"]
    rows = [
        [
            GLOSSARY[row["metric"]].label.removeprefix("final "),
            row["arm"],
            row["against"],
            _with_interval(row, "difference"),
            row["n"],
            f"{row['p']:.3g}",
            f"{row['p_holm']:.3g}",
            number(row["detectable"]),
            number(row["improvement"]),
            row["verdict"],
        ]
        for _, row in table.iterrows()
    ]
    return {"head": head, "rows": rows}


def _with_interval(row: "pd.Series[Any]", estimate: str) -> str:
    ends = f"\n[{number(row['low'])}, {number(row['high'])}]" if pd.notna(row["low"]) else ""
    return number(row[estimate]) + ends


def _run_rows(table: pd.DataFrame) -> dict[str, Any]:
    columns = {
        "arm": "arm",
        "seed": "seed",
        "outcome": "outcome",
        "collapse_iteration": "collapsed at",
        "gold_falls": "gold falls below start at",
        "last_iteration": "iterations",
        "start_gold": "gold at start",
        "best_gold": "best gold",
        "final_gold": "final gold",
        "final_proxy": "final proxy",
        "gap": "gap",
        "final_kl_to_sft": "final KL",
        "seconds": "seconds",
    }
    counts = ("collapse_iteration", "gold_falls", "last_iteration", "seconds")
    rows = []
    for _, run in table.iterrows():
        cells = []
        for name in columns:
            value = run[name]
            is_count = name in counts and pd.notna(value)
            text = f"{value:.0f}" if is_count else value
            cells.append(number(text) if isinstance(text, float) else str(text))
        rows.append(cells)
    return {"head": list(columns.values()), "rows": rows}


def recipe_differences(study: Study) -> dict[str, Any]:
    """Tabulate the parameters in which arms differ: a row a parameter, a column an arm."""
    arms = [arm for arm in study.arms if len(study.runs_of(arm))]
    rows = []
    for name in study.params:
        values = [study.runs_of(arm)[name].dropna().astype(str).unique() for arm in arms]
        cells = [", ".join(sorted(found)) if len(found) else "–" for found in values]
        if len(set(cells)) > 1:
            rows.append([name, *cells])
    return {"head": ["parameter", *arms], "rows": rows}


def samples(study: Study) -> list[dict[str, Any]]:
    """Read sample responses: of each arm the first run that has any, at its last iteration."""
    found = []
    for arm in study.arms:
        for _, run in study.runs_of(arm).iterrows():
            rows = _sample_rows(study, str(run["run_id"]))
            if rows:
                found.append({"arm": arm, "seed": run["seed"], "rows": rows})
                break
    return found


def _sample_rows(study: Study, run_id: str) -> list[dict[str, Any]]:
    file = study.artifact_path(run_id, "samples.json")
    if file is None:
        return []
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        last = max((row["iteration"] for row in rows), default=0)
        return [row for row in rows if row["iteration"] == last][:SAMPLES]
    except (ValueError, KeyError, TypeError):
        return []


def _facts(study: Study, runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Return how the study was run, as pairs of a name and a value; only what is known."""
    spec = study.spec
    seconds = runs["seconds"].sum() if len(runs) else 0.0
    end = study.runs["end_ms"].max() if len(study.runs) else None
    known = {
        "task": spec["task"],
        "command": spec["command"],
        "arms": ", ".join(study.arms),
        "seeds": ", ".join(map(str, spec["seeds"])),
        "iterations": spec["iterations"],
        "responses per iteration": spec["rollout_size"],
        "prepared models": study.prepared.get("hash", ""),
        "time to prepare": _duration(study.prepared.get("seconds")),
        "time of all runs": _duration(seconds),
        "last run ended": _date(end),
        "hardware": _distinct(study, "hardware"),
        "versions": _versions(study),
        "code": _distinct(study, "git_commit"),
    }
    return [(name, str(value)) for name, value in known.items() if value not in ("", None)]


def _duration(seconds: float | None) -> str:
    if not seconds:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _date(milliseconds: Any) -> str:
    if milliseconds is None or pd.isna(milliseconds):
        return ""
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _distinct(study: Study, column: str) -> str:
    if column not in study.runs:
        return ""
    return ", ".join(sorted(study.runs[column].dropna().astype(str).unique()))


def _versions(study: Study) -> str:
    found = []
    for text in study.runs["versions"].dropna().unique() if "versions" in study.runs else ():
        try:
            found.append(", ".join(f"{name} {value}" for name, value in json.loads(text).items()))
        except (ValueError, AttributeError):
            found.append(str(text))
    return "; ".join(sorted(found))


def _reward_model_facts(study: Study) -> str:
    model = study.prepared.get("reward_model", {})
    accuracy, pairs = model.get("accuracy"), model.get("pairs")
    if accuracy is None:
        return ""
    text = f"The reward model ranks {accuracy:.1%} of".replace("%", " %")
    text += f" {model.get('held_out_pairs', 'its')} held-out pairs as the judge did"
    text += f", after training on {pairs} pairs" if pairs else ""
    correlation = model.get("gold_correlation")
    text += f"; its score correlates with gold at {number(correlation)}" if correlation else ""
    return text + "."
