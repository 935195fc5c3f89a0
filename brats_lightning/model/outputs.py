"""What a network's channels mean: labels that exclude each other, regions inside each other, or tumour alone."""

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from brats_lightning.errors import ConfigError
from brats_lightning.labels import CHALLENGE_REGIONS, LABELS, REGIONS, WHOLE

Outputs = Literal["labels", "regions", "tumour"]
CAVITY = "RC"
REGION_CHANNELS = (*CHALLENGE_REGIONS, CAVITY)
"""Channels of a network of `regions`; the last one is for editions with a resection cavity, which lies outside WT."""
TUMOUR = "tumour"
"""The one channel of a network of `tumour`: the region WT, whose voxels get the label WHOLE."""
_MOST = max(LABELS.values())


def require_channels(channels: int, outputs: Outputs) -> None:
    """One channel belongs to a network of `tumour` and to no other.

    Raises:
        ConfigError: It is otherwise.
    """
    if outputs == "tumour" and channels != 1:
        raise ConfigError(f"outputs: tumour needs a network with 1 output channel, found {channels}")
    if outputs != "tumour" and channels == 1:
        raise ConfigError(
            f"a network with 1 output channel can tell tumour from all else and no more: set outputs: tumour, "
            f"found {outputs}"
        )


def require_regions(regions: Mapping[str, tuple[int, ...]], outputs: Outputs) -> None:
    """Refuse to score what a network cannot give.

    Args:
        regions: Label values of each scored region.
        outputs: Of the network.

    Raises:
        ConfigError: A region without the label WHOLE, which is all that a network of `tumour` gives.
    """
    if outputs == "tumour" and (foreign := [name for name, values in regions.items() if WHOLE not in values]):
        raise ConfigError(
            f"outputs: tumour tells no tissues apart: set model.regions to [WT], found {', '.join(foreign)} in it"
        )


def region_channels(count: int) -> tuple[str, ...]:
    """Names of the channels of a network of `regions`.

    Raises:
        ConfigError: Neither three nor four.
    """
    if count not in {len(CHALLENGE_REGIONS), len(REGION_CHANNELS)}:
        raise ConfigError(
            f"outputs: regions needs a network with 3 output channels ({', '.join(CHALLENGE_REGIONS)}), or 4 where "
            f"cases have a resection cavity ({', '.join(REGION_CHANNELS)}), found {count}"
        )
    return REGION_CHANNELS[:count]


def targets(label: Tensor, outputs: Outputs, *, channels: int) -> Tensor:
    """What a loss compares logits with, made on the label's device without waiting for it.

    A label that the network has no channel for becomes the highest one it has, as an index out of range would end the
    process on a GPU: `foreign_label` tells of it. With `regions`, CC counts as a part of TC and comes back as NCR.

    Args:
        label: (B, 1, X, Y, Z) integer.
        outputs: Of the network.
        channels: Of its logits.

    Returns:
        (B, 1, X, Y, Z) int64 for `labels`, (B, channels, X, Y, Z) float32 masks for `regions` and `tumour`.

    Raises:
        ConfigError: A network with another number of channels than its outputs have.
    """
    require_channels(channels, outputs)
    if outputs == "labels":
        return label.long().clamp(max=channels - 1)
    if outputs == "tumour":
        return _isin(label, REGIONS["WT"]).float()
    masks = [_isin(label, REGIONS[name]) for name in region_channels(channels)]
    return torch.cat(masks, dim=1).float()


def foreign_label(label: Tensor, outputs: Outputs, *, channels: int) -> Tensor:
    """A label of the batch that the network cannot express, 0 where there is none: a scalar that nobody waits for.

    Args:
        label: (B, 1, X, Y, Z) integer.
        outputs: Of the network.
        channels: Of its logits.
    """
    if outputs == "labels":
        highest = label.max()
        return highest * (highest >= channels)
    if outputs == "tumour":
        return (label * (label > WHOLE)).max()
    cavity = channels < len(REGION_CHANNELS)
    foreign = (label > _MOST) | (label == LABELS[CAVITY]) if cavity else label > _MOST
    return (label * foreign).max()


