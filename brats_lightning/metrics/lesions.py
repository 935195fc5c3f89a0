"""Lesions of a mask: what hangs together, what lies so near that it counts as one, and who touches whom."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from brats_lightning.metrics.bounding_box import joint_bounding_box

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int32]
Box = tuple[slice, ...]

CONNECTED = np.ones((3, 3, 3), bool)
"""26 neighbours: faces, edges and corners."""


@dataclass(frozen=True, eq=False)
class Lesions:
    """Lesions of one mask by number.

    Args:
        numbers: (X, Y, Z) number of the lesion at each voxel, 0 outside.
    """

    numbers: Numbers

    @cached_property
    def boxes(self) -> dict[int, Box]:
        """Smallest box around each lesion, by number in ascending order."""
        found = ndimage.find_objects(self.numbers)
        return {number: box for number, box in enumerate(found, start=1) if box is not None}

    @cached_property
    def voxels(self) -> npt.NDArray[np.int64]:
        """Voxels of each number, the background's first."""
        return np.bincount(self.numbers.ravel())

    def mask(self, number: int, box: Box) -> Mask:
        """The lesion inside a box."""
        return self.numbers[box] == number

    def touched_by(self, other: "Lesions", number: int, *, steps: int) -> list[int]:
        """Own lesions that one of the other's reaches when it is dilated; both of one grid."""
        box = grown(other.boxes[number], steps, self.numbers.shape)
        around = self.numbers[box]
        if not around.any():
            return []
        reached = np.bincount(around[dilated(other.mask(number, box), steps)])
        return [int(own) for own in np.flatnonzero(reached) if own]

    def larger_than(self, voxels: int) -> "Lesions":
        """Those with more voxels, numbers kept."""
        keep = self.voxels > voxels
        keep[0] = False
        return self if keep[1:].all() else Lesions(np.where(keep[self.numbers], self.numbers, 0))


def lesions(mask: Mask, *, merge_steps: int = 0) -> Lesions:
    """Number the 26-connected components of a mask, those as one that hang together once dilated.

    Args:
        mask: (X, Y, Z) boolean.
        merge_steps: How often the mask is dilated to see what hangs together.

    Returns:
        Lesions numbered by the first voxel of their dilation, the last axis running fastest.
    """
    numbers = np.zeros(mask.shape, np.int32)
    box = grown(joint_bounding_box(mask), merge_steps, mask.shape)
    ndimage.label(dilated(mask[box], merge_steps), CONNECTED, output=numbers[box])
    numbers[box] *= mask[box]
    return Lesions(numbers)


def joined(tissue: Lesions, partners: Iterable[Lesions]) -> Lesions:
    """Join lesions that touch the same lesion of another tissue, one tissue after the other.

    A lesion goes with the lowest-numbered one that it touches, so that a chain of several is not joined to one.
    """
    for partner in partners:
        lowest: dict[int, int] = {}
        for touching in partner.boxes:
            for number in tissue.touched_by(partner, touching, steps=1):
                lowest.setdefault(number, touching)
        first_of: dict[int, int] = {}
        renumbered = np.arange(len(tissue.voxels), dtype=np.int32)
        for number in sorted(lowest):
            renumbered[number] = first_of.setdefault(lowest[number], number)
        if len(first_of) < len(lowest):
            tissue = Lesions(renumbered[tissue.numbers])
    return tissue


def grown(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    """The box with a margin on every side, as far as the grid goes."""
    return tuple(
        slice(max(side.start - margin, 0), min(side.stop + margin, size))
        for side, size in zip(box, shape, strict=True)
    )


def dilated(mask: Mask, steps: int) -> Mask:
    """Dilate a mask in its own box, each step by the 18 neighbours that share a face or an edge.

    The mask is one large integer, whose bits a shift moves all at once: ten times as fast as shifting arrays.
    """
    if not steps or not mask.size:
        return mask
    inside = np.zeros((mask.shape[0], mask.shape[1] + 1, mask.shape[2] + 1), bool)
    inside[:, :-1, :-1] = True  # a row and a column of background keep bits from running into the next plane or row
    room = _to_integer(inside)
    inside[:, :-1, :-1] = mask
    bits = _to_integer(inside)
    plane, row = inside.shape[1] * inside.shape[2], inside.shape[2]
    for _ in range(steps):
        x, y, z = (bits | bits << step | bits >> step for step in (plane, row, 1))
        bits = room & (x | x << row | x >> row | y | y << 1 | y >> 1 | z | z << plane | z >> plane)
    stored = np.frombuffer(bits.to_bytes((inside.size + 7) // 8, "little"), np.uint8)
    grid = np.unpackbits(stored, count=inside.size, bitorder="little").reshape(inside.shape)
    return grid[:, :-1, :-1].astype(bool)


def _to_integer(mask: Mask) -> int:
    return int.from_bytes(np.packbits(mask, bitorder="little").tobytes(), "little")
