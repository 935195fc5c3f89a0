from collections.abc import Callable
from pathlib import Path

import pytest

from brats_lightning.data import schemes
from brats_lightning.data.cases import find_cases
from brats_lightning.nifti import Volume, read_labels

Write = Callable[..., Path]
NEW = ("-t1n", "-t1c", "-t2w", "-t2f")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cases"


def write_pediatric(write_case: Write, number: int, values: tuple[int, ...] | None, *, folder: str = "") -> Path:
    label = None if values is None else "-seg"
    return write_case(f"BraTS-PED-{number:05}-000", names=NEW, label=label, values=values or (1,), folder=folder)


def test_one_label_of_four_tells_all_pediatric_cases(write_case: Write, root: Path) -> None:
    for number, values in enumerate([(1, 2, 3), (1, 2), (2, 4, 1), None]):
        write_pediatric(write_case, number, values)
    found = find_cases(root)
    assert found.problems == ()
    assert {case.edition for case in found.cases} == {"2024-PED"}
    assert found.cases[0].patient == "BraTS-PED-00000"


def test_without_a_four_pediatric_labels_have_two_meanings(write_case: Write, root: Path) -> None:
    write_pediatric(write_case, 1, (1, 2, 3))
    write_pediatric(write_case, 2, (1, 2))
    found = find_cases(root)
    assert found.cases == ()
    assert [problem.case for problem in found.problems] == ["BraTS-PED-00001-000", "BraTS-PED-00002-000"]
    assert "different meanings" in found.problems[0].what
    assert "`edition` (2023 or 2024-PED)" in found.problems[0].cure
    assert {case.edition for case in find_cases(root, edition="2023").cases} == {"2023"}


def test_a_four_speaks_for_the_cases_beside_it_alone(write_case: Write, root: Path) -> None:
    """A root may hold both years: the labels 1, 2 and 3 of the earlier would be read with those of the later."""
    for number, values in ((1, (1, 2, 3)), (2, (1, 2))):
        write_pediatric(write_case, number, values, folder="2023/training")
    for number, values in ((3, (1, 2)), (4, (2, 4, 1))):
        write_pediatric(write_case, number, values, folder="2024/training")
    found = find_cases(root)
    assert {case.id[10:15]: case.edition for case in found.cases} == {"00003": "2024-PED", "00004": "2024-PED"}
    assert [problem.case[10:15] for problem in found.problems] == ["00001", "00002"]
    assert "no 4 in training" in found.problems[0].what
    assert len(find_cases(root, edition="2023").cases) == 4


def test_flat_folders_are_told_apart_as_well(write_case: Write, root: Path) -> None:
    for number, values in ((1, (1, 2, 3)), (2, (1, 2)), (3, (1, 2)), (4, (2, 4, 1))):
        case = write_pediatric(write_case, number, values)
        year = root / ("2023" if number < 3 else "2024")
        year.mkdir(exist_ok=True)
        for path in case.iterdir():
            path.rename(year / path.name)
        case.rmdir()
    assert [case.id[10:15] for case in find_cases(root).cases] == ["00003", "00004"]


@pytest.mark.parametrize("beside", [None, (1, 2, 3), (2, 4, 1)])
def test_an_unlabelled_case_needs_no_four(write_case: Write, root: Path, beside: tuple[int, ...] | None) -> None:
    write_pediatric(write_case, 1, None)
    write_pediatric(write_case, 2, beside)
    case = find_cases(root).cases[0]
    assert (case.id, case.label, case.edition) == ("BraTS-PED-00001-000", None, "2024-PED")


def test_a_damaged_segmentation_does_not_condemn_the_other_cases(write_case: Write, root: Path) -> None:
    damaged = write_pediatric(write_case, 1, (1, 2, 3))
    (damaged / "BraTS-PED-00001-000-seg.nii.gz").write_bytes(b"no image")
    write_pediatric(write_case, 2, (2, 4, 1))
    found = find_cases(root)
    assert found.problems == ()
    assert [case.edition for case in found.cases] == ["2024-PED", "2024-PED"]


@pytest.mark.parametrize("last", [(1, 2, 3), (2, 4, 1)])
def test_each_segmentation_is_looked_at_once(
    write_case: Write, root: Path, monkeypatch: pytest.MonkeyPatch, last: tuple[int, ...]
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> Volume:
        read.append(path)
        return read_labels(path)

    monkeypatch.setattr(schemes, "read_labels", counted)
    for number in range(4):
        write_pediatric(write_case, number, last if number == 3 else (1, 2, 3))
    find_cases(root)
    assert len(read) == len(set(read)) == 4
