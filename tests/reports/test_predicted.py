import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from brats_lightning.data.reading import CaseVolumes
from brats_lightning.errors import Problem
from brats_lightning.labels import LABELS, WHOLE
from brats_lightning.nifti import Grid, UnreadableVolumeError
from brats_lightning.reports.predicted import Predicted, find_predictions, read_prediction

WriteLabels = Callable[..., Path]
SHAPE = (8, 9, 10)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def volumes(shape: tuple[int, int, int] = SHAPE) -> CaseVolumes:
    grid = Grid(shape, LPS)
    image = np.zeros((1, *shape), np.float32)
    return CaseVolumes(image, np.zeros(shape, np.bool_), None, grid.ras(), grid, ())


@pytest.mark.parametrize(
    ("value", "edition", "expected"),
    [(4, "2021", "ET"), (4, "2024-GLI", "RC"), (1, "MSD", "ED"), (4, "internal", "RC"), (3, "internal", "ET")],
)
def test_label_values_are_those_of_the_edition(
    write_labels: WriteLabels, value: int, edition: str, expected: str
) -> None:
    path = write_labels("a.nii.gz", {value: (slice(0, 2), slice(0, 3), slice(0, 4))})
    labels = read_prediction(Predicted(path, edition), volumes())
    assert set(np.unique(labels)) == {0, LABELS[expected]}
    where = np.argwhere(labels).min(axis=0)
    assert where.tolist() == [6, 6, 0]  # the file's axes grow to the left and to the back, those of RAS do not


@pytest.mark.parametrize(("edition", "value"), [("mask", 1), ("internal", WHOLE)])
def test_tumour_of_no_stated_tissue_is_read(write_labels: WriteLabels, edition: str, value: int) -> None:
    path = write_labels("a.nii.gz", {value: (slice(0, 2),) * 3})
    assert read_prediction(Predicted(path, edition), volumes()).max() == WHOLE


def test_white_in_a_picture_is_tumour(tmp_path: Path) -> None:
    rows: npt.NDArray[np.uint8] = np.zeros((9, 8), np.uint8)
    rows[0, 7], rows[4, 2] = 255, 1
    Image.fromarray(rows).save(tmp_path / "a.png")
    labels = read_prediction(Predicted(tmp_path / "a.png", "2021"), volumes((8, 9, 1)))
    assert labels.shape == (8, 9, 1)
    # The picture's first row is the front, which is last in RAS; its last column the patient's left, which is first.
    assert np.argwhere(labels == WHOLE).tolist() == [[0, 8, 0]]
    assert np.argwhere(labels == LABELS["NCR"]).tolist() == [[5, 4, 0]]
    with pytest.raises(UnreadableVolumeError, match="is not that of the case"):
        read_prediction(Predicted(tmp_path / "a.png", "2021"), volumes((9, 8, 1)))


def test_what_does_not_fit_is_refused(write_labels: WriteLabels) -> None:
    path = write_labels("a.nii.gz", {7: (slice(0, 2),) * 3})
    for edition, sentence in (("2021", "label 7 found, BraTS 2021 has"), ("internal", "label 7 found, which is none")):
        with pytest.raises(ValueError, match=sentence):
            read_prediction(Predicted(path, edition), volumes())
    moved = LPS.copy()
    moved[0, 3] = 5
    for options in ({"affine": moved}, {"shape": (8, 9, 11)}):
        path = write_labels("b.nii.gz", {1: (slice(0, 2),) * 3}, **options)
        with pytest.raises(UnreadableVolumeError, match="is not that of the case"):
            read_prediction(Predicted(path, "2021"), volumes())


def test_the_record_of_a_prediction_is_followed(tmp_path: Path) -> None:
    """A map of probabilities lies beside the label map and is none."""
    record: dict[str, Any] = {"files": ["Case.nii.gz", "Case_ET_probability.nii.gz"], "labels": "mask"}
    (tmp_path / "predictions.json").write_text(json.dumps({"cases": {"Case": record}, "failed": {"b": "gone"}}))
    (tmp_path / "other.nii.gz").touch()
    problems: list[Problem] = []
    assert find_predictions(tmp_path, problems) == {"case": Predicted(tmp_path / "Case.nii.gz", "mask")}
    (tmp_path / "predictions.json").write_text("{")
    assert find_predictions(tmp_path, problems) == {"other": Predicted(tmp_path / "other.nii.gz")}
    assert not problems


def test_files_of_others_are_known_by_their_names(tmp_path: Path) -> None:
    names = ["A_seg.nii.gz", "b.NII", "c-pred.mha", "d.png", "e.txt", ".f.nii.gz", "G/g.nii.gz", "h.nii", "h_seg.nii"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    problems: list[Problem] = []
    assert set(find_predictions(tmp_path, problems)) == {"a", "b", "c", "d", "g"}
    assert [(problem.case, problem.file) for problem in problems] == [("h", "h.nii, h_seg.nii")]
