import math
from collections.abc import Callable
from pathlib import Path

import pytest

from brats_lightning.comparison.comparable import (
    WHOLE_CASE,
    aligned_values,
    common_cases,
    common_names,
    directions,
    shared_conventions,
)
from brats_lightning.errors import BratsError
from brats_lightning.reports.score_files import ScoreFile, read_score_files

WriteScores = Callable[..., Path]
TWO = {"a": 0.5, "b": 0.6}


def test_common_cases_are_sorted_and_the_others_named(write_score_file: WriteScores) -> None:
    paths = [write_score_file("x.csv", {"c": 0.1, "a": 0.1, "b": 0.1}), write_score_file("y.csv", {"b": 0.1, "c": 0.1})]
    assert common_cases(read_score_files(paths)) == (["b", "c"], {"x": ("a",)})


@pytest.mark.parametrize(("cases", "count"), [({"c": 0.5}, "no cases in common"), ({"b": 0.5, "c": 1}, "1 case in")])
def test_fewer_than_two_cases_are_refused(write_score_file: WriteScores, cases: dict[str, float], count: str) -> None:
    files = read_score_files([write_score_file("x.csv", TWO), write_score_file("y.csv", cases)])
    with pytest.raises(
        BratsError, match=f"{count}.*: x has 2 such as a, y has {len(cases)} such as .* needs at least 2"
    ):
        common_cases(files)


def test_what_is_asked_for_must_be_everywhere(write_score_file: WriteScores) -> None:
    files = read_score_files(
        [write_score_file("x.csv", TWO, regions=["ET", "TC"]), write_score_file("y.csv", TWO, regions=["TC", "WT"])]
    )
    offered = [file.regions for file in files]
    assert common_names(offered, None, "region", files) == ["TC"]
    with pytest.raises(BratsError, match=r"y\.csv has no region ET: it has TC, WT"):
        common_names(offered, ["TC", "ET"], "region", files)
    with pytest.raises(BratsError, match="no region in common: x has ET; y has WT"):
        common_names([["ET"], ["WT"]], None, "region", files)


def directed(write_score_file: WriteScores, *columns: str, **options: list[str]) -> dict[str, str]:
    numbers = {case: [0.5] * len(columns) for case in "ab"}
    files = read_score_files([write_score_file(name, numbers, columns=columns) for name in ("x.csv", "y.csv")])
    wanted, higher, lower = (options.get(name, []) for name in ("wanted", "higher", "lower"))
    return dict(directions(files, wanted or None, higher, lower))


def test_main_scores_are_compared_and_others_on_demand(write_score_file: WriteScores) -> None:
    columns = ("sensitivity", "hd95_mm", "predicted_volume_ml", "dice")
    assert directed(write_score_file, *columns) == {"hd95_mm": "lower", "dice": "higher"}
    assert directed(write_score_file, *columns, wanted=["sensitivity"]) == {"sensitivity": "higher"}
    # Without any of these all are, but for what is no score.
    assert directed(write_score_file, "sensitivity", "predicted_volume_ml") == {"sensitivity": "higher"}


def test_an_unknown_score_is_asked_about_not_guessed(write_score_file: WriteScores) -> None:
    question = (
        r"is a higher or a lower beauty better\? Say --higher '\[beauty\]' or --lower '\[beauty\]', or leave it out"
    )
    with pytest.raises(BratsError, match=question):
        directed(write_score_file, "beauty", "nsd_1mm")
    with pytest.raises(BratsError, match=question):
        directed(write_score_file, "dice", "predicted_volume_ml", "beauty", wanted=["beauty"])
    assert directed(write_score_file, "dice", "beauty", lower=["beauty"]) == {"dice": "higher", "beauty": "lower"}
    assert directed(write_score_file, "beauty", higher=["beauty"]) == {"beauty": "higher"}
    with pytest.raises(BratsError, match="both name beauty"):
        directed(write_score_file, "beauty", higher=["beauty"], lower=["beauty"])
    with pytest.raises(BratsError, match="not all files have the score charm"):
        directed(write_score_file, "dice", higher=["charm"])


