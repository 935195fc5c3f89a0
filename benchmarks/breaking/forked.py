"""The command `brats` in a child that is forked from a process with everything imported, and killed when one likes.

What a kill while Python imports would do is not seen so: nothing is written in that time. All else is as in a command
of its own: arguments are parsed, signals handled, worker processes started by the child itself.
"""

import contextlib
import logging
import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from brats_lightning.cli import main

SECONDS = 300.0
"""Longest wait for a command that takes a few: one that hangs is a finding."""
HANGS = -1000
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}


@dataclass(frozen=True)
class Moment:
    """When a command is killed: after some time, or before it changes its folder for the n-th time.

    Args:
        seconds: From the fork on.
        change: Number of the change, the first one 1: a file opened to be written, flushed, renamed or removed.
        with_children: Kill its worker processes at the same moment, as a batch system does; else they find out.
    """

    seconds: float | None = None
    change: int | None = None
    with_children: bool = False

    def __str__(self) -> str:
        when = f"{self.seconds:.3f} s" if self.seconds is not None else f"change {self.change}"
        return f"{when}{', with its workers' if self.with_children else ''}"


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: Its exit code, minus the signal that killed it, or `HANGS`.
        said: Everything that it wrote, both streams.
        seconds: That it took.
        changes: How often it changed its folder.
    """

    code: int
    said: str
    seconds: float
    changes: int

    @property
    def sentence(self) -> str:
        """The error that it ended with, if it was one in words."""
        lines = [line for line in self.said.splitlines() if line.startswith("brats: ")]
        return lines[-1].removeprefix("brats: ") if self.code == 1 and "Traceback" not in self.said and lines else ""


def brats(
    arguments: Sequence[str],
    folder: Path,
    *,
    moment: Moment | None = None,
    prepare: Callable[[], None] | None = None,
    seconds: float = SECONDS,
) -> Ended:
    """Run a command to its end, or until it is killed.

    Args:
        arguments: Of `brats`.
        folder: To work in; its changes are counted.
        moment: When to kill it.
        prepare: Called in the child before the command: makes things go wrong there.
        seconds: After which it counts as hanging.
    """
    child = start(arguments, folder, moment=moment, prepare=prepare)
    return child.wait(seconds if moment is None or moment.seconds is None else moment.seconds)


class Child:
    """A command that runs.

    Args:
        process: Its number, that of its group too.
        moment: When it is to be killed.
        log: What it says.
        changes: Counts.
    """

    def __init__(self, process: int, moment: Moment | None, log: IO[bytes], changes: mmap.mmap) -> None:
        self.process = process
        self._moment = moment
        self._log = log
        self._changes = changes
        self._since = time.monotonic()
        self._code: int | None = None
        self._said = ""

    @property
    def said(self) -> str:
        """What it has said until now."""
        if self._log.closed:
            return self._said
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        if self._code is None:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def kill(self, *, with_children: bool = False) -> None:
        """Kill it, if it still runs."""
        if self.code is None:
            (os.killpg if with_children else os.kill)(self.process, signal.SIGKILL)

    def wait(self, seconds: float = SECONDS) -> Ended:
        """Wait for its end; after so many seconds it is killed."""
        deadline = self._since + seconds
        hangs = False
        while (code := self.code) is None:
            if time.monotonic() > deadline:
                hangs = self._moment is None or self._moment.seconds is None
                self.kill(with_children=hangs or (self._moment is not None and self._moment.with_children))
                deadline += SECONDS
            time.sleep(0.002)
        (changes,) = struct.unpack_from("q", self._changes)
        self._said = self.said
        self._log.close()
        return Ended(HANGS if hangs else code, self._said, time.monotonic() - self._since, changes)

    def bury(self) -> None:
        """End what is left of its workers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)


def start(
    arguments: Sequence[str],
    folder: Path,
    *,
    moment: Moment | None = None,
    prepare: Callable[[], None] | None = None,
) -> Child:
    """Begin a command, see `brats`."""
    log = TemporaryFile()  # noqa: SIM115 - as long as the child is asked for what it says
    changes = mmap.mmap(-1, 8)
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return Child(process, moment, log, changes)
    code = 70
    try:
        os.setsid()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        os.chdir(folder)
        os.environ.pop("BRATS_RUN", None)
        _count_changes(folder, changes, moment)
        if prepare is not None:
            prepare()
        code = _call(arguments)
    finally:
        with contextlib.suppress(BaseException):
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # the parent's own end is not to be tidied up here


def _call(arguments: Sequence[str]) -> int:
    try:
        main(arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as Python itself does at the end of a program
        traceback.print_exc()
        return 1
    return 0


def _count_changes(folder: Path, changes: mmap.mmap, moment: Moment | None) -> None:
    """Count changes of the folder, those that forked worker processes make too, and kill the command before one."""
    main_process, own = os.getpid(), str(folder)
    flush = os.fsync

    def count(path: object) -> None:
        if not str(os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else "").startswith(own):
            return
        (number,) = struct.unpack_from("q", changes)
        struct.pack_into("q", changes, 0, number + 1)
        if moment is not None and moment.change == number + 1:
            (os.killpg if moment.with_children else os.kill)(main_process, signal.SIGKILL)

    def heard(event: str, arguments: tuple[object, ...]) -> None:
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        if (opened or event in _CHANGES) and isinstance(arguments[0], str | bytes | os.PathLike):
            count(os.path.abspath(arguments[0]))  # noqa: PTH100 - a hook must call nothing that is heard itself

    def flushed(file: Any) -> None:
        with contextlib.suppress(OSError):
            count(os.readlink(f"/proc/self/fd/{file}"))  # noqa: PTH115
        flush(file)

    os.fsync = flushed  # type: ignore[assignment]
    sys.addaudithook(heard)
