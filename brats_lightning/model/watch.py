"""Looks at every loss, without making the host wait for the device at every step."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from brats_lightning.errors import BratsError
from brats_lightning.model.compiled import Loss
from brats_lightning.model.outputs import Outputs, refusal


class _Seen(NamedTuple):
    values: Tensor  # loss and foreign label
    channels: int
    cases: Sequence[str]
    step: int


class Watch:
    """Keeps what the device has said of each batch until it is read, and names the first batch that went wrong.

    Args:
        outputs: Of the network.
    """

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._unread: list[_Seen] = []
        self.loss: float | None = None
        """The last loss that was read."""

    def __len__(self) -> int:
        return len(self._unread)

    def add(self, found: Loss, cases: Sequence[str], *, step: int) -> None:
        """Keep a batch's loss, unread."""
        values = torch.stack([found.value.detach().float(), found.foreign.float()])
        self._unread.append(_Seen(values, found.channels, cases, step))

    def read(self) -> None:
        """Wait for the device once, for all batches since the last time.

        Raises:
            ConfigError: A label that the network has no channel for.
            BratsError: A loss that is not finite.
        """
        if not self._unread:
            return
        unread, self._unread = self._unread, []
        for seen, (loss, foreign) in zip(unread, torch.stack([seen.values for seen in unread]).tolist(), strict=True):
            if foreign:
                raise refusal(int(foreign), seen.cases, self._outputs, channels=seen.channels)
            if loss - loss != 0:
                raise BratsError(
                    f"the loss is {loss} at step {seen.step}, for {', '.join(seen.cases)}: training stops, and the "
                    "checkpoints stay as they were; look at these cases with `brats check`, lower the learning rate, "
                    "or compute in 32 bits (trainer.precision 32-true)"
                )
            self.loss = loss


def require_finite(network: nn.Module, *, step: int) -> None:
    """A step may spoil the weights after the last loss that was good (waits for the device).

    Raises:
        BratsError: Weights that are not finite.
    """
    largest = [value.detach().abs().amax() for value in network.parameters() if value.numel()]
    if largest and not torch.stack([value.float() for value in largest]).isfinite().all():
        raise BratsError(
            f"weights are not finite after step {step}: training stops, and the checkpoints stay as they were; lower "
            "the learning rate, or clip gradients (trainer.gradient_clip_val)"
        )
