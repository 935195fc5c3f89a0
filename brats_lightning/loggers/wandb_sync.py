"""`brats sync`: send what was logged to W&B offline, each run as one history, however often it was restarted."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from brats_lightning.cluster.lease import FILE as LEASE
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.loggers.wandb_segments import is_finished, is_unsent, mark_as_sent, mend, run_of, started
from brats_lightning.loggers.wandb_server import obstacle
from brats_lightning.runs import RUNS

QUIET_SECONDS = 300.0
"""W&B writes every 15 s, a lease is renewed every 20 s: who was silent for so long is dead."""
SENDING_MINUTES = 10.0


@dataclass(frozen=True)
class Outcome:
    """What became of one W&B run.

    Args:
        run: Its W&B id.
        sent: Files sent now.
        left: Files that are still being written.
        failure: What went wrong, empty where nothing did.
        busy: Files that another call is sending.
    """

    run: str
    sent: int
    left: int
    failure: str = ""
    busy: int = 0

    def __str__(self) -> str:
        parts = f"{self.sent} part{'s' * (self.sent != 1)} sent"
        if self.left:
            parts += f", {self.left} still being written: send again later"
        if self.busy:
            parts += ", another call is sending the rest"
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
    try:
        with _alone(segments[0]) as alone:
            waiting = [segment for segment in segments if is_unsent(segment)]  # another call may have been faster
            if not alone:
                return Outcome(run, 0, 0, busy=len(waiting))
            return _send(run, waiting, minutes=minutes)
    except OSError as error:  # files of somebody else, which can be read and not be marked as sent
        return Outcome(run, 0, 0, f"{error.filename}: {error.strerror}")


def _send(run: str, segments: Sequence[Path], *, minutes: float) -> Outcome:
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


@contextmanager
def _alone(segment: Path) -> Iterator[bool]:
    """Whether no other call of this program sends the file until the end of the block; a killed one holds nothing."""
    with segment.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a network's disk without locks
            pass
        yield True


def sync(folder: Path = RUNS, *, minutes: float = SENDING_MINUTES, workers: int = 4) -> None:
    """Send what was logged to W&B offline; exit code 1 where something could not be sent.

    Each run arrives as one history, however often it was restarted. The same command may be given again at any time,
    and twice at once: what was sent is marked, what is still being written is left for the next time. Without a key or
    a route to the server it gives up within seconds.

    Args:
        folder: Of one run or of many.
        minutes: For each run, after which it is given up.
        workers: Runs that are sent at once.

    Raises:
        BratsError: No such folder, no key, no route, or runs that could not be sent.
    """
    if minutes <= 0 or workers < 1:
        raise ConfigError(f"expected --minutes above 0 and --workers from 1 on, found {minutes:g} and {workers}")
    if not folder.is_dir():
        raise BratsError(f"no folder {folder}: expected that of a run, or of many")
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    runs = unsent(folder)
    if not runs:
        console.print(f"nothing below {folder} waits to be sent to W&B")
        return
    if what_is_missing := obstacle():
        raise BratsError(f"W&B: {what_is_missing}: {len(runs)} runs below {folder} are not sent")
    failures = 0
    with ThreadPoolExecutor(workers) as pool:
        for outcome in pool.map(partial(send, minutes=minutes), runs.values()):
            console.print(str(outcome))
            failures += bool(outcome.failure)
    if failures:
        raise BratsError(f"{failures} of {len(runs)} runs could not be sent: give the same command again")
