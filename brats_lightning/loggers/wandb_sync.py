"""Send what was logged to W&B offline: each run as one history, however often it was restarted.

`python -m brats_lightning.loggers.wandb_sync runs` is what `slurm/sync.sbatch` calls. It may be called again at any
time: what was sent is marked by W&B, what is still being written is left for the next time.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brats_lightning.cluster.lease import FILE as LEASE
from brats_lightning.errors import BratsError
from brats_lightning.loggers.wandb_segments import is_finished, is_unsent, mark_as_sent, mend, run_of, started
from brats_lightning.loggers.wandb_server import obstacle

QUIET_SECONDS = 300.0
"""W&B writes every 15 s, a lease is renewed every 20 s: who was silent for so long is dead."""
SENDING_MINUTES = 10.0
log = logging.getLogger("brats_lightning")


@dataclass(frozen=True)
class Outcome:
    """What became of one W&B run.

    Args:
        run: Its W&B id.
        sent: Files sent now.
        left: Files that are still being written.
        failure: What went wrong, empty where nothing did.
    """

    run: str
    sent: int
    left: int
    failure: str = ""

    def __str__(self) -> str:
        parts = f"{self.sent} part{'s' * (self.sent != 1)} sent"
        if self.left:
            parts += f", {self.left} still being written: send again later"
        return f"{self.run}: {parts}" + (f"; failed: {self.failure}" if self.failure else "")


def unsent(folder: Path) -> dict[str, list[Path]]:
    """Offline files below a folder by the id of their W&B run, each run's oldest first.

    Of a run folder and its copies each file counts once, and not at all where one of them was sent.

    Args:
        folder: Of one run or of many.
    """
    copies: dict[str, list[Path]] = {}
    for segment in sorted(folder.rglob("wandb/offline-run-*/run-*.wandb")):
        copies.setdefault(segment.parent.name, []).append(segment)
    runs: dict[str, list[Path]] = {}
    for same in sorted(copies.values(), key=lambda same: started(same[0])):
        if all(map(is_unsent, same)):
            runs.setdefault(run_of(same[0]), []).append(same[0])
    return runs


def send(segments: Sequence[Path], *, minutes: float = SENDING_MINUTES) -> Outcome:
    """Send the files of one W&B run.

    They go in one call of `wandb sync`, which then sends one after the other, each from the step that the one before
    it has reached.

    Args:
        segments: The files, oldest first.
        minutes: After which W&B is stopped: without a route it would go on for ever.
    """
    run = run_of(segments[0])
    dead = [segment for segment in segments if not _is_being_written(segment)]
    left = len(segments) - len(dead)
    whole = []
    for segment in dead:
        if mend(segment):
            whole.append(segment)
        else:
            mark_as_sent(segment)
    if not whole:
        return Outcome(run, 0, left)
    failure = _sync(whole, minutes=minutes)
    missing = [segment for segment in whole if is_unsent(segment)]  # its exit code is 0 where it could send nothing
    if missing and not failure:
        failure = f"wandb sync did not send {missing[0].parent}"
    return Outcome(run, len(whole) - len(missing), left, failure if missing else "")


def _sync(segments: Sequence[Path], *, minutes: float) -> str:
    """Run `wandb sync`; what it complains of, empty where it does not."""
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"}
    environment.setdefault("WANDB_ERROR_REPORTING", "false")
    command = [sys.executable, "-m", "wandb", "sync", *(str(segment.parent) for segment in segments)]
    try:
        answer = subprocess.run(  # noqa: S603
            command, env=environment, capture_output=True, text=True, timeout=60 * minutes, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not done within {minutes:g} minutes"
    said = (answer.stderr + answer.stdout).splitlines()
    errors = [line.partition("ERROR")[2].strip() for line in said if "ERROR" in line]
    return " ".join([*errors, *(said[-1:] if answer.returncode and not errors else [])])


def _is_being_written(segment: Path) -> bool:
    """Whether a process may still add to a file: it did not end it, and showed a sign of life lately."""
    if is_finished(segment):
        return False
    signs = [segment, segment.parents[2] / LEASE]
    return any(sign.exists() and time.time() - sign.stat().st_mtime < QUIET_SECONDS for sign in signs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Send all offline runs below a folder; the exit code is 1 where something could not be sent."""
    parser = argparse.ArgumentParser(description="Send what was logged to W&B offline.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs"), help="of one run or of many")
    parser.add_argument("--minutes", type=float, default=SENDING_MINUTES, help="for each run (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    if not chosen.folder.is_dir():
        parser.error(f"no folder {chosen.folder}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    runs = unsent(chosen.folder)
    try:
        if not runs:
            log.info("nothing below %s waits to be sent to W&B", chosen.folder)
        elif what_is_missing := obstacle():
            log.error("W&B: %s: %d runs below %s are not sent", what_is_missing, len(runs), chosen.folder)
            return 1
    except BratsError as error:
        log.error("%s", error)  # noqa: TRY400 - a sentence for people
        return 1
    outcomes = []
    for segments in runs.values():
        outcomes.append(send(segments, minutes=chosen.minutes))
        log.info("%s", outcomes[-1])
    return int(any(outcome.failure for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
