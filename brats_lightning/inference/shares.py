"""Which of several processes predicts which cases, and on which device."""

import os
from dataclasses import dataclass

import torch

from brats_lightning.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """Every n-th case.

    Args:
        rank: Number of this process.
        ranks: Of all processes.
        local_rank: Number of this process on its machine.
        beside: Processes that share the cores this one may use; `srun` gives each task its own.
    """

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    beside: int = 1


def own_share() -> Share:
    """The share of this process, as `srun` or `torchrun` tells it; everything where neither started it.

    A batch script itself, which sees its job's number of tasks too, is one process alone: only `srun` numbers steps.
    """
    for rank, ranks, local, beside in (
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""),
        ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ):
        if rank in os.environ and ranks in os.environ:
            return Share(
                int(os.environ[rank]),
                int(os.environ[ranks]),
                int(os.environ.get(local, "0")),
                int(os.environ.get(beside, "1")),
            )
    return Share()


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
