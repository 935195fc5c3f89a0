"""A network's weights: their order in memory, and what is said of those that do not fit."""

import copy
import textwrap
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from brats_lightning.errors import CheckpointError

VOLUMES = 5
SLICES = 4
"""Dimensions of a batch of volumes or slices, and of the weights of a convolution of them."""


def channels_last_(network: nn.Module) -> None:
    """Put the channels of a network's convolutions next to each other, as GPUs want them for 16-bit numbers."""
    orders = {VOLUMES: torch.channels_last_3d, SLICES: torch.channels_last}
    for value in network.parameters():
        if value.ndim in orders:
            value.data = value.data.contiguous(memory_format=orders[value.ndim])


def as_network(image: Tensor) -> Tensor:
    """Images (B, C, X, Y, Z) in the order of memory of a network on their device."""
    if image.is_cuda and image.ndim == VOLUMES:
        return image.contiguous(memory_format=torch.channels_last_3d)
    return image


def plain_order(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dictionary whose tensors lie in memory as everybody expects."""
    return {name: value.contiguous() if isinstance(value, Tensor) else value for name, value in state.items()}


def without_values(network: nn.Module) -> nn.Module:
    """A copy on no device, of shapes alone: `deepcopy` takes what it finds in its memory instead of copying it.

    What a network keeps of its last pass, as DynUNet its heads, could not be copied.
    """
    memory: dict[int, object] = {id(value): value.to("meta") for value in network.buffers()}
    for module in network.modules():
        for kept in vars(module).values():
            values = [value for value in (kept if isinstance(kept, list) else [kept]) if isinstance(value, Tensor)]
            memory |= {id(value): value.detach().to("meta") for value in values}
    for value in network.parameters():
        memory[id(value)] = nn.Parameter(value.detach().to("meta"), requires_grad=value.requires_grad)
    return copy.deepcopy(network, memory).to("meta")


def other_network(error: RuntimeError, network: nn.Module) -> CheckpointError:
    """What PyTorch says of weights that are not those of a network, in one sentence."""
    first, *others = [line.strip().rstrip(".") for line in str(error).splitlines()[1:]] or [str(error)]
    return CheckpointError(
        f"the checkpoint's weights are not those of the configured {type(network).__name__}: "
        f"{textwrap.shorten(first, 250)}{f', and {len(others)} more' if others else ''}"
    )
