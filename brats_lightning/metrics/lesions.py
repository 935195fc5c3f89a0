"""Lesions of a mask: what hangs together, what lies so near that it counts as one, and who touches whom."""

from collections.abc import Mapping, Sequence
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
        found = ndimage.find_objects(self.numbers) if self.numbers.size else []
        return {number: box for number, box in enumerate(found, start=1) if box is not None}

    @cached_property
    def voxels(self) -> list[int]:
        """Voxels of each number, the background's first."""
        counts: list[int] = np.bincount(self.numbers.ravel()).tolist()
        return counts

    def touched_by(self, other: "Lesions", number: int, *, steps: int) -> list[int]:
        """Own lesions that one of the other's reaches once dilated, in ascending order; both on one grid."""
        box = grown(other.boxes[number], steps, self.numbers.shape)
        around = self.numbers[box]
        if not around.any():
            return []
        reached = np.bincount(around[dilated(other.numbers[box] == number, steps)])
        return [own for own in np.flatnonzero(reached).tolist() if own]

    def larger_than(self, voxels: int) -> "Lesions":
        """Lesions of more voxels than that; numbers stay."""
        large = {number: number for number in self.boxes if self.voxels[number] > voxels}
        return self if len(large) == len(self.boxes) else self._renumbered(large)

    def joined(self, partners: Sequence["Lesions"]) -> "Lesions":
        """Join lesions that touch the same lesion of another tissue, one tissue after the other.

        A lesion goes with the lowest-numbered partner that it touches, so that a chain of several is not joined
        to one. Numbers run from 1 without gaps: first what touches nothing, then what does.

        Args:
            partners: Lesions of the other tissues on the same grid, themselves not joined.
        """
        result = self._renumbered({number: place for place, number in enumerate(self.boxes, start=1)})
        for partner in partners:
            pairs = [
                (number, touching)
                for touching in partner.boxes
                for number in result.touched_by(partner, touching, steps=1)
            ]
            if len(pairs) > 1:  # a single contact joins nothing, and the scorers then leave the order as it is
                lowest = dict(reversed(pairs))
                group = {number: (number in lowest, lowest.get(number, number)) for number in result.boxes}
                ordered = dict.fromkeys(group[number] for number in sorted(group, key=lambda number: number in lowest))
                place = {key: position for position, key in enumerate(ordered, start=1)}
                result = result._renumbered({number: place[key] for number, key in group.items()})
        return result

    def _renumbered(self, new: Mapping[int, int]) -> "Lesions":
        """Lesions under new numbers, without those that have none."""
        table = np.zeros(len(self.voxels), np.int32)
        table[list(new.keys())] = list(new.values())
        return Lesions(table[self.numbers])


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
    if numbers[box].size:
        ndimage.label(dilated(mask[box], merge_steps), CONNECTED, output=numbers[box])
        numbers[box] *= mask[box]
    return Lesions(numbers)


def grown(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    """The box with a margin on every side, as far as the grid goes; an empty one stays empty."""
    return tuple(
        slice(max(side.start - margin, 0), min(side.stop + margin, size)) if side.stop > side.start else side
        for side, size in zip(box, shape, strict=True)
    )


def dilated(mask: Mask, steps: int) -> Mask:
    """Dilate a mask inside its array, each step by the 18 neighbours that share a face or an edge.

    The mask becomes one large integer, whose bits a shift moves all at once: ten times as fast as an array.

    Example:
        >>> dilated(np.array([[[False, True, False, False]]]), 1).tolist()
        [[[True, True, True, False]]]
    """
    if not steps or not mask.size:
        return mask
    # A row and a column of background keep bits from running over into the next plane or row.
    grid = np.zeros((mask.shape[0], mask.shape[1] + 1, mask.shape[2] + 1), bool)
    grid[:, :-1, :-1] = True
    room = _to_integer(grid)
    grid[:, :-1, :-1] = mask
    bits = _to_integer(grid)
    plane, row = grid[0].size, grid.shape[2]
    for _ in range(steps):
        x, y, z = (bits | bits << shift | bits >> shift for shift in (plane, row, 1))
        # The 18 neighbours are three squares of 3 by 3, one in each plane.
        bits = room & (x | x << row | x >> row | y | y << 1 | y >> 1 | z | z << plane | z >> plane)
    stored = np.frombuffer(bits.to_bytes((grid.size + 7) // 8, "little"), np.uint8)
    return np.unpackbits(stored, count=grid.size, bitorder="little").view(bool).reshape(grid.shape)[:, :-1, :-1]


def _to_integer(mask: Mask) -> int:
    return int.from_bytes(np.packbits(mask, bitorder="little").tobytes(), "little")
