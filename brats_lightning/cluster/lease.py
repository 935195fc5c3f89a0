"""A run's folder has one user: a file in it says which, and is renewed as long as that one lives."""

import contextlib
import logging
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from brats_lightning.cluster.allocation import Job
from brats_lightning.cluster.holder import Holder, from_json, lives, this_process
from brats_lightning.errors import ConfigError

FILE = "in-use.json"
RENEWED_SECONDS = 20.0
SETTLED_SECONDS = 1.0
"""Of several that take a dead one's place at the same moment the last one has it; so long all of them wait to see."""
ATTEMPTS = 5
log = logging.getLogger("brats_lightning")
_held: dict[Path, "Lease"] = {}


class Lease:
    """The right to write into a run's folder, until it is released or another process has taken it over.

    A forked process, such as a loader's worker, has no part in it: it neither renews nor releases it.

    Args:
        run: The folder.
        holder: This process.
        renewed_seconds: Between signs of life.
    """

    def __init__(self, run: Path, holder: Holder, *, renewed_seconds: float = RENEWED_SECONDS) -> None:
        self.run = run.resolve()
        self.holder = holder
        self._path = self.run / FILE
        self._renewed_seconds = renewed_seconds
        self._over = threading.Event()
        self._writing = threading.Lock()
        self._lost = False

    @classmethod
    def take(cls, run: Path, *, job: Job | None = None, renewed_seconds: float = RENEWED_SECONDS) -> Self:
        """Become the one user of a folder that is there.

        Args:
            run: The folder.
            job: SLURM's, around this process.
            renewed_seconds: Between signs of life.

        Raises:
            ConfigError: Another process uses it, or it cannot be written to.
        """
        lease = cls(run, this_process(job), renewed_seconds=renewed_seconds)
        try:
            lease._take()
        except OSError as error:
            raise ConfigError(
                f"the run folder {run} cannot be written to ({error.strerror}): give another --run"
            ) from error
        _held[lease.run] = lease
        threading.Thread(target=lease._renew_until_released, name="lease", daemon=True).start()
        return lease

    @property
    def lost(self) -> bool:
        """Whether another process was found to have taken over: this one must not write into the folder again."""
        return self._lost

    def held(self) -> bool:
        """Whether the folder is still this process's, looked up now: to be asked before anything in it is replaced."""
        if not self._lost:
            with contextlib.suppress(OSError):  # a disk that does not answer tells nothing
                found = _read(self._path)
                if found.mark not in {self.holder.mark, ""}:
                    self._lost = True
                    log.warning(
                        "%s was taken over by %s: this process writes nothing into it any more", self.run, found
                    )
        return not self._lost

    def release(self) -> None:
        """Leave the folder to others."""
        if os.getpid() != self.holder.process:
            return
        self._over.set()
        with self._writing:
            if not self.held():  # and `may_write` goes on saying so
                return
            if _held.get(self.run) is self:
                del _held[self.run]
            with contextlib.suppress(OSError):
                if _read(self._path) == self.holder:
                    self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self) -> None:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(FileExistsError):
                return _create(self._path, self.holder)
            with contextlib.suppress(FileNotFoundError):  # released just now
                if self._take_over():
                    return None
        raise ConfigError(f"{self.run} is wanted by several processes at once: try again, or give another --run")

    def _take_over(self) -> bool:
        """Take the place of a holder that is gone; whether that was done.

        Raises:
            ConfigError: It is not gone.
        """
        draft = self._path.with_name(f".{FILE}.{self.holder.mark}")
        try:
            _create(draft, self.holder)
            now = _touched(draft)  # by the clock of the disk: those of machines differ
            former = _read(self._path)
            silent_seconds = max(0.0, now - self._path.stat().st_mtime)
            if lives(former, self.holder, silent_seconds=silent_seconds):
                raise ConfigError(
                    f"{self.run} is in use by {former}, heard of {silent_seconds:.0f} s ago: "
                    f"{former.cure}, or give another --run"
                )
            if _read(self._path) != former:
                return False
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)
        time.sleep(SETTLED_SECONDS)
        return _read(self._path) == self.holder

    def _renew_until_released(self) -> None:
        while not self._over.wait(self._renewed_seconds):
            with self._writing, contextlib.suppress(OSError):
                if self._over.is_set() or not self.held():
                    return
                try:
                    _touched(self._path)
                except FileNotFoundError:  # somebody removed it
                    _create(self._path, self.holder)


def may_write(run: Path) -> bool:
    """Whether this process may write into a run's folder: not if it held a lease on it that it lost.

    Args:
        run: The folder. A process that never held a lease on it, one of the further ranks, may.
    """
    lease = _held.get(run.resolve())
    return lease is None or lease.held()


def is_lost(run: Path) -> bool:
    """Whether this process has found that it lost its lease on a folder; cheap enough for every step.

    Args:
        run: The folder.
    """
    lease = _held.get(run.resolve())
    return lease is not None and lease.lost


def _create(path: Path, holder: Holder) -> None:
    """Write a file that is not there: of several that do so at once, on any disk, one succeeds."""
    file = path.open("x", encoding="utf-8")
    try:
        with file:
            file.write(holder.json)
    except OSError:
        path.unlink(missing_ok=True)  # a full disk keeps the empty file
        raise


def _read(path: Path) -> Holder:
    return from_json(path.read_text(encoding="utf-8", errors="replace"))


def _touched(path: Path) -> float:
    """The present time, in seconds, as the disk's own clock has it, which a file is marked with."""
    os.utime(path)
    return path.stat().st_mtime
