"""Patches of a case, some of them centred on tumour.

Where a patch lies follows from its sample's seed and a table of foreground voxels, made once a case: nothing is
searched for in a training step, and nothing asks a GPU for an answer.
"""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

import numpy as np
import numpy.typing as npt
import torch
import xxhash

from brats_lightning.errors import ConfigError
from brats_lightning.labels import REGIONS, TISSUES, region_labels

MOST_VOXELS = 5000
"""Of a region, as centres of patches: one in a hundred of a large oedema is as good as all of it."""
STREAM = 0x7061746368
"""Sets the draw of a patch apart from that of its augmentation, which has the same seed."""

Corner = tuple[int, int, int]
Shape = tuple[int, int, int]
Foreground = Mapping[str, npt.NDArray[np.int16]]
"""Voxels (N, 3) of each region that a case has, and under `ANYWHERE` of all its labels."""
ANYWHERE = "foreground"


@dataclass(frozen=True)
class Patches:
    """Patches of one size, drawn anew for every sample.

    A patch lies inside its case; where the case is smaller, zeros are added evenly on both sides.

    Args:
        size: Voxels an axis.
        foreground: Share of patches centred on a foreground voxel, as far as the case's border lets them.
        regions: Each equally likely to be the one of that voxel. Where a case lacks it, the voxel is one of any label,
            and in a case without labels the patch lies anywhere.
        margin: Share of `size` by which a patch is cut larger, so that rotating it leaves no empty corners; an
            augmentation then gives the centre of `size` voxels. Beyond the case the margin is zero.

    Raises:
        ConfigError: Settings out of range.
    """

    size: Shape
    _: KW_ONLY
    foreground: float = 0.33
    regions: tuple[str, ...] = TISSUES
    margin: float = 0.0

    def __post_init__(self) -> None:
        if len(self.size) != 3 or min(self.size) < 1:
            raise ConfigError(f"data.patches.size must be three positive numbers of voxels, found {list(self.size)}")
        if not 0 <= self.foreground <= 1:
            raise ConfigError(f"data.patches.foreground must be a share from 0 to 1, found {self.foreground}")
        if self.margin < 0:
            raise ConfigError(f"data.patches.margin must not be negative, found {self.margin}")
        unknown = [name for name in self.regions if name not in REGIONS]
        if unknown or not self.regions:
            found = ", ".join(unknown) or "none"
            raise ConfigError(f"data.patches.regions must be some of {', '.join(REGIONS)}, found {found}")

    @property
    def _margins(self) -> Shape:
        """Voxels on either side; slices have no neighbours."""
        x, y, z = (math.ceil(edge * self.margin / 2) if edge > 1 else 0 for edge in self.size)
        return x, y, z

    @property
    def cut_size(self) -> Shape:
        """Voxels an axis with the margin, by which both sides grow alike."""
        x, y, z = (edge + 2 * margin for edge, margin in zip(self.size, self._margins, strict=True))
        return x, y, z

    def foreground_of(self, label: torch.Tensor, case: str) -> Foreground:
        """The table of a case's foreground: at most `MOST_VOXELS` of a region, always the same ones.

        Args:
            label: (1, X, Y, Z) uint8 in main memory.
            case: Its id, the seed of the choice.
        """
        if not self.foreground:
            return {}
        values = label[0].numpy()
        flat = np.flatnonzero(values)
        present = values.ravel()[flat]
        generator = np.random.default_rng(xxhash.xxh32_intdigest(case.encode()))
        table: dict[str, npt.NDArray[np.int16]] = {}
        for name, members in {ANYWHERE: None, **region_labels(self.regions)}.items():
            chosen = flat if members is None else flat[np.isin(present, members)]
            if len(chosen) > MOST_VOXELS:
                chosen = generator.choice(chosen, MOST_VOXELS, replace=False, shuffle=False)
            if len(chosen):
                table[name] = np.stack(np.unravel_index(chosen, values.shape), axis=1).astype(np.int16)
        return table

    def corner(self, shape: Shape, foreground: Foreground, seed: int) -> Corner:
        """First voxel of a sample's patch, with its margin; it may lie outside the case.

        Args:
            shape: Voxels of the case.
            foreground: From `foreground_of`.
            seed: Of the sample.
        """
        generator = np.random.default_rng([seed, STREAM])
        share, place = generator.random(2)
        region = self.regions[generator.integers(len(self.regions))]
        free = generator.random(3)
        centre: npt.NDArray[np.int16] | None = None
        if share < self.foreground:
            voxels = foreground.get(region, foreground.get(ANYWHERE))
            centre = None if voxels is None else voxels[int(place * len(voxels))]
        corner = []
        for axis, (edge, length, margin) in enumerate(zip(self.size, shape, self._margins, strict=True)):
            room = length - edge
            if room <= 0:
                first = -(-room // 2)
            elif centre is not None:
                first = min(max(int(centre[axis]) - edge // 2, 0), room)
            else:
                first = int(free[axis] * (room + 1))
            corner.append(first - margin)
        x, y, z = corner
        return x, y, z


def cut(volume: torch.Tensor, corner: Corner, *, into: torch.Tensor) -> None:
    """Copy a box of a volume, with zeros where the box lies outside.

    Args:
        volume: (C, X, Y, Z).
        corner: The box's first voxel, which may be negative.
        into: (C, x, y, z) of any number type: the box.
    """
    source, target = [slice(None)], [slice(None)]
    for first, edge, length in zip(corner, into.shape[1:], volume.shape[1:], strict=True):
        low, high = max(first, 0), min(first + edge, length)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    part = into[tuple(target)]
    if part.shape != into.shape:
        into.zero_()
    part.copy_(volume[tuple(source)])
