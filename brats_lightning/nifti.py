"""Volumes in files: NIfTI (and MetaImage) read with their quirks, written on a grid that is checked.

Axes are (X, Y, Z) as stored; `Grid.affine` maps voxel indices to millimetres in RAS+ world space, as NIfTI has it.
"""

import gzip
import logging
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import nibabel.filebasedimages
import nibabel.spatialimages
import nibabel.wrapstruct
import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

SAME_GRID_MM = 0.05
"""Two grids are one when no corner of the volume lies further apart than this."""
INTEGER_TOLERANCE = 1e-3
"""A stored label may miss its integer by this much: headers scale integer masks through floating point."""


GZIP = b"\x1f\x8b"
LARGEST_HEADER, LARGEST_COMPRESSED_HEADER = 1024, 65536
_UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
    nibabel.wrapstruct.WrapStructError,
)
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it would print what the errors here say better


class UnreadableVolumeError(Exception):
    """A file that holds no usable volume; its text says what was found."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie.

    Args:
        shape: Voxels along each axis.
        affine: (4, 4) matrix from voxel indices to millimetres.
    """

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along each axis, in mm."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)).tolist()
        return x, y, z

    @property
    def orientation(self) -> str:
        """Direction in which each axis grows, such as `LPS`."""
        return "".join(nibabel.orientations.aff2axcodes(self.affine))

    def ras(self) -> "Grid":
        """The same voxels with axes permuted and flipped so that they grow right, anterior and superior."""
        to_ras = io_orientation(self.affine)
        shape = np.empty(3, int)
        shape[to_ras[:, 0].astype(int)] = self.shape
        x, y, z = shape.tolist()
        return Grid((x, y, z), self.affine @ inv_ornt_aff(to_ras, self.shape))

    def distance_mm(self, other: "Grid") -> float:
        """Largest distance between corresponding corners of two grids, infinite where their shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in self.shape], [1])).reshape(4, -1)
        apart = ((self.affine - other.affine) @ corners)[:3]
        return float(np.sqrt((apart**2).sum(axis=0)).max())

    def __str__(self) -> str:
        spacing = "×".join(f"{size:.3g}" for size in self.spacing_mm)
        return f"{'×'.join(map(str, self.shape))} voxels of {spacing} mm, {self.orientation}"


@dataclass(frozen=True, eq=False)
class Volume:
    """An array with its place in the world.

    Args:
        array: Stored axes; 4-D files have their channels last.
        grid: Of the three spatial axes.
        quirks: Oddities of the header that were read rightly, in words.
    """

    array: npt.NDArray[Any]
    grid: Grid
    quirks: tuple[str, ...] = ()

    def ras(self) -> "Volume":
        """The volume in RAS axis order: a view, nothing is copied."""
        array = apply_orientation(self.array, io_orientation(self.grid.affine))
        return Volume(array, self.grid.ras(), self.quirks)


def read_volume(path: Path) -> Volume:
    """Read a NIfTI (`.nii`, `.nii.gz`) or MetaImage (`.mha`) file, its header's scaling applied.

    A slope of 0 means "not scaled"; without an sform the qform counts.

    Raises:
        UnreadableVolumeError: The file is absent, cut short, no image, or not of three or four dimensions.
    """
    try:
        return _read_metaimage(path) if path.name.lower().endswith(".mha") else _read_nifti(path)
    except FileNotFoundError as error:
        raise UnreadableVolumeError("the file is not there") from error
    except PermissionError as error:
        raise UnreadableVolumeError("no permission to read it") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableVolumeError("the compressed data are cut short or damaged") from error
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnreadableVolumeError(f"not a readable volume ({reason})") from error


def read_labels(path: Path) -> Volume:
    """Read a label map as int32, whatever type it is stored in.

    Raises:
        UnreadableVolumeError: As `read_volume`, or values that are not integers.
    """
    volume = read_volume(path)
    stored = volume.array
    labels = stored
    if stored.dtype.kind == "f":
        if not np.isfinite(stored).all():
            raise UnreadableVolumeError("labels that are NaN or infinite")
        labels = np.rint(stored)
        if np.abs(stored - labels).max(initial=0) > INTEGER_TOLERANCE:
            raise UnreadableVolumeError("labels that are no whole numbers, as after interpolation")
    limits = np.iinfo(np.int32)
    if labels.min(initial=0) < limits.min or labels.max(initial=0) > limits.max:
        raise UnreadableVolumeError("labels beyond 32 bits")
    unusual = stored.dtype.kind == "f" or stored.dtype in (np.uint16, np.uint32, np.uint64)
    quirks = (*volume.quirks, f"labels stored as {stored.dtype.name}") if unusual else volume.quirks
    return Volume(labels.astype(np.int32, copy=False), volume.grid, quirks)


def read_grid(path: Path) -> Grid:
    """Read only where a file's voxels lie.

    Raises:
        UnreadableVolumeError: The header cannot be read.
    """
    if path.name.lower().endswith(".mha"):
        return read_volume(path).grid
    try:
        with path.open("rb") as file:
            start = file.read(LARGEST_COMPRESSED_HEADER)
        if start[:2] == GZIP:
            start = zlib.decompressobj(wbits=31).decompress(start, LARGEST_HEADER)
        kind = _kind(start)
        header = kind.header_class(start[: kind.header_class.sizeof_hdr])
        return _grid(header.get_data_shape(), header.get_best_affine())
    except (EOFError, zlib.error, *_UNREADABLE) as error:
        raise UnreadableVolumeError("no readable NIfTI header") from error


def write_volume(path: Path, array: npt.NDArray[Any], grid: Grid, *, description: str = "") -> None:
    """Write a NIfTI file under a temporary name, then move it into place.

    Args:
        path: Ends in `.nii` or `.nii.gz`.
        array: Of the grid's shape, in a type NIfTI has.
        grid: Goes into sform and qform.
        description: Up to 79 bytes for the header's free-text field.

    Raises:
        OSError: The folder cannot be written.
    """
    image = nibabel.Nifti1Image(array, grid.affine)
    image.set_sform(grid.affine, code=1)
    image.set_qform(grid.affine, code=1)
    image.header["descrip"] = description.encode()[:79]
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    if path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=1, mtime=0)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_nifti(path: Path) -> Volume:
    content = path.read_bytes()
    if content[:2] == GZIP:
        content = gzip.decompress(content)
    kind = _kind(content)
    image = kind.from_bytes(content)
    if len(image.shape) not in (3, 4) or 0 in image.shape:
        raise ValueError(f"expected three or four dimensions, found shape {image.shape}")
    array = np.asanyarray(image.dataobj)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.dtype.kind not in "iuf":
        raise ValueError(f"expected numbers, found {array.dtype}")
    header = kind.header_class(content[: kind.header_class.sizeof_hdr], check=False)
    return Volume(array, _grid(image.shape, image.affine), _quirks(header))


def _kind(content: bytes) -> Any:
    """NIfTI-1 or NIfTI-2, which the first number of a file tells."""
    if len(content) < 352:
        raise ValueError("shorter than a NIfTI header")
    size_of_header = int.from_bytes(content[:4], "little")
    return nibabel.Nifti2Image if size_of_header in (540, 0x1C020000) else nibabel.Nifti1Image


def _grid(shape: Sequence[int], affine: npt.NDArray[Any]) -> Grid:
    if len(shape) < 3:
        raise ValueError(f"expected three or four dimensions, found shape {tuple(shape)}")
    x, y, z = map(int, shape[:3])
    affine = np.asarray(affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ValueError("the header's affine is degenerate")
    return Grid((x, y, z), affine)


def _quirks(header: Any) -> tuple[str, ...]:
    """Oddities of a header as it stands in the file (nibabel blanks the slope of the header of an image)."""
    qform, sform = int(header["qform_code"]), int(header["sform_code"])
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    quirks = []
    if not sform:
        quirks.append("qform only" if qform else "neither sform nor qform: orientation assumed")
    elif not qform:
        quirks.append("sform only")
    if slope == 0:
        quirks.append("slope 0 (means: not scaled)")
    elif math.isfinite(slope) and (slope, intercept) != (1, 0):
        quirks.append(f"values scaled by {slope:.3g} + {intercept:.3g}")
    return tuple(quirks)


def _read_metaimage(path: Path) -> Volume:
    import itk  # noqa: PLC0415 - slow, and few files need it

    image = itk.imread(str(path))
    array = np.asarray(itk.array_view_from_image(image)).transpose().copy()
    if array.ndim != 3:
        raise ValueError(f"expected three dimensions, found shape {array.shape}")
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(image.GetDirection()) @ np.diag(np.asarray(image.GetSpacing()))
    affine[:3, 3] = np.asarray(image.GetOrigin())
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's world is LPS
    x, y, z = array.shape
    return Volume(array, Grid((x, y, z), to_ras @ affine))
