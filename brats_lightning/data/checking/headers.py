"""Headers of a case's files: do they agree, and do they say one thing?

Only the start of each file is read, and the last four bytes of a compressed one.
"""

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel.spatialimages
import nibabel.wrapstruct
import numpy as np

from brats_lightning.data.alignment import on_one_grid
from brats_lightning.data.case import Case, Volume4D
from brats_lightning.data.checking.findings import CaseChecked, CaseNumbers, HeaderFacts, Remark
from brats_lightning.data.pictures import is_picture
from brats_lightning.errors import Problem
from brats_lightning.labels import Modality
from brats_lightning.nifti import SAME_GRID_MM, Grid, UnreadableVolumeError, read_grid
from brats_lightning.nifti_header import GZIP, quirks, read_header

SAME_SPACING = 0.01
"""Voxel sizes that differ by less than this share are one: headers round them."""
MM = (0, 2)
"""Codes of `xyzt_units` that mean millimetres: unknown is taken for it by every program."""
SPATIAL_UNITS = 0x07
AGAIN = "download the file again"
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, nibabel.spatialimages.HeaderDataError,
               nibabel.wrapstruct.WrapStructError)  # fmt: skip


def check_headers(case: Case, *, modalities: Sequence[Modality]) -> CaseChecked:
    """Read the headers of a case's files, and say what is wrong and what is odd.

    Args:
        case: From `find_cases`.
        modalities: Images to look at.
    """
    problems: list[Problem] = []
    remarks: list[Remark] = []
    notes = list(case.notes)
    headers: dict[str, HeaderFacts] = {}
    grids: dict[str, Grid] = {}
    for kind, (path, channel) in files_of(case, modalities).items():
        if not has_nifti_header(path):
            continue
        try:
            facts, grid, odd, noted = read_facts(path, channel=channel)
        except UnreadableVolumeError as error:
            problems.append(Problem(case.id, path.name, str(error), AGAIN))
            continue
        headers[kind], grids[kind] = facts, grid
        remarks += [Remark(case.id, "header", what, path.name) for what in odd]
        notes += [f"{path.name}: {note}" for note in noted]
    first, *others = list(grids) or [""]
    problems += [_apart(case, headers[kind], grids[kind], headers[first], grids[first]) for kind in others
                 if not on_one_grid(grids[kind], grids[first])]  # fmt: skip
    numbers = CaseNumbers(headers)
    if grids:
        numbers = CaseNumbers(headers, shape=grids[first].ras().shape, voxel_ml=voxel_ml(grids[first]))
    return CaseChecked(
        tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(remarks)), numbers
    )


def files_of(case: Case, modalities: Sequence[Modality]) -> dict[str, tuple[Path, int | None]]:
    """File of each modality and of the `label`, with the channel in a 4-D file."""
    files: dict[str, tuple[Path, int | None]] = {}
    for modality in modalities:
        file = case.images[modality]
        files[modality] = (file.path, file.channel) if isinstance(file, Volume4D) else (file, None)
    return files if case.label is None else {**files, "label": (case.label, None)}


def has_nifti_header(path: Path) -> bool:
    """Whether a file is NIfTI by its name: MetaImages and pictures say less, and are read whole or not at all."""
    return not is_picture(path) and not path.name.lower().endswith((".mha", ".mhd"))


def voxel_ml(grid: Grid) -> float:
    """Volume of one voxel."""
    return abs(float(np.linalg.det(grid.affine[:3, :3]))) / 1000


