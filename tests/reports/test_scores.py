import csv
import io
import math
import statistics
from pathlib import Path

import pytest
import torch
from rich.console import Console

from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.reports.scores import print_scores, write_scores

REGIONS = ("ET", "RC")


def scores_of(*, cases: int, with_cavity: int = 1, empty: str = "nan") -> RegionScores:
    """Scores of random label maps, of which the first few have a resection cavity."""
    scores = RegionScores(REGIONS, empty=empty)
    generator = torch.Generator().manual_seed(0)
    for case in range(cases):
        labels = 5 if case < with_cavity else 4
        prediction, reference = torch.randint(0, labels, (2, 1, 6, 5, 7), generator=generator)
        scores.update(prediction, reference, spacing_mm=torch.ones(1, 3), cases=[f"Fall-{case}-Ö,1"])
    scores.compute()
    return scores


def printed(scores: RegionScores, *, title: str = "test cases") -> str:
    console = Console(file=io.StringIO(), width=200)
    print_scores(scores, title=title, console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def unwrapped(table: str) -> str:
    return " ".join(table.split())


def line_of(region: str, table: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.strip("│ ").startswith(region)]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_the_file_has_each_score_of_each_case_with_its_convention_and_grid(tmp_path: Path) -> None:
    scores = scores_of(cases=3)
    write_scores(tmp_path / "scores_test.csv", scores, grid="preprocessed", checkpoint="best.ckpt")
    with (tmp_path / "scores_test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["region"]) for row in rows] == [
        (f"Fall-{case}-Ö,1", region) for case in range(3) for region in REGIONS
    ]
    for row in rows:
        own = scores.rows[row["case"]]
        assert list(row) == [
            "case", "region", "dice", "iou", "hd95_mm", "accuracy", "empty_masks", "distances", "grid", "checkpoint",
        ]  # fmt: skip
        assert float(row["accuracy"]) == own["accuracy"]
        assert (row["empty_masks"], row["distances"], row["grid"]) == ("nan", "directed", "preprocessed")
        for name in ("dice", "iou", "hd95_mm"):
            assert repr(float(row[name])) == repr(own[f"{name}_{row['region']}"])
    assert [row["dice"] for row in rows if row["region"] == "RC"][1:] == ["nan", "nan"]
    assert [path.name for path in tmp_path.iterdir()] == ["scores_test.csv"]


def test_the_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for cases in (3, 1):
        write_scores(tmp_path / "scores.csv", scores_of(cases=cases), grid="native", checkpoint="best.ckpt")
    assert len((tmp_path / "scores.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(REGIONS)


def test_the_table_tells_mean_and_standard_deviation_over_cases() -> None:
    scores = scores_of(cases=3, with_cavity=3)
    table = printed(scores, title="the title")
    for region in REGIONS:
        expected = []
        for name in ("dice", "iou", "hd95_mm"):
            values = [row[f"{name}_{region}"] for row in scores.rows.values()]
            expected.append(f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}")
        assert line_of(region, table) == [region, *expected]
    accuracies = [row["accuracy"] for row in scores.rows.values()]
    accuracy = f"voxel accuracy {statistics.fmean(accuracies):.3f} ± {statistics.stdev(accuracies):.3f}"
    assert f"3 cases · {accuracy} · empty masks: nan convention" in unwrapped(table)
    assert "the title" in table
    assert all(heading in table for heading in ("region", "Dice", "IoU", "HD95 mm"))


def test_undefined_scores_are_left_out_and_the_number_left_is_told() -> None:
    scores = scores_of(cases=4, with_cavity=2)
    dice = [row["dice_RC"] for row in scores.rows.values() if not math.isnan(row["dice_RC"])]
    assert len(dice) == 2
    expected = f"{statistics.fmean(dice):.3f} ± {statistics.stdev(dice):.3f} (2 of 4)"
    assert line_of("RC", printed(scores))[1] == expected
    assert line_of("RC", printed(scores_of(cases=2, with_cavity=0))) == ["RC", "–", "–", "–"]


@pytest.mark.parametrize("with_cavity", [0, 1])
def test_one_case_has_no_deviation(with_cavity: int) -> None:
    scores = scores_of(cases=1, with_cavity=with_cavity, empty="brats")
    (row,) = scores.rows.values()
    table = printed(scores)
    assert line_of("RC", table) == ["RC", *(f"{row[f'{name}_RC']:.3f}" for name in ("dice", "iou", "hd95_mm"))]
    assert f"1 case · voxel accuracy {row['accuracy']:.3f} · empty masks: brats convention" in unwrapped(table)


def test_a_path_with_brackets_stands_in_the_title_as_it_is() -> None:
    assert "runs/[old]/best.ckpt [/]" in printed(scores_of(cases=1), title="runs/[old]/best.ckpt [/]")


def test_it_prints_where_nothing_else_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores(scores_of(cases=2), title="test cases")
    assert "test cases" in capsys.readouterr().out
