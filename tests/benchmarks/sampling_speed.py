"""Sampling alone, against `transformers.generate` on the same model, prompts, cap and end token.

`python -m tests.benchmarks.sampling_speed` takes about two minutes, does the cases of one thread and
writes its part of docs/benchmarks.md; `--quick` does the default case and writes nothing. The last line
is `sampling_ratio=…` of the default case: how many of our batches fit into one of the library's.
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.cases import CASES, DEFAULT, Case
from tests.benchmarks.page import Rows, described, machine, markdown, show, write_part

if TYPE_CHECKING:
    from tests.benchmarks.common import Common
    from tests.benchmarks.measurement import Spread
    from workbench.tasks.base import Tokens

COMMAND = "python -m tests.benchmarks.sampling_speed"
BLOCKS, SECONDS = 10, 8.0
"""Pairs of batches per case: that many, but none that begins after that many seconds; one at least."""


@dataclass(frozen=True)
class Sampled:
    """What one case took.

    Attributes:
        case: models, prompts and threads.
        ours: seconds of each batch.
        library: the same of `transformers.generate`.
        tokens: mean response tokens of both.
    """

    case: Case
    ours: list[float]
    library: list[float]
    tokens: tuple[float, float]

    @property
    def ratio(self) -> "Spread":
        """The library's seconds over ours, pair by pair."""
        from tests.benchmarks.measurement import Spread

        return Spread.of([b / a for a, b in zip(self.ours, self.library, strict=True)])


def main(arguments: list[str]) -> None:
    """Measure, print, and write the page after a run of all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the default case only, write nothing")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", FutureWarning)
    from workbench.environment import keep_freed_memory

    keep_freed_memory()  # as in every worker; the library, in the same process, has it too
    cases = [case for case in CASES.values() if case.threads == 1]
    found = {}
    for sampled in measured([CASES[DEFAULT]] if options.quick else cases):
        found[sampled.case.name] = sampled
        show(table([sampled]))
    if not options.quick:
        limits = f"pairs of batches in turn until {SECONDS:.0f} s are over, {BLOCKS} at most"
        paragraphs = [f"`{COMMAND}`: {limits}. Median, and range in brackets.", described(machine())]
        write_part("sampling_speed", [*paragraphs, markdown(table(list(found.values())))])
    print(f"sampling_ratio={found[DEFAULT].ratio.median:.2f}")


def measured(cases: list[Case]) -> Iterator[Sampled]:
    """Measure case after case, with one start model per size."""
    import torch

    from tests.benchmarks.common import make_common

    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            torch.set_num_threads(case.threads)
            common = make_common(case.size, Path(folder, case.model))
            yield measure(case, common, blocks=BLOCKS, seconds=SECONDS)


def measure(case: Case, common: "Common", *, blocks: int, seconds: float) -> Sampled:
    """Let both sample the same prompts in turn, after one batch each that does not count."""
    samplers = (workbench_sampler(common), library_sampler(common))
    times: tuple[list[float], list[float]] = ([], [])
    lengths: tuple[list[int], list[int]] = ([], [])
    deadline = time.perf_counter() + seconds
    for block in range(blocks + 1):
        for sampler, spent, length in zip(samplers, times, lengths, strict=True):
            start = time.perf_counter()
            responses = sampler(block)
            spent.append(time.perf_counter() - start)
            length += map(len, responses)
        if block and time.perf_counter() > deadline:
            break
    tokens = (statistics.mean(lengths[0]), statistics.mean(lengths[1]))
    return Sampled(case, times[0][1:], times[1][1:], tokens)


def workbench_sampler(common: "Common") -> "Callable[[int], list[Tokens]]":
    """Load the start policy; return a function from the block to the workbench's responses."""
    from workbench.models import Policy
    from workbench.sampling import sample, uniform
    from workbench.types import Sampling

    policy, tokenizer = Policy(), common.task.tokenizer
    policy.load_weights(common.policy)
    sampling = Sampling(1.0, common.size.cap, len(common.prompts))
    eos, pad = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)

    def responses(block: int) -> "list[Tokens]":
        noise = uniform(sampling, len(common.prompts), block, "sampling speed")
        return sample(policy, common.prompts, sampling, eos=eos, pad=pad, noise=noise).responses()

    return responses


def library_sampler(common: "Common") -> "Callable[[int], list[Tokens]]":
    """Load the same model; return a function from the block to the library's responses."""
    import torch

    from tests.benchmarks.generate_peer import generate
    from workbench.loading import load_causal

    model, tokenizer = load_causal(common.policy), common.task.tokenizer
    eos, pad = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)

    def responses(block: int) -> "list[Tokens]":
        torch.manual_seed(block)
        return generate(model, common.prompts, cap=common.size.cap, eos=eos, pad=pad)

    return responses


def table(found: list[Sampled]) -> Rows:
    """Compare both samplers, a row per case."""
    from tests.benchmarks.measurement import Spread
    from tests.benchmarks.report import told

    rows: Rows = [
        (
            "case", "workbench, seconds per batch", "generate, seconds per batch", "ratio",
            "tokens per response: workbench, generate", "batches of each",
        )
    ]  # fmt: skip
    for sampled in found:
        rows.append(
            (
                f"`{sampled.case.name}`",
                *(told(Spread.of(side), 3) for side in (sampled.ours, sampled.library)),
                told(sampled.ratio, 2),
                ", ".join(f"{mean:.1f}" for mean in sampled.tokens),
                str(len(sampled.ours)),
            )
        )
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
