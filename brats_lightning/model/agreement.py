"""What all processes of a run have decided together, without a GPU being waited for."""

import os
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(minutes=30)
"""Longest wait of one process for the others; validation of the largest case is part of it."""


def is_shared() -> bool:
    """Whether other processes train the same network."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def control_group() -> dist.ProcessGroup | None:
    """Processes through main memory, apart from the group that gradients go through; None for one alone.

    All processes must ask for it in the same order of things, as making a group is a task for all.
    """
    if not is_shared():
        return None
    made = _GROUPS.get(os.getpid())
    if made is None or made[0] is not dist.group.WORLD:
        made = dist.group.WORLD, dist.new_group(backend="gloo", timeout=PATIENCE)
        _GROUPS[os.getpid()] = made
    return made[1]


_GROUPS: dict[int, tuple[object, dist.ProcessGroup]] = {}


class Agreement:
    """Votes on yes-or-no questions: what one process wishes, all do at the same step.

    A vote travels while the next step is computed, and is counted then: each process hears the same answers one step
    later, and none waits.

    Args:
        questions: How many.
    """

    def __init__(self, questions: int) -> None:
        self.questions = questions
        self._travelling: tuple[Tensor, dist.Work] | None = None

    def vote(self, wishes: Sequence[bool]) -> list[bool]:
        """What was wished by any process when it voted last; a process alone gets its own wishes at once."""
        group = control_group()
        if group is None:
            return list(wishes)
        before = self._arrived()
        values = torch.tensor(wishes, dtype=torch.int32)
        work = dist.all_reduce(values, dist.ReduceOp.MAX, group=group, async_op=True)
        assert work is not None  # noqa: S101 - asynchronous in a group that this process belongs to
        self._travelling = values, work
        return before

    def settle(self, wishes: Sequence[bool]) -> list[bool]:
        """What any process wishes now, or wished when it voted last; waits for all."""
        before = self.vote(wishes)
        return [past or now for past, now in zip(before, self._arrived() if is_shared() else wishes, strict=True)]

    def _arrived(self) -> list[bool]:
        if self._travelling is None:
            return [False] * self.questions
        values, work = self._travelling
        self._travelling = None
        work.wait()
        return [bool(value) for value in values.tolist()]


def gathered(state: object) -> list[object]:
    """Each process's object, in the order of ranks; all processes must ask."""
    group = control_group()
    if group is None:
        return [state]
    states: list[object] = [None] * dist.get_world_size()
    dist.all_gather_object(states, state, group=group)
    return states


def meet() -> None:
    """Wait for all processes."""
    group = control_group()
    if group is not None:
        dist.barrier(group=group)


def leave_together() -> None:
    """End what processes share: a group that is still open at exit has been seen to abort a finished program."""
    if dist.is_available() and dist.is_initialized():
        _GROUPS.pop(os.getpid(), None)
        dist.destroy_process_group()
