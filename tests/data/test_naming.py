import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from brats_lightning.data.naming import CaseFiles, group_files

PATIENT_2015 = (
    "VSD.Brain.XX.O.MR_Flair.54512",
    "VSD.Brain.XX.O.MR_T1.54513",
    "VSD.Brain.XX.O.MR_T1c.54514",
    "VSD.Brain.XX.O.MR_T2.54515",
    "VSD.Brain_3more.XX.O.OT.54517",
)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def grouped(root: Path) -> dict[str, CaseFiles]:
    groups, problems = group_files(root)
    assert problems == []
    return {group.case: group for group in groups}


def kinds(group: CaseFiles) -> list[str]:
    return sorted(group.found)


@pytest.mark.parametrize(
    ("file", "family", "case", "kind"),
    [
        ("Brats18_2013_2_1_t1ce.nii.gz", "2018", "Brats18_2013_2_1", "t1ce"),
        ("BraTS19_CBICA_AAB_1_flair.nii", "2019", "BraTS19_CBICA_AAB_1", "flair"),
        ("BraTS20_Training_001_seg.nii", "2020", "BraTS20_Training_001", "seg"),
        ("BraTS20_Validation_125_t2.nii.gz", "2020", "BraTS20_Validation_125", "t2"),
        ("BraTS2021_00000_t1.nii.gz", "2021", "BraTS2021_00000", "t1"),
        ("BraTS-GLI-00000-000-t2W.nii.gz", "GLI", "BraTS-GLI-00000-000", "t2w"),
        ("BraTS-PED-00001-000-t1n.nii.gz", "PED", "BraTS-PED-00001-000", "t1n"),
        ("BraTS-SSA-00002-000-t1c.nii.gz", "2023", "BraTS-SSA-00002-000", "t1c"),
        ("BraTS-MEN-00004-000-t2f.nii.gz", "2023", "BraTS-MEN-00004-000", "t2f"),
        ("BraTS-MET-00002-000-seg.nii.gz", "2023", "BraTS-MET-00002-000", "seg"),
        ("BRATS2021_00007_FLAIR.NII.GZ", "2021", "BRATS2021_00007", "flair"),
    ],
)
def test_a_files_name_tells_edition_case_and_kind_of_image(
    tmp_path: Path, file: str, family: str, case: str, kind: str
) -> None:
    touch(tmp_path, f"some/where/{file}")
    group = grouped(tmp_path)[case]
    assert group.family == family
    assert dict(group.found) == {kind: [tmp_path / "some/where" / file]}


@pytest.mark.parametrize(
    "file",
    [
        "._BraTS2021_00000_t1.nii.gz",
        "BraTS2021_00000_t1.nii.gz.part",
        "BraTS2021_00000_t1 (1).nii.gz",
        "BraTS2021_00000_t1.png",
        "BraTS-GLI-00000-000.nii.gz",
        "name_mapping.csv",
        "survival_info.csv",
        "VSD.Brain.XX.O.MR_T1.54513.txt",
    ],
)
def test_other_files_are_passed_over(tmp_path: Path, file: str) -> None:
    touch(tmp_path, file)
    assert grouped(tmp_path) == {}


def test_files_of_many_cases_may_lie_in_one_folder_and_in_nested_ones(tmp_path: Path) -> None:
    touch(tmp_path, *(f"BraTS2021_{case}_{kind}.nii.gz" for case in ("00001", "00002") for kind in ("t1", "seg")))
    touch(tmp_path, "more/of/them/BraTS2021_00003/BraTS2021_00003_t1.nii.gz")
    groups = grouped(tmp_path)
    assert sorted(groups) == ["BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003"]
    assert kinds(groups["BraTS2021_00001"]) == ["seg", "t1"]


