import json
import math
import statistics

import numpy as np
import pytest

from brats_lightning.evaluation.summary import as_json, mean_of, summarise, worst_cases
from brats_lightning.reports.scores import RegionRow

NAN = math.nan


def rows_of(*values: float, region: str = "ET", score: str = "dice") -> list[RegionRow]:
    return [RegionRow(f"case-{number}", region, {score: value}, {}) for number, value in enumerate(values)]


def test_the_numbers_are_those_of_pencil_and_paper() -> None:
    spread = summarise(rows_of(0.1, 0.2, NAN, 0.3, 0.6, 0.8))["ET"]["dice"]
    assert spread.count == 5
    assert spread.mean == pytest.approx(0.4)
    assert spread.std == pytest.approx(statistics.stdev([0.1, 0.2, 0.3, 0.6, 0.8]))
    assert spread.median == 0.3
    assert spread.quartiles == pytest.approx((0.2, 0.6))
    assert spread.interval_95[0] < spread.mean < spread.interval_95[1]


def test_the_interval_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(1).normal(10, 3, 400).tolist()
    spread = summarise(rows_of(*values))["ET"]["dice"]
    error = spread.std / math.sqrt(400)
    assert spread.interval_95 == pytest.approx(
        (spread.mean - 1.96 * error, spread.mean + 1.96 * error), abs=0.1 * error
    )


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        low, high = summarise(rows_of(*generator.normal(size=40).tolist()), resamples=500)["ET"]["dice"].interval_95
        covered += low <= 0 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_the_seed_decides_the_interval_and_the_order_of_rows_does_not() -> None:
    rows = rows_of(0.1, 0.5, 0.9, 0.2, 0.45, 0.33)
    one = summarise(rows, seed=1, resamples=50)
    assert summarise(rows[::-1], seed=1, resamples=50) == one
    assert summarise(rows, seed=2, resamples=50)["ET"]["dice"].interval_95 != one["ET"]["dice"].interval_95


def test_scores_are_drawn_together_and_undefined_ones_left_out() -> None:
    rows = [RegionRow(f"c{n}", "ET", {"dice": n / 10, "hd95_mm": NAN if n == 3 else 5.0}, {}) for n in range(4)]
    summary = summarise(rows)["ET"]
    assert summary["dice"].count == 4
    assert (summary["hd95_mm"].count, summary["hd95_mm"].mean) == (3, 5)
    assert summary["hd95_mm"].interval_95 == pytest.approx((5, 5))


def test_each_region_is_over_the_cases_that_have_it() -> None:
    summary = summarise([*rows_of(1.0, 0.0), *rows_of(0.5, region="RC")])
    assert {region: scores["dice"].count for region, scores in summary.items()} == {"ET": 2, "RC": 1}


@pytest.mark.parametrize(("values", "count", "mean"), [((), 0, None), ((NAN, NAN), 0, None), ((0.25,), 1, 0.25)])
def test_too_few_cases_leave_null_in_the_json(values: tuple[float, ...], count: int, mean: float | None) -> None:
    summary = as_json(summarise(rows_of(*values)))
    text = json.dumps(summary, allow_nan=False)
    if not values:
        assert text == "{}"
        return
    spread = json.loads(text)["ET"]["dice"]
    assert (spread["count"], spread["mean"], spread["median"]) == (count, mean, mean)
    assert spread["std"] is None
    assert spread["interval_95"] == [None, None]


def test_the_worst_cases_come_first() -> None:
    rows = [*rows_of(0.9, 0.1, NAN, 0.5, NAN), *rows_of(0.9, 0.5, 0.2, 0.5, NAN, region="WT")]
    assert worst_cases(rows, count=3) == [("case-2", 0.2), ("case-1", 0.3), ("case-3", 0.5)]
    assert worst_cases(rows_of(1.0, score="iou")) == []


def test_a_mean_of_nothing_is_nan() -> None:
    assert math.isnan(mean_of([NAN]))
    assert mean_of([NAN, 1.0, 2.0]) == 1.5
