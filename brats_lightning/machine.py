"""The machine this process runs on: what one may ask of it on any operating system."""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Numbers of glibc's `mallopt`: bytes."""


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


def keep_freed_memory() -> None:
    """Have the C library keep large buffers for the next tensor of their size.

    glibc returns each to the system and gets fresh pages, which takes longer than many a step on a volume.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # not in musl
        for parameter, value in ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, (1 << 31) - 1), (_TOP_PAD, 256 << 20)):
            library.mallopt(parameter, value)
