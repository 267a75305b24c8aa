"""How often each arm beat the SFT policy at the end of training: prompts won, tied and lost."""

import numpy as np
import pandas as pd

from analysis.intervals import FloatArray
from analysis.runs import Study, finished
from workbench.glossary import last_tenth

SHARES = ("win", "tie", "loss")
COLUMNS = ["arm", "n", *SHARES, "win_rate", "low", "high"]


def outcome_table(study: Study, arms: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the shares of held-out prompts won, tied and lost, as means over seeds.

    Args:
        study: of which the runs that finished are counted.
        arms: of `effects.final_table`, for the win rate with its interval.
    Returns:
        COLUMNS, one row an arm that has recorded all three shares; n counts its seeds.
    """
    rates = arms[arms["metric"] == "final/win_rate"].set_index("arm")
    rows = []
    for arm in study.arms:
        shares = _ends(study, arm)
        if not len(shares):
            continue
        rate = {"win_rate": rates["mean"][arm], "low": rates["low"][arm], "high": rates["high"][arm]}
        means = dict(zip(SHARES, shares.mean(axis=0), strict=True))
        rows.append({"arm": arm, "n": len(shares)} | means | rate)
    return pd.DataFrame(rows, columns=COLUMNS)


def _ends(study: Study, arm: str) -> FloatArray:
    """Return [S, 3] the shares at the end of each finished run that has them."""
    runs = finished(study.runs_of(arm))["run_id"]
    each = [[study.series(run_id, f"eval/{name}")[1] for name in SHARES] for run_id in runs]
    ends = [
        [values[last_tenth(len(values))].mean() for values in shares]
        for shares in each
        if all(len(values) for values in shares)
    ]
    found = np.array(ends, np.float64).reshape(-1, len(SHARES))
    return found[np.isfinite(found).all(axis=1)]
