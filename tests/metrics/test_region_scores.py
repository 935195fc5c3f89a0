import copy
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule

from brats_lightning.labels import REGIONS
from brats_lightning.metrics.case_scores import score_case, score_names
from brats_lightning.metrics.empty import EMPTY_POLICIES
from brats_lightning.metrics.region_scores import RegionScores

SCRIPT = Path(__file__).parent / "score_on_rank.py"
NAMES = ("ET", "ED", "NCR", "WT", "TC")


def batch(cases: int, *, seed: int = 0, labels: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction, reference = torch.randint(0, labels, (2, cases, 6, 5, 7), generator=generator)
    return {
        "prediction": prediction,
        "reference": reference,
        "spacing_mm": torch.tensor([[1.0, 1.0, 2.0]] * cases),
    }


def ids(count: int) -> list[str]:
    return [f"case-{number}" for number in range(count)]


def test_rows_are_the_scores_of_each_case() -> None:
    metric, data = RegionScores(), batch(2)
    metric.update(**data, cases=ids(2))
    expected = score_case(
        data["prediction"][1].numpy(),
        data["reference"][1].numpy(),
        spacing_mm=(1, 1, 2),
        regions={name: REGIONS[name] for name in NAMES},
        empty=EMPTY_POLICIES["brats"],
    )
    assert list(metric.rows) == ids(2)
    assert metric.rows["case-1"] == expected
    metric.rows["case-1"]["accuracy"] = -1.0
    assert metric.rows["case-1"] == expected


def test_means_are_those_of_rows_and_of_regions() -> None:
    metric = RegionScores()
    metric.update(**batch(3), cases=ids(3))
    means = metric.compute()
    for name in score_names(NAMES):
        assert means[name] == pytest.approx(np.mean([row[name] for row in metric.rows.values()]))
    for trio in (("ET", "ED", "NCR"), ("WT", "TC", "ET")):
        for score in ("dice", "iou", "hd95_mm"):
            of_regions = [means[f"{score}_{region}"] for region in trio]
            assert means[f"{score}_mean_{'_'.join(trio)}"] == pytest.approx(np.mean(of_regions))
    assert all(type(value) is float for value in means.values())


def test_means_of_trios_stand_only_where_the_trio_does() -> None:
    metric = RegionScores(["WT", "TC", "ET"])
    metric.update(**batch(1), cases=ids(1))
    means = metric.compute()
    assert "dice_mean_WT_TC_ET" in means
    assert not [name for name in means if "ED" in name]


def test_own_regions_are_scored_by_their_values() -> None:
    metric = RegionScores({"core": [1, 3]})
    metric.update(**batch(1), cases=ids(1))
    named = RegionScores(["TC"])
    named.update(**batch(1), cases=ids(1))
    assert metric.compute()["dice_core"] == named.compute()["dice_TC"]


def test_batches_and_their_order_do_not_matter_to_the_last_bit() -> None:
    together, apart, data = RegionScores(), RegionScores(), batch(5)
    together.update(**data, cases=ids(5))
    for number in (3, 0, 4, 2, 1):
        apart.update(**{key: value[number : number + 1] for key, value in data.items()}, cases=[f"case-{number}"])
    assert together.compute() == apart.compute()


def test_a_repeated_case_counts_once_and_a_new_score_replaces_the_old() -> None:
    metric, data = RegionScores(), batch(1)
    metric.update(**batch(1, seed=1), cases=["a"])
    stale = metric.compute()
    for _ in range(2):
        metric.update(**data, cases=["a"])
    metric.update(**batch(1, seed=2), cases=["b"])
    once = RegionScores()
    once.update(**data, cases=["a"])
    once.update(**batch(1, seed=2), cases=["b"])
    assert metric.compute() == once.compute() != stale


def test_an_update_after_compute_shows_in_the_rows() -> None:
    metric = RegionScores()
    metric.update(**batch(1), cases=["a"])
    metric.compute()
    metric.update(**batch(1, seed=1), cases=["b"])
    assert list(metric.rows) == ["a", "b"]


def test_undefined_scores_are_left_out_of_the_mean() -> None:
    metric = RegionScores(["RC", "ET"], empty="nan")
    with_cavity = batch(1, labels=5)
    metric.update(**with_cavity, cases=["with"])
    metric.update(**batch(1), cases=["without"])
    means = metric.compute()
    assert math.isnan(metric.rows["without"]["dice_RC"])
    assert means["dice_RC"] == metric.rows["with"]["dice_RC"] > 0


def test_counts_tell_over_how_many_cases_each_mean_is() -> None:
    metric = RegionScores(["RC", "ET"], empty="nan")
    assert metric.counts == dict.fromkeys(score_names(["RC", "ET"]), 0)
    metric.update(**batch(1, labels=5), cases=["with"])
    metric.update(**batch(2), cases=["without", "either"])
    means = metric.compute()
    expected = {name: 1 if name.endswith("_RC") else 3 for name in score_names(["RC", "ET"])}
    assert metric.counts == expected
    for name, count in metric.counts.items():
        defined = [row[name] for row in metric.rows.values() if not math.isnan(row[name])]
        assert len(defined) == count
        assert means[name] == pytest.approx(np.mean(defined))


def test_scores_and_convention_are_those_asked_for() -> None:
    names = ("hd95_mm", "assd_mm", "sensitivity", "nsd_2mm", "reference_volume_ml")
    metric = RegionScores(["WT", "TC", "ET"], scores=names, convention="pooled")
    data = batch(1)
    metric.update(**data, cases=ids(1))
    means = metric.compute()
    assert metric.rows["case-0"] == score_case(
        data["prediction"][0],
        data["reference"][0],
        spacing_mm=(1, 1, 2),
        regions=metric.regions,
        empty=EMPTY_POLICIES["brats"],
        scores=names,
        convention="pooled",
    )
    trios = [f"{name}_mean_WT_TC_ET" for name in names if name != "reference_volume_ml"]
    assert list(means) == [*score_names(["WT", "TC", "ET"], names), *trios]
    assert (metric.scores, metric.convention) == (names, "pooled")


def test_a_trio_with_an_undefined_region_is_undefined() -> None:
    metric = RegionScores(empty="nan")
    metric.update(**batch(1, labels=3), cases=["a"])  # no enhancing tumour anywhere
    means = metric.compute()
    assert math.isnan(means["dice_mean_ET_ED_NCR"])
    assert means["dice_WT"] > 0


def test_nothing_scored_and_nothing_left_are_nan() -> None:
    metric = RegionScores()
    metric.update(**batch(1), cases=ids(1))
    metric.reset()
    assert metric.rows == {}
    with pytest.warns(UserWarning, match="before the ``update``"):
        means = metric.compute()
    assert all(math.isnan(value) for value in means.values())


def test_it_lives_in_a_lightning_module() -> None:
    module = LightningModule()
    module.scores = RegionScores()
    module.scores.update(**batch(2), cases=ids(2))
    module.to(torch.device("cpu")).double()
    assert not module.state_dict()
    assert module.scores.compute()["dice_ET"] > 0


def test_copies_and_pickles_keep_the_cases_and_go_their_own_way() -> None:
    metric = RegionScores()
    metric.update(**batch(2), cases=ids(2))
    for copied in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):  # noqa: S301 - its own bytes
        assert copied.compute() == metric.compute()
        copied.update(**batch(1, seed=9), cases=["new"])
        assert "new" not in metric.rows


