"""Slices of volumes as samples: which ones, and how they are cut out of cached cases without copying them."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

import torch

from brats_lightning.errors import ConfigError, DatasetError, Problem
from brats_lightning.labels import PLANES, Plane

Validation = Literal["volumes", "slices"]


@dataclass(frozen=True, order=True)
class Place:
    """Where a slice lies in its volume.

    Args:
        axis: 0 to 2, across the slice.
        index: Along that axis.
    """

    axis: int
    index: int


@dataclass(frozen=True)
class Slices:
    """Train on slices; each is an image (C, U, V, 1), whichever plane it lies in.

    Indices are those of the preprocessed image in RAS order: of the files' own slices, from the lowest axial one up,
    where `preprocessing.crop` is false and `preprocessing.size` leaves that axis alone.

    Args:
        planes: Of the slices.
        first: Lowest index; null begins with the first slice.
        last: Highest index, itself included; null ends with the last slice.
        indices: These slices alone, instead of a range.
        tumour: Of these, slices with some tumour alone.
        validation: What is validated on while training: whole `volumes`, or a volume's chosen `slices` put together,
            those without tumour too, as publications on slices do. `brats validate` and `brats test` on the patients'
            grid take whole volumes.

    Raises:
        ConfigError: Settings that contradict each other.
    """

    _: KW_ONLY
    planes: tuple[Plane, ...] = ("axial",)
    first: int | None = None
    last: int | None = None
    indices: tuple[int, ...] | None = None
    tumour: bool = False
    validation: Validation = "volumes"

    def __post_init__(self) -> None:
        if not self.planes or len(set(self.planes)) != len(self.planes) or not set(self.planes) <= set(PLANES):
            raise ConfigError(f"data.slices.planes must be some of {', '.join(PLANES)}, found {list(self.planes)}")
        if self.validation not in get_args(Validation):
            expected = " or ".join(get_args(Validation))
            raise ConfigError(f"data.slices.validation must be {expected}, found {self.validation!r}")
        if self.validation == "slices" and len(self.planes) > 1:
            raise ConfigError("data.slices.validation: slices of several planes make no volume: set it to volumes")
        if self.indices is not None and (self.first is not None or self.last is not None):
            raise ConfigError("data.slices: give either indices or a range (first, last)")
        if self.indices is not None and (not self.indices or len(set(self.indices)) != len(self.indices)):
            raise ConfigError(f"data.slices.indices must be distinct and at least one, found {list(self.indices)}")
        named = [index for index in (self.first, self.last, *(self.indices or ())) if index is not None]
        if any(index < 0 for index in named):
            raise ConfigError(f"data.slices: indices count from 0, found {min(named)}")
        if self.first is not None and self.last is not None and self.last < self.first:
            raise ConfigError(f"data.slices.last must not be below first, found {self.first} to {self.last}")

    def along(self, shape: Sequence[int], axis: int, *, case: str) -> list[int]:
        """Indices across one axis of a volume, with or without tumour.

        Args:
            shape: Of the volume (X, Y, Z).
            axis: 0 to 2.
            case: Its id, for the error.

        Raises:
            DatasetError: The volume has no such slices.
        """
        count = shape[axis]
        last = count - 1 if self.last is None else self.last
        wanted = sorted(self.indices) if self.indices is not None else list(range(self.first or 0, last + 1))
        if not wanted or wanted[-1] >= count:
            asked = f"{wanted[0]} to {wanted[-1]}" if wanted else f"from {self.first} on"
            plane = next(name for name, across in PLANES.items() if across == axis)
            what = f"{plane} slices {asked} asked for, its preprocessed image has {count} (0 to {count - 1})"
            cure = "change data.slices, or preprocess without crop and resampling along that axis"
            raise DatasetError(Problem(case, "", what, cure))
        return wanted

    def of(self, label: torch.Tensor, *, case: str) -> list[Place]:
        """The slices of a training case, plane by plane.

        Args:
            label: (1, X, Y, Z) uint8.
            case: Its id.

        Raises:
            DatasetError: The volume has no such slices.
        """
        places: list[Place] = []
        for plane in self.planes:
            axis = PLANES[plane]
            indices = self.along(label.shape[1:], axis, case=case)
            if self.tumour:
                others = [dim for dim in range(4) if dim != axis + 1]
                marked = label.amax(others)
                indices = [index for index in indices if marked[index]]
            places += [Place(axis, index) for index in indices]
        return places

    def stacked(self, volume: torch.Tensor, *, case: str) -> torch.Tensor:
        """The chosen slices of the first plane as a volume (C, X, Y, Z) of these slices alone.

        Its axes stay those of the patient, so that what cuts volumes in that plane finds the same slices in it.

        Args:
            volume: (C, X, Y, Z).
            case: Its id.

        Raises:
            DatasetError: The volume has no such slices.
        """
        axis = PLANES[self.planes[0]]
        indices = self.along(volume.shape[1:], axis, case=case)
        return volume.index_select(axis + 1, torch.tensor(indices, device=volume.device))


def slice_of(volume: torch.Tensor, place: Place) -> torch.Tensor:
    """A slice (C, U, V, 1) of a volume (C, X, Y, Z), in the volume's own memory."""
    return volume.narrow(place.axis + 1, place.index, 1).movedim(place.axis + 1, -1)


def spacing_of(spacing_mm: torch.Tensor, place: Place) -> torch.Tensor:
    """Millimetres (3,) between the voxels of a slice, its thickness last, from those of its volume."""
    return spacing_mm[[axis for axis in range(3) if axis != place.axis] + [place.axis]]


def slice_name(case: str, place: Place) -> str:
    """How messages call a slice.

    Example:
        >>> slice_name("BraTS2021_00006", Place(2, 77))
        'BraTS2021_00006 axial 77'
    """
    plane = next(name for name, axis in PLANES.items() if axis == place.axis)
    return f"{case} {plane} {place.index}"
