"""Pictures of one slice each as cases of one modality: figshare's MATLAB files, PNG, JPEG, NIfTI of any name."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from brats_lightning.data import figshare
from brats_lightning.data.case import Case
from brats_lightning.data.grey_pictures import AGAIN, UnreadablePictureError, read_grey, write_grey
from brats_lightning.data.naming import walk
from brats_lightning.errors import Problem
from brats_lightning.labels import MASK, WHOLE, Modality
from brats_lightning.nifti import UnreadableVolumeError, Volume, read_grid

MATLAB = ".mat"
PHOTOGRAPHS = (".png", ".jpg", ".jpeg")
NIFTI = (".nii", ".nii.gz")
ENDINGS = (MATLAB, *PHOTOGRAPHS, *NIFTI)
RECORDS = ".predictions"
"""Folder inside an output folder of `brats predict`: PNG and NIfTI files beside it are results."""
WHITE = 255
"""Tumour of no stated tissue in a PNG mask."""


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its name: no volume, and without a place in the world."""
    return path.name.lower().endswith((MATLAB, *PHOTOGRAPHS))


def shows_whole_head(path: Path) -> bool:
    """Whether a file shows skull and air by its kind, so that its background tells nothing of the brain."""
    return path.name.lower().endswith(MATLAB)


def stem(name: str) -> str:
    """A file's name without its ending.

    >>> stem("slice.7.nii.gz")
    'slice.7'
    """
    ending = next((ending for ending in sorted(ENDINGS, key=len, reverse=True) if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def read_picture(path: Path) -> Volume:
    """The image of a picture as a volume (columns, rows, 1).

    Raises:
        UnreadablePictureError: It cannot be used.
    """
    return figshare.read_image(path) if path.name.lower().endswith(MATLAB) else read_grey(path)


def read_picture_mask(path: Path) -> Volume:
    """The label map in or of a picture, in the same way.

    Raises:
        UnreadableVolumeError: It cannot be used.
    """
    return figshare.read_mask(path) if path.name.lower().endswith(MATLAB) else read_grey(path)


def write_picture_mask(path: Path, labels: npt.NDArray[np.uint8], values: npt.NDArray[np.uint8]) -> None:
    """Write a label map as a PNG with exactly the pixels of the picture it was made for.

    Args:
        path: Ends in `.png`.
        labels: (columns, rows, 1) with the labels inside the program.
        values: The same with the values that files get. They are stored as they are, and 255 where all that is known
            is that there is tumour.

    Raises:
        OSError, UnreadableVolumeError: As of `write_grey`.
    """
    write_grey(path, np.where(labels == WHOLE, np.uint8(WHITE), values))


def picture_files(root: Path) -> list[Path]:
    """Files below a folder that may be pictures by their names, sorted within each folder."""
    found: list[Path] = []
    for folder, _, names in walk(root, []):
        results = (*NIFTI, ".png") if (folder / RECORDS).is_dir() else ()
        found += [
            folder / name
            for name in names
            if name.lower().endswith(ENDINGS)
            and not name.startswith(".")  # macOS's shadow files too
            and not name.lower().endswith(results)
            and name.lower() != figshare.INDICES
        ]
    return found


def picture_cases(
    root: Path, *, modality: Modality, edition: str | None, problems: list[Problem], beside: bool
) -> list[Case]:
    """The pictures below a folder as cases; see `find_cases` for which of them count.

    Args:
        root: Searched with all its folders.
        modality: That they are taken for.
        edition: Whose label values hold, None for those of a mask.
        problems: Gets the files that look like a case and are none.
        beside: The folder has other cases.
    """
    files = picture_files(root)
    matlab = [path for path in files if path.name.lower().endswith(MATLAB)]
    cases: list[Case] = []
    for path in matlab or ([] if beside else files):
        try:
            cases += _cases_of(path, modality, edition)
        except UnreadableVolumeError as error:
            if not beside:
                problems.append(Problem(stem(path.name), path.name, str(error), cure_of(error)))
    return cases


def cure_of(error: UnreadableVolumeError) -> str:
    """What to do about a file that cannot be read."""
    return error.cure if isinstance(error, UnreadablePictureError) else AGAIN


def _cases_of(path: Path, modality: Modality, edition: str | None) -> list[Case]:
    if path.name.lower().endswith(MATLAB):
        return [figshare.figshare_case(path, modality=modality, edition=edition)]
    if path.name.lower().endswith(NIFTI) and 1 not in read_grid(path).shape:
        return []
    name = stem(path.name)
    return [Case(name, name, edition or MASK, {modality: path})]
