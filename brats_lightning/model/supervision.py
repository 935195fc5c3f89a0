"""What networks give while they train: logits at several depths (deep supervision), and losses of their own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from brats_lightning.model.outputs import Outputs, targets

STACKED = 6
"""Dimensions of heads in one tensor (B, heads, K, X, Y, Z), as MONAI's DynUNet gives them."""
Given = Tensor | Sequence[Tensor | None]
"""By a network: logits, heads stacked in a second dimension, or a list of heads of falling size. Losses of its own, as
MONAI's SegResNetVAE has one, stand beside the heads as scalars, and as None where it does not train."""


def heads_of(given: Given) -> list[Tensor]:
    """Logits (B, K, X, Y, Z) of each head, the one of full size first.

    Args:
        given: By a network.
    """
    if isinstance(given, Tensor):
        return list(given.unbind(1)) if given.ndim == STACKED else [given]
    return [head for head in given if head is not None and head.ndim]


def own_losses_of(given: Given) -> list[Tensor]:
    """Losses that a network has worked out by itself, each a scalar.

    Args:
        given: By a network.
    """
    return [] if isinstance(given, Tensor) else [loss for loss in given if loss is not None and not loss.ndim]


def logits_alone(network: nn.Module, inputs: tuple[Tensor, ...], given: Given) -> Given:  # noqa: ARG001
    """A forward hook: a network that does not train gives its logits, and nothing beside them.

    Args:
        network: That it is registered with.
        inputs: Of the network.
        given: By the network.
    """
    return given if network.training or isinstance(given, Tensor) else heads_of(given)[0]


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
