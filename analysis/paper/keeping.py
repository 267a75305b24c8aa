"""Keep the verdicts on the paper in a folder, with what is known of their runs, figures and the page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.claims import Open
from analysis.paper import afterwards
from analysis.paper.figures import PAPER_FIGURES, save_figures
from analysis.paper.page import filled
from analysis.paper.results import evidence_of, judge, kept, save
from analysis.paper.runs import facts_of_studies, summed
from analysis.paper.told import told
from analysis.verdicts import Verdict

DRAWN = dict.fromkeys(name for one in PAPER_FIGURES for name in (*one.needs, *one.also))
STUDIES = (*DRAWN, *afterwards.STUDIES)
"""Every study of the paper, by its number."""
Row = Mapping[str, Any]
HOME = "runs/paper"
"""The folder in which `make paper` runs the studies."""


def keep(open_study: Open, folder: Path, setting: str, tell: Callable[[str], None]) -> list[Verdict]:
    """Write verdicts.json, the figures, and the generated parts of the page beside the folder.

    Of another setting than that of the rules' calibration only verdicts.NAME.json and the page. What is
    there already of claims of which this store has no runs, or fewer, stays, so that the runs of several
    machines add up; all claims are decided together.

    Args:
        open_study: of `paper.opener`.
        folder: such as docs/paper, whose page is docs/paper.md.
        setting: of the studies.
        tell: is told of each file.
    Returns:
        the verdicts.
    Raises:
        LookupError: if no run has ended.
        ValueError: if a verdict that is there would be lost, as it was kept without its values, or a
            figure be drawn of fewer runs.
    """
    file = _file(folder, setting)
    before = kept(file) if file.is_file() else {}
    verdicts = judge(open_study, before=evidence_of(before.get("claims", ())))
    _refuse_loss(before, verdicts, file)
    here, there = facts_of_studies(open_study, STUDIES), before.get("by_study", {})
    more = {name: one for name, one in here.items() if one["runs"] >= there.get(name, one)["runs"]}
    if not setting:
        _refuse_fewer([name for name in here if name not in more], file)
    about = summed(there | more) | {"commands": _commands(setting)}
    drawn = [] if setting else save_figures(open_study, folder, tell)
    looks = {} if setting else afterwards.looked_at(open_study)
    about["figures"] = _joined(before.get("figures", ()), drawn, "name", "name")
    about["afterwards"] = before.get("afterwards", {}) | looks
    about["told"] = {
        name: _joined(before.get("told", {}).get(name, ()), rows, "part", "n")
        for name, rows in (before.get("told", {}) | told(open_study, setting)).items()
    }
    save(verdicts, about, file)
    tell(f"{file.name}: {about['runs']} runs")
    page = folder.with_suffix(".md")
    if page.is_file() and _file(folder).is_file():
        page.write_text(refreshed(page.read_text(encoding="utf-8"), folder), encoding="utf-8")
        tell(f"{page.name}: written anew")
    return verdicts


def _refuse_loss(before: Mapping[str, Any], verdicts: Sequence[Verdict], file: Path) -> None:
    decided = {row["id"] for row in before.get("claims", ()) if row["verdict"] != "not run"}
    lost = [one.id for one in verdicts if one.answer == "not run" and one.id in decided]
    if lost:
        raise ValueError(
            f"{file} has verdicts on {', '.join(lost)}, whose runs are not in this store; save to"
            " another folder"
        )


def _refuse_fewer(studies: Sequence[str], file: Path) -> None:
    if studies:
        raise ValueError(
            f"{file} and its figures are of more runs of {', '.join(studies)} than this store has;"
            " save to another folder"
        )


def _joined(old: Iterable[Row], new: Iterable[Row], key: str, size: str) -> list[Row]:
    """Return old rows and new ones; of two with one name the new one, unless it is the smaller."""
    rows = {row[key]: row for row in old}
    rows |= {row[key]: row for row in new if row[size] >= rows.get(row[key], row)[size]}
    return list(rows.values())


def refreshed(page: str, folder: Path) -> str:
    """Return the page with its generated parts as the verdicts in the folder have them.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if the page has other parts than there are claims.
    """
    files = sorted(folder.glob("verdicts.*.json"))
    carried = {file.name.split(".")[1]: kept(file) for file in files}
    return filled(page, kept(_file(folder)), carried)


def _file(folder: Path, setting: str = "") -> Path:
    return folder / (f"verdicts.{setting}.json" if setting else "verdicts.json")


def _commands(setting: str) -> list[str]:
    if not setting:
        return ["make paper", f"workbench claims --home {HOME} --save docs/paper"]
    named = f"--setting {setting}"
    return [
        f"python -m ablations.paper {named}",
        f"workbench claims --home {HOME} {named} --save docs/paper",
    ]
