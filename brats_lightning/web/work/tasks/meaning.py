"""Whose label values a reference holds that somebody puts: its name tells, or else the values that occur in it."""

from pathlib import Path

from brats_lightning.data.naming import recognise
from brats_lightning.data.pictures import WHITE, is_picture, read_picture_mask
from brats_lightning.errors import DatasetError, Problem
from brats_lightning.labels import EDITIONS, LABELS, MASK, label_values
from brats_lightning.nifti import UnreadableVolumeError, read_labels
from brats_lightning.web.work.tasks.given import Given

_LIKELY = ("2023", "2021", "2024-GLI", "2024-PED")
_NAMES = {value: name for name, value in LABELS.items()}


def edition_of_reference(given: Given, path: Path, *, predicted: str) -> tuple[str, list[str]]:
    """Whose label values a reference holds, and what had to be guessed.

    A file that is named as an edition names its own is of the edition of its case. Of other files the values speak: a 1
    alone, or 255 in a picture, is a mask of the whole tumour; otherwise they are those of the segmentation if they can
    be, of 2023 (1 to 3), of 2021 and before (a 4 without a 3), or of 2024.

    Args:
        given: The case.
        path: Of the reference.
        predicted: Edition of the segmentation.

    Raises:
        DatasetError: It cannot be read, or its values are of no edition.
    """
    try:
        stored = read_picture_mask(path) if is_picture(path) else read_labels(path)
    except UnreadableVolumeError as error:
        cure = "give a label map: a NIfTI file of whole numbers, or for a picture a mask of its size"
        raise DatasetError(Problem(given.case.id, path.name, str(error), cure)) from error
    values = label_values(stored.array) - {0}
    if given.known and recognise(Path(), given.names.get(path.name, "")) is not None:
        return given.case.edition, []
    if values and values <= ({1, WHITE} if is_picture(path) else {1}):
        return MASK, ["the reference is read as a mask of the whole tumour"]
    candidates = [name for name in (predicted, given.case.edition, *_LIKELY) if name in EDITIONS]
    fitting = [name for name in candidates if values <= EDITIONS[name].values.keys()]
    if not fitting:
        what = (
            f"it has the values {' '.join(map(str, sorted(values)[:8]))}, which are the labels of no edition of BraTS"
        )
        raise DatasetError(Problem(given.case.id, path.name, what, "give a label map of 1 to 4, or a mask of 0 and 1"))
    meant = ", ".join(f"{value} {_NAMES.get(EDITIONS[fitting[0]].values[value], 'tumour')}" for value in sorted(values))
    return fitting[0], [f"the reference is read with the label values of {EDITIONS[fitting[0]]}: {meant}"] * bool(meant)
