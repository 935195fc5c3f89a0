import errno
import os
from collections.abc import Callable
from pathlib import Path

import itk
import nibabel
import numpy as np
import pytest

from brats_lightning.data.case import Case
from brats_lightning.data.cases import Found, find_cases
from brats_lightning.errors import ConfigError, DatasetError
from brats_lightning.labels import MODALITIES

Write = Callable[..., Path]
OLD = ("_t1", "_t1ce", "_t2", "_flair")
NEW = ("-t1n", "-t1c", "-t2w", "-t2f")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cases"


def only(found: Found) -> Case:
    assert found.problems == ()
    (case,) = found.cases
    return case


def header_alone(path: Path, shape: tuple[int, int, int]) -> None:
    """A file that ends where its voxels would begin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_sform(np.eye(4), code=1)
    header.set_data_offset(352)
    header["magic"] = b"n+1"
    path.write_bytes(header.binaryblock + bytes(4))


@pytest.mark.parametrize(
    ("folder", "case", "ending", "edition", "patient"),
    [
        ("HGG", "Brats18_2013_2_1", ".nii.gz", "2018", "2013_2"),
        ("LGG", "Brats18_TCIA09_141_1", ".nii", "2018", "TCIA09_141"),
        ("LGG", "BraTS19_TMC_09043_1", ".nii.gz", "2019", "TMC_09043"),
        ("HGG", "BraTS19_CBICA_AAB_1", ".nii", "2019", "CBICA_AAB"),
        ("", "BraTS20_Training_001", ".nii", "2020", "BraTS20_Training_001"),
        ("", "BraTS20_Training_002", ".nii.gz", "2020", "BraTS20_Training_002"),
        ("", "BraTS2021_00000", ".nii.gz", "2021", "BraTS2021_00000"),
        ("", "BraTS2021_00001", ".NII.GZ", "2021", "BraTS2021_00001"),
        ("TrainingData", "BraTS-GLI-00005-001", ".nii.gz", "2023", "BraTS-GLI-00005"),
        ("", "BraTS-SSA-00002-000", ".nii.gz", "2023", "BraTS-SSA-00002"),
        ("", "BraTS-MEN-00004-000", ".nii.gz", "2023", "BraTS-MEN-00004"),
        ("", "BraTS-MET-00002-000", ".nii.gz", "2023", "BraTS-MET-00002"),
    ],
)
def test_every_edition_is_recognised(
    *, write_case: Write, root: Path, folder: str, case: str, ending: str, edition: str, patient: str
) -> None:
    old = not case.startswith("BraTS-")
    written = write_case(case, names=OLD if old else NEW, label="_seg" if old else "-seg", folder=folder, ending=ending)
    found = only(find_cases(root))
    assert (found.id, found.edition, found.patient) == (case, edition, patient)
    images = dict(zip(MODALITIES, OLD if old else NEW, strict=True))
    assert dict(found.images) == {name: written / f"{case}{part}{ending}" for name, part in images.items()}
    assert found.label == written / f"{case}{'_' if old else '-'}seg{ending}"
    assert len(found.files) == 5
    assert len(found.notes) == (4 if ending == ".NII.GZ" else 0)


def test_scans_of_one_patient_stay_one_patient_in_2018_and_2019(write_case: Write, root: Path) -> None:
    for case in ("Brats18_CBICA_AAB_1", "BraTS19_CBICA_AAB_1", "BraTS19_TCIA01_231_1", "BraTS19_TCIA01_231_2"):
        write_case(case)
    assert [case.patient for case in find_cases(root).cases] == ["CBICA_AAB"] * 1 + ["TCIA01_231"] * 2 + ["CBICA_AAB"]


def test_2020_as_published_with_its_defect(write_case: Write, root: Path) -> None:
    for case in ("BraTS20_Training_354", "BraTS20_Training_355", "BraTS20_Training_356"):
        write_case(case, ending=".nii")
    for table in ("name_mapping.csv", "survival_info.csv"):
        (root / table).write_text("a,b\n")
    misnamed = root / "BraTS20_Training_355"
    (misnamed / "BraTS20_Training_355_seg.nii").rename(misnamed / "W39_1998.09.19_Segm.nii")
    found = find_cases(root)
    assert found.problems == ()
    before, affected, after = found.cases
    assert affected.label == misnamed / "W39_1998.09.19_Segm.nii"
    assert "published wrong name" in affected.notes[0]
    assert before.label == root / before.id / f"{before.id}_seg.nii"
    assert after.label == root / after.id / f"{after.id}_seg.nii"


def test_an_odd_letter_case_is_read_and_noted(write_case: Write, root: Path) -> None:
    write_case("BraTS-GLI-00000-000", names=("-t1n", "-t1c", "-t2W", "-t2f"), label="-seg")
    case = only(find_cases(root))
    assert isinstance(case.images["t2w"], Path)
    assert case.images["t2w"].name == "BraTS-GLI-00000-000-t2W.nii.gz"
    assert case.notes == ("BraTS-GLI-00000-000-t2W.nii.gz: unusual letter case",)


@pytest.mark.parametrize(("shape", "edition"), [((182, 218, 182), "2024-GLI"), ((240, 240, 155), "2023")])
def test_gliomas_of_2024_are_told_by_their_grid(root: Path, shape: tuple[int, int, int], edition: str) -> None:
    for kind in (*NEW, "-seg"):
        header_alone(root / "BraTS-GLI-00005-100" / f"BraTS-GLI-00005-100{kind}.nii", shape)
    assert only(find_cases(root)).edition == edition


def test_an_unreadable_header_is_named_with_its_file(write_case: Write, root: Path) -> None:
    folder = write_case("BraTS-GLI-00005-100", names=NEW, label="-seg")
    (folder / "BraTS-GLI-00005-100-seg.nii.gz").write_bytes(b"")
    (problem,) = find_cases(root).problems
    assert "BraTS-GLI-00005-100-seg.nii.gz" in str(problem)
    assert "no readable NIfTI header" in problem.what


def test_an_edition_that_is_told_holds_for_every_case(write_case: Write, root: Path) -> None:
    write_case("BraTS2021_00001")
    write_case("BraTS-PED-00001-000", names=NEW, label="-seg", values=(1, 2, 3))
    found = find_cases(root, edition="2024-PED")
    assert found.problems == ()
    assert [case.edition for case in found.cases] == ["2024-PED", "2024-PED"]


@pytest.mark.slow
def test_2015_is_read_from_metaimages(root: Path) -> None:
    generator = np.random.default_rng(0)
    names = {"t2f": "MR_Flair.1", "t1n": "MR_T1.2", "t1c": "MR_T1c.3", "t2w": "MR_T2.4", "seg": "OT.5"}
    for grade, patient in (("HGG", "brats_tcia_pat153_0001"), ("HGG", "brats_tcia_pat153_0181"), ("LG", "0001")):
        for kind in names.values():
            name = f"VSD.Brain{'_3more' * kind.startswith('OT')}.XX.O.{kind}"
            (root / grade / patient / name).mkdir(parents=True)
            image = itk.image_from_array(generator.integers(0, 5, (4, 5, 6)).astype(np.uint8))
            itk.imwrite(image, str(root / grade / patient / name / f"{name}.mha"))
    found = find_cases(root)
    assert found.problems == ()
    assert [case.id for case in found.cases] == ["LG_0001", "brats_tcia_pat153_0001", "brats_tcia_pat153_0181"]
    assert [case.patient for case in found.cases] == ["LG_0001", "brats_tcia_pat153", "brats_tcia_pat153"]
    case = found.cases[0]
    assert case.edition == "2015"
    assert {name: path.parent.name for name, path in case.images.items() if isinstance(path, Path)} == {
        name: f"VSD.Brain.XX.O.{kind}" for name, kind in names.items() if name != "seg"
    }
    assert case.label is not None
    assert case.label.name == "VSD.Brain_3more.XX.O.OT.5.mha"
    assert case.notes == ()


def test_cases_come_sorted_flat_nested_and_without_segmentation(write_case: Write, root: Path) -> None:
    write_case("BraTS2021_00002", folder="deep/down")
    write_case("BraTS2021_00001", label=None)
    for path in (root / "BraTS2021_00001").iterdir():
        path.rename(root / path.name)
    (root / "BraTS2021_00001").rmdir()
    write_case("BraTS2021_00000")
    cases = find_cases(root).cases
    assert [case.id for case in cases] == ["BraTS2021_00000", "BraTS2021_00001", "BraTS2021_00002"]
    assert [case.label is None for case in cases] == [False, True, False]


def test_only_the_modalities_asked_for_are_required(write_case: Write, root: Path) -> None:
    folder = write_case("BraTS2021_00001")
    write_case("BraTS2021_00002")
    (folder / "BraTS2021_00001_t1.nii.gz").unlink()
    (problem,) = find_cases(root).problems
    assert problem.case == "BraTS2021_00001"
    assert problem.what == "no t1n among its files"
    assert len(find_cases(root, modalities=(name for name in ("t1c", "t2f"))).cases) == 2


def test_two_files_for_one_image_are_refused(write_case: Write, root: Path) -> None:
    folder = write_case("BraTS2021_00001")
    (folder / "BraTS2021_00001_t1.nii").touch()
    found = find_cases(root)
    assert found.cases == ()
    (problem,) = found.problems
    assert "two files for one image" in problem.what
    assert problem.file == "BraTS2021_00001_t1.nii, BraTS2021_00001_t1.nii.gz"


def test_a_segmentation_alone_is_no_case(write_case: Write, root: Path) -> None:
    folder = write_case("BraTS2021_00001")
    for kind in OLD:
        (folder / f"BraTS2021_00001{kind}.nii.gz").unlink()
    (problem,) = find_cases(root).problems
    assert problem.what == "no t1n, t1c, t2w, t2f among its files"


def test_two_cases_of_one_name_are_both_refused(write_case: Write, root: Path) -> None:
    write_case("BraTS2021_00001", folder="a")
    write_case("BraTS2021_00001", folder="b")
    write_case("BraTS2021_00002")
    found = find_cases(root)
    assert [case.id for case in found.cases] == ["BraTS2021_00002"]
    assert {problem.file for problem in found.problems} == {str(root / part / "BraTS2021_00001") for part in "ab"}
    assert all(problem.what == "two cases of one name" for problem in found.problems)


def test_an_empty_case_folder_beside_good_ones_is_a_problem(write_case: Write, root: Path) -> None:
    write_case("BraTS2021_00001")
    (root / "BraTS2021_00002").mkdir()
    found = find_cases(root)
    assert len(found.cases) == 1
    (problem,) = found.problems
    assert str(problem) == "BraTS2021_00002: an empty folder; download the case again or remove the folder"


def test_a_folder_without_any_case_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no folder .*absent: expected one that holds case folders of BraTS"):
        find_cases(tmp_path / "absent")
    with pytest.raises(DatasetError, match="no case of a known edition in this folder; expected case folders"):
        find_cases(tmp_path)
    (tmp_path / "patient7_t1.nii.gz").touch()
    with pytest.raises(DatasetError, match="no case of a known edition"):
        find_cases(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no folder"):
        find_cases(tmp_path / "file")


def test_an_unknown_edition_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="edition '2022' is unknown: expected one of 2015, 2017"):
        find_cases(tmp_path, edition="2022")


def test_no_modality_at_all_is_refused(write_case: Write, root: Path) -> None:
    write_case("BraTS2021_00001")
    with pytest.raises(ConfigError, match="give at least one of t1n, t1c, t2w, t2f"):
        find_cases(root, modalities=())


def test_a_folder_out_of_reach_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "is_dir", forbidden)
    with pytest.raises(ConfigError, match=r"cases is out of reach \(Permission denied\): make it readable"):
        find_cases(root)


def test_a_case_of_sister_folders_is_whole(write_case: Write, root: Path) -> None:
    folder = write_case("BraTS2021_00001")
    (root / "labels").mkdir()
    label = folder / "BraTS2021_00001_seg.nii.gz"
    case = find_cases(root).cases[0]
    label.rename(root / "labels" / label.name)
    found = only(find_cases(root))
    assert found.images == case.images
    assert found.label == root / "labels" / label.name
    assert found.notes == (f"{label.name}: the segmentation, in another folder (labels)",)
