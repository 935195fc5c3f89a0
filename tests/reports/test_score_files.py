import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from brats_lightning.errors import BratsError
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.reports.score_files import read_score_file, read_score_files
from brats_lightning.reports.scores import write_scores

WriteScores = Callable[..., Path]

HEADER = "case,region,dice,empty_masks\n"


def text_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "scores.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    scores = RegionScores(("ET", "RC"), empty="nan")
    generator = torch.Generator().manual_seed(0)
    for case in ("Fall-Ö,1", "b"):
        prediction, reference = torch.randint(0, 4, (2, 1, 6, 5, 7), generator=generator)
        scores.update(prediction, reference, spacing_mm=torch.ones(1, 3), cases=[case])
    scores.compute()
    write_scores(tmp_path / "scores_test.csv", scores, grid="preprocessed", checkpoint="best.ckpt")
    file = read_score_file(tmp_path / "scores_test.csv")
    assert file.cases == ["Fall-Ö,1", "b"]
    assert file.regions == ["ET", "RC"]
    for case, row in scores.rows.items():
        assert file.scores["dice"][case, "ET"] == row["dice_ET"]
        assert math.isnan(file.scores["hd95_mm"][case, "RC"])
    # The name of the convention is no number, though Python reads it as one.
    assert set(file.words["empty_masks"].values()) == {"nan"}
    assert set(file.words["grid"].values()) == {"preprocessed"}
    assert file.is_case_wise("accuracy")
    assert not file.is_case_wise("dice")


def test_empty_cells_are_undefined_and_descriptions_are_left_alone(tmp_path: Path) -> None:
    text = "\ufeffcase,region,dice,patient,note,beauty\r\na, ET ,,p,seen,3\r\n\r\nb,ET,0.5,q,,\r\n"
    file = read_score_file(text_file(tmp_path, text))
    assert math.isnan(file.scores["dice"]["a", "ET"])
    assert list(file.scores) == ["dice", "beauty"]
    assert not file.words


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty: expected a header and one row a case and region"),
        ("\n\n", "is empty"),
        (HEADER, "has a header and no rows"),
        ("case;region;dice\na;ET;0.5\n", "has the columns case;region;dice: expected case, region and scores, divided"),
        ("case,region,dice,dice\na,ET,1,1\n", "has the column dice twice"),
        (HEADER + "a,ET,0.5,brats\na,ET,0.6,brats\n", r"has a ET twice \(lines 2 and 3\): remove one"),
        (HEADER + "a,ET,0.5,brats\nb,ET,0.", "line 3 has 3 cells instead of 4: the file was cut short or damaged"),
        (HEADER + "a,ET,0.5,brats\nb,ET,0.6,bra", "ends in the middle of line 3: the file was cut short"),
        (HEADER + "a,ET,0.5,brats\nb,ET,0.6,brats,\n", "line 3 has 5 cells instead of 4"),
        (HEADER + 'a,"ET,0.5,brats\n', "line 2 is no CSV"),
        (HEADER + "a,,0.5,brats\n", "line 2 names no region"),
        (HEADER + ",ET,0.5,brats\n", "line 2 names no case"),
        (HEADER + "a,ET,good,brats\n", "line 2: dice is 'good', expected a number"),
        (HEADER + "a,ET,91.2,brats\n", "line 2: dice is 91.2, expected 0 to 1"),
        ("case,region,hd95_mm\na,ET,-1\n", "line 2: hd95_mm is -1, expected 0 or more"),
        ("case,region,hd95_mm\na,ET,inf\n", "line 2: hd95_mm is infinite: score empty masks by a named convention"),
        (b"case,region,dice\n\xff\xfe,ET,1\n", "is no text in UTF-8"),
    ],
)
def test_a_broken_file_is_refused_in_words(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    with pytest.raises(BratsError, match=rf"scores\.csv .*{sentence}"):
        read_score_file(text_file(tmp_path, text))


def test_every_way_of_cutting_a_file_short_is_noticed(tmp_path: Path, write_score_file: WriteScores) -> None:
    path = write_score_file("scores.csv", {"a": 0.512, "b": 0.623})
    whole = path.read_bytes()
    lines = [end + 2 for end in range(len(whole)) if whole[end : end + 2] == b"\r\n"]
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        # A file that ends with a whole line cannot be told from a shorter one: the cases then differ.
        if end in lines[1:] or end + 1 in lines[1:]:
            continue
        with pytest.raises(BratsError):
            read_score_file(path)


def test_what_is_whole_of_a_file_that_was_cut_short_can_be_read(tmp_path: Path, write_score_file: WriteScores) -> None:
    path = write_score_file("scores.csv", {"a": 0.512, "b": 0.623, "Ö": 0.7}, regions=["ET", "WT"], grid="Ö")
    whole = path.read_bytes()
    assert read_score_file(path, incomplete=True) == read_score_file(path)
    ends = [end + 1 for end, byte in enumerate(whole) if byte in b"\r\n"]
    for end in range(ends[1] + 1, len(whole)):  # from the middle of the first row on, also within an Ö
        path.write_bytes(whole[:end])
        if end in ends:
            continue
        if end < ends[3]:
            with pytest.raises(BratsError, match="was cut short in its first row: nothing was scored"):
                read_score_file(path, incomplete=True)
            continue
        file = read_score_file(path, incomplete=True)
        # The first case alone cannot be told to lack regions; of the others none counts that does.
        if len(file.rows) > 1:
            assert [file.rows.count((case, region)) for case in file.cases for region in ("ET", "WT")].count(0) == 0
        assert all(file.scores["dice"][row] in {0.512, 0.623, 0.7} for row in file.rows)
        (note,) = file.notes
        assert note.startswith("scores.csv was cut short: ")
    assert (note, file.cases) == ("scores.csv was cut short: Ö, in which it ends, is left out.", ["a", "b"])


@pytest.mark.parametrize("lines", [1, 2])
def test_a_file_cut_between_two_lines_is_known_by_a_last_case_that_only_begins(
    tmp_path: Path, write_score_file: WriteScores, lines: int
) -> None:
    path = write_score_file("scores.csv", {"a": 0.512, "b": 0.623, "c": 0.7}, regions=["ET", "WT", "TC"])
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-lines]))
    file = read_score_file(path, incomplete=True)
    assert file.cases == ["a", "b"]
    assert file.notes == ("scores.csv was cut short: c, in which it ends, is left out.",)
    assert read_score_file(path).cases == ["a", "b", "c"]


