"""One process of several: votes, gathers, and shares what a run's processes share; writes what came of it.

Usage: share_on_rank.py RANK PROCESSES RENDEZVOUS RESULT
"""

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule
from torch import nn

from brats_lightning.model.agreement import Agreement, control_group, gathered, is_shared, leave_together, meet
from brats_lightning.model.epoch_loss import EpochLoss
from brats_lightning.model.random_state import RandomState
from brats_lightning.model.replicas import share_buffers

WISHES = {0: [(0, 0), (1, 0), (0, 0), (0, 0)], 1: [(0, 0), (0, 0), (0, 1), (0, 0)]}
"""Of each rank, step by step, on two questions."""
LOSSES = {0: [(1.0, 2), (2.0, 2)], 1: [(4.0, 1)]}
"""Of each rank's batches, with their numbers of samples."""


def random_numbers(rank: int) -> dict[str, object]:
    """A run that is saved after two draws of each rank, and another that goes on from it."""
    torch.manual_seed(0)
    random.seed(0)
    trainer: Any = SimpleNamespace(global_rank=rank)
    first = RandomState()
    first.on_train_start(trainer, LightningModule())
    drawn = [float(torch.rand(())), random.random()]
    state = first.state_dict()
    following = [float(torch.rand(())), random.random()]
    torch.manual_seed(9)
    second = RandomState()
    second.load_state_dict(state)
    second.on_train_start(trainer, LightningModule())
    return {"drawn": drawn, "following": following, "again": [float(torch.rand(())), random.random()]}


def losses(rank: int) -> dict[str, object]:
    """The mean of an epoch, at once and over a stop."""
    whole, stopped, going_on = EpochLoss(), EpochLoss(), EpochLoss()
    for value, samples in LOSSES[rank]:
        whole.add(torch.tensor(value), samples)
    stopped.add(torch.tensor(LOSSES[rank][0][0]), LOSSES[rank][0][1])
    going_on.go_on(stopped.state(), first_process=rank == 0)
    for value, samples in LOSSES[rank][1:]:
        going_on.add(torch.tensor(value), samples)
    return {"mean": whole.mean(), "state": whole.state(), "over_a_stop": going_on.mean()}


def main(rank: int, processes: int, rendezvous: str, result: Path) -> None:
    """Do all of it in the order that every process does it in."""
    alone = [is_shared(), control_group() is None]
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=processes)
    agreement = Agreement(2)
    votes = [agreement.vote([bool(wish) for wish in wishes]) for wishes in WISHES[rank]]
    late = Agreement(2)
    late.vote([rank == 0, False])
    settled = [late.settle([False, rank == 1]), late.settle([False, False])]
    norm = nn.BatchNorm3d(2)
    buffers = dict(norm.named_buffers())
    buffers["running_mean"] += rank + 1
    buffers["num_batches_tracked"] += rank + 5
    share_buffers(norm)
    one = control_group()
    found: dict[str, object] = {
        "alone": alone,
        "votes": votes,
        "settled": settled,
        "gathered": gathered({"rank": rank}),
        "buffers": [buffers["running_mean"].tolist(), int(buffers["num_batches_tracked"])],
        "one_group": control_group() is one is not None,
        "random": random_numbers(rank),
        "losses": losses(rank),
    }
    meet()
    leave_together()
    leave_together()
    found["left"] = not dist.is_initialized() and control_group() is None
    result.write_text(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
