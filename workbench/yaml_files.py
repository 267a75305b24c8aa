"""YAML as people write it: `1e-4` is a number, a key given twice is an error, errors name the line."""

import re
from pathlib import Path
from typing import Any

import yaml

from workbench.names import no_file


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        FileNotFoundError: if it is not there, with the nearest file that is.
        ValueError: if it is not text, not YAML, or not a mapping; one sentence with the line.
    """
    if not path.is_file():
        raise FileNotFoundError(no_file(path))
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: it is not text in UTF-8") from None
    if not isinstance(content, dict):
        got = "nothing" if content is None else type(content).__name__
        raise ValueError(f"{path}: expected 'key: value' lines, got {got}")
    return content


def parse_yaml(text: str, place: str) -> Any:
    """Parse YAML text.

    Args:
        text: YAML.
        place: file or option it comes from, for the error.
    Raises:
        ValueError: if it is not YAML; one sentence with the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{place}:{mark.line + 1}" if mark else place
        told = str(error.problem or error.context)
        hint = "; indent with spaces, not with tabs" if r"'\t'" in told else ""
        raise ValueError(f"{where}: {told}{hint}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{place}: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):
    """SafeLoader with the floats of YAML 1.2, which refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a dictionary from a node, each key once."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                mark = node.value[number][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is given twice", mark)
        return super().construct_mapping(node, deep)


_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
