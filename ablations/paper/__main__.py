"""Run every study of the paper; `workbench claims --home` then says which claims hold.

Whatever is done is not done again, so that the same command goes on after Ctrl-C or a crash.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ablations.folder import StudyFolder
from ablations.opening import look_at_trials
from ablations.paper.settings import SETTINGS
from ablations.paper.studies import paper_studies
from ablations.runner import Options, ablate
from ablations.study import Study
from ablations.study_files import parse_changes
from workbench.errors import is_expected, one_sentence
from workbench.progress import in_words

WRONG, INTERRUPTED = 2, 130
COMMAND = "python -m ablations.paper"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all; return 1 if some trial failed, 2 if they cannot be run, 130 on Ctrl-C."""
    given = _parse(arguments)
    try:
        is_failed = run(given)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not is_expected(error):
            raise
        print(f"{COMMAND}: {one_sentence(error)}", file=sys.stderr)
        return WRONG
    setting = f" --setting {given.setting}" if given.setting else ""
    print(f"verdicts: workbench claims --home {shlex.quote(str(given.home))}{setting}")
    return int(is_failed)


def run(given: argparse.Namespace) -> bool:
    """Run what is left of each study, and say whether some trial failed."""
    studies = paper_studies(given.setting, parse_changes(given.set))
    left = {study.name: _left(study, given.home) for study in studies}
    start, done, is_failed = time.monotonic(), 0, False
    for number, study in enumerate(studies, 1):
        ahead = sum(left[one.name] for one in studies[number - 1 :])
        rate = (time.monotonic() - start) / done if done else 0.0
        time_left = f", {in_words(rate * ahead)} left" if done and ahead else ""
        print(f"{study.name}, {number} of {len(studies)}: {study.question}{time_left}", flush=True)
        if left[study.name]:
            options = Options(workers=given.workers, threads=1, command=COMMAND)
            is_failed |= any(not status.is_done for status in ablate(study, given.home, options))
            done += left[study.name]
    return is_failed


def _left(study: Study, home: Path) -> int:
    """Return the iterations of a study that are left."""
    folder = StudyFolder(home, study.name)
    begun = look_at_trials(folder, folder.outline()).status() if folder.file.is_file() else []
    cells = (len(study.arms) - len(study.lent)) * len(study.seeds)
    done = sum(study.ppo.iterations if s.is_done else s.iteration for s in begun)
    return cells * study.ppo.iterations - done


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("runs/paper"), help="folder of the runs")
    parser.add_argument("--workers", type=int, default=2, help="at a time")
    parser.add_argument(
        "--setting", choices=SETTINGS, default="", help="another setting: do the claims carry over?"
    )
    parser.add_argument("--set", action="append", default=[], help="key=value, as of `workbench ablate`")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
