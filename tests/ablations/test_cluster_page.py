"""docs/cluster.md: each of its commands parses, its scripts are shell, its manifest is YAML."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from workbench.cli import app
from workbench.commands.shared import INTERRUPTED

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.S)


def commands() -> list[str]:
    """Return every `workbench …` in the page's blocks and in its sentences."""
    shell = "\n".join(block for kind, block in BLOCKS if kind in ("sh", "bash"))
    inline = "\n".join(re.findall(r"(?<!`)`(workbench [^`]+)`(?!`)", PAGE))
    found = re.findall(r"workbench (?:ablate|worker|prepare) [^'\"|>\n]*", shell + "\n" + inline)
    [manifest] = [yaml.safe_load(block) for kind, block in BLOCKS if kind == "yaml"]
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    return [*(line for line in found if "STUDY" not in line), shlex.join(container["command"])]


def parse(line: str) -> dict[str, Any]:
    """Parse a command as `workbench` does; return its options."""
    _, name, *arguments = shlex.split(line)
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return dict(command.make_context(name, arguments).params)


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_of_the_page_parses(line: str) -> None:
    assert parse(line)["study"]


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
