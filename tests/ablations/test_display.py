"""What a person sees of a study: the live view, plain lines, and tables that stay short."""

import json
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from ablations.cells import Cell
from ablations.display import Display
from ablations.records import Status
from ablations.standings import (
    MANY,
    seconds_left,
    standings,
    status_facts,
    status_tables,
    summary,
)
from tests.ablations.toy import toy_plan


def status(arm: str, seed: int, state: Any, **facts: Any) -> Status:
    facts.setdefault("iteration", 4 if state in ("ok", "collapsed") else 0)
    return Status(Cell(arm, seed), state, **facts)


STATUSES = [
    status("vanilla", 0, "collapsed", value=-0.5, seconds=10.0),
    status("ppo_max", 0, "ok", value=1.25, seconds=14.0),
    status("vanilla", 1, "running", iteration=3, worker="w7"),
    status("ppo_max", 1, "failed", error="out of memory"),
]


def printed(content: Any) -> str:
    console = Console(file=StringIO(), width=120)
    console.print(content)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_live_view_shows_cells_workers_best_and_collapsed_arms() -> None:
    display = Display(toy_plan().outline)
    text = printed(display.view(STATUSES, done=15, left="2 min left"))
    assert "1 ok, 1 collapsed, 1 failed, 1 running   2 min left" in text
    assert "15/16" in text
    assert "vanilla/s1" in text
    assert "3/4" in text
    assert "on w7" in text
    assert "best so far: ppo_max 1.250 (n = 1), vanilla -0.500 (n = 1)" in text
    assert "collapsed: vanilla 1 of 1" in text


def test_without_a_terminal_each_end_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(toy_plan().outline) as display:
        display.show(STATUSES[2:])
        display.show(STATUSES)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "vanilla/s0: collapsed, final gold or win rate -0.500",
        "ppo_max/s0: ok, final gold or win rate 1.250",
    ]


def test_a_line_is_written_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(toy_plan().outline) as display:
        display.say("RuntimeError: [enforce fail at alloc_cpu.cpp] can't allocate memory")
    assert "[enforce fail at alloc_cpu.cpp]" in capsys.readouterr().err


def test_few_cells_have_a_row_each() -> None:
    [table] = status_tables(STATUSES, 4)
    assert table.row_count == 4


def test_many_cells_have_a_row_per_arm_and_one_for_each_that_is_astir() -> None:
    many = [status("vanilla", seed, "ok", value=1.0) for seed in range(2, MANY + 2)]
    arms, astir = status_tables([*STATUSES, *many], 4)
    assert arms.row_count == 2
    assert astir.row_count == 2
    assert "out of memory" not in printed(arms)
    assert "w7" in printed(astir)


def test_a_silent_worker_is_said_to_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablations.standings.time.time", lambda: 1000.0)
    [table] = status_tables([status("vanilla", 0, "running", worker="w1", heard_at=900.0)], 4)
    assert "w1, silent for 2 min" in printed(table)


def test_the_time_left_is_extrapolated_from_done_cells_and_busy_workers() -> None:
    # Two done cells took 12 s on average, one cell runs, two are to do: 12 · 2 / 1 s.
    waiting = [status("vanilla", 2, "waiting")]
    assert seconds_left([*STATUSES, *waiting]) == 24.0
    assert summary([*STATUSES, *waiting]).endswith("1 running, 1 waiting; about 24 s left")
    assert seconds_left(STATUSES[:2]) is None


def test_an_arm_s_score_is_the_mean_over_its_done_cells() -> None:
    arms = standings([*STATUSES, status("vanilla", 2, "ok", value=1.5)])
    assert [(arm.arm, arm.score, arm.done, arm.collapsed) for arm in arms] == [
        ("vanilla", 0.5, 2, 1),
        ("ppo_max", 1.25, 1, 0),
    ]


def test_status_facts_are_json() -> None:
    facts = json.loads(json.dumps(status_facts(STATUSES)))
    assert facts["count"] == {"collapsed": 1, "ok": 1, "running": 1, "failed": 1}
    assert facts["cells"][3]["error"] == "out of memory"
    assert facts["cells"][2]["worker"] == "w7"
