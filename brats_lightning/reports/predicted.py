"""Predicted label maps: which file of a folder belongs to which case, and what it holds on the case's own grid."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from brats_lightning.data.alignment import on_one_grid
from brats_lightning.data.pictures import WHITE, is_picture, read_picture_mask
from brats_lightning.data.reading import CaseVolumes
from brats_lightning.errors import Problem
from brats_lightning.inference.results import INTERNAL, SUMMARY
from brats_lightning.labels import EDITIONS, LABELS, WHOLE
from brats_lightning.nifti import UnreadableVolumeError, Volume, read_labels

_ENDING = re.compile(r"\.(?:nii|nii\.gz|mha|png)$", re.IGNORECASE)
_SUFFIX = re.compile(r"[-_.](?:seg|segmentation|pred\w*|labels?)$", re.IGNORECASE)
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Predicted:
    """A predicted label map.

    Args:
        path: Its file.
        labels: Edition whose values it holds, or `internal`; None where nothing says so.
    """

    path: Path
    labels: str | None = None


def find_predictions(folder: Path, problems: list[Problem]) -> dict[str, Predicted]:
    """Label maps of a folder by the lower-case id of their case.

    Args:
        folder: Of `brats predict`, whose record says which file is a label map and of which edition; or of files such
            as `<case>.nii.gz`, `<case>_seg.nii.gz` or `<case>.png`, in folders too.
        problems: Gets cases that have several.
    """
    recorded = _recorded(folder)
    if recorded:
        return recorded
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if _ENDING.search(path.name) and not path.name.startswith("."):
            case = _SUFFIX.sub("", _ENDING.sub("", path.name))
            found.setdefault(case.lower(), []).append(path)
    for case, paths in found.items():
        if len(paths) > 1:
            names = ", ".join(str(path.relative_to(folder)) for path in paths)
            problems.append(Problem(case, names, "several label maps for one case", "keep one of them"))
    return {case: Predicted(paths[0]) for case, paths in found.items() if len(paths) == 1}


def _recorded(folder: Path) -> dict[str, Predicted]:
    """What `brats predict` says of its results; nothing where it has not written here."""
    try:
        cases: Mapping[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["cases"]
        return {
            case.lower(): Predicted(folder / Path(record["files"][0]).name, record["labels"])
            for case, record in cases.items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def read_prediction(predicted: Predicted, volumes: CaseVolumes) -> Labels:
    """Predicted labels (X, Y, Z) as inside the program, in RAS order.

    Args:
        predicted: The file, whose edition is known.
        volumes: Of the case.

    Raises:
        UnreadableVolumeError: The file is no label map, or lies on another grid than the case.
        ValueError: Labels that the edition does not have.
    """
    picture = is_picture(predicted.path)
    stored = read_picture_mask(predicted.path) if picture else read_labels(predicted.path)
    # A picture has no place in the world.
    fits = stored.grid.shape == volumes.native.shape if picture else on_one_grid(stored.grid, volumes.native)
    if stored.array.ndim != 3 or not fits:
        raise UnreadableVolumeError(f"its grid ({stored.grid}) is not that of the case ({volumes.native})")
    whole = stored.array == WHITE if picture else np.zeros(stored.array.shape, bool)
    labels = _decoded(np.where(whole, 0, stored.array), str(predicted.labels))
    return Volume(np.where(whole, np.uint8(WHOLE), labels), stored.grid).ras().array


def _decoded(array: npt.NDArray[Any], edition: str) -> Labels:
    if edition != INTERNAL:
        return EDITIONS[edition].decode(array)
    if foreign := sorted(set(np.unique(array).tolist()) - {0, WHOLE, *LABELS.values()}):
        raise ValueError(f"label {' '.join(map(str, foreign))} found, which is none inside the program")
    return array.astype(np.uint8)
