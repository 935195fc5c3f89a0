import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brats_lightning.reports.run.scores import (
    WHOLE_CASE,
    Spread,
    conventions,
    empties,
    means_of_cases,
    named_checkpoints,
    score_files_in,
    spreads,
)
from brats_lightning.reports.score_files import read_score_file

WriteScores = Callable[..., Path]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_spreads_are_those_of_numpy(values: list[float]) -> None:
    spread = Spread("ET", "dice", dict(zip(map(str, range(len(values))), values, strict=True)), 0)
    assert spread.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert spread.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    assert (spread.quartiles[0], spread.median, spread.quartiles[1]) == pytest.approx(
        np.quantile(values, [0.25, 0.5, 0.75]), abs=1e-12
    )


def test_of_one_case_and_of_none_there_is_no_spread() -> None:
    one, none = Spread("ET", "dice", {"a": 0.5}, 0), Spread("ET", "dice", {}, 2)
    assert (one.mean, one.quartiles) == (0.5, (0.5, 0.5))
    assert all(map(math.isnan, (one.std, none.mean, none.std, none.median, *none.quartiles)))


def test_undefined_scores_are_left_out_and_counted_and_volumes_are_no_scores(
    tmp_path: Path, write_score_file: WriteScores
) -> None:
    numbers = {"a": (0.5, 0.9, 10.0), "b": (math.nan, 0.8, 0.0)}
    columns = ["dice", "accuracy", "reference_volume_ml"]
    file = read_score_file(write_score_file("scores.csv", numbers, columns=columns, regions=["ET", "WT"]))
    found = spreads(file)
    assert [(each.score, each.region, len(each.values), each.undefined) for each in found] == [
        ("dice", "ET", 1, 1), ("dice", "WT", 1, 1), ("accuracy", WHOLE_CASE, 2, 0),
    ]  # fmt: skip
    assert found[2].mean == pytest.approx(0.85)
    assert conventions(file)["empty_masks"] == "brats"
    assert empties(file) == {}  # the prediction's volumes are not known


def test_empty_masks_are_counted_where_volumes_are_known(tmp_path: Path, write_score_file: WriteScores) -> None:
    numbers = {"a": (0.0, 5.0), "b": (0.0, 0.0), "c": (3.0, 0.0)}
    columns = ["reference_volume_ml", "predicted_volume_ml"]
    assert empties(read_score_file(write_score_file("scores.csv", numbers, columns=columns))) == {"ET": (2, 2)}


def test_cases_are_ranked_by_the_challenges_regions(tmp_path: Path) -> None:
    rows = ["case,region,dice"]
    for case, (wt, tc, et, ncr) in {
        "a": (0.9, 0.8, 0.7, 0),
        "b": (0.3, 0.3, "nan", 1),
        "c": ("nan",) * 3 + (1,),
    }.items():
        rows += [f"{case},WT,{wt}", f"{case},TC,{tc}", f"{case},ET,{et}", f"{case},NCR,{ncr}"]
    (tmp_path / "scores.csv").write_text("\n".join(rows) + "\n")
    means = means_of_cases(read_score_file(tmp_path / "scores.csv"))
    assert means == pytest.approx({"a": 0.8, "b": 0.3, "c": math.nan}, nan_ok=True)  # c has no defined Dice there


def test_files_of_a_run_come_in_their_order_without_those_of_classes(
    tmp_path: Path, write_score_file: WriteScores
) -> None:
    for name in ("train", "validation", "test_last", "test", "classes_test", "slices_test"):
        write_score_file(f"scores_{name}.csv", {"a": 0.5}, checkpoint="runs/x/checkpoints/best.ckpt")
    names = [path.stem for path in score_files_in(tmp_path)]
    assert names == ["scores_test", "scores_validation", "scores_train", "scores_test_last"]
    assert named_checkpoints(read_score_file(tmp_path / "scores_test.csv")) == ["best.ckpt"]
