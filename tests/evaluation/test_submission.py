from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.cli import COMMANDS, Command, main
from brats_lightning.errors import ConfigError
from brats_lightning.evaluation.submission import Season, check_submission

SHAPE_2023, SHAPE_2024 = (240, 240, 155), (182, 218, 182)
AFFINE_2023 = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
AFFINE_2024 = np.array([[-1.0, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]])
Submit = Callable[..., Path]


@pytest.fixture
def submit(tmp_path: Path) -> Submit:
    """Writes one file of a submission, good for 2023 unless told otherwise."""

    def write(
        name: str,
        *values: int,
        shape: tuple[int, ...] = SHAPE_2023,
        affine: npt.NDArray[np.float64] = AFFINE_2023,
        qform: bool = True,
    ) -> Path:
        array = np.zeros(shape, np.uint8)
        for place, value in enumerate(values):
            array[place + 1, 1, 1] = value
        image = nibabel.Nifti1Image(array, affine)
        if qform:
            image.set_qform(affine, code=1)
        (tmp_path / "s").mkdir(exist_ok=True)
        nibabel.save(image, tmp_path / "s" / name)
        return tmp_path / "s"

    return write


def wrong(folder: Path, season: Season = "2023", references: Path | None = None) -> list[tuple[str, str]]:
    _, problems = check_submission(folder, season=season, references=references)
    assert all(problem.cure for problem in problems)
    return [(problem.case, problem.what) for problem in problems]


def test_a_good_submission_passes(submit: Submit) -> None:
    submit("BraTS-GLI-00001-000.nii.gz", 1, 2, 3)
    assert wrong(submit("my_net_00002-001.nii.gz")) == []


def test_post_treatment_glioma_has_a_grid_and_a_label_of_its_own(submit: Submit) -> None:
    submit("BraTS-GLI-00001-100.nii.gz", 1, 4, shape=SHAPE_2024, affine=AFFINE_2024)
    submit("00002-100.nii.gz", 4, shape=SHAPE_2024, affine=AFFINE_2024)
    submit("BraTS-PED-00003-000.nii.gz", 4)
    folder = submit("BraTS-SSA-00004-000.nii.gz", 3)
    assert wrong(folder, "2024") == []
    assert {case for case, _ in wrong(folder)} == {
        "BraTS-GLI-00001-100.nii.gz", "00002-100.nii.gz", "BraTS-PED-00003-000.nii.gz",
    }  # fmt: skip


def test_radiotherapy_meningioma_has_any_grid(submit: Submit) -> None:
    folder = submit("BraTS-MEN-RT-00001-000.nii.gz", 1, shape=(30, 20, 10), affine=np.diag([2.0, 2, 2, 1]))
    assert wrong(folder, "2024") == []
    submit("BraTS-MEN-RT-00001-000.nii.gz", 2, shape=(30, 20, 10))
    assert wrong(folder, "2024") == [("BraTS-MEN-RT-00001-000.nii.gz", "label 2 found, the task has 0 1")]


@pytest.mark.parametrize(
    "name", ["BraTS2021_00001.nii.gz", "BraTS-GLI-0001-000.nii.gz", "BraTS-GLI-00001-000-seg.nii.gz"]
)
def test_a_name_of_another_form_is_refused(submit: Submit, name: str) -> None:
    (problem,) = wrong(submit(name))
    assert problem == (name, "the name does not end in five digits, a hyphen, three digits and .nii.gz")


def test_everything_that_is_wrong_is_listed_at_once(submit: Submit) -> None:
    submit("BraTS-GLI-00001-000.nii.gz", 4)
    submit("BraTS-GLI-00002-000.nii.gz", shape=(240, 240, 154))
    submit("BraTS-GLI-00003-000.nii.gz", affine=np.diag([-1.0, -1, 1, 1]))
    submit("BraTS-GLI-00004-000.nii.gz", qform=False)
    submit("BraTS-GLI-00005-000.nii")
    submit("BraTS-GLI-00006-000.nii.gz", shape=(4, 4, 4, 3))
    folder = submit("other-00001-000.nii.gz")
    (folder / "notes.txt").touch()
    (folder / "BraTS-GLI-00007-000.nii.gz").write_bytes(b"no image")
    found = dict(wrong(folder))
    assert found["BraTS-GLI-00001-000.nii.gz"] == "label 4 found, the task has 0 1 2 3"
    assert found["BraTS-GLI-00002-000.nii.gz"] == "240×240×154 voxels, expected 240×240×155"
    assert found["BraTS-GLI-00003-000.nii.gz"] == (
        "qform -1 0 0 0; 0 -1 0 0; 0 0 1 0, expected exactly -1 0 0 0; 0 -1 0 239; 0 0 1 0"
    )
    assert found["BraTS-GLI-00005-000.nii"] == "not a .nii.gz file"
    assert "expected three dimensions" in found["BraTS-GLI-00006-000.nii.gz"]
    assert "not a readable volume" in found["BraTS-GLI-00007-000.nii.gz"]
    assert found["notes.txt"] == "not a .nii.gz file"
    assert found["00001-000"] == "a second prediction for 00001-000, beside BraTS-GLI-00001-000.nii.gz"
    # nibabel writes a qform of code 0 with the same numbers, which the validator takes.
    assert len(found) == 8


def test_cases_are_held_against_the_references(submit: Submit, tmp_path: Path) -> None:
    submit("BraTS-GLI-00001-000.nii.gz")
    folder = submit("BraTS-GLI-00009-000.nii.gz")
    for case in ("BraTS-GLI-00001-000", "BraTS-GLI-00002-000"):
        (tmp_path / "r" / case).mkdir(parents=True)
        (tmp_path / "r" / case / f"{case}-seg.nii.gz").touch()
    assert wrong(folder, references=tmp_path / "r") == [
        ("00009-000", "no reference has this case"),
        ("BraTS-GLI-00002-000", "no prediction for this case"),
    ]


def test_no_submission_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        check_submission(tmp_path / "absent", season="2023")
    with pytest.raises(ConfigError, match="holds no file"):
        check_submission(tmp_path, season="2023")


def test_the_command_lists_problems_and_ends_with_code_1(
    submit: Submit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "evaluate", Command("score predictions", "evaluation.evaluate:evaluate"))
    folder = submit("BraTS-GLI-00001-000.nii.gz")
    arguments = ["evaluate", "--predictions", str(folder), "--submission", "2023", "--workers", "1"]
    main(arguments)
    assert "1 files pass as a submission to BraTS 2023." in capsys.readouterr().out
    (folder / "notes.txt").touch()
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    assert "notes.txt" in printed.out
    assert printed.err == f"brats: 1 problems in 2 files: BraTS 2023 would refuse {folder}\n"


def test_real_segmentations_pass_under_submission_names(shared: Path, tmp_path: Path) -> None:
    glioma = shared / "data/brats/BraTS-GLI-00000-000/BraTS-GLI-00000-000-seg.nii.gz"
    (tmp_path / "BraTS-GLI-00000-000.nii.gz").symlink_to(glioma.resolve())
    assert wrong(tmp_path) == []
    treated = shared / "data/formats/seg_brats2024/BraTS-GLI-00046-101-seg.nii.gz"
    other = tmp_path / "2024"
    other.mkdir()
    (other / "BraTS-GLI-00046-101.nii.gz").symlink_to(treated.resolve())
    assert wrong(other, "2024") == []
