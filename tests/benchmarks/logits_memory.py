"""Memory of logits with gradient: all of them at once against the chunks of `workbench.chunks`.

`python -m tests.benchmarks.logits_memory` takes a few minutes and writes its part of
docs/benchmarks.md: forward and backward of what the update asks of a policy's logits, and of a language
loss, over a batch whose logits are many, each in a process of its own.
"""

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.benchmarks.page import Rows, described, machine, markdown, show, write_part

if TYPE_CHECKING:
    from torch import Tensor

COMMAND = "python -m tests.benchmarks.logits_memory"
RESPONSES, TOKENS, VOCABULARY, WIDTH = 16, 128, 50257, 64
ASKED = ("log-probability", "with entropy and exact KL", "language loss")


def main(arguments: list[str]) -> None:
    """Measure, print, and write the page; with two arguments measure one side in this process."""
    if arguments:
        print(measured_here(arguments[0], is_whole=arguments[1] == "whole"))
        return
    rows: Rows = [("asked", "at once, peak MiB", "in chunks, peak MiB")]
    for asked in ASKED:
        rows.append((asked, *(f"{measured(asked, side):.0f}" for side in ("whole", "chunks"))))
        show([rows[0], rows[-1]])
    logits = RESPONSES * TOKENS * VOCABULARY * 4 / 2**20
    said = (
        f"`{COMMAND}`: {RESPONSES} responses of {TOKENS} tokens, a vocabulary of {VOCABULARY:,}, so "
        f"{logits:.0f} MiB of logits; a GPT-2 of one layer and width {WIDTH}, one thread. By how much "
        "one forward and backward pass raises the peak of a process of its own; n = 1 of each."
    )
    write_part("logits_memory", [said, described(machine()), markdown(rows)])


def measured(asked: str, side: str) -> float:
    """Measure one side, "whole" or "chunks", in a process of its own; return MiB."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.logits_memory", asked, side]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def measured_here(asked: str, *, is_whole: bool) -> float:
    """Do a pass; return by how many MiB it raises the peak of this process."""
    import torch

    from tests.benchmarks.peak_memory import own_peak
    from workbench import chunks

    torch.set_num_threads(1)
    if is_whole:
        chunks.GRADIENT_ELEMENTS = sys.maxsize
    loss = loss_of(asked)
    before = own_peak()
    torch.autograd.backward(loss())
    return own_peak() - before


def loss_of(asked: str) -> "Callable[[], Tensor]":
    """Make a batch and the models; return what computes a loss of everything that is asked."""
    from tests.builders import EOS, PAD, as_policy, make_rollout
    from workbench.environment import settle_process
    from workbench.forward import evaluate
    from workbench.loading import small_gpt2
    from workbench.models import Models, Scorer
    from workbench.recipe import Recipe
    from workbench.tricks.advantage_estimator.reinforce import Reinforce
    from workbench.tricks.regulariser.entropy_bonus import EntropyBonus
    from workbench.tricks.regulariser.full_kl_loss import FullKlLoss
    from workbench.types import Sampling

    settle_process()
    shape = {"vocabulary": VOCABULARY, "width": WIDTH, "layers": 1, "heads": 2, "context": 2 * TOKENS}
    policy, reference = (as_policy(small_gpt2(**shape, pad=PAD, eos=EOS, seed=seed)) for seed in (0, 1))
    rollout = make_rollout([TOKENS] * RESPONSES)
    tricks = (EntropyBonus(),) * ("entropy" in asked) + (FullKlLoss(),) * ("KL" in asked)
    recipe = Recipe("asked", (Reinforce(), *tricks))
    models, sampling = Models(policy, Scorer(), reference, Scorer()), Sampling(1.0, TOKENS, RESPONSES)

    def of_language() -> "Tensor":
        return policy.language_loss(
            rollout.tokens[:, : TOKENS + 1], rollout.tokens[:, : TOKENS + 1] >= 0
        )

    def of_update() -> "Tensor":
        new = evaluate(models, recipe, rollout, sampling, eos=EOS, pretraining=None)
        return (new.log_prob + new.entropy + new.ref_kl).sum()

    return of_language if asked == "language loss" else of_update


if __name__ == "__main__":
    main(sys.argv[1:])
