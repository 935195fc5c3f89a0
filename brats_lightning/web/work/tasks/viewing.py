"""Volumes for the page: all on one grid in RAS order, as whole numbers that a viewer scales to the files' values."""

import gzip
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from brats_lightning.data.alignment import LEAST_COVERAGE, coverage, on_one_grid, resample_by_header
from brats_lightning.data.pictures import is_picture, read_picture
from brats_lightning.data.reading import background_value
from brats_lightning.labels import Modality
from brats_lightning.nifti import Grid, UnreadableVolumeError, Volume, read_volume
from brats_lightning.reports.figures.colours import OUTSIDE_IN, REGION_COLOURS, REGION_TITLES
from brats_lightning.reports.viewer.volumes import tumour_centre
from brats_lightning.web.records import Tissue, View
from brats_lightning.web.work.tasks.given import Given

FOLDER = "volumes"
ENTROPY_STEPS = 255
_HEADER_BYTES = 352


def write_images(
    given: Given,
    folder: Path,
    *,
    native: Grid,
    labels: npt.NDArray[np.uint8],
    align: bool,
    tell: Callable[[float], None],
) -> tuple[View, list[str]]:
    """Write every image of a case for the page, those included that no network asked for.

    Args:
        given: The case.
        folder: Gets `volumes/<modality>.nii.gz`.
        native: Grid of the case's files.
        labels: (X, Y, Z) of its segmentation, in RAS order.
        align: Whether images on other grids are resampled by their headers.
        tell: Is told the share of the images that are written.

    Returns:
        What the page shows, and notes on images that it does not.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    grid = native.ras()
    written: list[Modality] = []
    notes = []
    for number, (modality, path) in enumerate(given.images.items()):
        tell(number / len(given.images))
        try:
            array = _on(_read(path), native, align=align)
        except UnreadableVolumeError as error:
            notes.append(f"{path.name}: not shown, {error}")
            continue
        _write_scaled(folder / FOLDER / f"{modality}.nii.gz", array, spacing_mm=grid.spacing_mm)
        written.append(modality)
    x, y, z = grid.spacing_mm
    view = View(
        images=list(written),
        shape=grid.shape,
        spacing_mm=(x, y, z),
        affine=grid.affine[:3].tolist(),
        centre=tumour_centre([labels], grid.shape),
        tissues=tissues_of([labels]),
        placed=not given.is_picture,
    )
    return view, notes


def write_labels(folder: Path, name: str, labels: npt.NDArray[np.uint8], *, spacing_mm: Sequence[float]) -> str:
    """Write labels (X, Y, Z) in RAS order for the page; gives the result's name."""
    (folder / FOLDER).mkdir(exist_ok=True)
    _write(folder / FOLDER / f"{name}.nii.gz", labels, spacing_mm=spacing_mm)
    return f"{FOLDER}/{name}.nii.gz"


def write_entropy(folder: Path, entropy: npt.NDArray[np.floating], *, spacing_mm: Sequence[float]) -> str:
    """Write a map (X, Y, Z) from 0 to 1 in RAS order for the page; gives the result's name."""
    (folder / FOLDER).mkdir(exist_ok=True)
    steps = np.rint(entropy * ENTROPY_STEPS).astype(np.uint8)
    _write(folder / FOLDER / "entropy.nii.gz", steps, spacing_mm=spacing_mm, slope=1 / ENTROPY_STEPS)
    return f"{FOLDER}/entropy.nii.gz"


def tissues_of(segmentations: Iterable[npt.NDArray[np.uint8]]) -> list[Tissue]:
    """The labels that occur in any of these, innermost first."""
    found = {value for labels in segmentations for value in np.unique(labels).tolist()}
    return [
        Tissue(name=name, title=REGION_TITLES.get(name, name), value=value, colour=REGION_COLOURS[name])
        for name, value in reversed(list(OUTSIDE_IN.items()))
        if value in found
    ]


def _read(path: Path) -> Volume:
    volume = read_picture(path) if is_picture(path) else read_volume(path)
    if volume.array.ndim != 3:
        raise UnreadableVolumeError(f"it has {volume.array.ndim} dimensions")
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        raise UnreadableVolumeError("it has voxels that are NaN or infinite")
    return volume


def _on(volume: Volume, native: Grid, *, align: bool) -> npt.NDArray[np.number]:
    """The image (X, Y, Z) in RAS order on the grid of the case.

    Raises:
        UnreadableVolumeError: It lies on another one.
    """
    if not on_one_grid(volume.grid, native):
        if not align or coverage(volume.grid, native) < LEAST_COVERAGE:
            raise UnreadableVolumeError(f"its grid ({volume.grid}) is not that of the case ({native})")
        volume = resample_by_header(volume, native, background=background_value(volume.array) or 0.0)
    array: npt.NDArray[np.number] = volume.ras().array
    return array


def _write_scaled(path: Path, array: npt.NDArray[np.number], *, spacing_mm: Sequence[float]) -> None:
    """Write an image in 8 or 16 bits: exactly where its values are whole and few enough, else in 65,535 steps."""
    low, high = float(array.min()), float(array.max())
    whole = array.dtype.kind in "iu" or not np.mod(array, 1).any()
    if whole and low >= 0 and high <= 255:
        _write(path, array.astype(np.uint8), spacing_mm=spacing_mm)
    elif whole and high - low <= 65535:
        _write(path, (array - np.array(low, array.dtype)).astype(np.uint16), spacing_mm=spacing_mm, intercept=low)
    else:
        slope = (high - low) / 65535
        steps = np.rint((array.astype(np.float64) - low) / slope).astype(np.uint16)
        _write(path, steps, spacing_mm=spacing_mm, slope=slope, intercept=low)


def _write(
    path: Path,
    array: npt.NDArray[np.unsignedinteger],
    *,
    spacing_mm: Sequence[float],
    slope: float = 1,
    intercept: float = 0,
) -> None:
    """Write (X, Y, Z) with an affine that carries the spacing alone."""
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    affine = np.diag([*spacing_mm, 1.0])
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = slope, intercept
    header["vox_offset"] = _HEADER_BYTES
    voxels = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(order="F")
    content = header.binaryblock + bytes(_HEADER_BYTES - header.sizeof_hdr) + voxels
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
