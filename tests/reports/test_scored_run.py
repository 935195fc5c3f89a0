import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from brats_lightning.errors import BratsError
from brats_lightning.metrics.confusion import class_rows, class_scores
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.model.score_callbacks import ClassScores, SliceScores
from brats_lightning.model.scored_case import ScoredCase
from brats_lightning.reports.class_tables import print_class_scores, read_counts, write_class_scores
from brats_lightning.reports.pictures import OverlayPictures
from brats_lightning.reports.score_files import read_score_file
from brats_lightning.reports.score_kinds import is_no_score
from brats_lightning.reports.scored_run import report_scores

COUNTS = np.array([[900, 5, 0], [15, 80, 0], [0, 0, 0]])


def scored() -> tuple[RegionScores, list[Any]]:
    """Scores of two random cases by all that scores."""
    scores, callbacks = RegionScores(["ET", "WT"]), [ClassScores(), SliceScores(regions=["ET"])]
    generator = torch.Generator().manual_seed(0)
    for case in ("a", "b"):
        prediction, reference = torch.randint(0, 4, (2, 5, 6, 3), generator=generator).to(torch.uint8)
        scores.update(prediction[None], reference[None], spacing_mm=torch.ones(1, 3), cases=[case])
        for callback in callbacks:
            callback.update(ScoredCase(case, lambda: torch.zeros(0), prediction, reference, (1.0, 1.0, 1.0)))
    scores.compute()
    for callback in callbacks:
        callback.compute()
    return scores, callbacks


def test_each_kind_of_score_has_a_table_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, callbacks = scored()
    about = {"part": "train", "title": "train cases", "grid": "native", "checkpoint": "best.ckpt"}
    report_scores(scores, callbacks, folder=tmp_path, **about)
    printed = capsys.readouterr().out
    assert "Classes of train cases" in printed
    assert "Axial slices of train cases" in printed
    assert "6 slices ·" in " ".join(printed.split())
    names = {"scores_train.csv", "scores_classes_train.csv", "scores_slices_train.csv"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert read_score_file(tmp_path / "scores_train.csv").cases == ["a", "b"]
    slices = read_score_file(tmp_path / "scores_slices_train.csv")
    assert slices.cases == [f"{case} axial {index:03}" for case in "ab" for index in range(3)]
    classes = read_score_file(tmp_path / "scores_classes_train.csv")
    expected = class_scores(callbacks[0].counts, ["NCR", "ED", "ET"])
    for row, values in expected.items():
        for measure, value in values.items():
            assert classes.scores[measure]["all cases", row] == value
    assert classes.words["grid"]["all cases", "class_ET"] == "native"


def test_pictures_of_an_earlier_network_go_and_those_of_this_one_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, _ = scored()
    folder = tmp_path / "runs" / "net"
    old = folder / "figures" / "scores_test" / "old.png"
    old.parent.mkdir(parents=True)
    old.touch()
    drawn: list[tuple[Path, str, bool, bool]] = []

    def draw(self: OverlayPictures, into: Path, *, title: str) -> None:
        drawn.append((into, title, old.exists(), (folder / "scores_test.csv").is_file()))

    monkeypatch.setattr(OverlayPictures, "draw", draw)
    about = {"part": "test", "title": "test cases", "grid": "native", "checkpoint": "best.ckpt"}
    report_scores(scores, [OverlayPictures()], folder=folder, **about)
    assert drawn == [(old.parent, "net · test", False, True)]
    old.touch()
    report_scores(scores, [], folder=folder, **about)  # nobody draws, and what was drawn is of another network
    assert not old.exists()


def test_the_confusion_matrix_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    write_class_scores(path, COUNTS, ["ET", "RC"], grid="native", checkpoint="best.ckpt")
    found = read_counts(read_score_file(path))
    assert found is not None
    counts, names = found
    assert counts.tolist() == COUNTS.tolist()
    assert names == ["ET", "RC"]
    assert all(is_no_score(column) for column in read_score_file(path).scores if column.endswith("_voxels"))


def test_of_an_earlier_version_there_is_no_confusion_matrix(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("case,region,precision,accuracy\nall cases,class_BACKGROUND,0.9,0.5\nall cases,class_ET,0.25,0.5\n")
    assert read_counts(read_score_file(path)) is None


def test_what_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, _ = scored()
    about = {"part": "test", "title": "test cases", "grid": "native", "checkpoint": "best.ckpt"}
    with pytest.raises(BratsError, match=r"scores above could not be written to .*absent/scores_test.csv"):
        report_scores(scores, [], folder=tmp_path / "absent", **about)
    assert "test cases" in capsys.readouterr().out


def test_the_file_tells_how_much_of_the_image_a_class_is(tmp_path: Path) -> None:
    write_class_scores(tmp_path / "classes.csv", COUNTS, ["ET", "RC"], grid="native", checkpoint="best.ckpt")
    with (tmp_path / "classes.csv").open(newline="") as file:
        rows = {row["region"]: row for row in csv.DictReader(file)}
    assert list(rows) == class_rows(["ET", "RC"])
    assert rows["class_ET"]["predicted_voxels"] == "95"
    assert rows["class_ET"]["reference_voxels"] == "85"
    assert rows["class_RC"]["dice"] == rows["micro_with_background"]["predicted_voxels"] == "nan"
    assert {row["accuracy"] for row in rows.values()} == {"0.98"}


def test_the_table_tells_which_average_is_which() -> None:
    console = Console(file=io.StringIO(), width=80)
    print_class_scores(COUNTS, ["ET", "RC"], cases=2, title="the [title]", console=console)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    lines = {line.strip("│ ").split("│")[0].strip(): line for line in printed.splitlines() if "│" in line}
    assert {"BACKGROUND", "ET", "RC", "micro with background", "macro tumour classes"} <= set(lines)
    assert "91.50%" in lines["BACKGROUND"]
    assert lines["micro with background"].count("0.9800") == 4  # specificity too: there are two classes
    assert lines["micro tumour classes"].count(f"{80 / 95:.4f}") == 1
    assert lines["RC"].count("–") == 5
    assert "2 cases pooled · accuracy of all voxels 0.9800" in " ".join(printed.split())
