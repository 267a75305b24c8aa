"""When a noisy curve falls below its start, and from where on it has fallen."""

from dataclasses import dataclass

import numpy as np

from analysis.intervals import BoolArray, FloatArray
from analysis.robust import first_streak


@dataclass(frozen=True)
class Fall:
    """What a fall below the start is: the start, one error of a point, errors below, points in a row."""

    start: float
    error: float
    margin: float
    patience: int

    def place(self, score: FloatArray, is_counted: BoolArray) -> int | None:
        """Return where a curve [T] changes to below its start; None where it never falls.

        A fall is `patience` points in a row, all of them counted, below start − margin · error; its
        time is the change point of all points until then at the level start − error. A curve whose
        first `patience` points are all below that bar, as of a policy that is not the SFT policy, has
        to be at its start for as many before it can fall.
        """
        is_below = score < self.start - self.margin * self.error
        begins_below = is_below[: self.patience].all()
        begin = first_streak(score >= self.start, self.patience) if begins_below else 0
        first = first_streak((is_below & is_counted)[begin:], self.patience)
        if begin is None or first is None:
            return None
        return begin + change_point(
            score[begin : begin + first + self.patience], self.start - self.error
        )


def change_point(values: FloatArray, level: float) -> int:
    """Return the place from which a curve, known to end below a level, is below it.

        argmax over n of Σ_{t < n} (x_t − level)

    The cumulative sum rises while the curve is above the level and falls from where it is below, so
    that its last maximum is the change point; a single noisy point on the wrong side does not move it.
    Source: Page 1954, Continuous Inspection Schemes, as an estimate of the time of change.
    """
    total = np.concatenate([[0.0], np.cumsum(values[:-1] - level)])
    return int(len(total) - 1 - np.argmax(total[::-1]))
