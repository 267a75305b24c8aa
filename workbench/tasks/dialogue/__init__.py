"""A small helpful and harmless language with a gold judge."""

from workbench.tasks.dialogue.judge import Judge, Verdict
from workbench.tasks.dialogue.settings import Coverage, DialogueSettings, JudgeWeights
from workbench.tasks.dialogue.task import DialogueTask

__all__ = ["Coverage", "DialogueSettings", "DialogueTask", "Judge", "JudgeWeights", "Verdict"]
