"""trlX's random walks: find the shortest way to a node of a graph, having seen random walks."""

from workbench.tasks.randomwalks.graph import Graph
from workbench.tasks.randomwalks.settings import RandomWalksSettings
from workbench.tasks.randomwalks.task import RandomWalksTask

__all__ = ["Graph", "RandomWalksSettings", "RandomWalksTask"]
