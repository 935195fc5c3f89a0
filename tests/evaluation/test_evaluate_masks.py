"""Masks of the whole tumour, scored against label maps of tissues and the other way round."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from brats_lightning.cli import main
from brats_lightning.labels import MASK, WHOLE

Write = Callable[..., Path]
BOX, MOVED = np.s_[2:4, 2:4, 2:4], np.s_[3:5, 2:4, 2:4]
"""Eight voxels each, four of them shared."""
AROUND = np.s_[1:6, 1:6, 1:6]
CASE = "BraTS2021_00001"


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def evaluate(*arguments: str) -> list[dict[str, str]]:
    """Rows of the scores of the folder `p` against the folder `r`."""
    main(["evaluate", "--predictions", "p", "--references", "r", "--output", "out", "--workers", "1", *arguments])
    with Path("out/scores.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        evaluate(*arguments)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_mask_is_scored_against_tissues_for_the_whole_tumour_alone(
    write_labels: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labels(f"r/{CASE}_seg.nii.gz", {2: BOX, 4: np.s_[2:3, 2:4, 2:4]})
    write_labels(f"p/{CASE}.nii.gz", {1: MOVED})
    (row,) = evaluate("--prediction-edition", MASK)
    assert row["region"] == "WT"
    assert [float(row["dice"]), float(row["iou"])] == pytest.approx([1 / 2, 1 / 3])
    assert float(row["accuracy"]) == pytest.approx(1 - 8 / 720)  # which tissue it is does not count
    assert "masks of the whole tumour: scored for WT alone" in capsys.readouterr().out
    about = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))["convention"]
    assert WHOLE in about["regions"]["WT"]
    said = refused(capsys, "--prediction-edition", MASK, "--regions", '["WT","ET","TC"]')
    assert "no region ET, TC in predictions of the edition mask" in said


def test_a_missing_mask_counts_as_an_empty_one_for_the_whole_tumour_alone(write_labels: Write) -> None:
    for number in (1, 2):
        write_labels(f"r/BraTS2021_0000{number}_seg.nii.gz", {4: BOX})
    write_labels("p/BraTS2021_00001.nii.gz", {1: BOX})
    rows = evaluate("--prediction-edition", MASK)
    assert [(row["case"], row["region"], float(row["dice"])) for row in rows] == [
        ("BraTS2021_00001", "WT", 1),
        ("BraTS2021_00002", "WT", 0),
    ]


def test_masks_as_references_know_the_whole_tumour_alone(
    write_labels: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labels("r/one.nii.gz", {1: AROUND})
    write_labels("p/one.nii.gz", {1: BOX, 2: AROUND, 4: np.s_[6:7, 6:7, 6:7]})
    (row,) = evaluate("--edition", MASK, "--prediction-edition", "2021")
    assert row["region"] == "WT"
    assert [float(row["dice"]), float(row["accuracy"])] == pytest.approx([250 / 251, 1 - 1 / 720])
    (own,) = evaluate("--edition", MASK, "--prediction-edition", "2021", "--regions", '{"tumour": [6]}')
    assert (own["region"], own["dice"]) == ("tumour", row["dice"])
    said = refused(capsys, "--edition", MASK, "--prediction-edition", "2021", "--regions", '["ET","WT"]')
    assert "no region ET in references of mask, which tell tumour from all else" in said


def test_two_masks_of_own_names(write_labels: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write_labels("r/one.nii.gz", {1: BOX})
    write_labels("p/one.nii.gz", {1: MOVED})
    (row,) = evaluate("--edition", MASK, "--rules", "2023-GLI", "--conventions", "all")
    assert float(row["dice"]) == 0.5
    with pytest.raises(SystemExit):
        evaluate()
    assert "mask: 1 whole tumour" in capsys.readouterr().err  # one of the meanings that 1 may have
