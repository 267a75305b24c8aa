"""The randomwalks task: trlX's graph and walks, and what the pipeline trains and measures on."""

from collections.abc import Sequence
from functools import cached_property
from itertools import cycle, islice
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from workbench.tasks.base import Demonstration, Preferences, Respond, Reward, Task, Tokens
from workbench.tasks.randomwalks.graph import Graph, draw_edges
from workbench.tasks.randomwalks.preferences import make_pairs
from workbench.tasks.randomwalks.settings import RandomWalksSettings
from workbench.tasks.randomwalks.tokenizer import EOS, FIRST_NODE, build_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class RandomWalksTask(Task):
    """Find the shortest way to a node of a graph, having seen random walks.

    A prompt is a start node, a response the nodes after it and `<eos>`, a text both together.
    """

    name: ClassVar[str] = "randomwalks"

    def __init__(self, settings: RandomWalksSettings | None = None) -> None:
        """Draw the graph and the walks.

        Raises:
            ValueError: if no held-out walk differs from those trained on.
        """
        self.settings: RandomWalksSettings = settings or RandomWalksSettings()
        own = self.settings
        random = np.random.RandomState(own.seed)
        self.graph = Graph(draw_edges(random, own.nodes, own.edge_probability), own.walk_nodes)
        self._walks, further = (
            [self._tokens(self.graph.draw_walk(random)) for _ in range(count)]
            for count in (own.walks, own.held_out_walks)
        )
        self._held_out = [walk for walk in dict.fromkeys(further) if walk not in set(self._walks)]
        if not self._held_out:
            raise ValueError(
                f"all {own.held_out_walks} held-out walks are among the {own.walks} to train on; "
                "ask for fewer walks, or for a larger graph"
            )

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """Return the tokenizer of letters."""
        return build_tokenizer(self.settings.nodes)

    def pretraining_texts(self) -> list[Tokens]:
        """Return the random walks."""
        return list(self._walks)

    def held_out_texts(self) -> list[Tokens]:
        """Return distinct random walks, none of which is trained on."""
        return list(self._held_out)

    def demonstrations(self) -> list[Demonstration]:
        """Return the random walks, each as a start node and the rest."""
        return [Demonstration(walk[:1], walk[1:]) for walk in self._walks]

    def train_prompts(self) -> list[Tokens]:
        """Return the nodes at which the random walks start: all but the goal, if there are enough."""
        return sorted({walk[:1] for walk in self._walks})

    def eval_prompts(self) -> list[Tokens]:
        """Return the same nodes over and over: there are no others, in trlX as well."""
        return list(islice(cycle(self.train_prompts()), self.settings.eval_prompts))

    def preferences(self, respond: Respond) -> Preferences:
        """Return pairs of sampled walks from all start nodes; none that is held out is trained on."""
        own = self.settings
        train, held_out = (
            make_pairs(
                self.train_prompts(),
                count,
                spliced=own.spliced,
                temperature=own.label_temperature,
                seed=2 * own.seed + 1_000_003 * part,
                respond=respond,
                score=self.gold,
            )
            for part, count in enumerate((own.preference_pairs, own.held_out_pairs))
        )
        seen = {(pair.prompt, frozenset((pair.chosen, pair.rejected))) for pair in train}
        unseen = [p for p in held_out if (p.prompt, frozenset((p.chosen, p.rejected))) not in seen]
        return Preferences(train, unseen)

    def gold(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> list[float]:
        """Return the optimality of each walk, in [0, 1]."""
        return self._optimality([(*p, *r) for p, r in zip(prompts, responses, strict=True)])

    @property
    def own_reward(self) -> Reward | None:
        """Optimality, unless the settings leave the reward to a reward model."""
        return self._optimality if self.settings.reward == "optimality" else None

    def _optimality(self, texts: Sequence[Tokens]) -> list[float]:
        """Score walks that may hold other tokens, which trlX's decoding leaves out, as here.

        trlX samples nine tokens, so that what a longer response says after them does not count.
        """
        longest = self.settings.walk_nodes
        walks = ([token - FIRST_NODE for token in text[:longest]] for text in texts)
        return [self.graph.optimality([node for node in walk if node >= 0]) for walk in walks]

    @staticmethod
    def _tokens(walk: Sequence[int]) -> Tokens:
        return (*(node + FIRST_NODE for node in walk), EOS)
