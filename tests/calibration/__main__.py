"""Run every calibration, each in a process of its own: `make calibrate`.

python -m tests.calibration            minutes
python -m tests.calibration --quick    a tenth of the simulations
"""

import subprocess
import sys
import time

MODULES = ("interval_methods", "false_findings", "real_runs", "coverage", "power", "warnings")
"""Each answers one question and takes `--quick`."""


def main() -> int:
    """Run the modules one after the other; return the exit status of the worst."""
    worst = 0
    for name in MODULES:
        module = f"tests.calibration.{name}"
        print(f"\n## {name}", flush=True)
        began = time.monotonic()
        worst = max(worst, subprocess.run([sys.executable, "-m", module, *sys.argv[1:]]).returncode)
        print(f"\n{time.monotonic() - began:.0f} s", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
