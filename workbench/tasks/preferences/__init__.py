"""Human preference pairs from files or the hub: the `preferences` task."""

from workbench.tasks.preferences.pairs import Flaw
from workbench.tasks.preferences.settings import JudgeSettings, PreferencesSettings, RoleMarkers
from workbench.tasks.preferences.task import PreferencesTask

__all__ = ["Flaw", "JudgeSettings", "PreferencesSettings", "PreferencesTask", "RoleMarkers"]
