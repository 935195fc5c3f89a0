"""Records of predicted cases that are damaged, and files that a killed prediction has left."""

import json
import os
from pathlib import Path

import pytest

from brats_lightning.data.case import Case
from brats_lightning.data.pictures import RECORDS
from brats_lightning.errors import Problem
from brats_lightning.inference.results import ResultFolder

CASE = Case("BraTS2021_00001", "BraTS2021_00001", "2021", {})
DAMAGED = [
    "[]", "null", '"text"', "3", "{", "", "[" * 100_000, '{"key": "a", "files": null}', '{"key": "a", "files": 3}',
    '{"key": "a", "files": [3]}', '{"key": "a", "problem": null}', '{"key": "a", "files": "x"}', "{}",
]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    record = tmp_path / RECORDS / f"{CASE.id}.json"
    record.parent.mkdir()
    record.write_text(text)
    results = ResultFolder(tmp_path, key="b", overwrite=False)
    assert results.records() == {}
    assert not results.is_finished(CASE)
    results.give_up([Problem(CASE.id, "", "nothing works", "none")])
    summary = json.loads(results.summarise({}).read_text())
    assert list(summary["failed"]) == [CASE.id]


@pytest.mark.parametrize("files", [None, ["", "..", "elsewhere/../.."]])
def test_names_in_a_damaged_record_remove_nothing(tmp_path: Path, files: object) -> None:
    record = tmp_path / RECORDS / f"{CASE.id}.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"key": "b", "files": files, "problem": "none"}))
    ResultFolder(tmp_path, key="b", overwrite=True).give_up([Problem(CASE.id, "", "nothing works", "none")])
    assert json.loads(record.read_text())["problem"].endswith("nothing works; none")


def test_text_that_cannot_be_written_does_not_stop_the_rest(tmp_path: Path) -> None:
    results = ResultFolder(tmp_path, key="a", overwrite=False)
    summary = results.summarise({"checkpoint": "a name \ud800 of old"})
    assert json.loads(summary.read_text())["checkpoint"] == "a name ? of old"


def test_what_a_killed_prediction_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / RECORDS).mkdir()
    halves = [tmp_path / ".a.nii.gz.elsewhere.7", tmp_path / RECORDS / ".a.json.elsewhere.7"]
    others = [tmp_path / "a.nii.gz", tmp_path / ".a.nii.gz.swp"]
    for path in halves + others:
        path.touch()
        os.utime(path, (0, 0))
    ResultFolder(tmp_path, key="a", overwrite=False)
    assert [path.exists() for path in halves + others] == [False, False, True, True]