def test_letter_case_of_the_case_does_not_part_its_files(tmp_path: Path) -> None:
    touch(tmp_path, "BraTS2021_00001_t1.nii.gz", "brats2021_00001_t2.nii.gz")
    assert len(grouped(tmp_path)) == 1


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_the_segmentation_of_case_355_is_known_by_its_wrong_name(tmp_path: Path, ending: str) -> None:
    for case in ("354", "355", "356"):
        touch(tmp_path, f"BraTS20_Training_{case}/BraTS20_Training_{case}_t1.nii")
    wrong = f"BraTS20_Training_355/W39_1998.09.19_Segm{ending}"
    touch(tmp_path, wrong, "BraTS20_Training_354/BraTS20_Training_354_seg.nii")
    groups = grouped(tmp_path)
    assert groups["BraTS20_Training_355"].found["seg"] == [tmp_path / wrong]
    assert "published wrong name" in groups["BraTS20_Training_355"].notes[0]
    assert kinds(groups["BraTS20_Training_354"]) == ["seg", "t1"]
    assert kinds(groups["BraTS20_Training_356"]) == ["t1"]


def test_in_2015_a_patients_images_have_folders_of_their_own(tmp_path: Path) -> None:
    for grade, patient in (("HGG", "brats_tcia_pat118_0001"), ("LGG", "brats_2013_pat0008_1")):
        touch(tmp_path, *(f"{grade}/{patient}/{name}/{name}.mha" for name in PATIENT_2015))
    groups = grouped(tmp_path)
    assert sorted(groups) == ["brats_2013_pat0008_1", "brats_tcia_pat118_0001"]
    for group in groups.values():
        assert kinds(group) == ["mr_flair", "mr_t1", "mr_t1c", "mr_t2", "seg"]
        assert group.family == "2015"


def test_in_2015_some_segmentations_are_named_xx_xx(tmp_path: Path) -> None:
    name = "VSD.Brain_3more.XX.XX.OT.54559"
    touch(tmp_path, f"brats_2013_pat0008_1/{name}/{name}.mha")
    assert kinds(grouped(tmp_path)["brats_2013_pat0008_1"]) == ["seg"]


def test_files_of_2015_may_lie_in_the_patients_folder_itself(tmp_path: Path) -> None:
    for patient in ("brats_tcia_pat118_0001", "brats_tcia_pat119_0001"):
        touch(tmp_path, *(f"HGG/{patient}/{name}.mha" for name in PATIENT_2015))
    groups = grouped(tmp_path)
    assert sorted(groups) == ["brats_tcia_pat118_0001", "brats_tcia_pat119_0001"]
    assert all(len(group.found) == 5 for group in groups.values())


def test_patients_of_2012_have_one_number_twice(tmp_path: Path) -> None:
    for grade in ("HG", "LG"):
        touch(tmp_path, *(f"{grade}/0001/{name[:-6]}/{name}.mha" for name in PATIENT_2015))
    assert sorted(grouped(tmp_path)) == ["HG_0001", "LG_0001"]


@pytest.mark.parametrize("name", ["BraTS2021_00001", "BraTS-GLI-00001-000", "BraTS20_Training_001"])
def test_an_empty_folder_of_a_case_is_a_problem(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    touch(tmp_path, "BraTS2021_00002/.DS_Store")
    groups, problems = group_files(tmp_path)
    assert groups == []
    assert sorted(problem.case for problem in problems) == sorted(["BraTS2021_00002", name])
    assert all("empty folder" in problem.what for problem in problems)


@pytest.mark.parametrize(
    ("case", "first"),
    [("BraTS2021_00001", "BraTS2021_00001_t1.nii.gz"), ("BraTS-GLI-00001-000", "BraTS-GLI-00001-000-t1n.nii.gz")],
)
@pytest.mark.parametrize("place", ["", "anat/"])
def test_a_case_whose_files_are_named_otherwise_is_a_problem(tmp_path: Path, case: str, first: str, place: str) -> None:
    touch(tmp_path, *(f"{case}/{place}{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair")), f"{case}/notes.txt")
    touch(tmp_path, "BraTS2021_00002/BraTS2021_00002_t1.nii.gz", "BraTS2021_00002/mask.nii.gz")
    groups, (problem,) = group_files(tmp_path)
    assert [group.case for group in groups] == ["BraTS2021_00002"]
    assert problem.case == case
    assert problem.what == "4 files, none named as an image of a case"
    assert f"rename them: {first}" in problem.cure


