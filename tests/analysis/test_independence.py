import ast
from pathlib import Path

import analysis

FOLDER = Path(analysis.__file__).parent
FORBIDDEN = {"torch", "transformers", "accelerate", "optuna", "ablations"}


def imports_of(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_analysis_imports_of_the_library_nothing_but_the_glossary() -> None:
    for file in FOLDER.glob("*.py"):
        for name in imports_of(file):
            if file.name == "importance.py" and name.startswith("optuna"):
                continue  # inside functions: tests/test_imports.py holds that
            assert name.split(".")[0] not in FORBIDDEN, f"{file.name} imports {name}"
            assert not name.startswith("workbench") or name == "workbench.glossary"
