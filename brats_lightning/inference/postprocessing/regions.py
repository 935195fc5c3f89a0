"""A step on one region of a label map, and what its voxels become when it loses them.

ET lies in TC and TC in WT. What a step takes out of one of these stays in the next outer one: ET becomes NCR, TC
becomes ED, WT becomes background. What it takes out of a single tissue (NCR, ED, RC, CC) becomes the label that most
face neighbours of the piece have; ET is both, and becomes NCR.
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from brats_lightning.inference.postprocessing.steps import BACKGROUND, Labels, LabelStep, is_positive, is_whole
from brats_lightning.labels import LABELS, REGIONS, WHOLE
from brats_lightning.metrics.bounding_box import joint_bounding_box
from brats_lightning.metrics.lesions import CONNECTED, grown

VALUES = {BACKGROUND: 0, **LABELS}
_OUTSIDE = {"WT": BACKGROUND, "TC": "ED", "ET": "NCR"}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pieces:
    """Voxels of a label map, numbered by the piece they belong to.

    Args:
        places: Indices along the three axes of each voxel.
        numbers: Of its piece, from 1.
    """

    places: tuple[npt.NDArray[np.intp], ...]
    numbers: npt.NDArray[np.int32]

    @property
    def voxels(self) -> npt.NDArray[np.intp]:
        """Voxels of each piece by number, 0 for the number 0."""
        return np.bincount(self.numbers, minlength=1)

    def only(self, chosen: Mask) -> "Pieces":
        """Pieces whose number is chosen."""
        kept = chosen[self.numbers]
        return Pieces(tuple(axis[kept] for axis in self.places), self.numbers[kept])


@dataclass(frozen=True)
class RegionStep(LabelStep):
    """A step on one region.

    Args:
        region: A name of `labels.REGIONS`.
    """

    region: str

    def __post_init__(self) -> None:
        self._require_one_of("region", REGIONS)

    @property
    def named(self) -> tuple[str, ...]:
        """See `Step`."""
        others = (getattr(self, field, None) for field in ("label", "becomes"))
        return (self.region, *(name for name in others if name is not None))

    def __call__(self, labels: Labels, *, spacing_mm: Sequence[float]) -> Labels:
        """See `LabelStep`."""
        changed = labels.copy(order="K")
        box = joint_bounding_box(labels)
        inside = tuple(
            slice(outer.start + inner.start, outer.start + inner.stop)
            for outer, inner in zip(box, joint_bounding_box(self._mask(labels[box])), strict=True)
        )
        around = changed[grown(inside, 1, labels.shape)]
        if around.size:
            self._change(around, self._mask(around), spacing_mm)
        return changed

    def _change(self, labels: Labels, mask: Mask, spacing_mm: Sequence[float]) -> None:
        """Change labels in place, given the region with a margin of one voxel as far as the array goes."""
        raise NotImplementedError

    def _mask(self, labels: Labels) -> Mask:
        return isin(labels, REGIONS[self.region])

    def _take_out(self, labels: Labels, pieces: Pieces, becomes: str | None) -> None:
        """Give pieces of the region another label, in place."""
        becomes = becomes or _OUTSIDE.get(self.region)
        labels[pieces.places] = VALUES[becomes] if becomes else _surrounding(labels, pieces, REGIONS[self.region])

    def _require_volume(self) -> None:
        voxels, mm3 = getattr(self, "voxels", None), getattr(self, "mm3", None)
        self._require((voxels is None) != (mm3 is None), "voxels", f"either voxels or mm3, mm3 is {mm3!r}")
        self._require(voxels is None or is_whole(voxels), "voxels", "a whole number above 0")
        self._require(mm3 is None or is_positive(mm3), "mm3", "a volume above 0")

    def _require_other_label(self) -> None:
        inside = REGIONS[self.region]
        self._require_one_of("becomes", [name for name, value in VALUES.items() if value not in inside])


def pieces_of(mask: Mask) -> Pieces:
    """The 26-connected pieces of a mask."""
    numbers = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, CONNECTED, output=numbers)
    places = np.nonzero(mask)
    return Pieces(places, numbers[places])


def isin(labels: Labels, values: Sequence[int]) -> Mask:
    """Where a label is one of these values."""
    return functools.reduce(operator.or_, (labels == value for value in values))


def _surrounding(labels: Labels, pieces: Pieces, region: Sequence[int]) -> Labels:
    """Label that most face neighbours of a voxel's piece have, the region's own labels apart, for each voxel."""
    around = np.pad(np.ascontiguousarray(labels), 1)
    places = np.ravel_multi_index([axis + 1 for axis in pieces.places], around.shape)
    counted = WHOLE + 1
    owners = pieces.numbers.astype(np.int64) * counted
    votes = np.zeros((int(pieces.numbers.max(initial=0)) + 1) * counted, np.int64)
    for stride in around.strides:
        for neighbours in (around.ravel()[places - stride], around.ravel()[places + stride]):
            valid = ~isin(neighbours, region)
            votes += np.bincount(owners[valid] + neighbours[valid], minlength=votes.size)
    winners: Labels = votes.reshape(-1, counted).argmax(axis=1).astype(np.uint8)[pieces.numbers]
    return winners
