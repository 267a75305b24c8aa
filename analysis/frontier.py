"""Which arms have most gold for their KL at the end, and how sure that is."""

import numpy as np
import pandas as pd

from analysis.intervals import BoolArray, FloatArray, floats, mean_intervals
from analysis.runs import Study
from analysis.values import final_values
from analysis.wording import number

FRONTIER_COLUMNS = [
    *("arm", "n", "kl", "kl_low", "kl_high", "gold", "gold_low", "gold_high", "share"),
    "is_efficient",
]

_RESAMPLES = 2_000


def arm_points(study: Study) -> pd.DataFrame:
    """Tabulate how far every arm went and what it gained: final KL and gold over the same seeds.

    Returns:
        FRONTIER_COLUMNS, one row an arm that recorded both. Intervals are 95 % over
        seeds; share is that of 2,000 resamples of seeds in which no other arm had less KL and more gold.
    """
    kl, gold = final_values(study, "final/kl_to_sft"), final_values(study, "final/gold")
    there = kl.notna() & gold.notna()
    arms = [arm for arm in study.arms if there[arm].any()]
    if not arms:
        return pd.DataFrame(columns=FRONTIER_COLUMNS)
    x, y = floats(kl.where(there)[arms]), floats(gold.where(there)[arms])
    across, up = mean_intervals(x), mean_intervals(y)
    return pd.DataFrame(
        {
            **{"arm": arms, "n": across.n},
            **{"kl": across.estimate, "kl_low": across.low, "kl_high": across.high},
            **{"gold": up.estimate, "gold_low": up.low, "gold_high": up.high},
            "share": _share_efficient(x, y),
            "is_efficient": efficient(np.stack([across.estimate, -up.estimate], axis=1)),
        }
    )


def efficient(cost: FloatArray) -> BoolArray:
    """Say which rows no other row dominates: as low in all columns, lower in one.

    Args:
        cost: [A, M]; a row with NaN dominates nothing and is not efficient.
    """
    is_there = ~np.isnan(cost).any(axis=1)
    as_low = np.all(cost[:, None] <= cost[None], axis=2)  # [a, b]: a is nowhere above b
    lower = np.any(cost[:, None] < cost[None], axis=2)
    return np.asarray(is_there & ~np.any(as_low & lower, axis=0))


def _share_efficient(kl: FloatArray, gold: FloatArray) -> FloatArray:
    """Resample seeds, the same in all arms; return how often each arm [A] is efficient."""
    draw = np.random.default_rng(0).integers(0, len(kl), (_RESAMPLES, len(kl)))
    weight = np.stack([np.sum(draw == seed, axis=1) for seed in range(len(kl))], axis=1).astype(float)
    total = weight @ (~np.isnan(kl)).astype(float)  # [R, A]
    with np.errstate(invalid="ignore"):
        means = [(weight @ np.nan_to_num(values)) / total for values in (kl, -gold)]
    order = np.argsort(means[0], axis=1, kind="stable")
    loss = np.take_along_axis(means[1], order, axis=1)
    best = np.minimum.accumulate(np.nan_to_num(loss, nan=np.inf), axis=1)
    found = np.empty(order.shape)
    np.put_along_axis(found, order, (loss <= best).astype(float), axis=1)
    return floats(found.mean(axis=0))


def on_frontier(points: pd.DataFrame) -> pd.DataFrame:
    """Keep the arms of `arm_points` that no other beats in both KL (down) and gold (up), by KL."""
    return points[points["is_efficient"].astype(bool)].sort_values("kl", ignore_index=True)


def frontier_sentence(table: pd.DataFrame) -> str:
    """Say which arms are on the frontier, given `on_frontier`, of at least one."""
    shares = [
        f"{row['arm']} ({number(row['gold'])} at {number(row['kl'])} nats, in {row['share']:.0%} of "
        "resamples)"
        for _, row in table.iterrows()
    ]
    return f"No other arm has more gold at less KL than: {'; '.join(shares)}.".replace("%", " %")
