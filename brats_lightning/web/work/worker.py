"""A worker: the process that has the networks of a device in memory and works on one case after the other."""

import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from brats_lightning.errors import BratsError
from brats_lightning.web.limits import FULL, disk_refusal
from brats_lightning.web.work.messages import (
    Failure,
    Job,
    Outcome,
    Progress,
    Ready,
    Said,
    Setup,
    Stop,
    Stopped,
    Unable,
    asked,
    send,
)

if TYPE_CHECKING:  # the server imports this module, and need not wait for PyTorch
    from brats_lightning.web.work.tasks.networks import Networks

SECONDS_BETWEEN = 0.2
"""From one word on the progress to the next."""
BESIDES = 5
"""How far work without networks stands back where a network needs the same cores."""
OUT_OF_MEMORY = Path("/proc/self/oom_score_adj")
_log = logging.getLogger(__name__)


class StopAskedError(Exception):
    """The server wants the present work to end."""


class Teller:
    """Tells the server how far the work has come, and ends it where the server asks for that.

    Args:
        connection: To the server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stage = ""
        self._next = 0.0

    def __call__(self, stage: str, percent: float) -> None:
        """What is being done now, in words, and how much has been done.

        Raises:
            StopAskedError: The server asked for it.
        """
        if self._connection.poll() and isinstance(asked(self._connection), Stop):
            raise StopAskedError
        now = time.monotonic()
        if stage != self._stage or now >= self._next:
            send(self._connection, Progress(stage=stage, percent=round(percent, 1)))
            self._stage, self._next = stage, now + SECONDS_BETWEEN


def work(connection: Connection, setup: Setup) -> None:
    """Open the networks, then do what the server asks for until it is gone; the target of a process.

    Args:
        connection: To the server.
        setup: Networks, device and options.
    """
    _quieten()
    _be_given_up_first()
    if not setup.checkpoints:
        os.nice(BESIDES)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the server ends this one
    threading.Thread(target=end_with_the_server, daemon=True).start()
    try:
        from brats_lightning.web.work.tasks.networks import open_networks  # noqa: PLC0415 - imports PyTorch

        networks = open_networks(setup)
    except BratsError as error:
        send(connection, Unable(sentence=str(error)))
        return
    send(connection, Ready(networks=networks.offered, gpus=networks.gpus))
    try:
        while True:
            job = asked(connection)
            if isinstance(job, Job):  # a stop that came too late is none
                send(connection, answer(job, networks, Teller(connection)))
    except (EOFError, OSError):
        return


def answer(job: Job, networks: "Networks", tell: Teller) -> Said:
    """Do what is asked for; whatever comes of it is an answer, unless the server has gone.

    Args:
        job: What to do.
        networks: That this process has.
        tell: Of the progress.
    """
    try:
        return _task(job, networks, tell)
    except StopAskedError:
        return Stopped()
    except BratsError as error:
        return Failure(sentence=_on_a_page(error, Path(job.folder)))
    except (EOFError, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 - one case's trouble must not be the next one's
        _log.error("%s failed unexpectedly: %s", job.work, _place(error))  # without its text
        return Failure(sentence=_in_words(error))


def _task(job: Job, networks: "Networks", tell: Callable[[str, float], None]) -> Outcome:
    from brats_lightning.web.work.tasks.doing import do  # noqa: PLC0415 - imports PyTorch

    return do(job.work, Path(job.folder), job.record, networks, tell=tell)


def _place(error: Exception) -> str:
    """Kind and place of an error; its text may hold what is a patient's."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-4:]]
    return f"{type(error).__name__} at {' '.join(lines)}"


def _on_a_page(error: BaseException, folder: Path) -> str:
    """A sentence of this package's, without the place where the server keeps its cases, which is nobody's business."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL:
            return str(disk_refusal(cause))
        cause = cause.__cause__
    return str(error).replace(f"{folder}/", "") if folder.is_absolute() else str(error)


def _in_words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "the machine has too little memory for this case: try a smaller one, or ask who runs the server"
    if isinstance(error, OSError) and error.strerror:
        return f"the server could not read or write a file ({error.strerror}): ask who runs it"
    return f"something went wrong that nobody has foreseen ({type(error).__name__}): ask who runs the server"


def _quieten() -> None:
    """Nothing but the words of this module goes into the log: a library's may hold a name, letter by letter."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    _log.addHandler(handler)
    _log.propagate = False


def _be_given_up_first() -> None:
    """Where memory runs out, the system ends this process, which starts anew, and not the server."""
    with suppress(OSError):  # of Linux alone
        OUT_OF_MEMORY.write_text("500", encoding="ascii")


def end_with_the_server() -> None:
    """A server that was killed must leave nobody behind who writes into its folder."""
    server = parent_process()
    if server is not None:
        wait([server.sentinel])
        sys.stderr.flush()
        os._exit(1)
