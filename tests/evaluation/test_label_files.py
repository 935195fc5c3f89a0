from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from brats_lightning.errors import ConfigError, DatasetError, Problem
from brats_lightning.evaluation.label_files import LabelFile, LabelMap, find_label_files, inspect

Write = Callable[..., Path]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("name", "case", "family"),
    [
        ("BraTS2021_00001.nii.gz", "BraTS2021_00001", "2021"),
        ("BraTS2021_00001_seg.nii.gz", "BraTS2021_00001", "2021"),
        ("BraTS2021_00001_SEG.NII", "BraTS2021_00001", "2021"),
        ("BraTS2021_00001_pred.nii", "BraTS2021_00001", "2021"),
        ("BraTS2021_00001_prediction_fold0.nii.gz", "BraTS2021_00001", "2021"),
        ("BraTS2021_00001/pred.nii.gz", "BraTS2021_00001", "2021"),
        ("BraTS2021_00001/segmentation.nii.gz", "BraTS2021_00001", "2021"),
        ("deep/er/Brats18_2013_2_1.nii.gz", "Brats18_2013_2_1", "2018"),
        ("BraTS20_Training_001-seg.nii", "BraTS20_Training_001", "2020"),
        ("BraTS-GLI-00005-100.nii.gz", "BraTS-GLI-00005-100", "GLI"),
        ("BraTS-PED-00005-000-pred.nii.gz", "BraTS-PED-00005-000", "PED"),
        ("BraTS-MET-00005-000-seg.nii.gz", "BraTS-MET-00005-000", "2023"),
        ("BRATS_001.nii.gz", "BRATS_001", "MSD"),
        ("labelsTr/BRATS_001.nii.gz", "BRATS_001", "MSD"),
        ("Müller, 3. Mai_labels.nii.gz", "Müller, 3. Mai", ""),
        ("patient_0001.nii.gz", "patient_0001", ""),
    ],
)
@pytest.mark.parametrize("beside_images", [False, True])
def test_a_file_tells_its_case(tmp_path: Path, name: str, case: str, family: str, beside_images: bool) -> None:
    found, problems = find_label_files(touch(tmp_path, name), beside_images=beside_images)
    assert found == {case.lower(): LabelFile(case, tmp_path / name, family)}
    assert problems == []


def test_images_and_hidden_files_are_no_label_maps(tmp_path: Path) -> None:
    images = [f"BraTS2021_00001/BraTS2021_00001_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair")]
    others = ["own_T1.nii.gz", "own_t1gd.nii", "._own.nii.gz", "notes.txt", ".trash/own.nii", "imagesTr/BRATS_001.nii"]
    touch(tmp_path, *images, *others, "own_seg.nii.gz", "BraTS2021_00001/BraTS2021_00001_seg.nii.gz")
    assert find_label_files(tmp_path, beside_images=True)[0].keys() == {"own", "brats2021_00001"}


def test_beside_a_named_segmentation_other_files_are_images(tmp_path: Path) -> None:
    touch(tmp_path, "a/P1_seg.nii.gz", "a/P1_brainmask.nii.gz", "a/P1.nii.gz", "b/P2.nii.gz")
    assert find_label_files(tmp_path, beside_images=True)[0].keys() == {"p1", "p2"}
    found, problems = find_label_files(tmp_path, beside_images=False)
    assert found.keys() == {"p1_brainmask", "p2"}
    assert [problem.case for problem in problems] == ["P1"]


def test_a_case_with_two_files_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "one/P1.nii.gz", "two/p1_pred.nii", "P2.nii")
    found, (problem,) = find_label_files(tmp_path, beside_images=False)
    assert found.keys() == {"p2"}
    assert (problem.case, problem.what) == ("P1", "several label maps for one case")
    assert problem.file == f"{Path('one/P1.nii.gz')}, {Path('two/p1_pred.nii')}"


def test_the_misnamed_label_of_case_355_is_found(tmp_path: Path) -> None:
    folder = "BraTS20_Training_355"
    touch(tmp_path, f"{folder}/{folder}_t1.nii", f"{folder}/W39_1998.09.19_Segm.nii")
    found, _ = find_label_files(tmp_path, beside_images=True)
    assert {case: file.path.name for case, file in found.items()} == {folder.lower(): "W39_1998.09.19_Segm.nii"}


def test_a_folder_without_label_maps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        find_label_files(tmp_path / "absent", beside_images=True)
    touch(tmp_path, "P1_t1.nii.gz", "readme.md")
    with pytest.raises(DatasetError, match="no label map in this folder; expected files such as"):
        find_label_files(tmp_path, beside_images=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_labels_of_any_type_are_read(write_labels: Write, dtype: type) -> None:
    path = write_labels("P1.nii.gz", {1: np.s_[2:4, 2:4, 2:4], 4: np.s_[5:6, 5:6, 5:6]}, dtype=dtype)
    looked_at = inspect(LabelFile("P1", path, ""))
    assert isinstance(looked_at, LabelMap)
    assert looked_at.values == {1, 4}
    assert looked_at.grid.shape == (8, 9, 10)


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.zeros((3, 4, 5, 2), np.uint8), "expected three dimensions, found shape (3, 4, 5, 2)"),
        (np.full((3, 4, 5), 0.5, np.float32), "labels that are no whole numbers, as after interpolation"),
        (np.full((3, 4, 5), np.nan, np.float32), "labels that are NaN or infinite"),
        (np.ones((3, 4, 5), np.uint8), "every voxel is labelled, there is no background"),
    ],
)
def test_what_is_no_label_map_is_named(write_labels: Write, array: np.typing.NDArray[np.float32], what: str) -> None:
    path = write_labels("P1_pred.nii.gz", array)
    problem = inspect(LabelFile("P1", path, ""))
    assert problem == Problem("P1", path.name, what, "write it again as one 3-D map of whole-number labels")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "P1.nii.gz"
    path.write_bytes(b"\x1f\x8b broken")
    problem = inspect(LabelFile("P1", path, ""))
    assert isinstance(problem, Problem)
    assert problem.what == "the compressed data are cut short or damaged"
