"""Made-up final values of runs, whose truth is known, and how often a count lies within its chance."""

import sys
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from analysis.comparison import Pair, compare

Array = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

SEEDS = (3, 5, 10)

HELD, FELL, SPREAD = 1.0, -1.0, 0.2
"""Gold of a run that holds, of one that collapsed, and the deviation around either."""


def collapsing(share: float) -> Draw:
    """Values of an arm of which a share of the runs collapses: two humps."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        fell = rng.random(shape) < share
        return np.where(fell, FELL, HELD) + SPREAD * rng.normal(size=shape)

    return draw


DRAWS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "half collapse": collapsing(0.5),
    "3 in 10 collapse": collapsing(0.3),
    "1 in 10 collapses": collapsing(0.1),
}
MEANS = {"normal": 0.0, "exponential": 1.0} | {
    name: share * FELL + (1 - share) * HELD
    for name, share in (("half collapse", 0.5), ("3 in 10 collapse", 0.3), ("1 in 10 collapses", 0.1))
}


def compared(own: Array, other: Array, metric: str = "final/gold") -> pd.DataFrame:
    """Compare K studies at once, [S, K] each, as the report compares the arms of one."""
    pairs = [
        Pair("a", "a again", metric, pd.Series(x), pd.Series(y))
        for x, y in zip(own.T, other.T, strict=True)
    ]
    return compare(pairs)


def percent(hits: npt.ArrayLike, promised: float | None = None) -> str:
    """Write a share in percent; ↑ or ↓ where it leaves the 99 % binomial band of what is promised."""
    found = np.asarray(hits, dtype=bool)
    share = float(found.mean())
    mark = ""
    if promised is not None:
        low, high = stats.binom.interval(0.99, found.size, promised)
        mark = " ↑" if found.sum() > high else " ↓" if found.sum() < low else ""
    return f"{100 * share:.1f} %{mark}"


def band(studies: int, promised: float) -> str:
    """Write the 99 % binomial band of a share over so many studies."""
    low, high = stats.binom.interval(0.99, studies, promised)
    return f"{100 * low / studies:.1f} to {100 * high / studies:.1f} %"


def row(*cells: object) -> str:
    """Write a row of a Markdown table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def head(*cells: str) -> str:
    """Write the first two lines of a Markdown table."""
    return "\n".join((row(*cells), row("---", *["--:"] * (len(cells) - 1))))


def by_seeds(name: str, cell: Callable[[int], str], seeds: Sequence[int] = SEEDS) -> str:
    """Write a row with one cell per number of seeds."""
    return row(name, *(cell(n) for n in seeds))


def print_tables(tables: Callable[[int], Iterable[str]]) -> None:
    """Print the tables of a calibration: 4,000 studies a cell, with --quick a tenth."""
    for line in tables(400 if "--quick" in sys.argv else 4000):
        print(line, flush=True)
