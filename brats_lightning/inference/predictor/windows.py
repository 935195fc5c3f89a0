"""A volume in overlapping windows, their logits blended with Gaussian weights."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from brats_lightning.inference.predictor.intake import Size

Network = Callable[[Tensor], Tensor]
"""From images (B, C, X, Y, Z) to logits (B, K, X, Y, Z)."""
Progress = Callable[[float], None]
"""Is told which share of the work is done, 0 to 1; what it raises ends the work."""

SIGMA = 1 / 8


def untold(share: float) -> None:
    """The progress that nobody asks after."""


def part_of(progress: Progress, *, number: int, parts: int) -> Progress:
    """The progress of one of several equal parts of the work.

    Example:
        >>> part_of(print, number=1, parts=2)(0.5)
        0.75
    """
    return lambda share: progress((number + share) / parts)


@torch.no_grad()
def windowed_logits(
    image: Tensor,
    network: Network,
    *,
    window: Size,
    overlap: float = 0.5,
    batch: int = 1,
    progress: Progress = untold,
) -> Tensor:
    """Logits (K, X, Y, Z) of an image (C, X, Y, Z), in float32 on the image's device.

    Windows lie as in MONAI's `sliding_window_inference`; logits are blended as in nnU-Net (Isensee et al., Nature
    Methods 18, 2021), with Gaussian weights of deviation 1/8 of the window. MONAI raises weights below 0.001 to that,
    which lets seams between windows show in the outermost voxels of the volume. A volume smaller than the window is
    padded with zeros.

    Args:
        image: (C, X, Y, Z).
        network: May work on another device; what it returns is brought back.
        window: Voxels along each axis.
        overlap: Of neighbouring windows, as a fraction of their size: 0 or more, below 1.
        batch: Windows given to the network at once.
        progress: Of the windows.
    """
    padded, inside = pad_evenly(image, [max(pair) for pair in zip(image.shape[1:], window, strict=True)])
    axes = [
        windows_along(voxels, length, overlap=overlap, device=image.device)
        for voxels, length in zip(padded.shape[1:], window, strict=True)
    ]
    windows = list(itertools.product(*axes))
    sums = torch.empty(0)  # the first logits tell how many channels there are
    for first in range(0, len(windows), batch):
        chosen = windows[first : first + batch]
        images = [padded[:, x, y, z] for (x, _), (y, _), (z, _) in chosen]
        logits = network(torch.stack(images) if len(images) > 1 else images[0][None])
        if first == 0:
            sums = torch.zeros((logits.shape[1], *padded.shape[1:]), device=image.device)
        for ((x, along_x), (y, along_y), (z, along_z)), values in zip(chosen, logits, strict=True):
            weights = along_x[:, None, None] * along_y[:, None] * along_z
            sums[:, x, y, z].addcmul_(values.to(sums.device), weights)
        progress(min(1, (first + batch) / len(windows)))
    return sums[(slice(None), *inside)]


def windows_along(voxels: int, length: int, *, overlap: float, device: torch.device) -> list[tuple[slice, Tensor]]:
    """Windows of `length` voxels that cover an axis of `voxels`, each with its weights (length,).

    A fixed step, the last window moved back to end with the axis. At every voxel the weights of all windows sum to 1,
    and so do products of three axes' weights: nothing is left to divide by.

    Example:
        >>> [place for place, _ in windows_along(10, 4, overlap=0.25, device=torch.device("cpu"))]
        [slice(0, 4, None), slice(3, 7, None), slice(6, 10, None)]
    """
    step = max(1, int(length * (1 - overlap)))
    last = voxels - length
    places = [slice(start, start + length) for start in [*range(0, last, step), last]]
    bell = gaussian(length)
    sums = torch.zeros(voxels, dtype=bell.dtype)
    for place in places:
        sums[place] += bell
    return [(place, (bell / sums[place]).to(device, torch.float32)) for place in places]


def gaussian(length: int) -> Tensor:
    """A bell (length,) around a window's centre, in float64; its deviation is 1/8 of the length."""
    distance = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    return torch.exp(-0.5 * (distance / (SIGMA * length)) ** 2)


def pad_evenly(image: Tensor, size: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """Zeros around an image (C, X, Y, Z) up to `size` voxels, and where in them the image lies.

    Zero is the background of a normalised image. Where it does not split evenly, the far side gets the odd voxel.
    """
    missing = [target - voxels for target, voxels in zip(size, image.shape[1:], strict=True)]
    inside = tuple(
        slice(lacking // 2, lacking // 2 + voxels) for lacking, voxels in zip(missing, image.shape[1:], strict=True)
    )
    if not any(missing):
        return image, inside
    sides = [side for lacking in reversed(missing) for side in (lacking // 2, lacking - lacking // 2)]
    return functional.pad(image, sides), inside
