"""A leave-one-out study on PostgreSQL whose workers are killed, against the same study undisturbed.

`make soak` runs 207 trials of toy size twice: with one worker that nobody disturbs, and with three of
whom twenty are killed. It fails unless both end with the design's trials, one each, and the same bits.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablations.folder import StudyFolder
from ablations.runner import Options, ablate
from ablations.study import Study
from tests.ablations.evidence import assert_undisturbed
from tests.ablations.forked import Forked
from tests.ablations.killer import Killer, Remembering
from tests.ablations.toy import toy
from tests.postgres import new_database, postgres_server
from workbench.progress import in_words

DESIGN = {"kind": "leave_one_out", "recipe": "ppo_max"}
SEEDS, WORKERS, KILLS = 23, 3, 20


def main() -> None:
    """Run the study twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"per arm, of nine; else {SEEDS}")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"workers to kill; else {KILLS}")
    given = parser.parse_args()
    study = toy(arms={}, baseline=None, design=DESIGN, seeds=given.seeds)
    with tempfile.TemporaryDirectory() as scratch, postgres_server() as server:
        alone, disturbed = Path(scratch, "alone"), Path(scratch, "disturbed")
        runs = len(study.arms) * given.seeds
        timed(f"{runs} trials by one worker", lambda: run(study, alone, 1))
        killed = timed(
            f"{runs} trials by {WORKERS} workers on PostgreSQL, {given.kills} killed",
            lambda: run_and_kill(study, disturbed, new_database(server), given.kills),
        )
        assert killed == given.kills, f"{killed} workers were killed, {given.kills} were to be"
        assert_undisturbed(disturbed, alone)
    print("every trial of the design is there once, with the bits of the undisturbed study")


def run(study: Study, home: Path, workers: int, **others: Any) -> None:
    """Run a study to its end with processes that are there in a moment."""
    given = {"launcher": Forked(), **others}
    statuses = ablate(study, home, Options(workers=workers, threads=1, command="make soak", **given))
    assert all(status.state in ("ok", "collapsed") for status in statuses), "some trials failed"


def run_and_kill(study: Study, home: Path, database: str, kills: int) -> int:
    """Run a study whose workers are killed at random moments; return how many were."""
    launcher = Remembering(Forked())
    iterations = study.ppo.iterations * len(study.arms) * len(study.seeds)
    killer = Killer(StudyFolder(home, study.name), launcher, kills, iterations)
    killer.start()
    run(study, home, WORKERS, launcher=launcher, storage=database)
    killer.join()
    return len(launcher.killed)


def timed(what: str, act: Callable[[], Any]) -> Any:
    """Do something, and print what it was and how long it took."""
    start = time.monotonic()
    result = act()
    print(f"{what}: {in_words(time.monotonic() - start)}", flush=True)
    return result


if __name__ == "__main__":
    main()
