"""Which effects of a design cannot be told apart, read off the levels of its arms."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.intervals import FloatArray

Term = tuple[str, ...]
"""One factor, or two that interact."""

_SAME = 1 - 1e-9


@dataclass(frozen=True)
class Aliasing:
    """How the main effects and two-way interactions of two-level factors depend on each other.

    Attributes:
        terms: main effects first, then interactions; E of them.
        columns: [A, E] of −1 and 1, one row an arm.
        correlation: [E, E] between the columns; NaN for a column that does not vary.
    """

    terms: tuple[Term, ...]
    columns: FloatArray
    correlation: FloatArray

    def of(self, term: Term) -> str:
        """Say with what a term is confounded: "b:c, −d:e"; or how many terms it is correlated with."""
        row = self.correlation[self.terms.index(term)]
        if np.isnan(row).all():
            return "the mean"
        others = [(name, r) for name, r in zip(self.terms, row, strict=True) if name != term]
        whole = [f"{'−' if r < 0 else ''}{':'.join(name)}" for name, r in others if abs(r) > _SAME]
        partly = [abs(r) for _, r in others if 1e-9 < abs(r) <= _SAME]
        if partly:
            count = f"{len(partly)} other{'s' if len(partly) > 1 else ''}"
            whole.append(f"partly {count} (|r| up to {max(partly):.2g})")
        return ", ".join(whole)

    def classes(self) -> list[int]:
        """Number the terms so that those that cannot be told apart have one number."""
        same = np.nan_to_num(np.abs(self.correlation)) > _SAME
        return [int(np.argmax(row)) if row.any() else at for at, row in enumerate(same)]

    def pairs(self) -> set[frozenset[Term]]:
        """Return all pairs of terms that are wholly confounded."""
        same = np.argwhere(np.triu(np.nan_to_num(np.abs(self.correlation)) > _SAME, k=1))
        return {frozenset((self.terms[a], self.terms[b])) for a, b in same}


def aliasing(factors: Sequence[str], signs: FloatArray) -> Aliasing:
    """Work out the aliasing of a design.

    Args:
        factors: names of the two-level factors.
        signs: [A, F] of −1 and 1.
    """
    pairs = list(combinations(range(len(factors)), 2))
    terms = [(name,) for name in factors] + [(factors[a], factors[b]) for a, b in pairs]
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    columns = np.hstack([signs, signs[:, left] * signs[:, right]])
    centred = columns - columns.mean(axis=0)
    length = np.sqrt(np.sum(centred**2, axis=0))
    unit = np.divide(centred, length, out=np.full_like(centred, np.nan), where=length > 1e-9)
    return Aliasing(tuple(terms), columns, unit.T @ unit)


def declared(aliases: Sequence[str]) -> set[frozenset[Term]]:
    """Read pairs of confounded terms of at most two factors from texts such as "a:b = -c:d"."""
    found: set[frozenset[Term]] = set()
    for text in aliases:
        names = [part.strip().lstrip("-−+ ") for part in text.split("=")]
        terms = [tuple(part.strip() for part in name.split(":")) for name in names]
        short = [term for term in terms if len(term) <= 2]
        found |= {frozenset(pair) for pair in combinations(short, 2)}
    return found


def disagreement(structure: Aliasing, aliases: Sequence[str]) -> str:
    """Say where the levels and the declared aliases differ; empty where they agree."""
    order = {frozenset(term): term for term in structure.terms}
    said = {frozenset(order.get(frozenset(t), t) for t in pair) for pair in declared(aliases)}
    found = structure.pairs()
    if said == found:
        return ""
    hidden = [" = ".join(sorted(":".join(t) for t in pair)) for pair in found - said]
    wrong = [" = ".join(sorted(":".join(t) for t in pair)) for pair in said - found]
    parts = [f"not declared: {', '.join(sorted(hidden))}"] if hidden else []
    parts += [f"declared but not so: {', '.join(sorted(wrong))}"] if wrong else []
    return (
        f"The levels of the arms and the declared aliases differ ({'; '.join(parts)}); the levels count."
    )
