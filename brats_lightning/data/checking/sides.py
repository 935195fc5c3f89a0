"""Left and right: does one modality, or the segmentation, lie mirrored against the rest of its case?

A mirrored file has a faultless header, and a network trained on it learns nonsense. What edges two images have in
common tells: those of a brain, whose halves are never quite alike, agree worse when one of the images is mirrored.
That a whole case is mirrored, images and segmentation alike, cannot be told so.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from brats_lightning.labels import LABELS, Modality

COARSE = 64
"""Voxels along the longest axis of what is compared: enough for the asymmetry of a brain, and quick."""
LEAST_GAIN = 0.02
"""Mean gain of correlation by mirroring that makes a flip. Ten real cases and six phantoms gain between 0.04 and 0.28
where one modality is mirrored, and lose as much where none is."""
LEAST_CONTRAST = 0.4
"""Standard deviations by which the mirrored place must look more like a tumour than the labelled one. Nine real cases
have between 0.95 and 1.85, with their segmentation mirrored the same below 0."""
BRIGHT: tuple[Modality, ...] = ("t2w", "t2f")
"""Modalities in which tumour and oedema are brighter than the same place of the other half."""


def mirrored_modalities(image: npt.NDArray[np.float32], modalities: Sequence[Modality]) -> tuple[Modality, ...]:
    """The modalities that lie mirrored against the others, the smaller group; of two against two, the later ones.

    Args:
        image: (C, X, Y, Z) in RAS order, its background at 0.
        modalities: Of its channels.
    """
    if len(modalities) < 2 or image.shape[1] < 4:
        return ()
    edges = [_edges(coarse(channel)) for channel in image]
    gains = {
        (one, other): _correlation(edges[one], edges[other][::-1]) - _correlation(edges[one], edges[other])
        for other in range(len(edges))
        for one in range(other)
    }
    best: tuple[float, tuple[bool, ...]] = (0.0, (False,) * len(edges))
    for turned in product((False, True), repeat=len(edges) - 1):
        flips = (False, *turned)
        opposed = [gain for (one, other), gain in gains.items() if flips[one] != flips[other]]
        if opposed and min(opposed) > 0 and np.mean(opposed) >= LEAST_GAIN:
            best = max(best, (float(sum(opposed)), flips))
    if not any(best[1]):
        return ()
    turned_ones = [name for name, flip in zip(modalities, best[1], strict=True) if flip]
    others = [name for name in modalities if name not in turned_ones]
    return tuple(turned_ones if len(turned_ones) <= len(others) else others)


def label_contrast(
    image: npt.NDArray[np.float32], label: npt.NDArray[np.uint8], modalities: Sequence[Modality]
) -> float | None:
    """How much brighter T2-weighted images are in the tumour than at the mirrored place.

    Args:
        image: (C, X, Y, Z) in RAS order, its background at 0.
        label: (X, Y, Z).
        modalities: Of the channels.

    Returns:
        In standard deviations of the brain, the mean of T2w and T2-FLAIR; None without them, or where no tumour lies
        on one side alone.
    """
    # Of a resection cavity, which is dark in T2-FLAIR, nothing is expected.
    tumour = coarse(((label != 0) & (label != LABELS["RC"])).astype(np.float32)) > 0.5
    found = []
    for modality, channel in zip(modalities, image, strict=True):
        if modality not in BRIGHT:
            continue
        small = coarse(channel)
        brain = (small != 0) & (small[::-1] != 0)
        here = tumour & ~tumour[::-1] & brain
        deviation = float(small[brain].std()) if brain.any() else 0.0
        if here.any() and deviation:
            found.append(float(small[here].mean() - small[here[::-1]].mean()) / deviation)
    return float(np.mean(found)) if found else None


def coarse(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means of blocks of voxels, the middle of the array kept so that mirroring stays mirroring."""
    step = max(1, -(-max(array.shape) // COARSE))
    if step == 1:
        return array
    steps = [min(step, size) for size in array.shape]
    counts = [size // step for size, step in zip(array.shape, steps, strict=True)]
    starts = [(size - count * step) // 2 for size, count, step in zip(array.shape, counts, steps, strict=True)]
    middle = array[tuple(slice(s, s + c * t) for s, c, t in zip(starts, counts, steps, strict=True))]
    (a, b, c), (i, j, k) = counts, steps
    # x runs fastest in memory; reshaped the other way round, the blocks are views.
    blocks = middle.T.reshape(c, k, b, j, a, i)
    means: npt.NDArray[np.float32] = blocks.mean(axis=(1, 3, 5), dtype=np.float32).T
    return means


def _edges(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """How steep an image is, whichever of two tissues is the brighter one; steep borders count by their root.

    Differences of the neighbours on both sides: the edges of a mirrored image are the mirrored edges.
    """
    steps = [np.gradient(array, axis=axis) for axis in range(3) if array.shape[axis] > 1]
    steepness: npt.NDArray[np.float32] = np.sqrt(np.sqrt(np.sum(np.square(steps), axis=0)))
    return steepness


def _correlation(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a * a).sum(dtype=np.float64) * (b * b).sum(dtype=np.float64)))
    return float((a * b).sum(dtype=np.float64)) / size if size else 0.0
