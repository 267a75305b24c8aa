"""Random numbers by name: a stream per seed, iteration and purpose, so there is no state to save."""

import hashlib

import torch


def derive(*parts: int | str) -> int:
    """Derive a 63-bit seed from names and numbers, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded by names and numbers, such as (seed, iteration, "sampling")."""
    return torch.Generator().manual_seed(derive(*parts))
