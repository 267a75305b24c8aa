"""In which order the paper's studies are run, and the settings under which some are run again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablations.study import Study
from ablations.study_files import change_study, load_study

FOLDER = Path(__file__).parent
ORDER = (
    *("figure_04", "figure_08", "figure_07", "figure_15", "figure_09", "figure_06", "figure_02"),
    *("reward_model_few_pairs", "reward_model_many_pairs", "reward_model_early", "figure_03"),
    *("figure_12", "figure_17", "figure_19", "figure_16", "figure_18", "figure_14"),
)
"""Lenders before borrowers; those that the weightiest claims need come first."""
CARRIED = ("figure_04", "figure_08", "figure_07", "figure_15", "figure_09")
"""Studies that are run again under other settings: those of C04, C05, C08, C10 and C14."""
LADDER = ("figure_02", "reward_model_few_pairs", "reward_model_many_pairs")
"""Those of C03."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "grammar": {
        "task.grammar_seed": 1,
        "task.judge": {"clause": 0.4, "closing": 0.3, "off_topic": -0.6, "refusal": 0.8, "reason": 0.6},
    },
    "wide": {"prepare.policy.width": 256, "prepare.policy.heads": 8},
}
"""What is changed, by name; "" is the setting on which the rules were calibrated."""


def paper_studies(setting: str = "", changes: Mapping[str, Any] | None = None) -> list[Study]:
    """Return the paper's studies in the order in which to run them.

    Args:
        setting: one of SETTINGS; another than "" has only those of the claims that are carried over.
        changes: further settings, such as {"seeds": 2}.
    """
    names = ORDER if not setting else [name for name in ORDER if name in (*CARRIED, *LADDER)]
    return [_study(name, setting, changes or {}) for name in names]


def _study(name: str, setting: str, changes: Mapping[str, Any]) -> Study:
    study = load_study(FOLDER / f"{name}.yaml", {**SETTINGS[setting], **changes})
    if not setting:
        return study
    lent = {}
    for arm, address in study.lent.items():
        lender, _, own = address.partition("/")
        lent[f"arms.{arm}.lender"] = f"{lender}.{setting}/{own}"
    return change_study(study, {"name": f"{name}.{setting}", **lent})
