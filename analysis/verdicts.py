"""How a claim is decided: parts that all have to hold, an exact test each, Holm over the claims.

A claim is *reproduced* if each of its parts is shown, *contradicted* if the opposite of one is, and
*not reproduced* otherwise. A part is shown by the paired sign-flip test of its own bound, one-sided;
a claim's p is the largest of its parts (an intersection–union test), its p against the smallest,
times the number of parts. Both are corrected over the claims by Holm's method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.intervals import FloatArray, Interval, interval
from analysis.significance import holm, sign_flip_p

LEVEL = 0.05
MIN_SEEDS = 6
"""With fewer a claim is not decided. A one-sided sign flip needs five to pass, nine among eighteen."""

Answer = Literal["reproduced", "not reproduced", "contradicted", "not run"]


@dataclass(frozen=True)
class Part:
    """One statement about a mean over seeds.

    Attributes:
        what: in words.
        unit: of the values.
        values: [n] one number a seed, mostly a paired difference.
        bound: smallest effect that counts.
        kind: "above": the mean exceeds the bound; "within": it lies between −bound and bound.
    """

    what: str
    unit: str
    values: FloatArray
    bound: float
    kind: Literal["above", "within"]

    @property
    def estimate(self) -> Interval:
        """Mean with its 95 % interval by Student's t."""
        return interval(self.values)

    @property
    def p_for(self) -> float:
        """One-sided p of the opposite of the statement; of equivalence, the larger of its two."""
        if self.kind == "above":
            return p_above(self.values, self.bound)
        return max(p_above(self.values, -self.bound), p_above(-self.values, -self.bound))

    @property
    def p_against(self) -> float:
        """One-sided p for the opposite: an effect below −|bound|, or of equivalence beyond the bound."""
        size = abs(self.bound)
        if self.kind == "above":
            return p_above(-self.values, size)
        return min(1.0, 2 * min(p_above(self.values, size), p_above(-self.values, size)))

    @property
    def is_shown(self) -> bool:
        """Whether the part alone is shown at the level, without correction."""
        return self.p_for < LEVEL


def p_above(values: FloatArray, bound: float) -> float:
    """Return the one-sided sign-flip p that the mean of values [n] exceeds a bound.

    Half of the two-sided p of values − bound, whose distribution under flips is symmetric.
    """
    shifted = values - bound
    if not len(shifted):
        return 1.0
    half = float(sign_flip_p(shifted[:, None])[0]) / 2
    return half if shifted.mean() > 0 else 1 - half


@dataclass(frozen=True)
class Verdict:
    """What was found of one claim.

    Attributes:
        id: of the claim, C01 to C18.
        figure: of the paper.
        says: what the paper says.
        parts: what had to be shown; none where the runs are not there.
        answer: the verdict.
        p: of the claim, after Holm's correction over all claims; NaN if not run.
        note: why it was not run.
    """

    id: str
    figure: str
    says: str
    parts: tuple[Part, ...]
    answer: Answer
    p: float
    note: str = ""

    @property
    def deciding(self) -> Part | None:
        """The part that decided: of a contradicted claim the most opposed, else the least shown."""
        if not self.parts:
            return None
        if self.answer == "contradicted":
            return min(self.parts, key=lambda part: part.p_against)
        return max(self.parts, key=lambda part: part.p_for)


@dataclass(frozen=True)
class Evidence:
    """The parts of one claim, or why there are none."""

    id: str
    figure: str
    says: str
    parts: tuple[Part, ...]
    note: str = ""

    @property
    def is_there(self) -> bool:
        """Whether every part has seeds enough to be decided."""
        return self.seeds >= MIN_SEEDS

    @property
    def seeds(self) -> int:
        """How many every part has."""
        return min((len(part.values) for part in self.parts), default=0)

    @property
    def too_few(self) -> str:
        """Say how many seeds are missing."""
        return f"{self.seeds} seeds are there and {MIN_SEEDS} are needed"

    @property
    def p_for(self) -> float:
        """The largest of the parts: all have to be shown."""
        return max((part.p_for for part in self.parts), default=1.0)

    @property
    def p_against(self) -> float:
        """The smallest of the parts, times their number: one opposite is enough."""
        smallest = min((part.p_against for part in self.parts), default=1.0)
        return min(1.0, len(self.parts) * smallest)


def decide(found: Sequence[Evidence]) -> list[Verdict]:
    """Decide a family of claims together."""
    there = np.array([one.is_there for one in found])
    holm_for = holm(np.where(there, [one.p_for for one in found], np.nan))
    holm_against = holm(np.where(there, [one.p_against for one in found], np.nan))
    verdicts = []
    for one, is_there, p_for, p_against in zip(found, there, holm_for, holm_against, strict=True):
        answer = _answer(float(p_for), float(p_against)) if is_there else "not run"
        p = float(p_against if answer == "contradicted" else p_for)
        note = one.note or ("" if is_there else one.too_few)
        verdicts.append(Verdict(one.id, one.figure, one.says, one.parts, answer, p, note))
    return verdicts


def _answer(p_for: float, p_against: float) -> Answer:
    if p_for < LEVEL:
        return "reproduced"
    return "contradicted" if p_against < LEVEL else "not reproduced"
