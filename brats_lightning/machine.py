"""The machine this process runs on: what one may ask of it on any operating system."""

import ctypes
import os
import sys
from collections.abc import Mapping

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Numbers of glibc's `mallopt`: bytes."""


def lent_cores() -> int:
    """Cores this process can run on: a batch system often lends fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS or Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_cores(variables: Mapping[str, str] = os.environ) -> int:
    """This process's part of the cores that it can run on, where others were started beside it.

    Not every site binds SLURM's tasks to cores: where it does not, each task can run on all that its job has here.
    torchrun and Lightning, with a process for each GPU, bind none.

    Args:
        variables: Set by what started this process.
    """

    def number(name: str, default: int) -> int:
        text = variables.get(name, "")
        return max(int(text), 1) if text.isdigit() else default

    cores = lent_cores()
    if "SLURM_STEP_NUM_TASKS" in variables:  # a batch script by itself is not shared, and has no such number
        here = -(-number("SLURM_STEP_NUM_TASKS", 1) // number("SLURM_STEP_NUM_NODES", 1))
        return min(cores, number("SLURM_CPUS_PER_TASK", max(number("SLURM_CPUS_ON_NODE", cores) // here, 1)))
    return max(cores // number("LOCAL_WORLD_SIZE", number("WORLD_SIZE", 1) if "LOCAL_RANK" in variables else 1), 1)


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
