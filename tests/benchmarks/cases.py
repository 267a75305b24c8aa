"""The cases of the comparison with TRL, one row of its tables each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Size:
    """How large the models and one PPO iteration are; one epoch.

    Attributes:
        width: hidden size of all four models.
        layers: transformer blocks.
        heads: attention heads.
        prompts: responses per iteration.
        minibatches: optimiser steps per iteration.
        cap: longest response in tokens.
        sft_steps: supervised steps that give the start policy its response lengths; 0 leaves fresh
            weights, which draw any token with nearly the same probability.
        joined: demonstrations that the start policy learns as one response.
        vocabulary: tokens that the models know; None is the task's.
    """

    width: int = 64
    layers: int = 2
    heads: int = 4
    prompts: int = 128
    minibatches: int = 4
    cap: int = 64
    sft_steps: int = 120
    joined: int = 1
    vocabulary: int | None = None


@dataclass(frozen=True)
class Place:
    """Where a case runs.

    Attributes:
        device: "cpu" or "cuda".
        precision: "no", which is float32, or "bf16".
    """

    device: str = "cpu"
    precision: str = "no"


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: of the case: width or model, tokens per response, threads or precision.
        size: of models and iteration.
        iterations: of each side per block.
        threads: of torch, on both sides.
        seconds: after which no further block begins.
        place: device and precision, of both sides.
    """

    name: str
    size: Size
    iterations: int
    threads: int = 1
    seconds: float = 25.0
    place: Place = Place()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Case":
        """Read what `dataclasses.asdict` has made of a case."""
        return cls(**{**data, "size": Size(**data["size"]), "place": Place(**data["place"])})

    @property
    def model(self) -> str:
        """Name the start policy, which cases that differ in threads share."""
        return self.name.rpartition("-")[0]


LONG = 4
"""Demonstrations in a row whose imitator writes about 50 tokens before it ends or is cut at 64."""
GPT2_SMALL = Size(
    width=768, layers=12, heads=12, prompts=8, minibatches=2, cap=17, sft_steps=0, vocabulary=50257
)
"""Fresh weights: one token in 50,257 is the end token, so practically every response has 17 tokens."""
SIZES = {
    "w64-17": (Size(), 5),
    "w64-50": (Size(joined=LONG), 3),
    "w256-17": (Size(width=256), 2),
    "w256-50": (Size(width=256, joined=LONG), 1),
    "gpt2-small-17": (GPT2_SMALL, 1),
}
CASES = {
    f"{model}-t{threads}": Case(f"{model}-t{threads}", size, iterations, threads)
    for model, (size, iterations) in SIZES.items()
    for threads in (1, 2)
}
DEFAULT = "w64-17-t1"
GPU_CASES = {
    name: Case(name, size, iterations=5, place=Place("cuda", precision))
    for name, size, precision in (
        ("w64-17-float32", Size(), "no"),
        ("w768-17-bf16", Size(width=768, layers=12, heads=12), "bf16"),
    )
}
BLOCKS = 10
"""At most, however fast the case is."""
