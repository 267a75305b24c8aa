"""What `accelerate launch` runs on two processes for the tests of `workbench.parallel`."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.builders import ListTracker
from tests.parallel_cases import CASES, DROPOUT, Case
from tests.test_checkpoint import stop_after
from workbench import cli
from workbench.device import make_accelerator
from workbench.parallel import Share, broadcast, is_main, process, require_same, sum_gradients
from workbench.stages.prepare import Prepared
from workbench.training import Interrupted, NoTracker

KINDS = (torch.bool, torch.int64, torch.bfloat16, torch.float32)


def main(home: Path, out: Path, command: list[str]) -> None:
    """Do everything on two processes that the tests look at, and write down what came out."""
    make_accelerator("cpu")  # from here on the processes know of each other
    prepared = Prepared(home / "base", home / "sft", home / "reward_model", "tiny", {})
    every = {**CASES, "dropout": DROPOUT, "resumed": CASES["vanilla"]}
    found = {name: train(case, prepared, out / name) for name, case in every.items()}
    found["interrupted"] = interrupt(CASES["vanilla"], prepared, out / "interrupted")
    found |= {"gathered": [gathered(kind, 3) for kind in KINDS], "gradients": gradients()}
    found |= {"complaint": complaint(), "broadcast": broadcast(["cell", process()])}
    (out / f"process-{process()}.json").write_text(json.dumps(found))
    sys.argv = ["workbench", *command]
    cli.main()


def train(case: Case, prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Train a case to its end; return history, samples, what was logged, and a hash of the weights."""
    tracker = ListTracker()
    run, result = case.train(prepared, folder, tracker if is_main() else NoTracker())
    models = [module.state_dict().values() for _, module in run.ppo.models.changing()]
    bits = [tensor.numpy().tobytes() for tensors in models for tensor in tensors]
    return {
        "history": result.history,
        "samples": result.samples,
        "logged": [step for step, _ in tracker.records],
        "weights": hashlib.sha256(b"".join(bits)).hexdigest(),
    }


def interrupt(case: Case, prepared: Prepared, folder: Path) -> str:
    """Ask the second process alone to stop after two iterations; return what both of them say."""
    is_interrupted: Callable[[], bool] = (lambda: False) if is_main() else stop_after(2)
    try:
        case.train(prepared, folder, is_interrupted=is_interrupted)
    except Interrupted as stop:
        return str(stop)
    return "it was not stopped"


def gathered(kind: torch.dtype, rows: int) -> bool:
    """Say whether rows that are shared and gathered are those that they were."""
    whole = torch.arange(2 * rows).view(rows, 2).to(kind)
    share = Share.of(rows)
    return torch.equal(share.gather(whole[share.rows]), whole)


def gradients() -> list[list[Any]]:
    """Return gradients of a loss over gathered rows beside those over all rows, for some row counts."""
    return [[gradient(rows, Share.of(rows)), gradient(rows, None)] for rows in (1, 2, 5)]


def gradient(rows: int, share: Share | None) -> list[Any]:
    """Return the gradients of three parameters: all rows reach the first, the last row the second."""
    random = torch.Generator().manual_seed(rows)
    inputs = torch.randn((rows, 3), generator=random)
    first, second, unused = (nn.Parameter(torch.randn(3, generator=random)) for _ in range(3))
    mine = inputs[share.rows] if share else inputs
    outputs: Tensor = (mine * first).sum(1).tanh()
    if torch.equal(mine[-1], inputs[-1]):
        outputs = torch.cat([outputs[:-1], outputs[-1:] * second.sum()])
    size = outputs.square().sum()
    if share:
        outputs, size = share.gather(outputs), share.total(size)
    ((outputs - outputs.mean()) ** 3).sum().add(size.exp()).backward()  # no row's loss is its own
    if share:
        sum_gradients([first], [second, unused])
    return [None if p.grad is None else p.grad.tolist() for p in (first, second, unused)]


def complaint() -> str:
    """Return what is said where the processes differ."""
    require_same("the same", "nothing")
    try:
        require_same(process(), "their number")
    except ValueError as error:
        return str(error)
    return "nothing"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
