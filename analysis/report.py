"""Write a study's report: one self-contained HTML page, with its figures and tables beside it."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.figures.panels import COLUMN, PAGE, render
from analysis.loading import load
from analysis.page import provenance
from analysis.page.captions import CAPTIONS, TITLES
from analysis.page.finding import Finding
from analysis.page.findings import findings
from analysis.page.latex import MOST_ROWS, latex_table
from analysis.page.limits import limits
from analysis.page.links import study_link
from analysis.page.rows import arm_rows, effect_rows, recipe_differences, run_rows
from analysis.plots import FIGURES, is_drawn
from analysis.progress import Bar, progress_bar
from analysis.runs import Study
from analysis.tables import TABLES, Tables, tables_of
from analysis.warnings.alarms import RULE as ALARM_RULE
from analysis.warnings.early_warning import RULE as FORECAST_RULE
from analysis.wording import number
from workbench.glossary import GLOSSARY

_WORK = {"run": 0.012, "table": 0.5, "figure": 0.8}
"""About how many seconds a part takes, so that the bar knows what is left."""


def write_report(study: str, tracking_uri: str, folder: Path) -> Path:
    """Read a study and write `report.html` with its figures and tables into a folder; see `report_on`.

    Args:
        study: name of the study.
        tracking_uri: any MLflow tracking URI.
        folder: made if it is not there; files of an earlier report are overwritten.
    Returns:
        the path of report.html.
    Raises:
        ValueError: if the store or the study is missing.
    """
    with progress_bar("report") as bar:
        return report_on(read_with(bar, study, tracking_uri), folder, bar)


def read_with(bar: Bar, study: str, tracking_uri: str) -> Study:
    """Read a study and move a bar as its runs come in."""

    def tell(done: int, runs: int) -> None:
        if done == 1:
            bar.expect(runs * _WORK["run"])
        bar.done(_WORK["run"])

    bar.say("reading the runs")
    bar.expect(len(TABLES) * _WORK["table"] + len(FIGURES) * _WORK["figure"])
    return load(study, tracking_uri, tell=tell)


def report_on(study: Study, folder: Path, bar: Bar) -> Path:
    """Write the report of a study that has been read.

    Writes report.html; a CSV, and up to MOST_ROWS rows a LaTeX file, of every table that has rows;
    findings.csv; every figure as PNG and SVG.

    Returns:
        the path of report.html.
    """
    tables = tables_of(study)
    written = _write_tables(tables, folder, bar)
    said = findings(study, tables)
    _write_findings(said, folder)
    pictures = _pictures(study, folder / "figures", bar)
    page = _template().render(
        study=study,
        findings=said,
        figures=pictures,
        arms=arm_rows(study, tables),
        effects=effect_rows(study, tables.effects),
        runs=run_rows(study, tables.runs),
        recipe=recipe_differences(study),
        samples=provenance.samples(study),
        facts=provenance.facts(study, tables.runs),
        tables=written,
        curves_link=study_link(study),
        limits=limits(study, tables),
        glossary=[GLOSSARY[name] for name in GLOSSARY if name in study.metric_names],
        rules={"Forecasts": FORECAST_RULE, "Alarms": ALARM_RULE},
    )
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8")
    return file


def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, unbroken=_unbroken)
    return environment.get_template("report.html")


def _unbroken(text: str) -> str:
    """Keep `95 %` and `n = 5` on one line."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\b[np]) (?==)|(?<=R²) (?==)|(?<==) (?=\d)", "\u00a0", text)


def _write_tables(tables: Tables, folder: Path, bar: Bar) -> list[str]:
    """Write the tables that have rows, and take away what an earlier report left of others."""
    (folder / "latex").mkdir(parents=True, exist_ok=True)
    written = []
    for name in TABLES:
        bar.say(f"table {name.replace('_', ' ')}")
        table: pd.DataFrame = getattr(tables, name)
        comma, latex = folder / f"{name}.csv", folder / "latex" / f"{name}.tex"
        for file in (comma, latex):
            file.unlink(missing_ok=True)
        if len(table):
            table.to_csv(comma, index=False)
            written.append(name)
        if 0 < len(table) <= MOST_ROWS:
            latex.write_text(latex_table(table), encoding="utf-8")
        bar.done(_WORK["table"])
    return written


def _write_findings(said: dict[str, list[Finding]], folder: Path) -> None:
    rows = [
        {"question": question, "finding": one.text, "source": one.source}
        for question, answers in said.items()
        for one in answers
    ]
    columns = ["question", "finding", "source"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "findings.csv", index=False)


def _pictures(study: Study, folder: Path, bar: Bar) -> list[dict[str, str]]:
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name in FIGURES:
        bar.say(f"figure {name.replace('_', ' ')}")
        if is_drawn(study, name):
            found.append(_picture(study, name, folder))
        bar.done(_WORK["figure"])
    return found


def _picture(study: Study, name: str, folder: Path) -> dict[str, str]:
    """Draw a figure for page and column; write the first as PNG and SVG, return both inline."""
    page = FIGURES[name](study, PAGE)
    wide = render(page, "svg")
    page.set_layout_engine("none")  # keeps the layout found, and so the time to find it again
    (folder / f"{name}.svg").write_bytes(wide)
    (folder / f"{name}.png").write_bytes(render(page, "png"))
    narrow = render(FIGURES[name](study, COLUMN), "svg")
    picture = {"name": name, "title": TITLES[name], "caption": CAPTIONS[name]}
    return picture | {"wide": _inline(wide), "narrow": _inline(narrow)}


def _inline(svg: bytes) -> str:
    """Write an SVG as an address that holds it; a fifth shorter than in base 64."""
    return "data:image/svg+xml," + svg.decode("utf-8").translate(_ESCAPED)


_ESCAPED = str.maketrans({'"': "'", "\n": " "} | {one: f"%{ord(one):02X}" for one in "<>#%&"})
