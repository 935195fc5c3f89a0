"""Steps of post-processing that judge the pieces of a region by their volume."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brats_lightning.inference.postprocessing.regions import VALUES, Mask, RegionStep, pieces_of
from brats_lightning.inference.postprocessing.steps import Labels


@dataclass(frozen=True)
class RemoveSmall(RegionStep):
    """Give another label to each 26-connected piece of a region that is smaller than a volume.

    Args:
        region: A name of `labels.REGIONS`, such as WT or ET.
        voxels: Pieces of fewer voxels go.
        mm3: Pieces of a smaller volume go; instead of voxels.
        becomes: Name of the new label, or `background`; null for what surrounds: ET becomes NCR, TC becomes ED, WT
            becomes background, a single tissue what most of the piece's face neighbours are.
    """

    voxels: int | None = None
    mm3: float | None = None
    becomes: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_volume()
        if self.becomes is not None:
            self._require_other_label()

    def _change(self, labels: Labels, mask: Mask, spacing_mm: Sequence[float]) -> None:
        pieces = pieces_of(mask)
        self._take_out(labels, pieces.only(pieces.voxels < _voxels(self.voxels, self.mm3, spacing_mm)), self.becomes)


@dataclass(frozen=True)
class KeepLargest(RegionStep):
    """Give another label to all 26-connected pieces of a region but the largest.

    Args:
        region: A name of `labels.REGIONS`.
        becomes: As for `RemoveSmall`.
    """

    becomes: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.becomes is not None:
            self._require_other_label()

    def _change(self, labels: Labels, mask: Mask, spacing_mm: Sequence[float]) -> None:  # noqa: ARG002
        pieces = pieces_of(mask)
        others = np.arange(pieces.voxels.size) != np.argmax(pieces.voxels)
        self._take_out(labels, pieces.only(others), self.becomes)


@dataclass(frozen=True)
class RelabelSmall(RegionStep):
    """Give another label to a region that as a whole is smaller than a volume: few voxels of ET are none.

    Args:
        region: A name of `labels.REGIONS`.
        voxels: It goes if it has fewer voxels.
        mm3: It goes if its volume is smaller; instead of voxels.
        becomes: Name of the new label, or `background`.
    """

    region: str = "ET"
    voxels: int | None = None
    mm3: float | None = None
    becomes: str = "NCR"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_volume()
        self._require_other_label()

    def _change(self, labels: Labels, mask: Mask, spacing_mm: Sequence[float]) -> None:
        if np.count_nonzero(mask) < _voxels(self.voxels, self.mm3, spacing_mm):
            labels[mask] = VALUES[self.becomes]


def _voxels(voxels: int | None, mm3: float | None, spacing_mm: Sequence[float]) -> int:
    """Fewest voxels that are not too small."""
    if mm3 is None:
        return voxels or 0
    return math.ceil(mm3 / math.prod(spacing_mm) - 1e-6)  # 0.7 mm cubed is no exact number
