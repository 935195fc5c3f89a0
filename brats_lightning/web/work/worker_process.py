"""The server's hold on a worker process: start it, hand it work, stop it, and start it anew when it was killed."""

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection

from brats_lightning.errors import BratsError
from brats_lightning.web.work.messages import (
    Failure,
    Job,
    Outcome,
    Progress,
    Ready,
    Setup,
    Stop,
    Unable,
    said,
    send,
)
from brats_lightning.web.work.worker import work

LOOK_SECONDS = 0.05
"""From one look at what a worker says to the next look at what it should do."""
GRACE_SECONDS = 1.0
"""That a worker has to end its work by itself before it is killed."""
START_SECONDS = 900
KILLED = (
    "the process that worked on this case was killed, often for want of memory: try again, or take a smaller case or "
    "another network"
)


class JobStoppedError(Exception):
    """The work was ended because somebody asked for that."""


class WorkerProcess:
    """A worker process. Its methods are for one thread, but for `end`.

    Args:
        setup: What it begins with.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._context = get_context("spawn")  # nothing of the server's is in it: no sockets, no token
        self._connection: Connection | None = None
        self._process = self._context.Process(target=work)
        self._is_ready = False

    @property
    def process_id(self) -> int | None:
        """Of the process, None before it was started."""
        return self._process.pid

    def start(self) -> None:
        """Start the process; its networks are being opened from then on."""
        self._is_ready = False
        self._connection, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=work, args=(theirs, self.setup), name=f"brats-worker-{self.setup.device}", daemon=True
        )
        self._process.start()
        theirs.close()

    def ready(self) -> Ready:
        """Wait until its networks are open.

        Raises:
            BratsError: They cannot be opened, or it was killed.
        """
        message = self._next(time.monotonic() + START_SECONDS)
        if isinstance(message, Ready):
            self._is_ready = True
            return message
        self.kill()
        if isinstance(message, Unable):
            raise BratsError(message.sentence)
        raise BratsError(
            "a worker process ended while it opened the networks, often for want of memory: look at its log"
        )

    def revive(self) -> None:
        """Start the process if it is not there."""
        if not self._process.is_alive():
            self.start()

    def do(self, job: Job, *, tell: Callable[[str, float], None], stop: threading.Event, seconds: float) -> Outcome:
        """Have work done; a worker that is not there is started.

        Args:
            job: What to do.
            tell: Is told the stage and the per cent.
            stop: Set to end it.
            seconds: That it may take.

        Raises:
            JobStoppedError: `stop` was set.
            BratsError: It could not be done, took too long, or the process was killed.
        """
        self.revive()
        if not self._is_ready:
            self.ready()
        with suppress(OSError):  # of a process that has just ended the next look will tell
            send(self._connected, job)
        deadline, kill_at = time.monotonic() + seconds, math.inf
        while True:
            message = self._next(time.monotonic() + LOOK_SECONDS)
            if isinstance(message, Progress):
                if not stop.is_set():
                    tell(message.stage, message.percent)
            elif message is not None:
                return _outcome(message)
            elif not self._process.is_alive():
                raise BratsError(KILLED)
            now = time.monotonic()
            if stop.is_set():
                kill_at = self._stop(now, kill_at)
            elif now > deadline:
                self.kill()
                raise BratsError(
                    f"the work took longer than {seconds / 60:g} minutes, which is what the server allows: "
                    "take a smaller case, or ask who runs the server for more (limits.job_minutes)"
                )

    def _stop(self, now: float, kill_at: float) -> float:
        """Ask the process to stop; when it will be killed otherwise, or do that now."""
        if now > kill_at:
            self.kill()
            raise JobStoppedError
        if kill_at < math.inf:
            return kill_at
        with suppress(OSError):
            send(self._connected, Stop())
        return now + GRACE_SECONDS

    def _next(self, until: float) -> object | None:
        """The next message, None where none came until then or the process has ended or talks nonsense."""
        try:
            if self._connected.poll(max(0.0, until - time.monotonic())):
                return said(self._connected)
        except (EOFError, OSError):
            self._process.join(1)
        except ValueError:
            self.kill()
        return None

    @property
    def _connected(self) -> Connection:
        if self._connection is None:
            raise OSError("no connection: the process was not started, or was killed")
        return self._connection

    def kill(self) -> None:
        """End the process at once."""
        self.end()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def end(self) -> None:
        """As `kill`, for other threads than the one that has work done."""
        if self._process.pid is not None:
            self._process.kill()
            self._process.join(5)


def _outcome(message: object) -> Outcome:
    """The good answer to a job; the others are raised."""
    if isinstance(message, Outcome):
        return message
    if isinstance(message, Failure):
        raise BratsError(message.sentence)
    raise JobStoppedError
