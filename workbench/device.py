"""Which device a process trains on, and in which precision."""

import torch
from accelerate import Accelerator


def takes_gpu(device: str) -> bool:
    """Say whether a device means a GPU of this machine: `auto` does if there is one.

    Args:
        device: "auto", "cpu" or "cuda".
    Raises:
        ValueError: for another name, or for "cuda" where there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {device}")
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise ValueError("device cuda was asked for, and torch sees no GPU; use --device cpu")
    return has_gpu and device != "cpu"


def make_accelerator(device: str) -> Accelerator:
    """Choose device and precision: bf16 on a GPU that has it, rather than computes it in fp32.

    Args:
        device: as for `takes_gpu`.
    Raises:
        ValueError: as for `takes_gpu`.
    """
    on_gpu = takes_gpu(device)
    has_bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    return Accelerator(cpu=not on_gpu, mixed_precision="bf16" if has_bf16 else "no")
