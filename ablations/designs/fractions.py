"""Two-level fractional factorials: the fewest runs that keep effects of low order apart.

Every column of such a design is a product of basic columns of ±1, a word such as `abc`. Words are held
as bit masks here: the product of two columns is the exclusive or of their masks, and a product of
columns that is constant, a word of the defining relation, has mask 0.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import combinations
from operator import xor
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray
from pyDOE3 import fracfact


@dataclass(frozen=True)
class Fraction:
    """A two-level design of a power of two of runs.

    Attributes:
        columns: [runs, factors] of +1 and −1; the first run is +1 throughout. Columns are balanced and
            orthogonal.
        generators: a word per factor, over the letters of the basic ones.
        resolution: length of the shortest word of the defining relation; None for a full factorial.
    """

    columns: NDArray[np.int8]
    generators: tuple[str, ...]
    resolution: int | None


@cache
def fraction(factors: int, resolution: int) -> Fraction:
    """Return the smallest design found in which no effects of too low an order are mixed.

    pyDOE3's `fracfact_by_res` (1.6.2) is not used: it does not find the half fraction of 4 factors, and
    what it gives for 8 factors at resolution V, f = abcd and g = abce, has the word defg and resolution
    IV. The words are chosen here, and `fracfact` makes columns of them.

    Args:
        factors: number of factors.
        resolution: effects of order p and q are kept apart if p + q is less.
    """
    words = _words(factors, resolution)
    generators = tuple(_letters(word) for word in words)
    columns = np.asarray(fracfact(" ".join(generators)), dtype=np.int8)[::-1]
    return Fraction(columns, generators, _resolution(words))


def aliases(columns: NDArray[np.int8], names: Sequence[str]) -> list[str]:
    """Say which main effects and interactions of two factors cannot be told apart.

    Args:
        columns: [runs, factors] of ±1.
        names: of the factors.
    Returns:
        lines such as "a:b = c:d", or "a = -b:c" where they differ in sign; effects that are clear of
        all others up to order two do not appear.
    """
    mixed: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
    for order in (1, 2):
        for members in combinations(range(len(names)), order):
            contrast = columns[:, members].prod(axis=1, dtype=np.int8)
            sign = int(contrast[0])
            mixed[(contrast * sign).tobytes()].append((sign, ":".join(names[m] for m in members)))
    groups = [group for group in mixed.values() if len(group) > 1]
    return [
        " = ".join(("" if sign == group[0][0] else "-") + effect for sign, effect in group)
        for group in groups
    ]


def _words(factors: int, resolution: int) -> list[int]:
    """Choose words over as few letters as can be; of several choices, that with fewest short words."""
    for letters in range(1, factors):
        found = [_grow(letters, factors, resolution, order) for order in _orders(letters, resolution)]
        full = [words for words in found if len(words) == factors]
        if full:
            return min(full, key=lambda words: (*_short_words(words), -(_resolution(words) or 0)))
    return [1 << letter for letter in range(factors)]


def _orders(letters: int, resolution: int) -> Iterator[list[int]]:
    """Yield orders in which to try words: all by number, and the longest first from several lengths on.

    The first order finds as many columns as there can be in up to 256 runs; the others mix less.
    """
    words = [word for word in range(1, 1 << letters) if word.bit_count() >= resolution - 1]
    yield words
    for longest in range(resolution - 1, letters + 1):
        yield sorted(
            (word for word in words if word.bit_count() <= longest),
            key=lambda word: -word.bit_count(),
        )


def _grow(letters: int, factors: int, resolution: int, order: Sequence[int]) -> list[int]:
    """Add words, as long as none is a product of fewer than `resolution` − 1 of the others."""
    words: list[int] = []
    products: list[set[int]] = [{0}, *(set[int]() for _ in range(resolution - 2))]
    for word in [*(1 << letter for letter in range(letters)), *order]:
        if len(words) == factors:
            break
        if not any(word in reached for reached in products):
            words.append(word)
            for more, fewer in zip(products[:0:-1], products[-2::-1], strict=True):
                more |= {word ^ product for product in fewer}
    return words


def _short_words(words: Sequence[int]) -> tuple[int, int]:
    """Count the words of the defining relation of 3 and of 4 columns."""
    pairs = Counter(a ^ b for a, b in combinations(words, 2))
    of_three = sum(pairs[word] for word in words) // 3
    of_four = sum(count * (count - 1) // 2 for count in pairs.values()) // 3
    return of_three, of_four


def _resolution(words: Sequence[int]) -> int | None:
    for length in range(3, len(words) + 1):
        if any(reduce(xor, chosen) == 0 for chosen in combinations(words, length)):
            return length
    return None


def _letters(word: int) -> str:
    return "".join(letter for bit, letter in enumerate(ascii_lowercase) if word >> bit & 1)
