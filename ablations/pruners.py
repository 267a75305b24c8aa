"""Pruning by stability: end a run once its own records say that it has collapsed."""

from collections.abc import Callable
from dataclasses import dataclass

from ablations.study import Study
from workbench.checkpoint import Record
from workbench.collapse import Collapse, CollapseWatch, has_diverged
from workbench.settings import CollapseRule, PruneSettings

NO_JUDGE = "prune.rule is gold, and the task has no gold judge; write collapse or monitors"


@dataclass(frozen=True)
class CollapsePruner:
    """Ends a run `patience` iterations after the record by which it had collapsed.

    Nothing but the records decides: a run that is taken up again ends where it would have ended.

    Attributes:
        settings: which half of the rule to go by, and how patiently.
        rule: when a run of the study counts as collapsed.
    """

    settings: PruneSettings
    rule: CollapseRule

    def start(self, gold_error: float | None) -> Callable[[Record], Collapse | None]:
        """Begin a run; see `workbench.training.Pruner`.

        Raises:
            ValueError: if the rule needs a gold judge and there is none.
        """
        if self.settings.rule == "gold" and gold_error is None:
            raise ValueError(NO_JUDGE)
        watch = CollapseWatch(self.rule, None if self.settings.rule == "monitors" else gold_error)

        def prune(record: Record) -> Collapse | None:
            watch.see(record)
            step, metrics = record
            is_due = watch.noticed is not None and step >= watch.noticed + self.settings.patience
            return watch.collapse if is_due and not has_diverged(metrics) else None

        return prune


def make_pruner(study: Study) -> CollapsePruner | None:
    """Return the pruner that a study asks for, if it asks for one."""
    return CollapsePruner(study.prune, study.collapse) if study.prune else None
