"""Tricks from outside the package, and the README's four steps, followed to the letter."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from ablations.folder import StudyFolder
from ablations.plan import ChangedStudyError, agree, make_plan, open_study, require_plan
from ablations.study_files import load_study
from tests.ablations.toy import TOY
from workbench import cli, plugins
from workbench.catalogue.describe import trick_facts
from workbench.catalogue.pages import recipes_page, tricks_page
from workbench.plugins import source_hash
from workbench.recipe import Recipe, make_trick
from workbench.registry import load_plugins, registry
from workbench.tricks import built_in

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
STEPS = README.partition("## Add a trick in four steps")[2].partition("\n## ")[0]
NAME, SLOT = "soft_reward_clip", "score"


def block(language: str, number: int = 0) -> str:
    """Return a code block of the README's four steps."""
    found = re.findall(rf"^   ```{language}\n(.*?)^   ```$", STEPS, re.M | re.S)
    return dedent(str(found[number]))


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without plugins, and leave none behind."""
    monkeypatch.setattr(plugins, "_files", {})


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The README's trick, outside the package."""
    return write(tmp_path / f"{NAME}.py", block("python"))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# The registry.


def test_a_plugin_is_listed_in_its_slot_and_can_be_made(plugin: Path) -> None:
    assert NAME not in registry()
    load_plugins([plugin])
    assert registry()[NAME].slot == SLOT and NAME not in built_in()
    slots = [kind.slot for kind in registry().values()]
    assert slots == sorted(slots, key=slots.index)  # each slot in one piece
    assert make_trick(NAME, {"limit": 2}).hypers() == {"limit": 2.0}


def test_loading_a_file_twice_keeps_its_classes(plugin: Path, tmp_path: Path) -> None:
    load_plugins([plugin])
    kind = registry()[NAME]
    (tmp_path / "link.py").symlink_to(plugin)
    load_plugins([plugin, tmp_path / "link.py"])
    assert registry()[NAME] is kind


def test_an_edited_plugin_is_another_trick(plugin: Path) -> None:
    load_plugins([plugin])
    before, kind = Recipe("one", (registry()[NAME](),)).fingerprint(), registry()[NAME]
    write(plugin, block("python").replace("1 + score", "2 + score"))
    load_plugins([plugin])
    assert registry()[NAME] is not kind
    assert Recipe("one", (registry()[NAME](),)).fingerprint() != before
    assert Recipe("one", (kind(),)).fingerprint() == before


def test_a_recipe_without_plugins_keeps_its_fingerprint(plugin: Path) -> None:
    before = Recipe("empty").fingerprint()
    load_plugins([plugin])
    assert Recipe("empty").fingerprint() == before
    assert all(source_hash(kind) is None for kind in built_in().values())


def test_the_pages_leave_plugins_out(plugin: Path) -> None:
    pages = tricks_page(), recipes_page()
    load_plugins([plugin])
    assert (tricks_page(), recipes_page()) == pages


def test_a_trick_without_a_docstring_is_shown_as_one(tmp_path: Path) -> None:
    text = "from workbench.trick import ScoreTransform\nclass Mine(ScoreTransform):\n    ..."
    load_plugins([write(tmp_path / "mine.py", text)])
    assert trick_facts(registry()["mine"])["summary"] == "It has no docstring."


