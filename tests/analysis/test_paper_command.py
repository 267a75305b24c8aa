"""`workbench claims` from a store and from what was kept; C05 on a study with planted monitors."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from analysis import monitor_contest
from analysis.claims import CLAIMS
from analysis.paper import results
from analysis.paper.runs import facts_of_studies, summed
from tests.analysis.synthetic_store import QUICKSTART, Arm, Plan, write_store
from workbench import cli

COLLAPSES = (22, 26, 30, 24, 28, 23, 25, 27, 29, 31)
CONTEST = replace(
    QUICKSTART,
    name="figure_08",
    seeds=tuple(range(100, 110)),
    arms=QUICKSTART.arms | {"vanilla": Arm(collapse=COLLAPSES)},
)
"""KL, length and perplexity leave their range 15, 10 and 5 iterations ahead; the losses never do."""
Make = Callable[[Plan], str]
Output = pytest.CaptureFixture[str]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["workbench", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_planted_monitors_win_and_lose_where_the_sides_are_exchanged(
    make_store: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    [claim] = [one for one in CLAIMS if one.id == "C05"]
    open_study = results.opener(make_store(CONTEST))
    [found] = results.judge(open_study, [claim])
    assert found.answer == "reproduced"
    assert all(len(part.values) == 10 for part in found.parts)
    # the median of three values is two iterations late
    lead = monitor_contest.leads_by_seed(open_study("08"))[[*monitor_contest.ACTION_SPACE]].mean()
    assert lead.tolist() == pytest.approx([5 - 2, 10 - 2, 15 - 2], abs=0.5)
    ours, theirs = monitor_contest.ACTION_SPACE, monitor_contest.REWARD_AND_LOSSES
    monkeypatch.setattr(monitor_contest, "ACTION_SPACE", theirs)
    monkeypatch.setattr(monitor_contest, "REWARD_AND_LOSSES", ours)
    assert results.judge(open_study, [claim])[0].answer == "contradicted"


def test_where_nothing_collapsed_there_is_no_contest_and_a_sentence_says_so(make_store: Make) -> None:
    [claim] = [one for one in CLAIMS if one.id == "C05"]
    calm = replace(CONTEST, arms=CONTEST.arms | {"vanilla": Arm()})
    [found] = results.judge(results.opener(make_store(calm)), [claim])
    assert found.answer == "not run"
    assert found.note == "no run of vanilla collapsed in study figure_08"


def test_verdicts_figures_and_page_are_kept_and_told_again_without_a_store(
    make_store: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    home = Path(make_store(CONTEST).removeprefix("sqlite:///")).parent
    folder, page = tmp_path / "docs" / "paper", tmp_path / "docs" / "paper.md"
    page.parent.mkdir()
    page.write_text((results.KEPT.parents[1] / "paper.md").read_text(encoding="utf-8"), encoding="utf-8")
    assert run(monkeypatch, "claims", "--home", str(home), "--save", str(folder), "--json") == 0
    said = capsys.readouterr()
    assert "figure_04: not drawn, study figure_04 is not there" in said.err
    assert (folder / "monitor_contest.png").is_file()
    assert "![Which monitors tell the collapse" in page.read_text(encoding="utf-8")
    kept = results.kept(folder / "verdicts.json")
    assert (kept["runs"], kept["seeds"], kept["studies"]) == (20, list(CONTEST.seeds), ["figure_08"])
    assert json.loads(said.out) == kept["claims"]
    assert str(tmp_path) not in (folder / "verdicts.json").read_text() + page.read_text(encoding="utf-8")

    monkeypatch.setattr(results, "KEPT", folder / "verdicts.json")
    assert run(monkeypatch, "claims", "--json") == 0
    assert json.loads(capsys.readouterr().out) == kept["claims"]
    assert run(monkeypatch, "claims") == 0
    table = capsys.readouterr().out
    assert "C05" in table and "reproduced" in table and "not run" in table


def test_another_setting_is_kept_beside_and_becomes_a_column_of_the_page(
    make_store: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    make_store(CONTEST)
    uri = make_store(replace(CONTEST, name="figure_08.wide"))
    home, folder = Path(uri.removeprefix("sqlite:///")).parent, tmp_path / "docs" / "paper"
    folder.mkdir(parents=True)
    page = folder.with_suffix(".md")
    page.write_text((results.KEPT.parents[1] / "paper.md").read_text(encoding="utf-8"), encoding="utf-8")
    assert run(monkeypatch, "claims", "--home", str(home), "--save", str(folder)) == 0
    wide = ("claims", "--home", str(home), "--setting", "wide", "--save", str(folder))
    assert run(monkeypatch, *wide) == 0
    assert (folder / "verdicts.wide.json").is_file()
    text = page.read_text(encoding="utf-8")
    assert "| claim | as calibrated | wide |" in text
    assert "wide: 20 runs, seeds 100 to 109, `python -m ablations.paper --setting wide`." in text


def decided(kept: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in kept["claims"] if row["verdict"] != "not run"]


def test_what_several_machines_ran_adds_up_and_no_verdict_is_lost(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    folder = tmp_path / "paper"

    def save(name: str, seeds: tuple[int, ...] = CONTEST.seeds) -> tuple[int, str]:
        home = tmp_path / f"{name}, {len(seeds)} seeds"
        if not home.is_dir():
            write_store(replace(CONTEST, name=name, seeds=seeds), home, template)
        command = ("claims", "--home", str(home), "--save", str(folder), "--setting", "wide")
        return run(monkeypatch, *command), capsys.readouterr().err

    assert save("figure_08.wide")[0] == 0
    file = folder / "verdicts.wide.json"
    one = results.kept(file)
    for _ in range(2):  # saving again changes nothing
        assert save("figure_04.wide")[0] == 0
    both = results.kept(file)
    for fewer in (3, 8):  # nor do fewer runs
        assert save("figure_08.wide", seeds=CONTEST.seeds[:fewer])[0] == 0
        again = results.kept(file)
        assert decided(again) == decided(both)
        assert all(again[key] == both[key] for key in ("by_study", "told"))
    verdicts = {row["id"]: row["verdict"] for row in both["claims"]}
    assert verdicts["C05"] == "reproduced" and one["runs"] == 20
    assert (both["runs"], both["studies"]) == (40, ["figure_08.wide", "figure_04.wide"])
    assert both["hours"] == pytest.approx(2 * one["hours"], abs=0.1)
    told = [row["part"] for row in both["told"]["wide"]]
    assert len(told) == len(set(told)) and {row["part"] for row in one["told"]["wide"]} < set(told)

    whole = file.read_text()
    without = json.loads(whole)
    for row in without["claims"]:
        row["parts"] = [{k: v for k, v in part.items() if k != "values"} for part in row["parts"]]
    file.write_text(json.dumps(without))
    status, said = save("figure_04.wide")
    assert status == 2 and "has verdicts on C05, whose runs are not in this store; save to" in said
    assert json.loads(file.read_text()) == without


def test_figures_are_not_drawn_over_with_those_of_fewer_runs(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    folder = tmp_path / "paper"
    for seeds, status in ((CONTEST.seeds, 0), (CONTEST.seeds[:8], 2)):
        home = tmp_path / str(len(seeds))
        write_store(replace(CONTEST, seeds=seeds), home, template)
        before = {file: file.read_bytes() for file in folder.glob("*")}
        assert run(monkeypatch, "claims", "--home", str(home), "--save", str(folder)) == status
    assert (
        "are of more runs of figure_08 than this store has; save to another" in capsys.readouterr().err
    )
    assert {file: file.read_bytes() for file in folder.glob("*")} == before


def test_a_run_that_is_lent_is_counted_once() -> None:
    seconds = {"vanilla": 3600, "kl": 7200}

    def study(name: str, *arms: str) -> Any:
        facts = [{"run_id": arm, "seed": 7, "start_ms": 0, "end_ms": 1e3 * seconds[arm]} for arm in arms]
        runs = pd.DataFrame(facts).assign(outcome="ok", git_commit="0123456789ab", hardware="a machine")
        return SimpleNamespace(study=SimpleNamespace(name=name, runs=runs))

    studies = {"04": study("a", "vanilla"), "07": study("b", "vanilla", "kl"), "08": study("c", "kl")}
    found = facts_of_studies(studies.__getitem__, [*studies, "09"])
    assert {name: facts["runs"] for name, facts in found.items()} == {"a": 1, "b": 1}
    whole = summed(found)
    assert (whole["runs"], whole["hours"], whole["seeds"]) == (2, 3.0, [7])
    assert (whole["first"], whole["last"]) == ("1970-01-01 00:00 UTC", "1970-01-01 02:00 UTC")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--save", "docs/paper"], "--save and --setting need --home, the folder of the runs"),
        (["--home", "nowhere"], "mlflow.db"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert run(monkeypatch, "claims", *arguments) == 2
    assert sentence in capsys.readouterr().err


def test_a_setting_that_the_store_lacks_is_refused(quickstart: str) -> None:
    with pytest.raises(ValueError, match="no study of the setting 'gramar'"):
        results.opener(quickstart, "gramar")


def test_without_kept_verdicts_it_is_said_how_to_come_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(results, "KEPT", tmp_path / "verdicts.json")
    assert run(monkeypatch, "claims") == 2
    assert "run `make paper`, or name a store with --home" in capsys.readouterr().err
