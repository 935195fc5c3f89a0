"""The mean loss of an epoch, over all its samples, whichever process saw them and however often it was stopped."""

import torch
from torch import Tensor

from brats_lightning.model.agreement import control_group


class EpochLoss:
    """A weighted mean that a checkpoint can hold: Lightning begins its own anew where an epoch goes on."""

    def __init__(self) -> None:
        self._sums = torch.zeros(2, dtype=torch.float64)

    def reset(self) -> None:
        """A new epoch."""
        self._sums = torch.zeros(2, dtype=torch.float64)

    def add(self, loss: Tensor, samples: int) -> None:
        """Of one batch of this process, on its device, without waiting for it."""
        value = loss.detach().double()
        if self._sums.device != value.device:
            self._sums = self._sums.to(value.device)
        self._sums += torch.stack([value * samples, torch.full_like(value, samples)])

    def state(self) -> list[float]:
        """Sum of losses and number of samples over all processes, which must all ask."""
        sums = self._sums.cpu()
        if (group := control_group()) is not None:
            sums = sums.clone()
            torch.distributed.all_reduce(sums, group=group)
        return [float(value) for value in sums]

    def go_on(self, state: list[float] | None, *, first_process: bool) -> None:
        """From what a checkpoint holds: one process carries it."""
        kept = state if state is not None and first_process else [0.0, 0.0]
        self._sums = torch.tensor(kept, dtype=torch.float64)

    def mean(self) -> float:
        """Over all processes, which must all ask; 0 before any batch."""
        total, samples = self.state()
        return total / samples if samples else 0.0