def test_only_what_the_file_defines_counts(tmp_path: Path) -> None:
    text = """
        from workbench.trick import ScoreTransform, Trick
        from workbench.tricks.score.reward_clip import RewardClip

        class _Shared(ScoreTransform):
            pass

        class Mine(_Shared):
            pass

        class Mixin(Trick):
            pass

        Alias = Mine
    """
    load_plugins([write(tmp_path / "mine.py", dedent(text))])
    assert set(registry()) - set(built_in()) == {"mine"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def f(:\n", r"plugin \S+mine.py:1: invalid syntax$"),
        ("import nothing_of_the_kind", r"plugin \S+mine.py cannot be imported: .*nothing_of_the_kind"),
        ("raise SystemExit", r"plugin \S+mine.py cannot be imported: SystemExit"),
        ("x = 1", r"plugin \S+mine.py defines no trick: no class whose base is a slot"),
        (
            "from workbench.trick import ScoreTransform\nclass RewardClip(ScoreTransform): ...",
            r"plugin \S+mine.py defines reward_clip, which is a trick of this package; give the class",
        ),
        (
            "from workbench.trick import Trick\nclass Mine(Trick):\n    slot = 'scores'",
            r"plugin \S+mine.py: unknown slot 'scores'; did you mean 'score'\?",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        load_plugins([write(tmp_path / "mine.py", text)])
    assert "\n" not in str(error.value)
    assert set(registry()) == set(built_in())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("limit: float = 5.0", r"mine.limit is declared by neither hyper\(\) nor state\(\): write"),
        ("limit: float", r"mine.limit is declared by neither hyper\(\) nor state\(\): write"),
        (
            "needs = {'entropi'}",
            r"unknown quantity 'entropi' in the needs of mine; did you mean 'entropy'",
        ),
        ("neutral = {'limt': 1}", r"unknown hyper-parameter 'limt' in mine.neutral; known: none"),
        ("after = ('reward_norm')", r'mine.after is a string: write `after = \("reward_norm",\)`$'),
        (
            "matches = {'limit': 'gae.trace'}",
            r'mine.matches\["limit"\] is a string: write `"limit": \("gae.trace",\)`$',
        ),
        ("needs = 'entropy'", r'mine.needs is a string: write `needs = frozenset\({"entropy"}\)`$'),
        (
            "limit: float = hyper(default=-3.0, above=0)",
            r"the default of mine.limit must be above 0",
        ),
        (
            "def __init__(self, limit: float = 1.0): ...",
            r"mine defines __init__, .*: declare each",
        ),
    ],
)
def test_a_declaration_that_would_be_ignored_is_refused(
    tmp_path: Path, line: str, sentence: str
) -> None:
    text = (
        f"from workbench.trick import ScoreTransform, hyper\nclass Mine(ScoreTransform):\n    {line}\n"
    )
    with pytest.raises(ValueError, match=rf"plugin \S+mine.py cannot be imported: {sentence}"):
        load_plugins([write(tmp_path / "mine.py", text)])


def test_a_missing_file_is_answered_with_the_nearest(plugin: Path) -> None:
    missing = plugin.with_name("soft_reward_clp.py")
    with pytest.raises(FileNotFoundError) as error:
        load_plugins([missing])
    assert str(error.value) == f"plugin: there is no file {missing}; did you mean '{plugin}'?"


def test_two_plugins_may_not_share_a_name(plugin: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(plugin, tmp_path / "other.py"))
    load_plugins([plugin])
    with pytest.raises(
        ValueError, match=rf"{other} defines {NAME}, which is a trick of plugin {plugin}"
    ):
        load_plugins([other])
    assert NAME in registry()  # the first stays


def test_entry_points_name_a_class_or_a_module(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(value: str) -> None:
        points = (EntryPoint("mine", value, plugins.GROUP),)
        monkeypatch.setattr(plugins, "entry_points", lambda group: points)
        plugins._installed.cache_clear()

    monkeypatch.syspath_prepend(tmp_path)
    try:
        for value in (NAME, f"{NAME}:SoftRewardClip"):
            installed(value)
            assert registry()[NAME].__module__ == NAME and source_hash(registry()[NAME])
        for value in ("json", "math", "json:dumps"):
            installed(value)
            with pytest.raises(ValueError, match=f"entry point mine = {value} defines no trick"):
                registry()
        installed("nothing_of_the_kind")
        with pytest.raises(ValueError, match="entry point mine = nothing_of_the_kind cannot be loaded"):
            registry()
    finally:
        monkeypatch.undo()
        plugins._installed.cache_clear()


def test_the_command_line_lists_and_shows_a_plugin(
    plugin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    option = ["--plugin", str(plugin)]
    for arguments in (
        ["tricks", "--json", *option],
        ["tricks", *option],
        ["tricks", *option, "show", NAME],
    ):
        plugins._files.clear()
        monkeypatch.setattr(sys, "argv", ["workbench", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr().out
        assert not end.value.code and NAME in printed
        if "--json" in arguments:
            assert NAME in {trick["name"] for trick in json.loads(printed)}


# Studies.


def toy_study(path: Path, **changes: Any) -> Path:
    """Write a study of two iterations and one seed, with the arms of the README's last step."""
    content = {**TOY, "ppo": {**TOY["ppo"], "iterations": 2}, "seeds": 1, "baseline": "ppo_max"}
    return write(path, yaml.safe_dump({**content, **yaml.safe_load(block("yaml")), **changes}))


def test_a_study_keeps_absolute_paths(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toy_study(plugin.with_name("toy.yaml"))
    for start in (path.parent, path.parent.parent):  # relative to the file, wherever one stands
        monkeypatch.chdir(start)
        assert load_study(path).plugins == [str(plugin)]
    given = load_study(path, {}, [os.path.relpath(plugin)])
    assert given.plugins == [str(plugin)]  # named twice, loaded once


@pytest.mark.parametrize("wrong", [3, [3], {"a": "b"}])
def test_plugins_of_a_study_are_a_list_of_files(plugin: Path, wrong: Any) -> None:
    path = toy_study(plugin.with_name("toy.yaml"), plugins=wrong)
    with pytest.raises(ValueError, match=r"toy.yaml: plugins: it should be a list of files, got"):
        load_study(path)


def test_a_begun_study_loads_its_plugins_and_refuses_edited_ones(plugin: Path, tmp_path: Path) -> None:
    study = load_study(toy_study(tmp_path / "toy.yaml"))
    folder = StudyFolder(tmp_path / "home", "toy")
    agree(folder, make_plan(study, tracking_uri=None, device="cpu", threads=1, command=""))
    plugins._files.clear()  # as in a worker's process
    again = open_study("toy", tmp_path / "home", {})
    assert again.plugins == [str(plugin)]
    assert again.recipes["mine"].parameters()[f"{NAME}.limit"] == 2.0
    write(plugin, block("python") + "# edited\n")
    edited = f"when the recipe of arm mine or plugin trick {NAME} had other"
    with pytest.raises(ChangedStudyError, match=edited):
        require_plan(folder)
    plugin.unlink()
    with pytest.raises(FileNotFoundError, match=f"plugin: there is no file {plugin}"):
        require_plan(folder)


# The README's four steps, inside the package and outside.


ABLATE = """
from pathlib import Path
from ablations.runner import Options, ablate
from ablations.study_files import load_study
ablate(load_study(Path("toy.yaml")), Path("runs"), Options(workers=1, device="cpu"))
"""
"""`workbench ablate` without its report, whose figures take most of the time."""


class Steps:
    """Runs the README's commands in a folder, with the package or with a copy that has the trick."""

    def __init__(self, home: Path, code: Path, *, is_inside: bool) -> None:
        self.home, self.code, self.is_inside = home, code, is_inside

    def __call__(self, command: str) -> str:
        command = re.sub(r" --plugin \S+", "", command) if self.is_inside else command
        tool, *words = command.replace(" tests/", f" {self.code}/tests/").split()
        return self.python("-m", {"workbench": "workbench.cli", "pytest": "pytest"}[tool], *words)

    def python(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.home, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(self.code), "WORKBENCH_HOME": str(self.home / "runs")},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(params=["inside", "outside"])
def steps(request: pytest.FixtureRequest, tmp_path: Path) -> Steps:
    """The file of step 1, in a copy of the package or in a folder of its own."""
    home = tmp_path / "mine"
    home.mkdir()
    if request.param == "outside":
        write(home / f"{NAME}.py", block("python"))
        return Steps(home, ROOT, is_inside=False)
    code = tmp_path / "code"
    for name in ("workbench", "tests", "ablations", "analysis"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", code)
    place = f"workbench/tricks/{SLOT}/{NAME}.py"
    assert place in " ".join(STEPS.split())
    write(code / place, block("python"))
    return Steps(home, code, is_inside=True)


def test_the_readmes_four_steps(steps: Steps) -> None:
    seen = steps(block("sh", 0) + " --json")
    assert {"name": NAME, "slot": SLOT}.items() <= json.loads(seen).items()

    passed = re.search(r"(\d+) passed", steps(block("sh", 1) + " -p no:cacheprovider -v"))
    assert passed and int(passed[1]) >= 15

    toy_study(steps.home / "toy.yaml", **({"plugins": []} if steps.is_inside else {}))
    if steps.is_inside:
        steps.python("-c", ABLATE)
    else:
        steps("workbench ablate toy.yaml --workers 1 --device cpu")
    query = "SELECT name, value FROM params JOIN runs USING (run_uuid) WHERE key = ?"
    with closing(sqlite3.connect(steps.home / "runs" / "mlflow.db")) as db:
        [(run, value)] = db.execute(query, (f"{NAME}.limit",)).fetchall()
    assert "mine" in run and float(value) == 2.0
