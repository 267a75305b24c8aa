"""A directed graph, random walks on it, and how close a walk is to the shortest way."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Edges = npt.NDArray[np.bool_]
GOAL = 0


def draw_edges(random: np.random.RandomState, nodes: int, probability: float) -> Edges:
    """Draw a graph in which every node leads on, and the goal leads nowhere but to itself.

    Draws again from the start until every node has an edge.

    Args:
        random: trlX's kind of generator, so that one seed gives one graph in both.
        nodes: how many.
        probability: of an edge from one node to another.
    Returns:
        [nodes, nodes] bool, True where an edge goes from the row's node to the column's.
    Source: CarperAI/trlx, examples/randomwalks/randomwalks.py, commit 3340c2f.
    """
    while True:
        edges: Edges = random.rand(nodes, nodes) > 1 - probability
        np.fill_diagonal(edges, False)
        if edges.any(1).all():
            break
    edges[GOAL] = False
    edges[GOAL, GOAL] = True
    return edges


@dataclass(frozen=True)
class Graph:
    """A graph with a goal, node 0, and a longest walk.

    Attributes:
        edges: [N, N] bool, from row to column.
        walk_nodes: most nodes of a walk, its start included.
    """

    edges: Edges
    walk_nodes: int

    def draw_walk(self, random: np.random.RandomState) -> list[int]:
        """Start anywhere but at the goal and follow edges until the goal, or the longest walk."""
        node = GOAL
        while node == GOAL:
            node = int(random.randint(len(self.edges)))
        walk = [node]
        while len(walk) < self.walk_nodes and walk[-1] != GOAL:
            walk.append(int(random.choice(np.flatnonzero(self.edges[walk[-1]]))))
        return walk

    @cached_property
    def shortest(self) -> list[int]:
        """Nodes of the shortest walk from each node to the goal; the longest walk's if there is none."""
        lengths = np.full(len(self.edges), self.walk_nodes)
        arrives = np.arange(len(self.edges)) == GOAL
        for length in range(1, self.walk_nodes):
            lengths[arrives] = np.minimum(lengths[arrives], length)
            arrives = arrives | self.edges[:, arrives].any(1)
        found: list[int] = lengths.tolist()
        return found

    def optimality(self, walk: Sequence[int]) -> float:
        """Say how close a walk comes to the shortest one from its start.

            (M − n) / (M − n*)          n nodes until the goal, n* at best, M in the longest walk

        1 for the shortest walk; 0 for one that takes a step without an edge, or has not arrived
        after M nodes. What comes after the goal does not count. Where nothing is shorter than
        M nodes every walk is worth 0, which in trlX is 0/0.

        Args:
            walk: nodes, the start first.
        Source: metric_fn, at the same place as `draw_edges`.
        """
        best = self.walk_nodes - self.shortest[walk[0]]
        return (self.walk_nodes - self._arrival(walk)) / best if best else 0.0

    def _arrival(self, walk: Sequence[int]) -> int:
        """Count the nodes until the goal; those of the longest walk for one that does not arrive."""
        for place, node in enumerate(walk[: self.walk_nodes]):
            if place and not self.edges[walk[place - 1], node]:
                break
            if node == GOAL:
                return place + 1
        return self.walk_nodes
