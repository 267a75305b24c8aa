import io
from pathlib import Path

import pytest
from rich.console import Console

from analysis import plots
from analysis.progress import Bar, progress_bar
from analysis.report import read_with, report_on
from tests.analysis.synthetic_store import QUICKSTART


def test_a_report_does_all_the_work_that_it_expected(
    quickstart: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import analysis.report

    monkeypatch.setattr(analysis.report, "FIGURES", {"wins": plots.wins, "forest": plots.forest})
    with progress_bar("report") as bar:
        report_on(read_with(bar, QUICKSTART.name, quickstart), tmp_path, bar)
        assert bar.expected > 0
        assert bar.finished == pytest.approx(bar.expected)


def test_a_terminal_is_shown_what_is_done_and_the_time_left() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with progress_bar("report", console) as bar:
        bar.expect(4.0)
        bar.done(1.0)
        bar.say("figure wins")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "report: figure wins" in shown
    assert "-:--:--" in shown or "0:00:" in shown


def test_where_there_is_no_terminal_nothing_is_shown() -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with progress_bar("report", console) as bar:
        assert isinstance(bar, Bar)
        bar.say("figure wins")
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
