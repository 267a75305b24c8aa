"""Studies made in memory from arrays, for what needs no MLflow store: thousands in a minute."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.runs import Study

Array = npt.NDArray[np.float64]


def made_study(
    finals: Mapping[str, Array],
    arms: Sequence[str],
    *,
    design: Mapping[str, Any] | None = None,
    curves: Mapping[str, Mapping[str, Array]] | None = None,
    params: Mapping[str, Mapping[str, str]] | None = None,
    name: str = "made",
) -> Study:
    """Make a study.

    Args:
        finals: by metric [S, A], seeds by arms; NaN where a run did not end.
        arms: names, in the order of the columns.
        design: the key "design" of the study's tag.
        curves: by metric and arm [S, T], values at steps 0 to T − 1.
        params: run parameters by arm.
        name: of the study.
    """
    any_finals = next(iter(finals.values()))
    cells = [(arm, seed) for arm in arms for seed in range(len(any_finals))]
    ended = ~np.isnan(np.stack(list(finals.values()))).all(axis=0)
    rows = [
        {"run_id": f"{arm}/s{seed}", "arm": arm, "seed": seed}
        | {"outcome": "ok" if ended[seed, arms.index(arm)] else "failed", "collapse_iteration": np.nan}
        | dict((params or {}).get(arm, {}))
        for arm, seed in cells
    ]
    points = [
        (arm, seed, metric, step, value)
        for arm, seed in cells
        for metric, steps in _series(finals, curves or {}, arm, arms.index(arm), seed).items()
        for step, value in enumerate(steps)
    ]
    metrics = pd.DataFrame(points, columns=["arm", "seed", "metric", "step", "value"])
    metrics.insert(0, "run_id", metrics["arm"] + "/s" + metrics["seed"].astype(str))
    spec = {"arms": list(arms), "baseline": arms[0], "seeds": list(range(len(any_finals)))}
    known = sorted({key for own in (params or {}).values() for key in own})
    return Study(
        name=name,
        spec=spec | {"design": dict(design) if design else None},
        prepared={},
        runs=pd.DataFrame(rows),
        metrics=metrics.astype({"run_id": "category", "arm": "category", "metric": "category"}),
        params=tuple(known),
        tracking_uri="",
    )


def _series(
    finals: Mapping[str, Array],
    curves: Mapping[str, Mapping[str, Array]],
    arm: str,
    place: int,
    seed: int,
) -> dict[str, Array]:
    found = {metric: own[arm][seed] for metric, own in curves.items() if arm in own}
    found |= {metric: values[seed, place : place + 1] for metric, values in finals.items()}
    return dict(sorted(found.items()))
