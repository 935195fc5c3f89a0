"""Which of several processes predicts which cases, and on which device."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from brats_lightning.cluster.allocation import Task
from brats_lightning.errors import ConfigError

Item = TypeVar("Item")
_FORM = re.compile(r"([0-9]+)/([0-9]+)")


@dataclass(frozen=True)
class Share:
    """Every n-th case.

    Args:
        number: Of this share, from 0.
        shares: Of all cases.
        local_rank: Number of this process on its machine.
    """

    number: int = 0
    shares: int = 1
    local_rank: int = 0

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Its items of all."""
        return items[self.number :: self.shares]


def own_share(part: str | None = None, *, task: Task) -> Share:
    """What this process is to do.

    Args:
        part: The part that all processes of a step do together, such as `3/8`; None: everything.
        task: This process among those of its step.

    Raises:
        ConfigError: The part is none.
    """
    number, parts = _read(part) if part is not None else (1, 1)
    return Share(number - 1 + parts * task.rank, parts * task.ranks, task.local_rank)


def _read(part: str) -> tuple[int, int]:
    found = _FORM.fullmatch(part.strip())
    number, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= parts:
        raise ConfigError(f"--share {part}: expected a part and the number of parts, 1/8 to 8/8")
    return number, parts


def device_of(name: str, share: Share) -> torch.device:
    """The device that a process computes on.

    Args:
        name: `auto` for a GPU where there is one, or as PyTorch names it.
        share: Processes on one machine take its GPUs in turn.

    Raises:
        ConfigError: There is no such device.
    """
    gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r} is none: expected auto, cpu, cuda or cuda:0") from error
    if device.type == "cuda":
        if not gpus:
            raise ConfigError(f"device {name} was asked for, and PyTorch finds no GPU here: use --device cpu")
        index = share.local_rank % gpus if device.index is None else device.index
        if index >= gpus:
            raise ConfigError(f"device {name} was asked for, and there are {gpus} GPUs here")
        return torch.device("cuda", index)
    return device