def test_forward_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="call update"):
        RegionScores()(**batch(1), cases=ids(1))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"prediction": torch.zeros(1, 2, 2, dtype=torch.long)}, r"one shape \(B, X, Y, Z\)"),
        ({"reference": torch.zeros(1, 6, 5, 8, dtype=torch.long)}, r"\(1, 6, 5, 7\) and \(1, 6, 5, 8\)"),
        ({"spacing_mm": torch.ones(3)}, r"spacings of shape \(1, 3\)"),
        ({"cases": ["a", "b"]}, "1 case ids"),
        ({"cases": "a"}, "1 case ids"),
        ({"prediction": torch.zeros(1, 6, 5, 7)}, "BraTS-7: expected integer labels"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_in_words(changed: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {**batch(1), "cases": ["BraTS-7"], **changed}
    with pytest.raises(ValueError, match=words):
        RegionScores().update(**arguments)


def test_unknown_names_are_refused_when_the_metric_is_built() -> None:
    with pytest.raises(ValueError, match="unknown region XX"):
        RegionScores(["XX"])
    with pytest.raises(ValueError, match="expected one of brats, brats-diagonal, nan, exclude"):
        RegionScores(empty="zero")
    with pytest.raises(ValueError, match="unknown score hausdorff"):
        RegionScores(scores=["hausdorff"])
    with pytest.raises(ValueError, match="'medpy': expected one of directed"):
        RegionScores(convention="medpy")  # type: ignore[arg-type]


def run_ranks(processes: int, folder: Path) -> list[dict[str, object]]:
    folder.mkdir()
    results = [folder / f"{rank}.json" for rank in range(processes)]
    started = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(rank), str(processes), folder / "rendezvous", result],
            cwd=Path(__file__).parents[2],
        )
        for rank, result in enumerate(results)
    ]
    try:
        assert [process.wait(timeout=120) for process in started] == [0] * processes
    finally:
        for process in started:
            process.kill()
    return [json.loads(result.read_text()) for result in results]


@pytest.mark.slow
def test_one_two_and_three_processes_agree_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (alone,) = run_ranks(1, tmp_path / "1")
    assert alone["before"] == ids(7)
    for processes in (2, 3):
        ranks = run_ranks(processes, tmp_path / str(processes))
        assert len({str(rank["before"]) for rank in ranks}) == processes  # each had cases of its own
        for rank in ranks:
            assert rank["means"] == rank["again"] == alone["means"]
            assert rank["rows"] == alone["rows"]
