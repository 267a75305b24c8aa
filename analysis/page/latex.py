"""Tables as LaTeX, for papers: booktabs rules, three significant digits, special characters escaped."""

import re
from typing import Any

import pandas as pd

from analysis.wording import number

MOST_ROWS = 120
"""Rows of the longest table that is written as LaTeX; longer ones are for machines, as CSV."""

_SPECIAL = {
    **{one: f"\\{one}" for one in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"−": "$-$", "–": "--", "∞": r"$\infty$", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{"√": r"$\surd$", "≡": r"$\equiv$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$"},
}


def latex_table(table: pd.DataFrame) -> str:
    """Return a `tabular` that needs the package booktabs; numbers to the right, words to the left.

    Args:
        table: at most MOST_ROWS rows are meant to be read by people; the rest is not checked here.
    """
    kinds = ["r" if pd.api.types.is_numeric_dtype(table[name]) else "l" for name in table.columns]
    lines = [
        f"\\begin{{tabular}}{{{''.join(kinds)}}}",
        r"\toprule",
        _row([str(name).replace("_", " ") for name in table.columns]),
        r"\midrule",
        *(_row([_text(value) for value in row]) for row in table.itertuples(index=False)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


def _text(value: Any) -> str:
    if not isinstance(value, float):
        return "–" if pd.isna(value) else str(value)
    is_whole = value.is_integer() and abs(value) < 1e6
    return str(int(value)) if is_whole else number(value)


def escape(text: str) -> str:
    """Write text so that LaTeX shows it as it is."""
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda found: _SPECIAL[found[0]], text)
