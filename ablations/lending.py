"""Arms whose runs another study has already: checked to be the same, and not trained again."""

from pathlib import Path

from ablations.beats import read_json
from ablations.folder import StudyFolder
from ablations.plan import ChangedStudyError, Plan, changes


def require_lenders(home: Path, plan: Plan) -> None:
    """Refuse a lent arm unless its lender was begun in this home with the same settings and recipe.

    Raises:
        FileNotFoundError: if the lender was not begun.
        ChangedStudyError: if its runs would not be those of this study; says what differs.
    """
    for arm, address in plan.study.lent.items():
        lender, _, lent = address.partition("/")
        content = read_json(StudyFolder(home, lender).file)
        if not content:
            raise FileNotFoundError(
                f"arm {arm} is lent by study {lender}, which was not begun in {home}; run that first"
            )
        recipe = plan.study.recipes[arm].fingerprint()
        same_arm = content["recipes"].get(lent) == recipe
        mine = {**plan.content(), "recipes": {}, "study": {"seeds": []}}
        told = list(changes({**content, "recipes": {}, "study": {"seeds": []}}, mine))
        told += [] if same_arm else [f"its arm {lent} is another recipe, or is not there"]
        if told:
            raise ChangedStudyError(f"arm {arm} cannot be lent by study {lender}: {'; '.join(told[:3])}")
