"""Which monitor warns best and first: forecasts and alarms in one order."""

from functools import lru_cache

import numpy as np
import pandas as pd

from analysis.runs import Study
from analysis.warnings.alarms import HORIZON, alarms
from analysis.warnings.early_warning import warning_scores


@lru_cache(maxsize=4)
def ranking(study: Study) -> pd.DataFrame:
    """Rank the monitors of a study; see `ranking_of`."""
    return ranking_of(warning_scores(study), alarms(study))


def ranking_of(scores: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Order monitors by how well they tell who collapses and when, then by their alarms.

        telling = min(auroc, within_arm)      auroc alone where within_arm cannot be computed

    A monitor that merely tells a collapsing arm from others has a high auroc and no within_arm; one
    that merely tells late from early, such as ITERATION, has a high within_arm and no auroc.

    Args:
        scores: of `early_warning.scores_of`, HORIZON among its horizons.
        found: of `alarms_of`.
    Returns:
        the columns of `alarms_of`, telling, and of `scores_of` at HORIZON the areas with their ends,
        beats_iteration, events, note; sorted by telling, informedness, lead_median, best first,
        those that ask the judge last. It is the order found in these runs: the best of many is
        partly the luckiest, and the next study decides.
    """
    own = scores[scores["horizon"] == HORIZON].drop(columns=["horizon", "held", "label", "judged"])
    joined = found.drop(columns="direction").merge(own, on="monitor")
    joined["telling"] = np.fmin(joined["auroc"], joined["within_arm"])
    by = ["judged", "telling", "informedness", "lead_median"]
    ordered = joined.sort_values(by, ascending=[True, False, False, False], kind="stable")
    return ordered.reset_index(drop=True)
