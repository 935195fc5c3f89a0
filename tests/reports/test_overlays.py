from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from matplotlib.image import imread

from brats_lightning.cli import main
from brats_lightning.errors import ConfigError, DatasetError
from brats_lightning.reports.overlays import overlay

WriteCase = Callable[..., Path]


def write_prediction(folder: Path, case: Path, *, value: int = 4, name: str = "") -> None:
    """A label map on a case's grid."""
    like = nibabel.load(case / f"{case.name}_t1.nii.gz")
    array = np.zeros(like.shape, np.uint8)
    array[6:12, 6:12, 6:12] = value
    folder.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, like.affine), folder / (name or f"{case.name}.nii.gz"))


@pytest.fixture
def folders(tmp_path: Path, write_case: WriteCase) -> tuple[Path, Path]:
    """Two cases, the second unlabelled, with predictions of both."""
    for number, label in enumerate(("_seg", None)):
        case = write_case(f"BraTS2021_0000{number}", label=label, seed=number)
        write_prediction(tmp_path / "predictions", case)
    return tmp_path / "cases", tmp_path / "predictions"


def test_each_case_gets_a_picture_and_a_reference_where_it_has_one(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases, predictions = folders
    output = tmp_path / "new" / "pictures"
    options = ["--output", str(output), "--workers", "1", "--slices", "1", "--modalities", "t1c", "t2f"]
    main(["overlay", str(cases), "--predictions", str(predictions), *options])
    assert f"2 pictures: {output}" in capsys.readouterr().out
    labelled, unlabelled = (imread(output / f"BraTS2021_0000{number}.png").shape for number in range(2))
    assert labelled[1] == unlabelled[1]
    assert labelled[0] > unlabelled[0] + 30  # a third row


def test_a_bad_case_is_reported_and_passed_over(
    folders: tuple[Path, Path], tmp_path: Path, write_case: WriteCase, capsys: pytest.CaptureFixture[str]
) -> None:
    cases, predictions = folders
    write_case("BraTS2021_00007", seed=7)
    write_prediction(predictions, cases / "BraTS2021_00001", value=3)
    broken = write_case("BraTS2021_00002", seed=2)
    write_prediction(predictions, broken, name="BraTS2021_00002_pred.nii.gz")
    (broken / "BraTS2021_00002_t1.nii.gz").write_bytes(b"broken")
    chosen: dict[str, Any] = {"predictions": predictions, "modalities": ("t1n",), "slices": 1, "workers": 1}
    with pytest.raises(DatasetError, match=r"BraTS2021_00001\.nii\.gz: label 3 found") as raised:
        overlay(cases, output=tmp_path / "out", **chosen)
    assert {problem.case for problem in raised.value.problems} == {"BraTS2021_00001", "BraTS2021_00002"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["BraTS2021_00000.png"]
    said = capsys.readouterr().out
    assert "1 picture: " in said
    assert "1 case without a prediction: BraTS2021_00007" in said


def test_options_without_sense_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    cases, predictions = folders
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"slices": 0}, "slices is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"prediction_edition": "1999"}, "edition '1999' is unknown: expected internal or one of"),
        ({"predictions": tmp_path / "absent"}, "no folder .*absent"),
        ({"predictions": tmp_path / "empty"}, "empty has no label map of a case of"),
        ({"output": predictions}, "holds what the pictures are made of"),
        ({"output": tmp_path / "file" / "out", "modalities": ("t1n",)}, "out cannot be written"),
    ]
    usual: dict[str, Any] = {"predictions": predictions, "output": tmp_path / "out", "workers": 1}
    for options, sentence in wrong:
        with pytest.raises(ConfigError, match=sentence):
            overlay(cases, **(usual | options))


def test_pictures_of_one_slice_are_drawn(tmp_path: Path, shared: Path) -> None:
    """A slice of the figshare set with a mask such as `brats predict` writes for it."""
    from PIL import Image  # noqa: PLC0415 - as in the program, few tests need it

    cases, predictions = tmp_path / "cases", tmp_path / "predictions"
    cases.mkdir()
    predictions.mkdir()
    (cases / "1607.mat").symlink_to(shared / "data" / "figshare" / "1607.mat")
    mask = np.zeros((512, 512), np.uint8)
    mask[200:260, 200:260] = 255
    Image.fromarray(mask).save(predictions / "1607.png")
    overlay(cases, predictions=predictions, output=tmp_path / "out", modalities=("t1c",), workers=1)
    height, width, _ = imread(tmp_path / "out" / "1607.png").shape
    assert width > 2 * height  # image, prediction and reference side by side
