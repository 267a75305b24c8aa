"""How long runs of each arm last: survival curves of the time to collapse."""

import numpy as np
import pandas as pd

from analysis.collapse import collapses
from analysis.runs import Study
from analysis.stability import last_iteration


def survival(study: Study) -> pd.DataFrame:
    """Estimate the share of runs not collapsed, per arm, by Kaplan and Meier.

    A collapse is that of the run's curves (`collapse.collapses`). A run without one is censored at
    its last iteration, be it finished, failed or still running; one without any iteration is left out.

    Returns:
        arm, iteration, survival, low, high (95 %, exponential Greenwood), at_risk.
    """
    from lifelines import KaplanMeierFitter  # two seconds of import

    found = collapses(study)
    frames = []
    for arm in study.arms:
        own = found[found["arm"] == arm]
        reached = np.array([last_iteration(study, run_id) for run_id in own["run_id"]])
        collapse = own["collapse"].to_numpy(np.float64)
        duration = np.where(np.isnan(collapse), reached, collapse)
        there = ~np.isnan(duration)
        if not there.any():
            continue
        fit = KaplanMeierFitter().fit(duration[there], ~np.isnan(collapse[there]))
        band = fit.confidence_interval_
        frames.append(
            pd.DataFrame(
                {
                    "arm": arm,
                    "iteration": fit.survival_function_.index.to_numpy(),
                    "survival": fit.survival_function_.iloc[:, 0].to_numpy(),
                    "low": band.iloc[:, 0].to_numpy(),
                    "high": band.iloc[:, 1].to_numpy(),
                    "at_risk": fit.event_table["at_risk"].to_numpy(),
                }
            )
        )
    columns = ["arm", "iteration", "survival", "low", "high", "at_risk"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
