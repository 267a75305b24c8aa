"""One sentence of a report."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Attributes:
        text: the sentence.
        source: the CSV file from which it can be recomputed.
        is_minor: whether the page folds it away, as one of very many.
    """

    text: str
    source: str
    is_minor: bool = False
