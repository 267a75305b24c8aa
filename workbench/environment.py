"""What a run ran on: code, packages, hardware."""

import ctypes
import logging
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from workbench.parallel import processes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of options of glibc's mallopt, from malloc.h."""
PACKAGES = ("ppo-workbench", "torch", "transformers", "accelerate", "mlflow", "optuna")


@cache
def git_commit() -> str:
    """Return the commit of the workbench's own checkout, `-dirty` with changes; else "unknown"."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


@cache
def versions() -> dict[str, str]:
    """Return versions of Python and the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # run from a checkout that is not installed
    return found


def hardware(device: torch.device) -> str:
    """Name the GPU, or the processor and the number of threads in use, and how many processes share."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{_processor()}, {torch.get_num_threads()} of {os.cpu_count()} threads"
    return name if processes() == 1 else f"{processes()} processes, each on {name}"


@cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next tensor of that size; elsewhere this does nothing.

    A training step frees and asks for the same megabytes over and over. Giving them back to the
    system each time costs thousands of page faults per PPO iteration, about a sixth of its time.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 2**30)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def settle_process() -> None:
    """Make this process fit for training: quiet libraries, freed memory kept."""
    _quiet_libraries()
    keep_freed_memory()


def _quiet_libraries() -> None:
    """Keep other libraries' progress bars and notes out of ours; warnings stay."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    for name in ("mlflow", "alembic", "datasets"):
        logging.getLogger(name).setLevel(logging.WARNING)
