"""Memory and time of a pass whose rows are read a few at a time, as `ppo.micro_batch_size` asks.

`python -m tests.benchmarks.micro_batches` takes a few minutes and writes its part of
docs/benchmarks.md: forward and backward of a language loss, by number of rows, each in a process of its
own, one after the other.
"""

import statistics
import subprocess
import sys
import time

from tests.benchmarks.page import Rows, described, machine, markdown, show, write_part

COMMAND = "python -m tests.benchmarks.micro_batches"
RESPONSES, TOKENS, WIDTH, LAYERS = 16, 128, 256, 12
SIZES = (RESPONSES, 4, 1)
PASSES = 5


def main(arguments: list[str]) -> None:
    """Measure, print, and write the page; with an argument measure that size in this process."""
    if arguments:
        print(*measured_here(int(arguments[0])))
        return
    rows: Rows = [("rows at a time", "peak MiB", "seconds of a pass", "shortest to longest")]
    for size in SIZES:
        peak, *seconds = measured(size)
        middle, ends = statistics.median(seconds), f"{min(seconds):.2f} to {max(seconds):.2f}"
        rows.append((str(size), f"{peak:.0f}", f"{middle:.2f}", ends))
        show([rows[0], rows[-1]])
    said = (
        f"`{COMMAND}`: forward and backward of a language loss on {RESPONSES} rows of {TOKENS} tokens, "
        f"a GPT-2 of {LAYERS} layers and width {WIDTH}, one thread. By how much the passes raise the "
        f"peak of a process of its own, n = 1; the time is the median of {PASSES} passes, after another."
    )
    write_part("micro_batches", [said, described(machine()), markdown(rows)])


def measured(size: int) -> list[float]:
    """Measure in a process of its own: MiB, and the seconds of each pass."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.micro_batches", str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [float(number) for number in done.stdout.splitlines()[-1].split()]


def measured_here(size: int) -> list[float]:
    """Do the passes; return by how many MiB they raise this process's peak, and their seconds."""
    import torch

    from tests.benchmarks.peak_memory import own_peak
    from tests.builders import EOS, PAD, as_policy
    from workbench.environment import settle_process
    from workbench.loading import small_gpt2

    settle_process()
    torch.set_num_threads(1)
    policy = as_policy(
        small_gpt2(
            vocabulary=64, context=TOKENS, width=WIDTH, layers=LAYERS, heads=4, pad=PAD, eos=EOS, seed=0
        )
    )
    policy.rows_at_once = size
    tokens = torch.randint(2, 64, (RESPONSES, TOKENS), generator=torch.Generator().manual_seed(0))
    before, seconds = own_peak(), []
    for _ in range(1 + PASSES):
        start = time.monotonic()
        torch.autograd.backward(policy.language_loss(tokens, tokens >= 0))
        seconds.append(time.monotonic() - start)
    return [own_peak() - before, *seconds[1:]]


if __name__ == "__main__":
    main(sys.argv[1:])
