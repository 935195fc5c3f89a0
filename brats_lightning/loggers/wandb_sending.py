"""One W&B run that was logged offline, sent: as one history, once, and not for longer than told."""

import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from brats_lightning.cluster.lease import FILE as LEASE
from brats_lightning.loggers.wandb_segments import is_finished, is_unsent, mark_as_sent, mend, run_of

QUIET_SECONDS = 300.0
"""W&B writes every 15 s, a lease is renewed every 20 s: who was silent for so long is dead."""
_REFUSED = re.compile(r"file transfer: upload: failed to upload: (?:status: )?(.*?)(?:: body: .*)?$", re.DOTALL)


@dataclass(frozen=True)
class Outcome:
    """What became of one W&B run.

    Args:
        run: Its W&B id.
        sent: Files sent now.
        left: Files that are still being written.
        failure: What went wrong, empty where nothing did.
        busy: Files that another call is sending.
        late: Whether it was given up for the time that it took.
        refused: A reason for each picture, table or other file that the server did not take, though it took numbers.
    """

    run: str
    sent: int
    left: int
    failure: str = ""
    busy: int = 0
    late: bool = False
    refused: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = f"{self.sent} part{'s' * (self.sent != 1)} sent"
        if self.refused:
            files = f"{len(self.refused)} file{'s' * (len(self.refused) != 1)}"
            parts += f", without {files} that the server refused ({self.refused[0]})"
        if self.left:
            parts += f", {self.left} still being written: send again later"
        if self.busy:
            parts += ", another call is sending the rest"
        return f"{self.run}: {parts}" + (f"; failed: {self.failure}" if self.failure else "")


@dataclass(frozen=True)
class Answer:
    """What `wandb sync` has said.

    Args:
        failure: What it complained of, empty where it did not.
        late: Whether it was stopped.
        refused: A reason for each file that the server did not take.
    """

    failure: str = ""
    late: bool = False
    refused: tuple[str, ...] = ()


def send(segments: Sequence[Path], *, minutes: float) -> Outcome:
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
    answer = wandb_sync(whole, minutes=minutes)
    missing = [segment for segment in whole if is_unsent(segment)]  # its exit code is 0 where it could send nothing
    failure = (answer.failure or f"wandb sync did not send {missing[0].parent}") if missing else ""
    return Outcome(run, len(whole) - len(missing), left, failure, late=answer.late, refused=answer.refused)


def wandb_sync(segments: Sequence[Path], *, minutes: float) -> Answer:
    """Run `wandb sync`.

    It says nothing, and marks the run as sent, where a file is refused: only its log knows.
    """
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"}
    environment.setdefault("WANDB_ERROR_REPORTING", "false")
    command = [sys.executable, "-m", "wandb", "sync", *(str(segment.parent) for segment in segments)]
    with tempfile.TemporaryDirectory() as folder:
        environment["WANDB_DIR"] = folder  # for its log, which would lie where the command is given
        try:
            answer = subprocess.run(  # noqa: S603
                command, env=environment, capture_output=True, text=True, timeout=60 * minutes, check=False
            )
        except subprocess.TimeoutExpired as error:
            return Answer(f"not done within {minutes:g} minutes{_last_words(error.stderr)}", late=True)
        refused = tuple(_refused(Path(folder)))
    said = (answer.stderr + answer.stdout).splitlines()
    errors = [line.partition("ERROR")[2].strip() for line in said if "ERROR" in line]
    return Answer(" ".join([*errors, *(said[-1:] if answer.returncode and not errors else [])]), refused=refused)


def _last_words(said: bytes | str | None) -> str:
    """What W&B was about when it was stopped."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said or ""
    about = [line.partition("] ")[2] for line in text.splitlines() if "] " in line]
    return f", at last: {about[-1]}" if about else ""


def _refused(folder: Path) -> Iterator[str]:
    """Why files were not taken, by W&B's logs of a call."""
    for log in sorted(folder.rglob("debug-sync*.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and (found := _REFUSED.match(str(entry.get("msg")))):
                yield found[1]


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
