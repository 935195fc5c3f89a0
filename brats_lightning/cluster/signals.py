"""Being asked to stop: a signal only raises a flag, which work looks at where it can be put down.

SLURM sends SIGUSR1 to every process of a job's step some minutes before its time is up, worker processes included, and
at a different moment to each machine. What has not asked for that signal dies of it, so this is imported, and called,
before anything that takes long to import.
"""

import atexit
import os
import signal
from types import FrameType

_ENDS_SOON = "SIGUSR1"  # not on Windows, which has no SLURM either


class Stopped(Exception):  # noqa: N818 - no error: somebody asked for it
    """Work was put down because a signal asked for it.

    Args:
        signal_name: Such as SIGUSR1.
        saved: What it goes on from, in words; empty where everything finished is kept anyway.
    """

    def __init__(self, signal_name: str, *, saved: str = "") -> None:
        super().__init__(f"stopped by {signal_name}")
        self.signal_name = signal_name
        self.saved = saved

    @property
    def requeues(self) -> bool:
        """Whether the job shall be put back into the queue; after SIGTERM that is the batch system's affair."""
        return self.signal_name == _ENDS_SOON


_listener: int | None = None
_asked: str | None = None


def listen(*, also_terminate: bool = False) -> None:
    """From now on SIGUSR1 is a request that `asked` tells of, in this process alone.

    Args:
        also_terminate: So is SIGTERM, which otherwise ends the process.
    """
    global _listener  # noqa: PLW0603 - a process has one set of handlers
    if not hasattr(signal, _ENDS_SOON):
        return
    _listener = os.getpid()
    signal.signal(signal.SIGUSR1, _note)
    # While Python shuts down it puts the system's handlers back, which would end a run that has finished.
    atexit.register(signal.signal, signal.SIGUSR1, signal.SIG_IGN)
    if also_terminate:
        signal.signal(signal.SIGTERM, _note)


def asked() -> str | None:
    """Name of the signal that asked this process to stop, None so far."""
    return _asked


def forget() -> None:
    """Be asked anew: for tests, and for several runs in one process."""
    global _asked  # noqa: PLW0603
    _asked = None


def stop_if_asked() -> None:
    """For work whose finished parts are kept.

    Raises:
        Stopped: A signal asked for it.
    """
    if _asked is not None:
        raise Stopped(_asked)


def ignore_termination() -> None:
    """This process leaves by itself: the SIGTERM that comes with being re-queued must not cut that short."""
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    global _asked  # noqa: PLW0603
    name = signal.Signals(number).name
    if os.getpid() == _listener:
        _asked = _asked or name
    elif name != _ENDS_SOON:  # a forked worker: let it end as it would have
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