def read_facts(path: Path, *, channel: int | None = None) -> tuple[HeaderFacts, Grid, tuple[str, ...], tuple[str, ...]]:
    """What the header of a NIfTI file says.

    Args:
        path: The file.
        channel: That must be there along a fourth axis; None expects three dimensions.

    Returns:
        The facts, the grid, what is odd about them, and the oddities that reading a volume notes by itself.

    Raises:
        UnreadableVolumeError: It has no usable header, or one that the file's size belies.
    """
    grid = read_grid(path)
    try:
        header = read_header(path, check=False)
        facts = _facts(path, header, grid)
        claimed = int(header["vox_offset"]) + math.prod(facts.shape) * int(header.get_data_dtype().itemsize)
        odd = [*_oddities(header, grid), *_require_size(path, claimed)]
    except _UNREADABLE as error:
        raise UnreadableVolumeError(f"no readable NIfTI header ({str(error).splitlines()[0]})") from error
    _require_shape(facts.shape, channel)
    return facts, grid, tuple(odd), quirks(header)


def _facts(path: Path, header: Any, grid: Grid) -> HeaderFacts:
    dtype = header.get_data_dtype()
    shape = tuple(int(size) for size in header.get_data_shape())
    limits = None
    if dtype.kind in "iu":
        slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
        scaled = math.isfinite(slope) and slope != 0
        info = np.iinfo(dtype)
        ends = sorted(value * slope + intercept if scaled else value for value in (float(info.min), float(info.max)))
        limits = ends[0], ends[1]
    elif dtype.kind != "f":
        raise ValueError(f"expected numbers, found {dtype}")
    return HeaderFacts(
        path.name, shape, grid.spacing_mm, grid.orientation, dtype.newbyteorder("=").name, limits, path.stat().st_size
    )


def _require_shape(shape: tuple[int, ...], channel: int | None) -> None:
    if channel is None and (len(shape) not in (2, 3) and shape[3:] != (1,)):
        raise UnreadableVolumeError(f"expected three dimensions, found shape {shape}")
    if channel is not None and (len(shape) != 4 or shape[3] <= channel):
        raise UnreadableVolumeError(f"expected a fourth axis with channel {channel}, found {shape}")


def _require_size(path: Path, claimed: int) -> list[str]:
    """Compare the header's tale with the file's size, which a compressed file tells in its last four bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(2) != GZIP:
            if size < claimed:
                raise ValueError(f"it tells of {claimed} bytes, the file has {size}")
            return []
        file.seek(max(size - 4, 0))
        told = int.from_bytes(file.read(4), "little")
    if told == claimed % 2**32:
        return []
    # No proof: streams may stand one behind the other, and voxels may be followed by something else.
    return [f"unpacks to {told} bytes by its last four bytes and to {claimed} by its header: cut short, or unusual"]


def _oddities(header: Any, grid: Grid) -> list[str]:
    """What a header says in two ways that differ."""
    found = []
    if int(header["xyzt_units"]) & SPATIAL_UNITS not in MM:
        found.append("its unit of length is not mm, as every program takes it")
    pixdim = [abs(float(size)) for size in header["pixdim"][1:4]]
    used = len(header.get_data_shape()[:3])
    if any(
        abs(told - size) > SAME_SPACING * size for told, size in zip(pixdim[:used], grid.spacing_mm[:used], strict=True)
    ):
        sizes = ("×".join(f"{size:.3g}" for size in sides) for sides in (pixdim, grid.spacing_mm))
        found.append("voxels of {} mm by pixdim and of {} mm by the affine".format(*sizes))
    if int(header["qform_code"]) > 0 and int(header["sform_code"]) > 0:
        forms = [Grid(grid.shape, np.asarray(form, np.float64)) for form in (header.get_qform(), header.get_sform())]
        if (apart := forms[0].distance_mm(forms[1])) > SAME_GRID_MM:
            found.append(f"qform and sform are {apart:.3g} mm apart: programs place it differently")
    axes = grid.affine[:3, :3] / np.asarray(grid.spacing_mm)
    if np.abs(axes.T @ axes - np.eye(3)).max() > SAME_SPACING:
        found.append("its axes are not at right angles")
    return found


def _apart(case: Case, facts: HeaderFacts, grid: Grid, reference: HeaderFacts, wanted: Grid) -> Problem:
    what = f"its grid ({grid}) is not that of {reference.file} ({wanted})"
    return Problem(case.id, facts.file, what, "co-register the files and resample them to one grid")
