"""Settings of the random walks: trlX's numbers, and what the pipeline needs besides."""

from typing import Literal

from pydantic import Field

from workbench.settings import Settings


class RandomWalksSettings(Settings):
    """Everything that determines the randomwalks task; the first five are trlX's."""

    seed: int = Field(1002, ge=0, lt=2**32, description="Draws the graph, the walks and the labels.")
    nodes: int = Field(21, gt=1, le=26, description="Nodes of the graph, a letter each.")
    edge_probability: float = Field(
        0.1, ge=0.05, le=1, description="Chance of an edge from one node to another."
    )
    walk_nodes: int = Field(10, gt=2, description="Most nodes of a walk, its start included.")
    walks: int = Field(1_000, gt=0, description="Random walks to train on.")
    held_out_walks: int = Field(
        1_000, gt=0, description="Further walks; those not trained on measure perplexity."
    )
    eval_prompts: int = Field(
        120, gt=0, description="Prompts of an evaluation: the start nodes, over and over."
    )
    preference_pairs: int = Field(
        12_000, gt=0, description="Pairs drawn for the reward model; ties are left out."
    )
    held_out_pairs: int = Field(2_000, gt=0, description="Pairs drawn to measure it, likewise.")
    spliced: float = Field(
        0.5, ge=0, le=1, description="Share of pairs whose rival goes on as a walk from elsewhere does."
    )
    label_temperature: float = Field(
        0.1, ge=0, description="T in P(a preferred to b) = σ((gold a − gold b)/T); 0: no noise."
    )
    reward: Literal["optimality", "model"] = Field(
        "optimality",
        description="What PPO is rewarded with: the optimality itself, as in trlX, or the reward model.",
    )
