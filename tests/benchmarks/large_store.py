"""Write a study too large to be run here, to see what its report takes.

`python -m tests.benchmarks.large_store FOLDER` writes two hundred arms of five seeds, 500 iterations, 31
metrics at every iteration: 15.5 million points in MLflow's own tables, 4 GB.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from mlflow import MlflowClient

from tests.analysis.synthetic_store import Arm, Plan, write_store

HELD_SHARE = 0.7


def large_plan(arms: int = 200, seeds: int = 5, iterations: int = 500, name: str = "large") -> Plan:
    """Plan a study whose first arms collapse, each at another time, and whose others hold."""
    collapsing = arms - round(HELD_SHARE * arms)
    planted = {
        f"arm_{i:03d}": Arm(
            gain=0.4 + 0.8 * i / arms,
            collapse=tuple(iterations // 3 + (37 * i + 11 * k) % (iterations // 2) for k in range(seeds))
            if i < collapsing
            else (),
            params={"trick.gae": "true", "kl_penalty.weight": f"{0.001 * i:g}"},
        )
        for i in range(arms)
    }
    return Plan(planted, tuple(range(seeds)), iterations, eval_every=1, name=name)


def write_large_store(plan: Plan, folder: Path) -> str:
    """Write the study into a new store and return its tracking URI.

    The indexes of the table of metrics are made anew once all rows are in, which is faster.
    """
    folder.mkdir(parents=True, exist_ok=True)
    template = folder / "mlflow.db"
    MlflowClient(f"sqlite:///{template}").search_experiments()
    with closing(sqlite3.connect(template)) as db:
        indexes = db.execute(
            "SELECT name, sql FROM sqlite_schema "
            "WHERE type = 'index' AND tbl_name = 'metrics' AND sql > ''"
        ).fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
    uri = write_store(plan, folder, template)
    with closing(sqlite3.connect(template)) as db:
        for _, sql in indexes:
            db.execute(sql)
    return uri


if __name__ == "__main__":
    print(write_large_store(large_plan(), Path(sys.argv[1])))
