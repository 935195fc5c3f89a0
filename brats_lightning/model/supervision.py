"""Deep supervision: a loss at several depths of the network while it trains."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from brats_lightning.model.outputs import Outputs, targets

STACKED = 6
"""Dimensions of heads in one tensor (B, heads, K, X, Y, Z), as MONAI's DynUNet gives them."""


def heads_of(given: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Logits (B, K, X, Y, Z) of each head, the one of full size first.

    Args:
        given: By a network: logits, heads stacked in a second dimension, or a list of heads of falling size.
    """
    if isinstance(given, Tensor):
        return list(given.unbind(1)) if given.ndim == STACKED else [given]
    return list(given)


def weights_of(heads: int) -> list[float]:
    """1, ½, ¼ …, divided by their sum.

    Example:
        >>> weights_of(2)
        [0.6666666666666666, 0.3333333333333333]
    """
    halved = [0.5**depth for depth in range(heads)]
    return [weight / sum(halved) for weight in halved]


def supervised(loss: nn.Module, heads: Sequence[Tensor], label: Tensor, outputs: Outputs) -> Tensor:
    """Weighted mean of the losses of all heads.

    Args:
        loss: Of logits and target.
        heads: Logits (B, K, X, Y, Z), the first one on the label's grid.
        label: (B, 1, X, Y, Z) integer; resampled to the nearest voxel for heads on other grids.
        outputs: Of the network.
    """
    made: dict[torch.Size, Tensor] = {}
    total: Tensor | None = None
    for weight, logits in zip(weights_of(len(heads)), heads, strict=True):
        size = logits.shape[2:]
        if size not in made:
            made[size] = targets(_resampled(label, size), outputs, channels=logits.shape[1])
        one: Tensor = loss(logits, made[size])
        if len(heads) == 1:
            return one
        total = weight * one if total is None else total + weight * one
    assert total is not None  # noqa: S101 - there is a head
    return total


def _resampled(label: Tensor, size: torch.Size) -> Tensor:
    if label.shape[2:] == size:
        return label
    return functional.interpolate(label.float(), size=tuple(size), mode="nearest-exact").to(label.dtype)
