"""Arrows between packages go one way, read off every import statement of the tree."""

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("workbench", "ablations", "analysis")
SHARED = {"workbench.trick", "workbench.types", "workbench.maths"}
NEVER_IN_ANALYSIS = {"torch", "transformers", "accelerate", "optuna", "ablations"}
FOR_MODELS = {"workbench.models", "workbench.stages.prepare"}


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def is_deferred(scope: ast.AST) -> bool:
    """Say whether what is inside does not run on import: a function, or `if TYPE_CHECKING`."""
    if isinstance(scope, ast.If):
        return isinstance(scope.test, ast.Name) and scope.test.id == "TYPE_CHECKING"
    return isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef)


def imported(path: Path, *, only_at_the_top: bool = False) -> Iterator[str]:
    """Yield the full name of everything a file imports, `from a import b` as a.b."""
    tree = ast.parse(path.read_text())
    inside = {id(node) for scope in ast.walk(tree) if is_deferred(scope) for node in ast.walk(scope)}
    for node in ast.walk(tree):
        if only_at_the_top and id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            parts = path.relative_to(ROOT).with_suffix("").parts
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def roots(path: Path, *, only_at_the_top: bool = False) -> set[str]:
    return {name.partition(".")[0] for name in imported(path, only_at_the_top=only_at_the_top)}


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files("analysis"), ids=label)
def test_analysis_takes_the_glossary_from_workbench_and_never_torch(path: Path) -> None:
    assert not roots(path, only_at_the_top=True) & NEVER_IN_ANALYSIS
    # Importances of search studies are Optuna's own; whoever asks for none needs no Optuna.
    own = {"optuna"} if path.name == "importance.py" else set()
    assert not roots(path) & (NEVER_IN_ANALYSIS - own)
    ours = {name for name in imported(path) if name.startswith("workbench")}
    assert all(name.startswith("workbench.glossary") for name in ours), ours


@pytest.mark.parametrize("path", files("ablations"), ids=label)
def test_ablations_do_not_import_the_analysis(path: Path) -> None:
    assert "analysis" not in roots(path)


@pytest.mark.parametrize("path", files("workbench"), ids=label)
def test_workbench_knows_nothing_of_studies_and_plots(path: Path) -> None:
    assert not roots(path) & {"optuna", "matplotlib", "pandas"}
    if path.parent.name == "commands":  # they reach up, each inside its own function
        assert not roots(path, only_at_the_top=True) & {"ablations", "analysis"}
    else:
        assert not roots(path) & {"ablations", "analysis"}


@pytest.mark.parametrize(
    "path", [p for p in files("workbench/tricks") if p.name != "__init__.py"], ids=label
)
def test_a_trick_imports_types_maths_trick_and_no_other_trick(path: Path) -> None:
    ours = {name.rpartition(".")[0] for name in imported(path) if name.startswith("workbench")}
    sees_models = path.parent.name in ("initialise", "weight_sync")
    assert ours <= SHARED | (FOR_MODELS if sees_models else set())
    assert roots(path) <= {
        "workbench",
        "torch",
        "math",
        "dataclasses",
        "collections",
        "functools",
    }


@pytest.mark.parametrize("path", [p for name in PACKAGES for p in files(name)], ids=label)
def test_only_a_command_line_imports_a_command_line(path: Path) -> None:
    if path.name not in ("cli.py", "__main__.py") and path.parent.name != "commands":
        ours = ("workbench.cli", "workbench.commands")
        assert not any(name.startswith(ours) for name in imported(path))


def test_no_file_imports_itself_through_others_not_even_inside_a_function() -> None:
    paths = {module_of(path): path for name in PACKAGES for path in files(name)}
    needed = {
        module: {nearest(name, paths) for name in imported(path)} - {module, None}
        for module, path in paths.items()
    }
    TopologicalSorter(needed).prepare()  # names the circle


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def nearest(name: str, modules: Collection[str]) -> str | None:
    """Return the module that an import reads: its full name, or what the last part is taken from."""
    return next((one for one in (name, name.rpartition(".")[0]) if one in modules), None)


@pytest.mark.parametrize("module", ["workbench", "workbench.glossary", "workbench.settings"])
def test_importing_the_light_modules_loads_no_heavy_one(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "transformers", "mlflow", "optuna", "pandas", "matplotlib"}


def test_the_reader_of_imports_sees_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "package" / "file.py"
    path.parent.mkdir()
    path.write_text(
        "import a.b, c\nfrom d.e import f, g as h\nfrom . import i\nfrom .j import k\n"
        "def inner():\n    import optuna\nif TYPE_CHECKING:\n    import optuna\n"
    )
    expected = {"a.b", "c", "d.e.f", "d.e.g", "package.i", "package.j.k"}
    assert set(imported(path)) == expected | {"optuna"}
    assert set(imported(path, only_at_the_top=True)) == expected
