"""Write rliable_numbers.json: what rliable says of fixed values, to hold `analysis` to.

rliable breaks with pandas 3, so that it needs an environment of its own:

    python -m venv rliable && rliable/bin/pip install rliable==1.2.0 'pandas<3' 'numpy<2.5' 'arch<8'
    rliable/bin/python tests/reference/rliable_numbers.py > tests/reference/rliable_numbers.json
"""

import json
from importlib.metadata import version

import numpy as np
from rliable import library, metrics

REPS = 10_000


def main() -> None:
    """Print interquartile means, chances of improvement and their percentile intervals."""
    rng = np.random.default_rng(20211)
    packages = {name: version(name) for name in ("rliable", "numpy", "pandas", "arch")}
    cases = {n: measure(rng.normal(0.5, 1.0, n), rng.exponential(1.0, n)) for n in (5, 10, 40)}
    print(json.dumps({"versions": packages, "reps": REPS, "cases": cases}, indent=1))


def measure(x: np.ndarray, y: np.ndarray) -> dict[str, object]:
    """Return rliable's numbers of two arms of [n] runs on one task."""
    scores = {"x": x[:, None], "y": y[:, None]}
    iqm, ends = library.get_interval_estimates(
        scores,
        lambda runs: np.array([metrics.aggregate_iqm(runs)]),
        reps=REPS,
        random_state=np.random.RandomState(0),
    )
    chance, chance_ends = library.get_interval_estimates(
        {"xy": (scores["x"], scores["y"])},
        lambda a, b: np.array([metrics.probability_of_improvement(a, b)]),
        reps=REPS,
        random_state=np.random.RandomState(0),
    )
    return {
        **{"x": x.tolist(), "y": y.tolist()},
        **{f"iqm_{arm}": float(iqm[arm][0]) for arm in scores},
        **{f"iqm_interval_{arm}": ends[arm][:, 0].tolist() for arm in scores},
        "improvement": float(chance["xy"][0]),
        "improvement_interval": chance_ends["xy"][:, 0].tolist(),
    }


if __name__ == "__main__":
    main()
