"""Robust statistics of curves that are too noisy for means: streaks, noise, drift, spikes."""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from analysis.intervals import FloatArray

PATIENCE = 3
"""Consecutive points that a curve must stay outside before it counts."""

SPIKE_WINDOW, SPIKE_DEVIATIONS = 9, 6.0
"""Points of the running median that a spike is measured from, and how far off it must be."""

_NORMAL = 1.4826  # the median absolute deviation of a normal times this is its standard deviation


def first_streak(outside: Iterable[bool], patience: int = PATIENCE) -> int | None:
    """Return the place of the first of `patience` consecutive true values, None if there is none."""
    length = 0
    for place, is_outside in enumerate(outside):
        length = length + 1 if is_outside else 0
        if length == patience:
            return place - patience + 1
    return None


def noise_scale(values: FloatArray) -> float:
    """Estimate the noise of one curve from its differences, so that a trend does not count as noise.

        1.4826 · median |Δ − median Δ| / √2

    Returns:
        NaN for fewer than three values.
    """
    step = np.diff(values)
    if len(step) < 2:
        return float("nan")
    return float(_NORMAL * np.median(np.abs(step - np.median(step))) / np.sqrt(2.0))


def drift(steps: FloatArray, values: FloatArray) -> FloatArray:
    """Estimate the slope over the second half of each curve, per 100 iterations.

        100 · median over i < h of (x_{i+h} − x_i)/(t_{i+h} − t_i),   2h points in the second half

    Theil's incomplete method: each point is in one pair, so that it takes linear time; a quarter of
    the points may be arbitrarily wrong.

    Args:
        steps: [T] iterations.
        values: [..., T] without NaN.
    Returns:
        [...]; NaN for fewer than four points.
    Source: Theil 1950, A rank-invariant method of linear and polynomial regression analysis.
    """
    half = len(steps) // 4
    if not half:
        return np.full(values.shape[:-1], np.nan)
    early, late = slice(-2 * half, -half), slice(-half, None)
    slope = (values[..., late] - values[..., early]) / (steps[late] - steps[early])
    found: FloatArray = 100.0 * np.median(slope, axis=-1)
    return found


def spikes(values: FloatArray) -> FloatArray:
    """Count the points of each curve further than six deviations from its running median.

    The running median is over nine points, mirrored at the ends; the deviation is the scaled median
    absolute distance from it, at least a millionth of the curve's range, so that a curve that mostly
    stands still has a spike wherever it does not.

    Args:
        values: [R, T] without NaN.
    Returns:
        [R] counts.
    """
    smooth = ndimage.median_filter(values, size=(1, SPIKE_WINDOW), mode="mirror")
    distance = np.abs(values - smooth)
    deviation = _NORMAL * np.median(distance, axis=-1, keepdims=True)
    floor = 1e-6 * np.ptp(values, axis=-1, keepdims=True)
    found: FloatArray = np.sum(distance > np.maximum(SPIKE_DEVIATIONS * deviation, floor), axis=-1)
    return found
