"""The command line: pages that teach, JSON for programs, errors of one sentence with exit status 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import cli
from workbench.commands.options import HOME
from workbench.commands.shared import home_option
from workbench.registry import registry


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["workbench", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


Output = pytest.CaptureFixture[str]


def test_help_lists_every_command(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert run(monkeypatch, "--help") == 0
    page = capsys.readouterr().out
    commands = "tricks recipes prepare train ablate worker status report compare watch sync ui example"
    for command in [*commands.split(), "storage-proxy"]:
        assert command in page


def test_each_paragraph_of_help_is_one_line_for_the_terminal_to_wrap() -> None:
    groups = (cli.app, cli.tricks_app, cli.recipes_app, cli.example_app)
    helps = {command.callback: command.help for app in groups for command in app.registered_commands}
    assert len(helps) > 15
    for told in helps.values():
        assert told and "\n" not in told.replace("\n\n", "")


def test_help_needs_no_heavy_package() -> None:
    heavy = "('torch', 'mlflow', 'optuna', 'transformers')"
    code = f"import sys, workbench.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("named", [["tricks", "value_clip"], ["recipes", "ppo_max"]])
def test_a_name_alone_is_shown(
    named: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert run(monkeypatch, named[0], "show", named[1]) == 0
    page = capsys.readouterr().out
    assert run(monkeypatch, *named) == 0
    assert capsys.readouterr().out == page


@pytest.mark.parametrize("group", ["tricks", "recipes"])
def test_list_is_the_bare_command(group: str, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert run(monkeypatch, group) == 0
    page = capsys.readouterr().out
    assert run(monkeypatch, group, "list") == 0
    assert capsys.readouterr().out == page


def test_tricks_are_listed_with_all_their_facts(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert run(monkeypatch, "tricks", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [trick["name"] for trick in listed] == list(registry())
    assert all(trick["summary"] and trick["source"] for trick in listed)
    after = {trick["name"]: trick["after"] for trick in listed}  # groups as their members
    assert after["advantage_clip"] == [
        "advantage_norm",
        "advantage_standardisation",
        "padded_advantage_norm",
    ]


def test_a_trick_page_shows_equation_source_and_hyper_parameters(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert run(monkeypatch, "tricks", "show", "value_clip") == 0
    page = capsys.readouterr().out
    for part in (
        "½ max[(V − R)²",
        "value_loss",
        "(0, ∞]",
        "0.05 … 1, log",
        "value_mse",
        "clip_range = inf",
    ):
        assert part in page


def test_recipes_differ_where_they_differ(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert run(monkeypatch, "recipes", "diff", "vanilla", "ppo_max") == 0
    page = capsys.readouterr().out
    assert "value_clip" in page
    assert "token_mean" not in page


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tricks", "show", "value_clp"], "unknown trick 'value_clp'; did you mean 'value_clip'?"),
        (["tricks", "show", "zzz"], "unknown trick 'zzz'; see `workbench tricks`"),
        (["recipes", "show", "pomax"], "unknown recipe 'pomax'; did you mean 'ppo_max'?"),
        (["recipes", "show", "PPO-max"], "unknown recipe 'PPO-max'; did you mean 'ppo_max'?"),
        (["tricks", "show", "GMPO"], "unknown trick 'GMPO'; did you mean 'gmpo'?"),
        (["ablate", "ablations/quikstart.yaml"], "did you mean 'ablations/quickstart.yaml'?"),
        (["ablate", "ablations"], "unknown study 'ablations'"),
        (["ablate", "no/such.yaml"], "there is no file no/such.yaml; "),
        (["ablate", "tests/ablations"], "tests/ablations is a folder, not a file"),
        (["ablate", "docs/quickstart.png", "--dry-run"], "docs/quickstart.png: it is not text in UTF-8"),
        (["tricks", "--plugin", "workbench/tric.py"], "did you mean"),
        (["prepare", "ablations/quickstart.yaml", "--home", "README.md"], "cannot use README.md"),
        (["storage-proxy", "sqlite:///x.db"], "needs a postgresql:// database behind it, got sqlite"),
        (["ablate", "ablations/quickstart.yaml", "--seeds", "²"], "--seeds must be a number or a list"),
        (
            ["ablate", "ablations/quickstart.yaml", "--seeds", "few"],
            "--seeds must be a number or a list",
        ),
        (["ablate", "ablations/quickstart.yaml", "--set", "ppo.epoch=1"], "did you mean 'epochs'?"),
        (["ablate", "ablations/quickstart.yaml", "--set", "ppo"], "write --set key=value"),
        (
            ["train", "--recipe", "vanilla", "--with", "value_clip.clip_range="],
            "--with value_clip.clip_range=: give it a value",
        ),
        (["train", "--recipe", "vanila"], "unknown recipe 'vanila'; did you mean 'vanilla'?"),
        (["train", "--recipe", "vanilla", "--with", "gae.trac=1"], "did you mean 'trace'?"),
        (["train", "--recipe", "vanilla", "--task", "dialog"], "did you mean 'dialogue'?"),
        (["status", "nothing", "--home", "docs"], "'nothing': none was begun in docs; see --home"),
        (["ui", "--home", "no/such/folder"], "there are no runs in no/such/folder"),
        (["sync", "--home", "no/such/folder"], "there is no folder no/such/folder; see --home"),
        (["sync", "nothing"], "unknown study 'nothing'"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, arguments: list[str], sentence: str
) -> None:
    assert run(monkeypatch, *arguments) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


@pytest.mark.parametrize("command", [["ui"], ["storage-proxy", "postgresql://db/optuna"]])
def test_a_port_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, command: list[str]
) -> None:
    assert run(monkeypatch, *command, "--port", "65536") == 2
    assert "Invalid value for '--port'" in capsys.readouterr().err


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert run(monkeypatch, "--debug", "recipes", "show", "pomax") == 2
    assert "Traceback" in capsys.readouterr().err


def test_missing_data_is_found_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    study, data = "ablations/studies/hh_rlhf.yaml", f"task.data={tmp_path / 'none.jsonl'}"
    home = tmp_path / "home"
    assert run(monkeypatch, "ablate", study, "--set", data, "--home", str(home)) == 2
    assert "none.jsonl" in capsys.readouterr().err
    assert not (home / "studies" / "hh_rlhf" / "study.json").exists()  # so the path can be put right


def test_a_failed_trial_gives_status_1_and_its_error(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    from ablations import runner
    from ablations.cells import Cell
    from ablations.records import Status
    from ablations.study import Study

    def all_fail(study: Study, home: Path, options: runner.Options) -> list[Status]:
        return [Status(cell, "failed", 3, error="out of memory") for cell in (Cell("vanilla", 0),)]

    monkeypatch.setattr(runner, "ablate", all_fail)
    home = str(tmp_path)
    assert run(monkeypatch, "ablate", "ablations/quickstart.yaml", "--seeds", "1", "--home", home) == 1
    printed = capsys.readouterr()
    assert "vanilla/s0 failed: out of memory" in printed.err
    assert "3/" in printed.out


def test_a_worker_says_that_nothing_is_left(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr("ablations.joining.reach", lambda home, study, storage: None)
    monkeypatch.setattr("ablations.joining.join", lambda folder, name, processes: 0)
    assert run(monkeypatch, "worker", "quickstart") == 0
    assert capsys.readouterr().out == "nothing is left to train in quickstart\n"


def test_ctrl_c_during_the_report_says_which_command_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    from ablations.cells import Cell
    from ablations.records import Status

    def interrupted(name: str, home: Path) -> None:
        raise KeyboardInterrupt

    done = Status(Cell("vanilla", 0), "ok", 150)
    monkeypatch.setattr("ablations.runner.ablate", lambda study, home, options: [done])
    monkeypatch.setattr("workbench.commands.running.upload", lambda folder, uri: 0)
    monkeypatch.setattr("workbench.commands.running.write_report_of", interrupted)
    assert run(monkeypatch, "ablate", "ablations/quickstart.yaml", "--home", str(tmp_path)) == 130
    assert "stopped; go on with: workbench ablate" in capsys.readouterr().err


def test_a_home_with_a_space_can_be_pasted() -> None:
    assert home_option(Path("my runs")) == " --home 'my runs'"
    assert home_option(HOME) == ""


def test_ctrl_c_says_which_command_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    from ablations import runner

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "ablate", stop)
    assert run(monkeypatch, "ablate", "ablations/quickstart.yaml", "--home", str(tmp_path)) == 130
    expected = f"go on with: workbench ablate ablations/quickstart.yaml --home {tmp_path}"
    assert expected in capsys.readouterr().err