def conventions_of(
    write: WriteScores, scores: list[str], first: dict[str, str], second: dict[str, str], *, mixed: bool = False
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    files = read_score_files([write("x.csv", TWO, **first), write("y.csv", TWO, **second)])
    return shared_conventions(files, ["a", "b"], ["ET"], scores, mixed=mixed)


@pytest.mark.parametrize(
    ("score", "column"),
    [
        ("dice", "empty_masks"),
        ("dice", "grid"),
        ("hd95_mm", "distances"),
        ("nsd_1mm", "distances"),
        ("lesionwise_dice", "rules"),
        ("dice", "brand_new"),
    ],
)
def test_different_conventions_are_refused(write_score_file: WriteScores, score: str, column: str) -> None:
    one, other = {column: "this"}, {column: "that"}
    with pytest.raises(BratsError, match=f"different conventions of {column} .x: this; y: that.: their numbers cannot"):
        conventions_of(write_score_file, [score], one, other)
    told, notes = conventions_of(write_score_file, [score], one, other, mixed=True)
    assert told[column] == ("this", "that")
    assert notes == [f"MIXED CONVENTIONS of {column} (x: this; y: that): differences may come from the scoring alone."]


@pytest.mark.parametrize(
    ("score", "column"),
    [("dice", "distances"), ("dice", "rules"), ("lesionwise_dice", "empty_masks"), ("dice", "note")],
)
def test_what_does_not_concern_a_score_may_differ(write_score_file: WriteScores, score: str, column: str) -> None:
    told, notes = conventions_of(write_score_file, [score], {column: "this"}, {column: "that"})
    assert column not in told
    assert not notes


def test_a_convention_that_one_file_does_not_name_is_another_one(write_score_file: WriteScores) -> None:
    with pytest.raises(BratsError, match="x: strict; y: not said"):
        conventions_of(write_score_file, ["dice"], {"style": "strict"}, {})


def values_of(files: list[ScoreFile], **better: str) -> dict[tuple[str, str], list[list[float]]]:
    values = aligned_values(files, ["a", "b"], files[0].regions, better)  # type: ignore[arg-type]
    return {key: table.tolist() for key, table in values}


def test_values_are_aligned_by_case(write_score_file: WriteScores) -> None:
    paths = [write_score_file("x.csv", {"b": 0.2, "a": 0.1, "c": 1}), write_score_file("y.csv", {"a": 0.3, "b": 0.4})]
    assert values_of(read_score_files(paths), dice="higher") == {("ET", "dice"): [[0.1, 0.2], [0.3, 0.4]]}


def test_a_row_that_is_not_there_is_undefined(tmp_path: Path, write_score_file: WriteScores) -> None:
    path = write_score_file("x.csv", TWO, regions=["ET", "RC"])
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("a,RC")))
    table = values_of(read_score_files([path, path]), dice="higher")["RC", "dice"]
    assert math.isnan(table[0][0])
    assert table[0][1] == 0.6


def test_signed_differences_count_by_their_size(write_score_file: WriteScores) -> None:
    path = write_score_file("x.csv", {"a": -0.3, "b": 0.1}, columns=["relative_volume_difference"])
    files = read_score_files([path, path])
    way = {"relative_volume_difference": "nearer to 0"}
    assert values_of(files, **way)["ET", "relative_volume_difference"][0] == [0.3, 0.1]


def test_accuracy_of_a_case_is_one_test_and_of_regions_many(write_score_file: WriteScores) -> None:
    path = write_score_file("x.csv", TWO, columns=["accuracy"], regions=["ET", "WT"])
    assert values_of(read_score_files([path, path]), accuracy="higher") == {
        (WHOLE_CASE, "accuracy"): [[0.5, 0.6], [0.5, 0.6]]
    }
    path.write_text(path.read_text().replace("a,WT,0.5", "a,WT,0.7"))
    assert len(values_of(read_score_files([path, path]), accuracy="higher")) == 2
