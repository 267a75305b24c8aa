"""Open the trials of a study, whichever kind it is of."""

from typing import TYPE_CHECKING

from ablations.folder import StudyFolder
from ablations.outline import Outline
from ablations.search.trials import SearchTrials
from ablations.trials import Trials

if TYPE_CHECKING:
    from ablations.plan import Plan


def open_trials(folder: StudyFolder, plan: "Plan") -> Trials:
    """Open the trials of a study to run them.

    Raises:
        StorageError: if their storage cannot be reached.
    """
    if plan.study.search:
        return SearchTrials(folder, plan.outline, plan.study.search, plan.study.space)
    return Trials(folder, plan.outline, plan.trial)


def look_at_trials(folder: StudyFolder, outline: Outline) -> Trials:
    """Open the trials of a study to look at them: needs neither its recipes nor torch.

    Raises:
        StorageError: if their storage cannot be reached.
    """
    if outline.search:
        return SearchTrials(folder, outline, outline.search)
    return Trials(folder, outline)
