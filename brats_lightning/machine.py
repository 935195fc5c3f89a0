"""The machine this process runs on: what one may ask of it on any operating system."""

import os


def usable_cores() -> int:
    """Cores this process may use: a batch system often lends fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS or Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_running(process: int) -> bool:
    """Whether a process of this number runs here; true where that cannot be told."""
    if os.name == "nt":
        return True  # there os.kill would end the process that it asks after
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # another user's
    return True
