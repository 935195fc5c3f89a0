import csv
import io
import math
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from rich.console import Console

from brats_lightning.cli import main
from brats_lightning.errors import ConfigError
from brats_lightning.reports.over_runs import ALL_VOXELS, OverRuns, over_runs
from brats_lightning.reports.repeats import print_repeats

WriteScores = Callable[..., Path]
TWO: Mapping[str, Mapping[str, tuple[float, float, float]]] = {
    "r0": {"a": (0.5, 10.0, 0.98), "b": (0.7, 20.0, 0.99)},
    "r1": {"b": (0.9, 5.0, 0.97), "c": (0.9, math.nan, 0.99), "d": (0.3, 6.0, 0.96)},
}


@pytest.fixture
def runs(tmp_path: Path, write_score_file: WriteScores) -> list[Path]:
    """Two runs, each tested on cases of its own."""
    for name, numbers in TWO.items():
        write_score_file(
            f"{name}/scores_test.csv", numbers, columns=["dice", "hd95_mm", "accuracy"], regions=["ET", "WT"]
        )
    return [tmp_path / name for name in TWO]


def found_in(runs: list[Path]) -> dict[tuple[str, str], OverRuns]:
    return {(each.region, each.score): each for each in over_runs(runs)}


def test_each_run_counts_once_however_many_cases_it_has(runs: list[Path]) -> None:
    found = found_in(runs)
    dice = found["ET", "dice"]
    assert dice.means == pytest.approx((0.6, 0.7))
    assert dice.mean == pytest.approx(0.65)
    assert dice.std == pytest.approx(statistics.stdev([0.6, 0.7])) == pytest.approx(0.1 / math.sqrt(2))
    assert dice.cases == (2, 3)
    assert found["WT", "hd95_mm"].means == pytest.approx((15, 5.5))
    assert found["WT", "hd95_mm"].cases == (2, 2)  # an undefined score is left out
    assert set(found) == {(r, s) for r in ("ET", "WT") for s in ("dice", "hd95_mm")} | {(ALL_VOXELS, "accuracy")}


def test_the_accuracy_of_a_case_counts_once(runs: list[Path]) -> None:
    accuracy = found_in(runs)[ALL_VOXELS, "accuracy"]
    assert accuracy.means == pytest.approx((0.985, (0.97 + 0.99 + 0.96) / 3))
    assert accuracy.cases == (2, 3)


def test_a_score_that_few_runs_have_says_so(tmp_path: Path, write_score_file: WriteScores) -> None:
    for name, value in (("r0", math.nan), ("r1", 0.4), ("r2", math.nan)):
        write_score_file(f"{name}/scores_test.csv", {"a": value})
    (only,) = over_runs([tmp_path / f"r{n}" for n in range(3)])
    assert (only.mean, only.cases) == (0.4, (0, 1, 0))
    assert math.isnan(only.std)
    console = Console(file=io.StringIO(), width=150)
    print_repeats([only], names=["r0", "r1", "r2"], console=console)
    assert isinstance(console.file, io.StringIO)
    (line,) = [line for line in console.file.getvalue().splitlines() if "0.400" in line]
    assert line.split("│")[4:7] == ["      0.400 ", " 1 of 3 ", " 0 – 1 "]


def test_the_command_prints_a_table_and_writes_each_runs_means(
    runs: list[Path], write_score_file: WriteScores, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in runs:
        write_score_file(f"{run.name}/scores_train.csv", {"x": 0.8, "y": 1.0})
    output = runs[0].parent / "new" / "repeats.csv"
    main(["repeats", *map(str, runs), "--output", str(output)])
    printed = capsys.readouterr().out
    assert "2 runs" in printed
    assert "0.650 ± 0.071" in printed
    assert "10.25 ± 6.72" in printed  # millimetres with two digits
    assert "2 – 3" in printed
    assert printed.index("train") < printed.index("test")
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    (row,) = [row for row in rows if (row["part"], row["region"], row["score"]) == ("test", "ET", "dice")]
    assert [float(row[name]) for name in ("mean", "mean r0", "mean r1")] == pytest.approx([0.65, 0.6, 0.7])
    assert (row["runs"], row["cases r0"], row["cases r1"]) == ("2", "2", "3")
    (train,) = [row for row in rows if row["part"] == "train"]
    assert (float(train["mean"]), float(train["std"])) == pytest.approx((0.9, 0))
    main(["repeats", *map(str, runs), "--parts", "[test]"])
    assert "train" not in capsys.readouterr().out


def test_scores_of_classes_and_slices_have_files_of_their_own(tmp_path: Path, write_score_file: WriteScores) -> None:
    for run, value in (("r0", 0.2), ("r1", 0.4)):
        write_score_file(f"{run}/scores_classes_test.csv", {"all cases": value}, regions=["micro_with_background"])
        write_score_file(f"{run}/scores_slices_test.csv", {"a axial 001": value, "a axial 002": 0.0})
    folders = [tmp_path / "r0", tmp_path / "r1"]
    (classes,) = over_runs(folders, of="classes")
    assert classes.region == "micro_with_background"
    assert classes.mean == pytest.approx(0.3)
    (slices,) = over_runs(folders, of="slices")
    assert slices.mean == pytest.approx(0.15)
    assert slices.cases == (2, 2)
    with pytest.raises(ConfigError, match="none of 2 runs has scores: score the run first, by brats test --run"):
        over_runs(folders)


def test_runs_scored_before_and_after_volumes_were_written_go_together(
    tmp_path: Path, write_score_file: WriteScores
) -> None:
    columns = ["dice", "reference_volume_ml", "predicted_volume_ml"]
    write_score_file("r0/scores_test.csv", {"x": 0.5})
    write_score_file("r1/scores_test.csv", {"y": (0.7, 3.0, 4.0)}, columns=columns)
    for runs in (["r0", "r1"], ["r1", "r0"]):
        (only,) = over_runs([tmp_path / run for run in runs])
        assert only.score == "dice"
        assert only.mean == pytest.approx(0.6)


def test_runs_that_do_not_belong_together_are_refused(runs: list[Path], write_score_file: WriteScores) -> None:
    first, second = runs
    for wrong, sentence in (
        ([first], "two runs at least, found 1"),
        ([first, second, first.parent / "r1" / ".." / "r0"], "r0 is given more than once"),
        ([first, first.parent / "r9"], "no folder .*r9"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            over_runs(wrong)
    write_score_file("r0/scores_train.csv", {"x": 0.8})
    with pytest.raises(ConfigError, match=r"no .*r1/scores_train.csv: .* brats validate --run .*r1 --part train"):
        over_runs(runs)
    for part, words, sentence in (
        ("train", {"empty_masks": "nan"}, "r0/scores_train.csv has the conventions .*empty_masks: brats.*: score all"),
        ("train", {"regions": ["ET", "TC"]}, "has the regions ET; .* has ET, TC"),
        ("train", {"columns": ["iou"]}, "has the scores dice; .* has iou"),
    ):
        write_score_file(f"r1/scores_{part}.csv", {"x": 0.8}, **words)
        with pytest.raises(ConfigError, match=sentence):
            over_runs(runs, parts=["train"])
