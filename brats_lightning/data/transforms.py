"""The deterministic steps as MONAI dictionary transforms: load, resample, normalise (N4 has a file of its own).

Every spatial step is axis-aligned and moves the affine of its MetaTensor along, so that the grids before and after
are the whole record that undoing needs.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform, Transform
from torch.nn.functional import interpolate

from brats_lightning.data.reading import background_value, read_case
from brats_lightning.labels import CASE, IMAGE, LABEL, Modality, label_values

BRAIN = "brain"
NATIVE = "native"
NOTES = "notes"
Normalisation = Literal["zscore", "minmax", "percentile"]


class LoadCased(Transform):
    """Read a case's files and bring them to RAS axis order.

    From `{"case": Case}` to the image (C, X, Y, Z) float32, the brain mask and the label (1, X, Y, Z) uint8 as
    MetaTensors, and the grid of the files under `native`. There is no label key for an unlabelled case.

    Args:
        modalities: Channels of the image, in this order.
        align: Resample images on other grids by their headers, as `read_case` does.
    """

    def __init__(self, modalities: Sequence[Modality], *, align: bool = False) -> None:
        self.modalities = tuple(modalities)
        self.align = align

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Raises DatasetError with all that is wrong with the case."""
        volumes = read_case(data[CASE], modalities=self.modalities, align=self.align)
        affine = torch.from_numpy(volumes.grid.affine)
        loaded = {
            **data,
            IMAGE: MetaTensor(torch.from_numpy(volumes.image), affine=affine),
            BRAIN: MetaTensor(torch.from_numpy(volumes.brain[None].astype(np.uint8)), affine=affine),
            NATIVE: volumes.native,
            NOTES: volumes.notes,
        }
        if volumes.label is not None:
            label = torch.from_numpy(np.ascontiguousarray(volumes.label[None]))
            loaded[LABEL] = MetaTensor(label, affine=affine)
        return loaded


class Resampled(MapTransform):
    """Resample images linearly and label maps without inventing labels, edge to edge.

    A voxel of a label map gets the label whose mask, interpolated linearly, is largest there: no value between two
    labels can appear, and borders stay where they were to a fraction of a voxel.

    Args:
        keys: (C, X, Y, Z) MetaTensors, float.
        label_keys: (1, X, Y, Z) MetaTensors, integer; absent keys are passed over.
        size: Voxels along each axis afterwards, null for an axis that stays as it is.
        spacing_mm: Edge of a voxel afterwards, as near as a whole number of voxels allows; instead of a size.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        label_keys: Sequence[str] = (),
        size: Sequence[int | None] | None = None,
        spacing_mm: float | None = None,
    ) -> None:
        super().__init__(keys)
        if (size is None) == (spacing_mm is None):
            raise ValueError("give either size or spacing_mm")
        self.label_keys = tuple(label_keys)
        self.size = size
        self.spacing_mm = spacing_mm

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Resample every key that is there."""
        resampled = dict(data)
        for key in self.keys:
            resampled[key] = self._resample(data[key], resample_linear)
        for key in self.label_keys:
            if key in data:
                resampled[key] = self._resample(data[key], resample_labels)
        return resampled

    def _resample(self, volume: MetaTensor, resample: Any) -> MetaTensor:
        old = np.asarray(volume.shape[1:])
        new = np.asarray(self._size_at_spacing(volume) if self.size is None else self._size_of(volume))
        if (old == new).all():
            return volume
        ratio = old / new
        to_old = np.diag([*ratio, 1.0])
        to_old[:3, 3] = (ratio - 1) / 2  # voxel edges coincide, so centres shift
        size = tuple(new.tolist())
        return MetaTensor(resample(volume.as_tensor(), size), affine=volume.affine @ torch.from_numpy(to_old))

    def _size_of(self, volume: MetaTensor) -> list[int]:
        return [wanted or length for wanted, length in zip(self.size or (), volume.shape[1:], strict=True)]

    def _size_at_spacing(self, volume: MetaTensor) -> list[int]:
        spacing = np.sqrt((volume.affine[:3, :3].numpy() ** 2).sum(axis=0))
        return [max(1, round(float(extent))) for extent in np.asarray(volume.shape[1:]) * spacing / self.spacing_mm]


def resample_linear(image: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    """Trilinear interpolation of a (C, X, Y, Z) float image to another size, edge to edge."""
    return interpolate(image[None], size=size, mode="trilinear", align_corners=False)[0]


def resample_labels(labels: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    """The label of largest share at each voxel of a (1, X, Y, Z) integer map brought to another size."""
    best = resample_linear((labels == 0).float(), size)
    winner = torch.zeros_like(best, dtype=labels.dtype)
    for value in sorted(label_values(labels.numpy()) - {0}):
        share = resample_linear((labels == value).float(), size)
        winner.masked_fill_(share > best, value)
        best = torch.maximum(best, share)
    return winner


class NormaliseBraind(MapTransform):
    """Normalise each channel inside the brain; outside is 0 afterwards.

    Args:
        keys: (C, X, Y, Z) MetaTensors.
        mask_key: (1, X, Y, Z), not 0 inside the brain.
        method: `zscore` to mean 0 and standard deviation 1; `minmax` to 0–1; `percentile`: the 0.5th to the 99.5th
            percentile to 0–1, clipped.
    """

    def __init__(self, keys: KeysCollection, *, mask_key: str = BRAIN, method: Normalisation = "zscore") -> None:
        super().__init__(keys)
        self.mask_key = mask_key
        self.method = method

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Normalise every key."""
        brain = data[self.mask_key].as_tensor()[0] != 0
        normalised = dict(data)
        for key in self.keys:
            image = data[key]
            channels = [self._channel(channel, brain) for channel in image.as_tensor()]
            normalised[key] = MetaTensor(torch.stack(channels), affine=image.affine)
        return normalised

    def _channel(self, channel: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
        # The modalities' brains differ by a few voxels: where one has no signal it has no say in its statistics.
        # In a picture without background 0 is a grey value like others.
        everywhere = bool(brain.all()) and background_value(channel.numpy()) is None
        inside = brain if everywhere else brain & (channel != 0)
        values = channel[inside]
        if not len(values):
            return torch.zeros_like(channel)
        if self.method == "zscore":
            low, scale = float(values.mean()), float(values.std(correction=0))
        elif self.method == "minmax":
            low, scale = float(values.min()), float(values.max() - values.min())
        else:
            low, high = np.percentile(values.numpy(), (0.5, 99.5)).tolist()
            channel, scale = channel.clamp(low, high), high - low
        return torch.where(inside, (channel - low) / (scale or 1.0), 0.0)
