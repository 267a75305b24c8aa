"""How long `workbench status` and the next claim take in a study of ten thousand finished trials.

`python -m tests.soak.large_study` writes such a study twice, into a journal file and into PostgreSQL
(minutes), and prints seconds on the clock: the whole `status` command, and for a worker that comes new
the opening of the trials and the claim, without the imports; up to a hundred cells wait in the queue.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from optuna.trial import TrialState

from ablations.folder import StudyFolder
from ablations.opening import open_trials
from ablations.plan import Plan
from ablations.processes import Process
from ablations.runner import Options, begun
from ablations.study import Study
from tests.ablations.toy import toy
from tests.postgres import new_database, postgres_server

TRIALS, ARMS, REPEATS = 10_000, 100, 5
CLIP = "clipped_surrogate.clip_range"


def main() -> None:
    """Write both studies and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS, help=f"finished trials; else {TRIALS:,}")
    given = parser.parse_args()
    ranges = {f"clip_{i}": 0.1 + 0.001 * i for i in range(ARMS)}
    arms = {name: {"recipe": "vanilla", "with": {CLIP: clip}} for name, clip in ranges.items()}
    study = toy(arms=arms, baseline=None, seeds=given.trials // ARMS + 1)  # some cells are left
    with tempfile.TemporaryDirectory() as scratch, postgres_server() as server:
        for name, storage in (("journal", None), ("PostgreSQL", new_database(server))):
            options = Options(workers=1, storage=storage)
            home = Path(scratch, name)
            write(study, home, options, given.trials)
            looks = [look(study.name, home) for _ in range(REPEATS)]
            with begun(study, home, options) as (folder, plan, _):
                open_trials(folder, plan).enqueue("missing", limit=REPEATS)
                claims = [claim(folder, plan) for _ in range(REPEATS)]
            print(f"{name}: status {told(looks)}, next claim {told(claims)}", flush=True)


def write(study: Study, home: Path, options: Options, count: int) -> None:
    """Begin a study and finish its first `count` trials, without training anything."""
    with begun(study, home, options) as (folder, plan, _):
        trials = open_trials(folder, plan)
        for cell in list(plan.outline.cells.values())[:count]:
            trial = plan.trial(cell)
            trial.user_attrs = {
                "cell": cell.name, "arm": cell.arm, "seed": cell.seed, "outcome": "ok",
                "run_id": None, "iterations": study.ppo.iterations, "worker": {},
            }  # fmt: skip
            trial.values, trial.state = [0.5], TrialState.COMPLETE
            trials._create(trial)


def look(name: str, home: Path) -> float:
    """Return the seconds of `workbench status` as a whole command."""
    command = [sys.executable, "-m", "workbench.cli", "status", name, "--home", str(home), "--json"]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def claim(folder: StudyFolder, plan: Plan) -> float:
    """Return the seconds until a worker that comes new has its next trial."""
    start = time.perf_counter()
    claimed = open_trials(folder, plan).claim(Process.this())
    seconds = time.perf_counter() - start
    assert claimed is not None, "no cell was left to claim"
    return seconds


def told(seconds: list[float]) -> str:
    """Return median and range in words."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    main()
