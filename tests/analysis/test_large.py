"""A study of many arms: a page that can be read, each table made once, memory by the point."""

import sqlite3
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis.report
import analysis.tables
from analysis import plots
from analysis.curves import FEW_POINTS, MAX_POINTS
from analysis.loading import load
from analysis.page.rows import FOLD
from analysis.report import write_report
from analysis.selection import MAX_ARMS
from tests.analysis.synthetic_store import QUICKSTART, curves, write_store
from tests.analysis.test_report import Page
from tests.benchmarks.large_store import large_plan, write_large_store

KEPT = {
    *("reward/gold", "reward/proxy", "eval/gold", "eval/proxy", "eval/win_rate"),
    *("policy/kl_to_sft", "policy/response_length"),
}
SMALL = large_plan(arms=200, seeds=3, iterations=24)
DROPPED = tuple(set(curves(SMALL, SMALL.arms["arm_000"], 0)) - KEPT)
PLAN = replace(SMALL, drop=DROPPED)


@pytest.fixture(scope="module")
def store(template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_store(PLAN, tmp_path_factory.mktemp("large"), template)


@pytest.fixture(scope="module")
def calls() -> Counter[str]:
    return Counter()


@pytest.fixture(scope="module")
def report(store: str, calls: Counter[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the report with three figures, in which the making of the costly tables is counted."""

    def counted(of: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **kwargs: Any) -> Any:
            calls[of.__name__] += 1
            return of(*args, **kwargs)

        return count

    figures = {one.__name__: one for one in (plots.differences, plots.frontier, plots.warning_times)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis.report, "FIGURES", figures)
        for name in ("curve_table", "survival", "alarm_times", "warning_scores"):
            patch.setattr(analysis.tables, name, counted(getattr(analysis.tables, name)))
        folder = tmp_path_factory.mktemp("report")
        write_report(PLAN.name, store, folder)
    return folder


def test_each_table_is_computed_once(report: Path, calls: Counter[str]) -> None:
    assert set(calls.values()) == {1} and len(calls) == 4


def test_tables_have_every_arm_and_the_page_folds_most(report: Path) -> None:
    assert len(pd.read_csv(report / "runs.csv")) == 600
    assert pd.read_csv(report / "arms.csv")["arm"].nunique() == 200
    page = (report / "report.html").read_text()
    arms = page.split('<section id="arms">')[1].split("<details>")[0]
    assert arms.count('<th scope="row">') == MAX_ARMS <= FOLD
    assert "192 more rows" in page


def test_sentences_on_arms_are_counted_first_and_folded_but_for_those_shown(report: Path) -> None:
    found = pd.read_csv(report / "findings.csv")
    own = found[found["question"] == "Which arms collapsed, and when"]
    assert len(own) == 201
    assert own["finding"].iloc[0] == (
        "Of 200 arms with finished runs, 140 held in all of them, 0 collapsed in some and 60 in all."
    )
    page = (report / "report.html").read_text()
    visible = page.split("<details>")[0].count("<li>")
    assert visible == 1 + MAX_ARMS
    assert f"{200 - MAX_ARMS} more" in page


def test_the_page_says_which_arms_its_figures_show(report: Path) -> None:
    text = Page(report / "report.html").text
    assert "All figures but the first show 8 of 200 arms, the baseline and in turn the best and" in text


def test_curves_of_arms_that_are_not_shown_are_thinned(report: Path) -> None:
    table = pd.read_csv(report / "curves.csv")
    points = table[table["metric"] == "policy/kl_to_sft"].groupby("arm").size()
    assert (points == FEW_POINTS).sum() == 200 - MAX_ARMS
    assert (points == min(PLAN.iterations, MAX_POINTS)).sum() == MAX_ARMS


def test_reading_takes_less_than_a_hundred_bytes_a_point(store: str) -> None:
    load(PLAN.name, store)  # what is imported on the way does not count
    tracemalloc.start()
    study = load(PLAN.name, store)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 15 million points, as many as in a study of 1,000 runs × 500 iterations × 30 metrics, take 1.5 GB
    assert peak / len(study.metrics) < 100


def test_a_store_for_the_benchmark_has_the_indexes_of_mlflow(template: Path, tmp_path: Path) -> None:
    uri = write_large_store(replace(QUICKSTART, seeds=(0,), iterations=10), tmp_path)
    found = []
    for file in (template, Path(uri.removeprefix("sqlite:///"))):
        with closing(sqlite3.connect(file)) as db:
            query = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'metrics'"
            found.append({name for (name,) in db.execute(query)})
    assert found[0] == found[1]
    assert len(load(QUICKSTART.name, uri).runs) == 2
