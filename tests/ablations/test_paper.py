"""The runner of the paper's studies: what it says where it cannot run, and what is left to do."""

from pathlib import Path

import pytest

from ablations.paper.__main__ import WRONG, main


def test_a_study_that_cannot_be_run_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(tmp_path), "--set", "ppo.iteration=3"]) == WRONG
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "iterations" in said  # the nearest right name


def test_every_setting_loads_and_says_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(
        "ablations.paper.__main__.ablate", lambda study, *_: ran.append(study.name) or []
    )
    home = tmp_path / "my runs"
    for setting in ("", "grammar", "wide", "hh"):
        assert main(["--home", str(home), "--setting", setting, "--set", "seeds=1"]) == 0
    said = capsys.readouterr().out
    assert ran[0] == "figure_04"
    assert {"figure_15.wide", "figure_09.hh", "reward_model_few_pairs.grammar"} <= set(ran)
    assert f"verdicts: workbench claims --home '{home}'\n" in said