def test_a_last_case_with_other_regions_than_the_rest_is_no_sign_of_a_cut(tmp_path: Path) -> None:
    rows = "a,ET,0.5,brats\na,WT,0.5,brats\nb,ET,0.5,brats\nc,ET,0.5,brats\n"
    for text in (rows, "a,ET,0.5,brats\na,WT,0.5,brats\nc,WT,0.5,brats\n", "c,ET,0.5,brats\n"):
        file = read_score_file(text_file(tmp_path, HEADER + text), incomplete=True)
        assert ("c" in file.cases, file.notes) == (True, ())


def test_a_file_that_is_damaged_within_is_refused_all_the_same(tmp_path: Path) -> None:
    path = text_file(tmp_path, HEADER + "a,ET,0.5\nb,ET,0.6,brats\nc,E")
    with pytest.raises(BratsError, match="line 2 has 3 cells instead of 4"):
        read_score_file(path, incomplete=True)


def test_the_checkpoint_is_no_convention(tmp_path: Path, write_score_file: WriteScores) -> None:
    file = read_score_file(write_score_file("scores.csv", {"a": 0.5}, checkpoint="best.ckpt"))
    assert file.about == {"checkpoint": {("a", "ET"): "best.ckpt"}}
    assert "checkpoint" not in file.words


def test_a_run_has_test_scores_before_validation_scores(tmp_path: Path, write_score_file: WriteScores) -> None:
    for run in ("a", "b"):
        write_score_file(f"{run}/scores_validation.csv", {"v": 0.5})
    folders = [tmp_path / "a", tmp_path / "b"]
    assert [file.cases for file in read_score_files(folders)] == [["v"], ["v"]]
    write_score_file("a/scores_test.csv", {"t": 0.5})
    with pytest.raises(BratsError, match=r"a has scores of test cases, .*b of validation cases only: choose by --part"):
        read_score_files(folders)
    assert [file.cases for file in read_score_files(folders, part="validation")] == [["v"], ["v"]]
    write_score_file("b/scores_test.csv", {"t": 0.5})
    assert [file.cases for file in read_score_files(folders)] == [["t"], ["t"]]


def test_what_is_not_there_is_named_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(BratsError, match=r"no file or folder .*nowhere: expected a scores CSV"):
        read_score_files([tmp_path / "nowhere"])
    with pytest.raises(BratsError, match=r"has no scores_test.csv or .*: write one by `brats test"):
        read_score_files([tmp_path])
    with pytest.raises(BratsError, match=r"has no scores_validation.csv: write one by `brats validate --run"):
        read_score_files([tmp_path], part="validation")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["unet/scores_test.csv", "swin/scores_test.csv"], ["unet", "swin"]),
        (["a.csv", "b.csv"], ["a", "b"]),
        (["x/run/scores.csv", "y/run/scores.csv"], ["x/run", "y/run"]),
        (["a.csv", "a.csv", "b.csv"], ["a", "a (2)", "b"]),
    ],
)
def test_names_are_as_long_as_needed(
    tmp_path: Path, write_score_file: WriteScores, paths: list[str], names: list[str]
) -> None:
    files = read_score_files([write_score_file(path, {"case": 0.5}) for path in paths])
    assert [file.name for file in files] == names
    folders = [file.path.parent if file.path.stem.startswith("scores") else file.path for file in files]
    assert [file.name for file in read_score_files(folders)] == names
