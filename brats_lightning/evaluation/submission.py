"""Check a folder as the challenge's validator does before it accepts a submission, and more strictly where it sleeps.

Rules of https://github.com/Sage-Bionetworks-Challenges, `validate.py` of BraTS 2023 and 2024. The published script
refuses a file only if its shape and its qform are both wrong, and stops at the first; labels it does not look at.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np

from brats_lightning.data.naming import walk
from brats_lightning.errors import ConfigError, Problem
from brats_lightning.evaluation.label_files import find_label_files, read_label_map
from brats_lightning.labels import EDITIONS, label_values
from brats_lightning.nifti import UnreadableVolumeError
from brats_lightning.parallel import in_parallel

Season = Literal["2023", "2024"]
_NAME = re.compile(r"(\d{5}-\d{3})\.nii\.gz$")
_TASK = re.compile(r"BraTS-([A-Z]{3}(?:-RT)?)-", re.IGNORECASE)
_GLIOMA = "GLI"


@dataclass(frozen=True)
class SubmissionRules:
    """What the files of a task must be like.

    Args:
        shape: Voxels along each axis, None where any will do.
        qform: (4, 4) matrix of the header, rows joined.
        labels: Allowed values besides background.
    """

    shape: tuple[int, int, int] | None
    qform: tuple[float, ...]
    labels: frozenset[int]


def _rules(shape: tuple[int, int, int] | None, flip_y: int, origin: tuple[float, ...], edition: str) -> SubmissionRules:
    x, y, z = origin
    qform = (-1.0, 0.0, 0.0, x, 0.0, flip_y, 0.0, y, 0.0, 0.0, 1.0, z, 0.0, 0.0, 0.0, 1.0)
    return SubmissionRules(shape, qform, frozenset(EDITIONS[edition].values))


_SRI24 = ((240, 240, 155), -1, (0.0, 239.0, 0.0))
_MNI152 = ((182, 218, 182), 1, (90.0, -126.0, -72.0))
RULES: Mapping[tuple[Season, str], SubmissionRules] = {
    ("2023", ""): _rules(*_SRI24, "2023"),
    ("2024", ""): _rules(*_SRI24, "2023"),
    ("2024", "PED"): _rules(*_SRI24, "2024-PED"),
    ("2024", "GLI"): _rules(*_MNI152, "2024-GLI"),
    ("2024", "MEN-RT"): SubmissionRules(None, (), frozenset({1})),
}
"""By season and task; an empty task is every other one."""


def check_submission(
    folder: Path, *, season: Season, references: Path | None = None, workers: int = 1
) -> tuple[int, list[Problem]]:
    """List everything that the challenge would refuse.

    Args:
        folder: Of predictions.
        season: Whose rules.
        references: Folder with the reference of every case, for cases that are missing or unknown.
        workers: Processes that read.

    Returns:
        Number of files, and what is wrong.

    Raises:
        ConfigError: The folder is not there or empty.
    """
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder}: expected one of predictions")
    problems: list[Problem] = []
    files = [directory / name for directory, _, names in walk(folder, problems) for name in names]
    if not files:
        raise ConfigError(f"{folder} holds no file: expected predictions named like BraTS-GLI-00005-100.nii.gz")
    cases: dict[str, Path] = {}
    for path in files:
        match = _NAME.search(path.name)
        if path.name.endswith(".nii.gz") and not match:
            cure = "name it like BraTS-GLI-00005-100.nii.gz"
            what = "the name does not end in five digits, a hyphen, three digits and .nii.gz"
            problems.append(Problem(path.name, "", what, cure))
        elif match and cases.setdefault(match[1], path) != path:
            what = f"a second prediction for {match[1]}, beside {cases[match[1]].name}"
            problems.append(Problem(match[1], path.name, what, "keep one of them"))
    jobs = [(path, _task_rules(season, path.name)) for path in files]
    for _, found in in_parallel(_check_file, jobs, workers=workers, doing="Checking predictions"):
        problems += found
    if references is not None:
        problems += _against_references(cases, references)
    return len(files), sorted(problems, key=lambda problem: (problem.case, problem.file, problem.what))


def _task_rules(season: Season, name: str) -> SubmissionRules:
    match = _TASK.search(name)
    task = match[1].upper() if match else _GLIOMA
    return RULES.get((season, task), RULES[season, ""])


def _check_file(job: tuple[Path, SubmissionRules]) -> list[Problem]:
    path, rules = job
    if not path.name.endswith(".nii.gz"):
        return [Problem(path.name, "", "not a .nii.gz file", "hand in compressed NIfTI files only")]
    try:
        volume = read_label_map(path)
    except UnreadableVolumeError as error:
        return [Problem(path.name, "", str(error), "write it again as one 3-D map of whole-number labels")]
    problems = []
    if rules.shape is not None:
        if volume.grid.shape != rules.shape:
            found, expected = ("×".join(map(str, shape)) for shape in (volume.grid.shape, rules.shape))
            what = f"{found} voxels, expected {expected}"
            problems.append(Problem(path.name, "", what, "write it on the grid of the case's images"))
        qform = nibabel.load(path).header.get_qform()
        expected_qform = np.reshape(rules.qform, (4, 4))
        if not np.array_equal(qform, expected_qform):
            what = f"qform {_rows(qform)}, expected exactly {_rows(expected_qform)}"
            problems.append(Problem(path.name, "", what, "copy the header of one of the case's images"))
    if foreign := sorted(label_values(volume.array) - {0} - rules.labels):
        allowed = " ".join(map(str, sorted({0} | rules.labels)))
        what = f"label {' '.join(map(str, foreign))} found, the task has {allowed}"
        problems.append(Problem(path.name, "", what, "translate the labels to those of the task"))
    return problems


def _rows(matrix: np.typing.NDArray[np.float64]) -> str:
    return "; ".join(" ".join(f"{value + 0:g}" for value in row) for row in matrix[:3])


def _against_references(cases: Mapping[str, Path], references: Path) -> list[Problem]:
    expected, problems = find_label_files(references, beside_images=True)
    ids = {match[1]: file.case for file in expected.values() if (match := _NAME.search(f"{file.case}.nii.gz"))}
    for case in sorted(cases.keys() - ids.keys()):
        problems.append(Problem(case, cases[case].name, "no reference has this case", "take it out of the submission"))
    for case in sorted(ids.keys() - cases.keys()):
        problems.append(Problem(ids[case], "", "no prediction for this case", "add it, it would count as missed"))
    return problems
