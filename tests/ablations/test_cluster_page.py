"""docs/cluster.md: its commands parse and lead to an end, scripts are shell, the manifest is YAML."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ablations.liveness import Stop
from tests.ablations.toy import TOY, run_names
from tests.postgres import new_database
from workbench.cli import app
from workbench.commands import running
from workbench.commands.shared import INTERRUPTED

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.S)


COMMAND = r"workbench (?:ablate|worker|prepare) [^'\"|>#\n]*"


def blocks_of(text: str) -> list[str]:
    """Return every `workbench …` in the blocks of a text, that of a manifest's container among them."""
    found = []
    for kind, block in re.findall(r"```(\w+)\n(.*?)```", text, re.S):
        if kind == "yaml":
            [container] = yaml.safe_load(block)["spec"]["template"]["spec"]["containers"]
            block = shlex.join(container["command"])
        found += re.findall(COMMAND, block)
    return found


def commands() -> list[str]:
    """Return every `workbench …` in the page's blocks and in its sentences."""
    inline = "\n".join(re.findall(r"(?<!`)`(workbench [^`]+)`(?!`)", PAGE))
    return [line for line in [*blocks_of(PAGE), *re.findall(COMMAND, inline)] if "STUDY" not in line]


def parse(line: str) -> dict[str, Any]:
    """Parse a command as `workbench` does; return its options."""
    _, name, *arguments = shlex.split(line)
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return dict(command.make_context(name, arguments).params)


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_of_the_page_parses(line: str) -> None:
    assert parse(line)["study"]


@pytest.mark.parametrize("title", ["Slurm", "ssh", "Kubernetes"])
def test_the_commands_of_a_recipe_train_one_study_to_its_end(
    title: str, prepared: Path, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "listen", lambda self, parent: None)
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)  # it would stay for other tests
    reported = list[str]()
    monkeypatch.setattr(running, "write_report_of", lambda study, home: reported.append(study))
    file = tmp_path / "recipes.yaml"
    file.write_text(
        yaml.safe_dump({**TOY, "name": "recipes", "arms": {"vanilla": "vanilla"}, "seeds": 1})
    )
    here = {
        "ablations/studies/recipes.yaml": str(file),
        "/shared/runs": str(prepared),
        "http://HOST:5000": f"sqlite:///{prepared}/mlflow.db",
        "postgresql://HOST/ablations": new_database(postgres),
    }
    [section] = re.findall(rf"## {title}\n(.*?)\n## ", PAGE, re.S)
    told = {line.split()[1]: line for line in blocks_of(section)}
    for name in ("prepare", "worker", "ablate"):
        words = [here.get(word, word) for word in shlex.split(told[name])]
        assert not app(words[1:], standalone_mode=False)
    assert run_names(prepared) == ["vanilla/s0"]
    assert reported == ["recipes"]


def test_a_command_with_a_wrong_option_would_not_parse() -> None:
    with pytest.raises(Exception, match="--lancher"):
        parse("workbench ablate toy --lancher ray")


def test_the_page_tells_of_every_option_of_where_workers_run() -> None:
    for name in ("ablate", "worker"):
        command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        placing = [option for option in command.params if getattr(option, "rich_help_panel", None)]
        assert placing
        assert all(option.opts[0] in PAGE for option in placing), name


@pytest.mark.parametrize("script", [block for kind, block in BLOCKS if kind in ("sh", "bash")])
def test_every_script_of_the_page_is_shell(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_the_slurm_script_queues_itself_again_on_the_status_of_a_stopped_worker() -> None:
    [script] = [block for kind, block in BLOCKS if kind == "bash"]
    assert f"-eq {INTERRUPTED} ]; then scontrol requeue" in script
    assert script.startswith("#!/bin/bash\n#SBATCH")
