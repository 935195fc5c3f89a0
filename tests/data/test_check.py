import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from brats_lightning.cli import main
from brats_lightning.data import check as checking
from brats_lightning.data.case import Case
from brats_lightning.data.check import Checked, check_cases, print_checked
from brats_lightning.errors import BratsError, ConfigError, DatasetError, Problem
from brats_lightning.reports.data_report.command import check

Write = Callable[..., Path]


def in_this_process(
    function: Callable[[Case], object], cases: Iterable[Case], *, workers: int, doing: str
) -> Iterator[tuple[Case, object]]:
    assert workers > 0
    assert doing == "Reading cases"
    for case in cases:
        yield case, function(case)


def test_a_good_folder_passes(write_case: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real command, with its worker processes."""
    write_case("BraTS2021_00001")
    write_case("BraTS2021_00002", label=None, seed=1)
    write_case("Brats18_2013_2_1", folder="HGG", seed=2)
    main(["check", str(tmp_path), "--workers", "2"])
    out = capsys.readouterr().out
    assert "No problems in 3 cases." in out
    assert ["BraTS", "2021", "1", "1"] in [line.replace("│", " ").split() for line in out.splitlines()]
    assert "5 files: sform only" in out


def test_a_bad_folder_ends_with_code_1(
    write_case: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "in_parallel", in_this_process)
    folder = write_case("BraTS2021_00001")
    (folder / "BraTS2021_00001_t1.nii.gz").write_bytes(b"")
    (tmp_path / "cases" / "BraTS2021_00002").mkdir()
    with pytest.raises(SystemExit) as stopped:
        main(["check", str(tmp_path)])
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    assert printed.err == f"brats: 2 problems in 2 cases of {tmp_path}\n"
    assert "an empty folder" in " ".join(printed.out.split())


@pytest.mark.parametrize("arguments", [["absent"], [".", "--edition", "1999"], [], ["--nonsense"]])
def test_a_wrong_call_ends_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["check", *arguments])
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("brats: ")


def test_all_problems_of_all_cases_are_listed(
    write_case: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "in_parallel", in_this_process)
    for number in range(12):
        folder = write_case(f"BraTS2021_{number:05}", seed=number)
        for kind in ("t1", "seg"):
            (folder / f"BraTS2021_{number:05}_{kind}.nii.gz").write_bytes(b"no image")
    write_case("BraTS2021_00012", seed=12)
    missing = write_case("BraTS2021_00013", seed=13)
    (missing / "BraTS2021_00013_flair.nii.gz").unlink()
    checked = check_cases(tmp_path)
    assert len(checked.cases) == 13
    assert len(checked.problems) == 25
    assert [problem.case for problem in checked.problems] == sorted(problem.case for problem in checked.problems)
    assert list(checked.notes) == ["BraTS2021_00012"]
    with pytest.raises(BratsError, match="25 problems in 13 cases"):
        check(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        check(tmp_path / "absent")
    with pytest.raises(DatasetError, match="no case of a known edition"):
        check(tmp_path)


def test_brackets_in_names_are_printed_as_they_are(
    write_case: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checking, "in_parallel", in_this_process)
    folder = write_case("Brats18_[red]_1")
    (folder / "Brats18_[red]_1_t1.nii.gz").write_bytes(b"")
    with pytest.raises(BratsError, match="1 problems in 1 cases"):
        check(tmp_path)
    assert "Brats18_[red]_1" in capsys.readouterr().out


def test_notes_that_files_share_are_told_once() -> None:
    notes = {
        "A": ("a_t1.nii.gz: sform only", "a_t2.nii.gz: sform only", "a_t2.nii.gz: slope 0", "no enhancing tumour"),
        "B": (),
    }
    console = Console(width=200, record=True, file=io.StringIO())
    print_checked(Checked((), (Problem("C", "c.nii", "bad", "mend it"),), notes), console)
    lines = [line.replace("│", " ").split() for line in console.export_text().splitlines()]
    assert ["A", *["2", "files:", "sform", "only"]] in lines
    assert ["a_t2.nii.gz:", "slope", "0"] in lines
    assert ["no", "enhancing", "tumour"] in lines
    assert ["C", "c.nii", "bad", "mend", "it"] in lines
    assert not any(line[:1] == ["B"] for line in lines)


def test_unless_told_every_usable_core_reads(
    write_case: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def reading(
        function: Callable[[Case], object], cases: Iterable[Case], *, workers: int, doing: str
    ) -> Iterator[tuple[Case, object]]:
        asked.append(workers)
        return in_this_process(function, cases, workers=workers, doing=doing)

    monkeypatch.setattr(checking, "in_parallel", reading)
    monkeypatch.setattr(checking, "usable_cores", lambda: 5)
    write_case("BraTS2021_00001")
    check_cases(tmp_path)
    assert asked == [5]


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--workers", "0", "workers is 0: give 1 or more"),
        ("--workers", "-1", "workers is -1: give 1 or more"),
        ("--modalities", "[]", "no modalities: give at least one of t1n, t1c, t2w, t2f"),
    ],
)
def test_options_without_sense_are_refused(
    *, write_case: Write, capsys: pytest.CaptureFixture[str], option: str, value: str, sentence: str
) -> None:
    folder = write_case("BraTS2021_00001")
    with pytest.raises(SystemExit) as stopped:
        main(["check", str(folder), option, value])
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"brats: {sentence}\n"
