"""Steps of post-processing that mend the shape of a region: its holes and its border."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from brats_lightning.inference.postprocessing.regions import VALUES, Mask, RegionStep, isin, pieces_of
from brats_lightning.inference.postprocessing.steps import Labels, is_whole
from brats_lightning.labels import LABELS, REGIONS, WHOLE

_ADDED = {"WT": "ED", "TC": "NCR"}
_FACES = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True)
class FillHoles(RegionStep):
    """Fill what a region encloses: voxels from which no path over faces leads outside.

    A resection cavity is never a hole, nor is tumour inside ED or RC. A hole of ET is mostly necrosis, and rightly so.

    Args:
        region: A name of `labels.REGIONS`.
        label: One of the region's labels; null for ED in WT (tumour of no stated tissue where that is what WT is made
            of), NCR in TC, otherwise the region's own.
    """

    label: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label is not None:
            self._require_one_of("label", [name for name, value in LABELS.items() if value in REGIONS[self.region]])

    def _change(self, labels: Labels, mask: Mask, spacing_mm: Sequence[float]) -> None:  # noqa: ARG002
        hollow = np.pad(~mask, 1, constant_values=True)
        numbers, count = ndimage.label(hollow, _FACES)
        if count > 1:
            holes = hollow & (numbers != numbers[0, 0, 0])
            labels[holes[1:-1, 1:-1, 1:-1] & isin(labels, self._fillable)] = _added(labels, self.region, self.label)

    @property
    def _fillable(self) -> tuple[int, ...]:
        if self.region in ("ED", "RC"):
            return (0,)
        return tuple(value for name, value in VALUES.items() if name != "RC" and value not in REGIONS[self.region])


@dataclass(frozen=True)
class Opening(RegionStep):
    """Erode and dilate a region over faces: thin bridges and spikes go to what surrounds them.

    Args:
        region: A name of `labels.REGIONS`.
        voxels: Steps of erosion, then of dilation.
    """

    voxels: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(is_whole(self.voxels), "voxels", "a whole number above 0")

    def _change(self, labels: Labels, mask: Mask, spacing_mm: Sequence[float]) -> None:  # noqa: ARG002
        removed = mask & ~ndimage.binary_opening(mask, _FACES, iterations=self.voxels)
        self._take_out(labels, pieces_of(removed), None)


@dataclass(frozen=True)
class Closing(RegionStep):
    """Dilate and erode a region over faces: narrow gaps are filled as `FillHoles` fills holes.

    No outer region changes: ET, NCR and CC grow inside TC only, TC inside WT, and WT, ED and RC into background.

    Args:
        region: A name of `labels.REGIONS`.
        voxels: Steps of dilation, then of erosion.
    """

    voxels: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(is_whole(self.voxels), "voxels", "a whole number above 0")

    def _change(self, labels: Labels, mask: Mask, spacing_mm: Sequence[float]) -> None:  # noqa: ARG002
        # As much background as the dilation needs, or the erosion would eat what lies at the array's border.
        padded = np.pad(mask, self.voxels)
        closed = ndimage.binary_closing(padded, _FACES, iterations=self.voxels)
        within = (slice(self.voxels, -self.voxels),) * 3
        outer = {"ET": "TC", "NCR": "TC", "CC": "TC", "TC": "WT"}.get(self.region)
        room = isin(labels, REGIONS[outer] if outer else (0,))
        labels[closed[within] & ~mask & room] = _added(labels, self.region, None)


def _added(labels: Labels, region: str, label: str | None) -> int:
    """What a filled voxel becomes: WHOLE in a map that knows no tissues."""
    if region == "WT" and label is None and (labels == WHOLE).any():
        return WHOLE
    return LABELS[label or _ADDED.get(region, region)]
