"""In which order the paper's studies are run, and which are run again under other settings."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from ablations.paper.settings import SETTINGS
from ablations.study import Study
from ablations.study_files import load_study, make_study

FOLDER = Path(__file__).parent
ORDER = (
    *("figure_04", "figure_08", "figure_07", "figure_15", "figure_12"),
    *("figure_02", "reward_model_few_pairs", "reward_model_many_pairs"),
    *("reward_model_early", "figure_03", "figure_17", "figure_18", "figure_16", "figure_19"),
    *("figure_06", "figure_14", "figure_09"),
    *("afterwards_entropy", "afterwards_kl", "afterwards_few_pairs", "afterwards_short"),
    *("afterwards_early", "afterwards_slow"),
)
"""Lenders before borrowers; those that the weightiest claims need come first, and last those that were
added to see why a claim failed."""
CARRIED = ("figure_04", "figure_08", "figure_07", "figure_15", "figure_09")
"""Studies that are run again under other settings: those of C04, C05, C08, C10 and C14."""
LADDER = ("figure_02", "reward_model_few_pairs", "reward_model_many_pairs")
"""Those of C03."""


def paper_studies(setting: str = "", changes: Mapping[str, Any] | None = None) -> list[Study]:
    """Return the paper's studies in the order in which to run them.

    Args:
        setting: one of SETTINGS; another than "" has only those of the claims that are carried over.
        changes: further settings, such as {"seeds": 2}.
    """
    names = ORDER if not setting else [name for name in ORDER if name in (*CARRIED, *LADDER)]
    return [_study(name, setting, changes or {}) for name in names]


def _study(name: str, setting: str, changes: Mapping[str, Any]) -> Study:
    given = deepcopy({**SETTINGS[setting].changes(name), **changes})  # loading writes into groups
    study = load_study(FOLDER / f"{name}.yaml", given)
    if not setting:
        return study
    content = study.model_dump(by_alias=True)
    content["name"] = f"{name}.{setting}"
    for arm in content["arms"].values():
        if arm["lender"]:
            lender, _, own = arm["lender"].partition("/")
            arm["lender"] = f"{lender}.{setting}/{own}"
    return make_study(content, f"{name}.yaml with setting {setting}")
