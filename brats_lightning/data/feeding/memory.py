"""How much memory is free, and how much the cases will take."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case

LOOKED_AT = 8
"""Cases that stand for all where each has a size of its own."""


def predicted_bytes(cache: CaseCache, cases: Sequence[Case]) -> int:
    """What the cases take as 16-bit images and 8-bit labels.

    Exact where all are resampled to one size, else from some of them.
    """
    channels, size = len(cache.preprocessing.modalities), cache.preprocessing.fixed_size
    if size is not None:
        voxels = float(math.prod(size))
    else:
        some = cases[:: math.ceil(len(cases) / LOOKED_AT) or 1]
        voxels = sum(math.prod(cache.get(case).grid.shape) for case in some) / max(len(some), 1)
    return round(len(cases) * voxels * (2 * channels + 1))


def free_device_bytes(device: torch.device) -> int:
    """What no process has taken of a GPU's memory; 0 for anything that is no CUDA device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def free_host_bytes(system: Path = Path("/")) -> int:
    """Memory that this process may still take: what the machine has left, or a batch system's limit.

    Args:
        system: Root of the files in which Linux says so.
    """
    free = _machine_bytes(system)
    for group in _groups(system):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            try:
                left = int((group / limit).read_text()) - int((group / used).read_text())
                free = min(free, left + _field(group / "memory.stat", "inactive_file"))
            except (OSError, ValueError):  # absent, or the word "max"
                continue
    return max(free, 0)


def _groups(system: Path) -> list[Path]:
    """Folders of the control groups of this process, of which any may have a limit: SLURM makes one for each job."""
    top = system / "sys" / "fs" / "cgroup"
    groups = [top, top / "memory"]
    try:
        lines = (system / "proc" / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return groups
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in {"", "memory"}:
            own = (top / controllers) / path.strip("/")
            groups += [own, *(parent for parent in own.parents if parent.is_relative_to(top))]
    return groups


def _machine_bytes(system: Path) -> int:
    try:
        return 1024 * _field(system / "proc" / "meminfo", "MemAvailable:")
    except (OSError, ValueError):  # no Linux
        return _physical_bytes() // 2


def _physical_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return 16 << 30


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.split()[:1] == [name]:
            return int(line.split()[1])
    raise ValueError(f"{path} has no {name}")