def test_an_unfinished_download_is_a_problem(tmp_path: Path) -> None:
    touch(tmp_path, "BraTS2021_00001/BraTS2021_00001_t1.nii.gz.part", "BraTS2021_00001/._BraTS2021_00001_t1.nii.gz")
    _, (problem,) = group_files(tmp_path)
    assert problem.what.startswith("1 files")


def test_names_that_are_put_right_by_the_cure_are_recognised(tmp_path: Path) -> None:
    touch(tmp_path, "BraTS20_Training_001/t1.nii", "BraTS-MEN-00001-000/t1.nii")
    problems = group_files(tmp_path)[1]
    for problem in problems:
        for name in problem.cure.removeprefix("rename them: ").removesuffix(" …").split(", "):
            touch(tmp_path, f"{problem.case}/{name}")
    assert [len(group.found) for group in grouped(tmp_path).values()] == [2, 2]


def test_images_and_segmentations_of_sister_folders_are_joined(tmp_path: Path) -> None:
    for case in ("00001", "00002"):
        touch(tmp_path, *(f"images/BraTS2021_{case}_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair")))
        touch(tmp_path, f"labels/deep/BraTS2021_{case}_seg.nii.gz")
    groups = grouped(tmp_path)
    assert len(groups) == 2
    for case, group in groups.items():
        assert kinds(group) == ["flair", "seg", "t1", "t1ce", "t2"]
        assert group.found["seg"] == [tmp_path / f"labels/deep/{case}_seg.nii.gz"]
        assert group.folder == tmp_path / "images"
        assert group.notes == [f"{case}_seg.nii.gz: the segmentation, in another folder (labels/deep)"]


@pytest.mark.parametrize(
    "more",
    [
        "other/BraTS2021_00001_t1.nii.gz",
        "other/BraTS2021_00001_seg.nii.gz",
        "images/BraTS2021_00001_seg.nii.gz",
        "labels/BraTS2021_00001_t1.nii.gz",
    ],
)
def test_what_belongs_together_is_not_guessed(tmp_path: Path, more: str) -> None:
    touch(tmp_path, "images/BraTS2021_00001_t2.nii.gz", "labels/BraTS2021_00001_seg.nii.gz")
    apart, _ = group_files(tmp_path)
    assert len(apart) == 1
    touch(tmp_path, more)
    groups, _ = group_files(tmp_path)
    assert len(groups) >= 2
    assert all(not group.notes for group in groups)


def test_a_folder_of_cases_or_of_results_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "HGG").mkdir()
    touch(tmp_path, "figures/BraTS2021_00001/overview.png", "BraTS2021_00002/nested/BraTS2021_00002_t1.nii")
    assert sorted(grouped(tmp_path)) == ["BraTS2021_00002"]


def test_linked_folders_are_followed_and_none_is_met_twice(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/BraTS2021_00001/BraTS2021_00001_t1.nii.gz")
    root = tmp_path / "root"
    root.mkdir()
    (root / "BraTS2021_00001").symlink_to(tmp_path / "elsewhere/BraTS2021_00001")
    (root / "again").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    groups, problems = group_files(root)
    assert [group.case for group in groups] == ["BraTS2021_00001"]
    assert problems == []


def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "BraTS2021_00001/BraTS2021_00001_t1.nii.gz", "locked/file")
    scandir = os.scandir

    def guarded(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    groups, (problem,) = group_files(tmp_path)
    assert len(groups) == 1
    assert problem.case == "locked"
    assert "Permission denied" in problem.what
