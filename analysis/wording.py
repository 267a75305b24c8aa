"""Words for statistics: numbers, how sure they are, what was found, what a family of p can show."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparison import FOUND, TOO_FEW
from analysis.intervals import LEVEL, MIN_SEEDS
from analysis.significance import seeds_needed
from workbench.glossary import metric as definition

UNITLESS = ("1", "share", "gold", "score")
"""Units that add nothing behind a number, since the metric's name says them."""


def number(value: float) -> str:
    """Write a number with three significant digits and a true minus sign; "–" for NaN."""
    if not np.isfinite(value):
        return "–" if np.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    exponent = int(f"{value:.2e}".partition("e")[2])  # after rounding: 9.999 is 10.0
    text = f"{value:.{max(0, 2 - exponent)}f}" if -5 < exponent < 6 else f"{value:.2e}"
    return text.replace("-", "−")


def label(metric: str) -> str:
    """Return the name of a metric as a sentence begins with it."""
    text = definition(metric).label
    return text[:1].upper() + text[1:]


def quantity(value: float, metric: str) -> str:
    """Write a value with the unit of its metric."""
    unit = definition(metric).unit
    return number(value) if unit in UNITLESS else f"{number(value)} {unit}"


def say(row: "pd.Series[Any]", metric: str, *, effect: float, claim: str, nothing: str) -> str:
    """Say one comparison: what was found, how sure it is; or that nothing was, and what could be.

    Args:
        row: its low, high, n, p, p_holm, smallest_p, detectable, verdict, and sd if it is over seeds.
        metric: what was compared.
        effect: the estimate.
        claim: what the estimate says, such as "b is 1.2 above a".
        nothing: what is said where the interval contains zero, such as "no difference found".
    """
    begin = f"{label(metric)}: "
    if effect == row.get("sd") == 0:
        return f"{begin}{nothing}: the same at each of {row['n']} seeds."
    if row["verdict"] == TOO_FEW:
        return f"{begin}{claim} (n = {row['n']}: too few seeds for an interval; this may be chance)."
    sure = f"95 % interval {number(row['low'])} to {number(row['high'])}, n = {row['n']}"
    if row["verdict"] == FOUND:
        return f"{begin}{claim} ({sure}, {_p_words(row)})."
    return (
        f"{begin}{nothing} ({quantity(effect, metric)}, {sure}, {_p_words(row)}); one of "
        f"{quantity(row['detectable'], metric)} would be found in four such studies out of five."
    )


def _p_words(row: "pd.Series[Any]") -> str:
    if row["smallest_p"] > 1 - LEVEL:  # no correction can matter: see p_note
        return f"p = {row['p']:.3g}"
    words = f"p = {row['p']:.3g}, after Holm {row['p_holm']:.3g}"
    is_weak = row["verdict"] == FOUND and row["p_holm"] > 1 - LEVEL
    return f"{words}: weak, given how many comparisons were made" if is_weak else words


def p_note(table: pd.DataFrame) -> str:
    """Say what the p of a family of comparisons can show; empty where there is nothing to say."""
    table = table[table["n"] >= MIN_SEEDS]
    if not len(table):
        return ""
    n, floor = int(table["n"].max()), float(table["smallest_p"].min())
    if floor > 1 - LEVEL:
        return (
            f"{n} paired seeds cannot give a p (two-sided, by sign flips) below {floor:.3g}, even "
            "where every seed agrees: go by the intervals, none of which is corrected for their number."
        )
    said = (
        f"p is two-sided, by sign flips over paired seeds; Holm's correction is over the "
        f"{len(table)} comparison{'s' * (len(table) > 1)} of this kind"
    )
    few = int((table["smallest_p"] > 1 - LEVEL).sum())
    have = "has" if few == 1 else "have"
    lame = f" {few} of them {have} too few seeds for a p below {1 - LEVEL:.2g}." if few else ""
    least = min(1.0, floor * len(table))
    if least <= 1 - LEVEL:
        return f"{said}.{lame}"
    return (
        f"{said}, of which {n} seeds cannot give the clearest a p below {least:.3g}: go by the "
        f"intervals, or compare fewer metrics or arms.{lame}"
    )


def seeds_sentence(row: "pd.Series[Any]", metric: str, difference: float) -> str:
    """Say how many paired seeds would find a difference of interest, and how sure that number is.

    Args:
        row: its n and sd, of the differences over seeds.
        metric: what was compared.
        difference: true difference of interest, in the unit of the metric.
    """
    n, sd = int(row["n"]), float(row["sd"])
    if n < MIN_SEEDS:
        return f"The spread over {n} seed{'s' if n != 1 else ''} does not say how many seeds are needed."
    chi = stats.chi2.ppf((0.5 + LEVEL / 2, 0.5 - LEVEL / 2), n - 1)
    least, most = (seeds_needed(sd * np.sqrt((n - 1) / c), difference) for c in chi)
    return (
        f"{label(metric)}: to find a difference of {quantity(abs(difference), metric)} in four studies "
        f"out of five takes {seeds_needed(sd, difference)} paired seeds; {least} to {most}, as the "
        f"spread is known from {n} seeds only."
    )
