"""What a file is by its content, whatever its name says; read by a process that may crash or be killed."""

import gzip
import math
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import nibabel.spatialimages
import nibabel.wrapstruct

from brats_lightning.data import figshare
from brats_lightning.data.grey_pictures import UnreadablePictureError, read_grey
from brats_lightning.nifti import UnreadableVolumeError, read_grid
from brats_lightning.nifti_header import GZIP, LARGEST_HEADER, header_of
from brats_lightning.web.limits import MB, Limits, Refused

Ending = Literal[".nii.gz", ".nii", ".png", ".jpg", ".mat", ".zip"]
START = 1024
"""Bytes that tell what a file is."""
_CHUNK = 1 << 20
_TRAILING = 1 << 20
"""Bytes that some programs leave behind the voxels."""
_MOST_OBJECTS = 1000
"""Of an HDF5 file."""
_MOST_LITRES = 128
"""That an image shows: of a head some twenty."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TAKEN = "send NIfTI (.nii, .nii.gz), PNG, JPEG, MATLAB 7.3 (.mat), or a zip of them"
_UNREADABLE_HEADER = (
    ValueError,
    OverflowError,
    nibabel.spatialimages.HeaderDataError,
    nibabel.wrapstruct.WrapStructError,
)


@dataclass(frozen=True)
class Inspected:
    """What a file holds.

    Args:
        ending: That fits its content; a zip has not been opened yet.
        shape: Voxels or pixels along each axis.
        spacing_mm: Between them, empty where the file does not tell.
        unpacked_bytes: Of the file without gzip.
        notes: What is odd about it, in words.
    """

    ending: Ending
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    unpacked_bytes: int = 0
    notes: tuple[str, ...] = ()


def ending_of(start: bytes) -> Ending:
    """The ending that fits a file's first bytes.

    Raises:
        Refused: Nothing that is taken here.
    """
    signatures: dict[bytes, Ending] = {
        b"\x89PNG\r\n\x1a\n": ".png",
        b"\xff\xd8\xff": ".jpg",
        b"MATLAB ": ".mat",
        _HDF5: ".mat",
        b"PK\x03\x04": ".zip",
        b"PK\x05\x06": ".zip",  # an empty one
    }
    for signature, ending in signatures.items():
        if start.startswith(signature):
            return ending
    if start[:2] == GZIP:
        inside = _first_unpacked(start)
        if _is_nifti(inside):
            return ".nii.gz"
        raise Refused(415, f"it is compressed {_what_it_is(inside)}: {_TAKEN}")
    if _is_nifti(start):
        return ".nii"
    raise Refused(415, f"it is {_what_it_is(start)}: {_TAKEN}")


def look(path: Path, *, limits: Limits) -> Inspected:
    """Read a file from beginning to end, in little memory, and say what it holds.

    Raises:
        Refused: Too large, cut short or damaged, or nothing that is taken here.
    """
    with path.open("rb") as file:
        start = file.read(START)
    if not start:
        raise Refused(422, "the file is empty: send it again")
    ending = ending_of(start)
    if ending in (".nii", ".nii.gz"):
        return _nifti(path, ending, limits)
    if ending == ".zip":
        return Inspected(ending)
    try:
        return _matlab(path, limits) if ending == ".mat" else _picture(path, ending, limits)
    except UnreadablePictureError as error:
        raise Refused(422, f"{error}; {error.cure}") from error


def _is_nifti(start: bytes) -> bool:
    return start[344:348] == b"n+1\0" or start[4:8] == b"n+2\0"


def _first_unpacked(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(start, LARGEST_HEADER)
    except zlib.error:
        raise Refused(422, "the compressed data are damaged: send the file again") from None


def _what_it_is(start: bytes) -> str:
    """Name what people and attackers send instead of images."""
    text = start[:256].lstrip().lower()
    known = {
        "a DICOM file, which a program such as dcm2niix turns into NIfTI": start[128:132] == b"DICM",
        "a header without its voxels (.hdr and .img), which belong into one .nii": start[344:348] == b"ni1\0",
        "a Python pickle such as a checkpoint, which is never opened": start[:1] == b"\x80"
        and start[1:2] in b"\2\3\4\5",
        "a web page, perhaps downloaded in place of the image": text.startswith((b"<!doctype", b"<html", b"<?xml")),
        "a MetaImage or NRRD file, which has to be turned into NIfTI": text.startswith(
            (b"objecttype", b"ndims", b"nrrd")
        ),
        "a tar archive": start[257:262] == b"ustar",
    }
    return next((name for name, is_it in known.items() if is_it), "no image that is known here")


def _nifti(path: Path, ending: Ending, limits: Limits) -> Inspected:
    try:
        with path.open("rb") as file, gzip.open(file) if ending == ".nii.gz" else file as stream:
            start = stream.read(START)
            shape, end = _claimed(start, limits)
            size = _length(stream, len(start), most=end + _TRAILING)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Refused(422, "the compressed data are cut short or damaged: send the file again") from error
    if size < end:
        raise Refused(422, f"its header tells of {end} bytes, the file has {size}: it is cut short, send it again")
    if size > end + _TRAILING:
        raise Refused(413, f"it unpacks to more than the {end / MB:.3g} MB that its header tells of: send another file")
    try:
        grid = read_grid(path)
    except UnreadableVolumeError as error:
        raise Refused(422, f"{error}: save the image again with the program that made it") from error
    _require_a_patients_size(shape, grid.spacing_mm)
    header = header_of(start, check=False)
    lost = not int(header["qform_code"]) and not int(header["sform_code"])
    notes = ("its header does not say how it lies in the patient: the usual directions are assumed",) if lost else ()
    return Inspected(ending, shape, grid.spacing_mm[: len(shape)], size, notes)


def _claimed(start: bytes, limits: Limits) -> tuple[tuple[int, ...], int]:
    """Shape, and the byte behind the last voxel, as the header tells them."""
    try:
        header = header_of(start)
        shape = tuple(int(size) for size in header.get_data_shape())
        dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
    except _UNREADABLE_HEADER as error:
        raise Refused(422, "its NIfTI header is damaged: send the file again") from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (2, 3) or min(shape) < 1:
        found = "×".join(map(str, shape)) or "none"
        raise Refused(422, f"expected one image of two or three dimensions, found {found}: send each image by itself")
    if dtype.kind not in "iuf":
        raise Refused(422, f"expected one number a voxel, found {dtype}: convert it to grey values")
    _require_few(shape, limits)
    end = offset + math.prod(shape) * int(dtype.itemsize)
    if offset < 0 or end > limits.unpacked_bytes:
        raise Refused(413, f"expected at most {limits.unpacked_mb:g} MB unpacked, its header tells of {end / MB:.4g}")
    return shape, end


def _require_few(shape: Sequence[int], limits: Limits) -> None:
    if (voxels := math.prod(shape)) > limits.voxels:
        size = "×".join(map(str, shape))
        what = f"expected at most {limits.voxels_millions:g} million voxels, found {voxels / 1e6:.4g} million ({size})"
        raise Refused(413, f"{what}: crop or resample it")


def _require_a_patients_size(shape: Sequence[int], spacing_mm: Sequence[float]) -> None:
    """Refuse voxels of a kilometre: resampled to millimetres, the smallest file would take all memory."""
    across = [size * step for size, step in zip(shape, spacing_mm, strict=False)]
    if math.prod(max(1.0, size) for size in across) > _MOST_LITRES * 1e6:
        size = "×".join(f"{size:.4g}" for size in across)
        what = (
            f"expected an image of at most {_MOST_LITRES} litres, half a metre each way, its header tells of {size} mm"
        )
        raise Refused(422, f"{what}: set its voxel sizes right")


def _length(stream: IO[bytes] | gzip.GzipFile, size: int, *, most: int) -> int:
    """Bytes of a stream, counted no further than just above the most that there may be."""
    while size <= most and (chunk := stream.read(_CHUNK)):
        size += len(chunk)
    return size


def _picture(path: Path, ending: Ending, limits: Limits) -> Inspected:
    from PIL import Image  # noqa: PLC0415 - few files need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of what is odd about a picture
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                size = image.size
    except Exception:  # noqa: BLE001 - a damaged file can make Pillow raise anything
        size = (0, 0)  # `read_grey` says it better
    _require_few(size, limits)
    shape = read_grey(path).array.shape[:2]
    return Inspected(ending, shape, (), math.prod(shape))


def _matlab(path: Path, limits: Limits) -> Inspected:
    import h5py  # noqa: PLC0415 - few files need it

    if h5py.is_hdf5(path):
        try:
            with h5py.File(path, "r", locking=False) as file:
                _require_nothing_outside(file)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise Refused(422, "the HDF5 data are cut short or damaged: send the file again") from error
    volume = figshare.read_image(path)
    _require_few(volume.array.shape, limits)
    return Inspected(".mat", volume.array.shape[:2], volume.grid.spacing_mm[:2], volume.array.nbytes)


def _require_nothing_outside(file: Any) -> None:
    """Refuse what would make HDF5 read another file of this machine: links, and voxels kept elsewhere.

    Args:
        file: An open `h5py.File`.
    """
    import h5py  # noqa: PLC0415

    groups, objects = [file], 0
    while groups:
        group = groups.pop()
        for name in group:
            objects += 1
            if objects > _MOST_OBJECTS:
                raise Refused(422, f"it has more than {_MOST_OBJECTS} parts: send a file of one slice")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Refused(422, "it has links, which are not followed: save the slice itself")
            found = group[name]
            if isinstance(found, h5py.Group):
                groups.append(found)
            elif isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
                raise Refused(422, "its values lie in other files, which are not read: save the slice itself")
