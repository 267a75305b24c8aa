"""Keep the verdicts on the paper in a folder, with what is known of their runs, figures and the page."""

from collections.abc import Callable
from pathlib import Path

from analysis.claims import Open
from analysis.paper import afterwards
from analysis.paper.figures import PAPER_FIGURES, save_figures
from analysis.paper.page import filled
from analysis.paper.results import judge, kept, save
from analysis.paper.runs import facts_of_runs
from analysis.paper.told import told
from analysis.verdicts import Verdict

DRAWN = dict.fromkeys(name for one in PAPER_FIGURES for name in (*one.needs, *one.also))
STUDIES = (*DRAWN, *afterwards.STUDIES)
"""Every study of the paper, by its number."""
HOME = "runs/paper"
"""The folder in which `make paper` runs the studies."""


def keep(open_study: Open, folder: Path, setting: str, tell: Callable[[str], None]) -> list[Verdict]:
    """Write verdicts.json, the figures, and the generated parts of the page beside the folder.

    Of another setting than that of the rules' calibration only verdicts.NAME.json and the page.

    Args:
        open_study: of `paper.opener`.
        folder: such as docs/paper, whose page is docs/paper.md.
        setting: of the studies.
        tell: is told of each file.
    Returns:
        the verdicts.
    Raises:
        LookupError: if no run has ended.
    """
    about = facts_of_runs(open_study, STUDIES) | {"commands": _commands(setting)}
    about["figures"] = [] if setting else save_figures(open_study, folder, tell)
    about["afterwards"] = {} if setting else afterwards.looked_at(open_study)
    about["told"] = told(open_study, setting)
    file, verdicts = _file(folder, setting), judge(open_study)
    save(verdicts, about, file)
    tell(f"{file.name}: {about['runs']} runs")
    page = folder.with_suffix(".md")
    if page.is_file() and _file(folder).is_file():
        page.write_text(refreshed(page.read_text(encoding="utf-8"), folder), encoding="utf-8")
        tell(f"{page.name}: written anew")
    return verdicts


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