def refusal(foreign: int, cases: Sequence[str], outputs: Outputs, *, channels: int) -> ConfigError:
    """Why a label of some cases cannot be learnt, and the cure."""
    name = next((name for name, value in LABELS.items() if value == foreign), foreign)
    where = ", ".join(cases)
    if foreign == WHOLE:
        return ConfigError(
            f"{where}: a mask of the whole tumour tells no tissues apart: take a network with 1 output channel and set "
            f"outputs: tumour, found {channels} channels and outputs: {outputs}"
        )
    if outputs == "labels":
        needed = f"a network with {foreign + 1} output channels"
    elif name == CAVITY:
        needed = f"a fourth output channel with outputs: regions ({', '.join(REGION_CHANNELS)})"
    else:
        known = ("WT",) if outputs == "tumour" else region_channels(channels)
        return ConfigError(f"{where}: the label {name} is in none of {', '.join(known)}")
    return ConfigError(f"{where}: the label {name} needs {needed}, found {channels}")


def label_probabilities(logits: Tensor, outputs: Outputs, *, dim: int = 1) -> Tensor:
    """Float32 probabilities of the background and of each label; they are not negative and sum to 1.

    Of nested regions WT, TC and ET the inner one is cut off at the outer one; then background = 1 − WT, ED = WT − TC,
    NCR = TC − ET. A resection cavity is cut off at 1 − WT and taken from the background. Of `tumour` alone,
    background = 1 − tumour.

    Args:
        logits: With the network's channels along `dim`.
        outputs: Of the network.
        dim: Of the channels.

    Returns:
        Background, NCR, ED, ET and RC (the labels in the order of their numbers) along `dim`; background and WHOLE for
        `tumour`: see `channel_labels`.
    """
    require_channels(logits.shape[dim], outputs)
    if outputs == "labels":
        return torch.softmax(logits, dim=dim, dtype=torch.float32)
    if outputs == "tumour":
        inside = torch.sigmoid(logits.float())
        return torch.cat([1 - inside, inside], dim=dim)
    region_channels(logits.shape[dim])
    tumour, core, enhancing, *cavity = torch.sigmoid(logits.float()).unbind(dim)
    core = torch.minimum(core, tumour)
    enhancing = torch.minimum(enhancing, core)
    background = 1 - tumour
    outside = [torch.minimum(each, background) for each in cavity]
    for each in outside:
        background = background - each
    return torch.stack([background, core - enhancing, tumour - core, enhancing, *outside], dim=dim)


def channel_labels(count: int) -> tuple[int, ...]:
    """The label that each channel of probabilities stands for; of two channels the second is WHOLE.

    Example:
        >>> channel_labels(4), channel_labels(2)
        ((0, 1, 2, 3), (0, 6))
    """
    return (0, WHOLE) if count == 2 else tuple(range(count))


def channels_within(values: Sequence[int], count: int) -> list[int]:
    """Those of `count` channels of probabilities whose label is one of a region's values; empty where none is."""
    return [channel for channel, label in enumerate(channel_labels(count)) if label in values]


def decided(logits: Tensor, outputs: Outputs) -> Tensor:
    """Labels (B, X, Y, Z) uint8 of logits (B, K, X, Y, Z).

    The most probable one for `labels`; for `regions` what lies in ET, TC and WT, each where its probability and those
    of the regions around it reach 0.5; for `tumour` WHOLE where that probability does.
    """
    require_channels(logits.shape[1], outputs)
    if outputs == "labels":
        return logits.argmax(dim=1).to(torch.uint8)
    if outputs == "tumour":
        return (logits[:, 0] >= 0).to(torch.uint8) * WHOLE
    region_channels(logits.shape[1])
    tumour, core, enhancing, *cavity = (logits >= 0).unbind(1)
    labels = torch.zeros_like(tumour, dtype=torch.uint8)
    for each in cavity:
        labels.masked_fill_(each, LABELS[CAVITY])
    core = core & tumour
    for mask, name in ((tumour, "ED"), (core, "NCR"), (core & enhancing, "ET")):
        labels.masked_fill_(mask, LABELS[name])
    return labels


def reference_for(label: Tensor, outputs: Outputs) -> Tensor:
    """A reference as a network of these outputs could give it, so that voxels can be called right or wrong.

    Args:
        label: Integer labels of any shape.
        outputs: Of the network: for `tumour` all of WT becomes WHOLE, and a resection cavity background.
    """
    return _isin(label, REGIONS["WT"]).to(label.dtype) * WHOLE if outputs == "tumour" else label


def _isin(label: Tensor, values: Sequence[int]) -> Tensor:
    return functools.reduce(operator.or_, (label == value for value in values))
