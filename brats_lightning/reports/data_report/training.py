"""Memory that training on cases of a size takes, of the network that most runs begin with."""

from collections.abc import Sequence

from monai.networks.nets.unet import UNet

from brats_lightning.model.estimate import STATES, activations

CLASSES = 4
WIDTHS, STRIDES, UNITS = (16, 32, 64, 128, 256), (2, 2, 2, 2), 2
"""The network of configs/unet3d.yaml."""
BATCH = 2
"""Cases in a batch of that configuration."""
SINGLE = 4
"""Bytes of a weight."""


def training_bytes(size: Sequence[int], *, channels: int) -> int | None:
    """Memory of a GPU for the network of configs/unet3d.yaml and a batch, in 16-bit mixed precision.

    Args:
        size: Voxels along each axis of a case.
        channels: Modalities.

    Returns:
        Bytes, as `brats fit` guesses them before its first step; None where cases of this size do not fit the network.
    """
    network = UNet(3, channels, CLASSES, WIDTHS, STRIDES, num_res_units=UNITS, norm="instance")
    kept = activations(network, (BATCH, channels, *size))
    if kept is None:
        return None
    weights: int = sum(value.numel() for value in network.parameters())
    return weights * SINGLE * (2 + STATES["Adam"]) + kept // 2
