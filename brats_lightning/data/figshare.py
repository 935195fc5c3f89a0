"""The slices of figshare 1512427: MATLAB files of version 7.3 with a struct `cjdata`.

Cheng: brain tumor dataset, doi.org/10.6084/m9.figshare.1512427: 3064 slices of T1 with contrast agent of 233 patients,
in any of three planes, which the files do not name. MATLAB's HDF5 files hold a matrix transposed, columns first: this
is the order (X, Y) of a slice whose columns lie along x.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from brats_lightning.data.case import Case
from brats_lightning.data.grey_pictures import UnreadablePictureError, flat_grid, require_few_pixels
from brats_lightning.labels import MASK, Modality
from brats_lightning.nifti import Volume, whole_numbers

FIELD_OF_VIEW_MM = 512 * 0.49
"""Published: 512 × 512 pixels of 0.49 mm. The few files of another size show as much of a head."""
THICKNESS_MM = 6.0
"""Published too, with a gap of 1 mm between slices."""
INDICES = "cvind.mat"
"""Comes with the data set: numbers of folds."""
_LONGEST_PATIENT = 256
_STRUCT = "expected the struct `cjdata` of figshare 1512427"
_NO_SLICE = "replace the file or take it out of the folder"


def figshare_case(path: Path, *, modality: Modality, edition: str | None = None) -> Case:
    """A file as a case, none of its pixels read.

    Args:
        path: Of the file.
        modality: That its image is taken for.
        edition: Whose label values its mask holds, None for 1 where there is tumour.

    Raises:
        UnreadablePictureError: The file is damaged, of another MATLAB version, or holds no slice.
    """
    with _cjdata(path) as content:
        _matrix(content, "image")
        patient = _patient(content)
        label = path if "tumorMask" in content else None
    notes = () if patient else ("no patient in the file, taken for one of its own",)
    return Case(path.stem, patient or path.stem, edition or MASK, {modality: path}, label, notes)


def read_image(path: Path) -> Volume:
    """The image (columns, rows, 1) as MATLAB shows it, columns growing to the right and rows downwards.

    Raises:
        UnreadablePictureError: As of `figshare_case`.
    """
    with _cjdata(path) as content:
        array = _matrix(content, "image")[()][..., None]
    columns, rows, _ = array.shape
    pixel_mm = FIELD_OF_VIEW_MM / max(columns, rows)
    grid = flat_grid(columns, rows, pixel_mm=pixel_mm, thickness_mm=THICKNESS_MM)
    return Volume(array, grid, (f"no pixel size in the file, {pixel_mm:.3g} mm taken as published",))


def read_mask(path: Path) -> Volume:
    """The tumour's mask, of the image's shape and place.

    Raises:
        UnreadablePictureError: As of `figshare_case`, or the mask has another size than the image.
        UnreadableVolumeError: Values that are not whole numbers.
    """
    with _cjdata(path) as content:
        image, mask = _matrix(content, "image"), _matrix(content, "tumorMask")
        if mask.shape != image.shape:
            what = f"its tumorMask has {_size(mask.shape)} pixels, its image {_size(image.shape)}"
            raise UnreadablePictureError(what, cure="store both in the same size, or download the file again")
        array = mask[()][..., None]
    columns, rows, _ = array.shape
    grid = flat_grid(columns, rows, pixel_mm=FIELD_OF_VIEW_MM / max(columns, rows), thickness_mm=THICKNESS_MM)
    return whole_numbers(Volume(array.astype(np.uint8) if array.dtype.kind == "b" else array, grid))


@contextmanager
def _cjdata(path: Path) -> Iterator[Any]:
    """The file's struct, open: an `h5py.Group`."""
    import h5py  # noqa: PLC0415 - few runs need it

    try:
        _require_hdf5(path, has_signature=h5py.is_hdf5(path))
        with h5py.File(path, "r", locking=False) as file:  # some network disks know no locks
            content = file.get("cjdata")
            if not isinstance(content, h5py.Group):
                inside = ", ".join(sorted(file)[:5]) or "nothing"
                found = inside if content is None else "a `cjdata` that is no struct"
                raise UnreadablePictureError(f"{_STRUCT}, found {found}", cure=_NO_SLICE)
            yield content
    except FileNotFoundError as error:
        raise UnreadablePictureError("the file is not there") from error
    except PermissionError as error:
        raise UnreadablePictureError("no permission to read it", cure="make it readable") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise UnreadablePictureError("the HDF5 data are cut short or damaged") from error


def _require_hdf5(path: Path, *, has_signature: bool) -> None:
    """Say of a file without the signature of HDF5 what it is instead."""
    if has_signature:
        return
    with path.open("rb") as file:
        start = file.read(128)
    if start.startswith(b"MATLAB 7.3"):
        raise UnreadablePictureError("the HDF5 data are cut short or damaged")
    if start.startswith(b"MATLAB"):
        what = "a file of MATLAB's version 7 or older where 7.3 is expected"
        raise UnreadablePictureError(what, cure="save it with -v7.3")
    raise UnreadablePictureError(
        "no MATLAB file of version 7.3", cure="save it with -v7.3 or take it out of the folder"
    )


def _matrix(content: Any, name: str) -> Any:
    """A dataset of two dimensions by its header: an `h5py.Dataset`."""
    found = content.get(name)
    shape = getattr(found, "shape", None)
    if shape is None:
        inside = ", ".join(sorted(content)[:5]) or "nothing"
        raise UnreadablePictureError(f"no matrix `{name}` in its struct `cjdata`, found {inside}", cure=_NO_SLICE)
    if len(shape) != 2:
        cure = "store one slice a file"
        raise UnreadablePictureError(
            f"its {name} has {_size(shape)} pixels where two dimensions are expected", cure=cure
        )
    require_few_pixels(*shape)
    if found.dtype.kind not in "iufb":
        raise UnreadablePictureError(f"its {name} holds {found.dtype} where numbers are expected", cure=_NO_SLICE)
    return found


def _size(shape: tuple[int, ...]) -> str:
    """As MATLAB states it, rows first."""
    return "×".join(map(str, reversed(shape)))


def _patient(content: Any) -> str:
    """The patient's name, which MATLAB stores as the codes of its characters; empty where there is none."""
    found = content.get("PID")
    size = getattr(found, "size", None) or 0  # only a matrix has one
    if not 0 < size <= _LONGEST_PATIENT or "MATLAB_empty" in found.attrs:
        return ""
    codes = np.asarray(found[()]).ravel()
    if codes.dtype.kind == "u" and codes.dtype.itemsize == 2:
        return "".join(map(chr, codes.tolist())).strip()
    return "-".join(f"{code:g}" for code in codes.tolist()) if codes.dtype.kind in "iuf" else ""
