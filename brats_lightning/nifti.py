"""Volumes in files: NIfTI (and MetaImage) read with their quirks, written on a grid that is checked.

Axes are (X, Y, Z) as stored; `Grid.affine` maps voxel indices to millimetres in RAS+ world space, as NIfTI has it.
"""

import gzip
import io
import logging
import math
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
from nibabel.arrayproxy import ArrayProxy
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from brats_lightning.metaimage import read_metaimage
from brats_lightning.nifti_header import GZIP, LARGEST_HEADER, geometry, header_of, quirks, read_header, unpacked
from brats_lightning.whole_files import flush, whole_file

SAME_GRID_MM = 0.05
"""Two grids are one when no corner of the volume lies further apart than this."""
INTEGER_TOLERANCE = 1e-3
"""A stored label may miss its integer by this much: headers scale integer masks through floating point."""
PROBABILITY_STEPS = 1024
"""Probabilities are written in this many steps. A power of two, so that fractions end early: a quarter of the size."""

LARGEST_MM = 1e6
"""A header whose numbers place voxels further out than a kilometre tells of no patient."""
LEFT_BEHIND = 1 << 20
"""Bytes that some programs leave behind the voxels."""

_UNREADABLE = (
    OSError,
    ValueError,
    OverflowError,
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

    A slope of 0 means "not scaled"; without an sform the qform counts. A NIfTI file of two dimensions is a volume of
    one slice, (X, Y, 1).

    Raises:
        UnreadableVolumeError: The file is absent, cut short, no image, or not of two to four dimensions.
    """
    try:
        return _read_metaimage(path) if _is_metaimage(path) else _read_nifti(path)
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
    return whole_numbers(read_volume(path))


def whole_numbers(volume: Volume) -> Volume:
    """A label map as int32.

    Raises:
        UnreadableVolumeError: Values that are not whole numbers, or too large.
    """
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
    if _is_metaimage(path):
        return read_volume(path).grid
    try:
        header = read_header(path)
        with np.errstate(all="ignore"):  # numbers without sense are refused, and not worth a warning
            return _grid(header.get_data_shape(), header.get_best_affine())
    except (EOFError, zlib.error, *_UNREADABLE) as error:
        raise UnreadableVolumeError("no readable NIfTI header") from error


def write_volume(
    path: Path,
    array: npt.NDArray[Any],
    grid: Grid,
    *,
    like: Path | None = None,
    description: str = "",
    verify: bool = False,
) -> None:
    """Write a NIfTI-1 file under a temporary name, then move it into place: a file of that name is a whole one.

    Args:
        path: Ends in `.nii` or `.nii.gz`.
        array: (X, Y, Z) of the grid's shape, in a type NIfTI has; stored as it is, unscaled.
        grid: Goes into sform and qform.
        like: File of that grid whose qform, sform, voxel sizes and units are taken over as they stand, both codes 0
            included: whatever a program makes of that file, it makes of this one. MetaImages have no such fields.
        description: Up to 79 bytes for the header's free-text field.
        verify: Read the file back before it is moved, as `verify_volume` does.

    Raises:
        OSError: The folder cannot be written, or is full; nothing remains there.
        UnreadableVolumeError: What is read back is not what was written, or `like` cannot be read.
        ValueError: The array does not have the grid's shape, or `like` does not lie on it.
    """
    if array.shape != grid.shape:
        raise ValueError(f"expected an array of shape {grid.shape}, found {array.shape}")
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    _put_geometry(header, grid, like)
    header["descrip"] = description.encode()[:79]
    header["vox_offset"] = header.single_vox_offset
    voxels = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(order="F")
    content = header.binaryblock + bytes(header.single_vox_offset - header.sizeof_hdr) + voxels
    if path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=1, mtime=0)
    with whole_file(path) as half:
        half.write_bytes(content)
        flush(half)  # what is read back shall be what the disk has
        if verify:
            verify_volume(half, array, grid, like=like)


def write_probability(
    path: Path,
    probability: npt.NDArray[np.floating],
    grid: Grid,
    *,
    like: Path | None = None,
    description: str = "",
    verify: bool = False,
) -> None:
    """Write probabilities (X, Y, Z) from 0 to 1 as float32, which every program reads, rounded to 1/1024.

    See `write_volume` for the rest.
    """
    rounded = np.rint(probability.astype(np.float32, copy=False) * PROBABILITY_STEPS)
    rounded /= PROBABILITY_STEPS
    write_volume(path, rounded, grid, like=like, description=description, verify=verify)


def verify_volume(path: Path, array: npt.NDArray[Any], grid: Grid, *, like: Path | None = None) -> None:
    """Read a file back that `write_volume` has written from these arguments.

    Raises:
        UnreadableVolumeError: It cannot be read, or its type, voxels or place are not those that were written.
    """
    stored = read_volume(path).array
    same_type = stored.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    if not same_type or stored.tobytes(order="F") != array.astype(stored.dtype, copy=False).tobytes(order="F"):
        raise UnreadableVolumeError("read back, its voxels are not those that were written")
    there = geometry(read_header(path, check=False))
    expected = nibabel.Nifti1Header(endianness="<")
    expected.set_data_shape(array.shape)
    _put_geometry(expected, grid, like)
    if any(there[name].tobytes() != field.tobytes() for name, field in geometry(expected).items()):
        raise UnreadableVolumeError("read back, its place in the world is not that which was written")


def _put_geometry(header: Any, grid: Grid, like: Path | None) -> None:
    """Say in a NIfTI-1 header where the voxels lie, in the words of another file where there is one."""
    if like is not None and (apart := grid.distance_mm(read_grid(like))) > SAME_GRID_MM:
        raise ValueError(f"{like.name} does not lie on the grid {grid}: {apart:.3g} mm apart")
    if like is not None and not _is_metaimage(like):
        stored = read_header(like, check=False)
        if len(stored.get_data_shape()) == 2:
            header.set_data_shape(grid.shape[:2])  # with as many axes, so that the two arrays fit each other
        for name, field in geometry(stored).items():
            header[name] = field
        return
    header.set_sform(grid.affine, code=1)
    header.set_qform(grid.affine, code=1)
    header.set_xyzt_units("mm")


def _read_nifti(path: Path) -> Volume:
    content = path.read_bytes()
    packed = content[:2] == GZIP
    start = unpacked(content, most=LARGEST_HEADER)[0] if packed else content[:LARGEST_HEADER]
    header = header_of(start)
    shape = tuple(map(int, header.get_data_shape()))
    if len(shape) not in (2, 3, 4) or min(shape) < 1:
        raise ValueError(f"expected two to four dimensions, found shape {shape}")
    dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
    if dtype.kind not in "iuf":
        raise ValueError(f"expected numbers, found {dtype}")
    claimed = math.prod(shape) * dtype.itemsize
    if packed:
        most = max(0, offset) + claimed + LEFT_BEHIND
        content, whole = unpacked(content, most=most)  # some megabytes can hold gigabytes of zeros
        if len(content) > most:
            raise ValueError(f"it unpacks to more than the {most} bytes that its header tells of")
        if not whole:
            raise EOFError
    if offset < 0 or offset + claimed > len(content):  # before memory is taken for them
        raise ValueError(f"its header tells of {claimed} bytes of voxels, the file has {len(content)} in all")
    with np.errstate(all="ignore"):  # numbers without sense are refused, and not worth a warning
        array = np.asanyarray(ArrayProxy(io.BytesIO(content), header))
        grid = _grid(shape, header.get_best_affine())
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    return Volume(array, grid, quirks(header_of(start, check=False)))


def _grid(shape: Sequence[int], affine: npt.NDArray[Any]) -> Grid:
    if len(shape) < 2:
        raise ValueError(f"expected two to four dimensions, found shape {tuple(shape)}")
    x, y, z = map(int, (*shape, 1)[:3])
    affine = np.asarray(affine, np.float64)
    if not np.isfinite(affine).all() or np.abs(affine).max() > LARGEST_MM:
        raise ValueError("the header's affine is degenerate")
    if abs(np.linalg.det(affine[:3, :3])) < 1e-9 or np.isnan(io_orientation(affine)).any():
        raise ValueError("the header's affine is degenerate")
    return Grid((x, y, z), affine)


def _is_metaimage(path: Path) -> bool:
    return path.name.lower().endswith(".mha")


def _read_metaimage(path: Path) -> Volume:
    array, affine = read_metaimage(path)
    affine[:2] *= -1  # ITK's world is LPS
    return Volume(array, _grid(array.shape, affine))
