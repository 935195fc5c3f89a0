"""A job that is re-queued at random moments, as often as one likes, held against one that was not: an endurance run.

    python benchmarks/requeues.py [--times 100]

Two processes on two nodes of a private SLURM on this machine, as tests/test_slurm.py has them: every step, sample,
random number, weight and logged value must be the same. Needs sbatch and munged; about 12 s a time on two cores.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run the test in its long form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100)
    options = parser.parse_args()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--durations=1",
        "tests/test_slurm.py",
        "-k",
        "requeues_leave_no_trace",
    ]
    ended = subprocess.run(  # noqa: S603
        command, cwd=ROOT, env={**os.environ, "BRATS_TEST_REQUEUES": str(options.times)}, check=False
    )
    raise SystemExit(ended.returncode)


if __name__ == "__main__":
    main()
