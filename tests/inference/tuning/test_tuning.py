from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.data.case import Case
from brats_lightning.errors import ConfigError
from brats_lightning.inference.postprocessing.postprocess import RelabelSmall, RemoveSmall, Thresholds
from brats_lightning.inference.tuning.tuning import inner_folds, tune
from brats_lightning.inference.tuning.tuning_cases import TuningCase, box_of, metric_of
from brats_lightning.inference.tuning.tuning_search import Settings, search
from brats_lightning.labels import CHALLENGE_REGIONS

SHAPE = (16, 14, 12)
MM = (1.0, 1.0, 1.0)
Shares = npt.NDArray[np.float64]


def shares_of(labels: npt.NDArray[np.uint8], *, sure: float = 0.9) -> Shares:
    """Probabilities (4, X, Y, Z) that favour these labels, the rest shared by the others."""
    shares = np.full((4, *labels.shape), (1 - sure) / 3)
    np.put_along_axis(shares, labels[None].astype(np.intp), sure, axis=0)
    return shares


def tumour(*, enhancing: bool = True) -> npt.NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:10, 2:10, 2:10] = 2
    labels[4:8, 4:8, 4:8] = 1
    if enhancing:
        labels[5:7, 5:7, 4:8] = 3
    return labels


def case(number: int, shares: Shares, reference: npt.NDArray[np.uint8], *, fold: str | None = None) -> TuningCase:
    return TuningCase(f"case {number}", fold or f"fold {number % 3}", shares.astype(np.float16), reference, MM)


def hesitant(number: int, *, chance: float = 0.42) -> TuningCase:
    """A network that gives the enhancing tumour too small a share: the right threshold lies below it."""
    reference = tumour()
    shares = shares_of(reference)
    shares[:, reference == 3] = np.array([0.02, 0.96 - chance, 0.02, chance])[:, None]
    return case(number, shares, reference)


def speckled(number: int, *, fold: str | None = None, real: bool = False) -> TuningCase:
    """A prediction with one far speck of enhancing tumour of 27 voxels, which is there or not."""
    predicted = tumour(enhancing=False)
    predicted[12:15, 10:13, 8:11] = 3
    reference = predicted if real else tumour(enhancing=False)
    return case(number, shares_of(predicted), reference, fold=fold)


def test_a_planted_threshold_is_found() -> None:
    tuned = tune([hesitant(number) for number in range(6)])
    assert tuned.steps == (Thresholds({"WT": 0.5, "TC": 0.5, "ET": 0.4}),)
    assert tuned.before < 0.9
    assert tuned.after == pytest.approx(1)
    assert set(tuned.folds) == {"fold 0", "fold 1", "fold 2"}
    assert [row.case for row in tuned.rows] == [f"case {number}" for number in range(6)]


def test_a_threshold_is_refined() -> None:
    """Enhancing tumour has 0.47, other tissue of the core up to 0.42: neither 0.4 nor 0.5 tells them apart."""
    cases = []
    for number in range(4):
        one = hesitant(number, chance=0.47)
        assert isinstance(one.probabilities, np.ndarray)
        shares = one.probabilities.copy()
        shares[:, tumour() == 1] = np.array([0.02, 0.54, 0.02, 0.42], np.float16)[:, None]
        cases.append(replace(one, probabilities=shares))
    assert tune(cases, metric="dice_ET").steps == (Thresholds({"WT": 0.5, "TC": 0.5, "ET": 0.45}),)


@pytest.mark.parametrize("metric", ["dice_mean_WT_TC_ET", "hd95_mm_WT", "nsd_1mm_WT"])
def test_a_planted_speck_is_removed(metric: str) -> None:
    tuned = tune([speckled(number) for number in range(6)], metric=metric)
    (removal,) = tuned.steps
    assert removal == RemoveSmall("WT", mm3=50.0)
    assert (tuned.after > tuned.before) == (tuned.metric.better == "higher")
    assert tuned.after == pytest.approx(1 if tuned.metric.better == "higher" else 0)


def test_a_score_of_one_region_is_not_bought_with_another() -> None:
    """Removing the whole tumour would remove a false find of ET, too."""
    cases = []
    for number in range(4):
        predicted = tumour(enhancing=False)
        predicted[5:8, 5:8, 5:8] = 3
        cases.append(case(number, shares_of(predicted), tumour(enhancing=False)))
    assert tune(cases, metric="dice_ET").steps == (RemoveSmall("ET", mm3=50.0),)
    assert tune(cases, metric="dice_WT").steps == ()


def test_a_region_of_several_pieces_is_judged_as_a_whole() -> None:
    """Pieces of ET of 27 voxels are lesions where there are three of them and false finds where there is one."""
    cases = []
    for number in range(4):
        predicted = np.full(SHAPE, 1, np.uint8)
        for start in (1, 5, 9)[: 1 + number % 2 * 2]:
            predicted[start : start + 3, 4:7, 4:7] = 3
        reference = predicted if number % 2 else np.full(SHAPE, 1, np.uint8)
        cases.append(case(number, shares_of(predicted), reference, fold=f"fold {number // 2}"))
    assert tune(cases, metric="dice_ET").steps == (RelabelSmall("ET", mm3=50.0),)


def test_the_report_is_not_the_score_that_was_searched_for() -> None:
    """What is a false find in one fold is a lesion in the other: each fold is scored by what the other one taught."""
    false_finds = [speckled(number, fold="a") for number in range(3)]
    lesions = [speckled(number, fold="b", real=True) for number in range(3, 6)]
    tuned = tune(false_finds + lesions)
    assert tuned.folds == {"a": (), "b": (RemoveSmall("WT", mm3=50.0),)}
    rows = {row.case: row for row in tuned.rows}
    assert all(rows[one.case].after == rows[one.case].before < 1 for one in false_finds)
    assert all(rows[one.case].after < rows[one.case].before == 1 for one in lesions)
    assert tuned.after < tuned.before


def test_nothing_is_changed_where_nothing_helps() -> None:
    tuned = tune([case(number, shares_of(tumour()), tumour()) for number in range(4)])
    assert tuned.steps == ()
    assert set(tuned.folds.values()) == {()}
    assert tuned.before == tuned.after == 1


def test_order_processes_and_files_change_nothing(tmp_path: Path) -> None:
    cases = [hesitant(number, chance=0.3 + number / 50) for number in range(4)] + [speckled(5), speckled(6)]
    expected = tune(cases)
    assert expected.steps
    stored = []
    for one in reversed(cases):
        for name in ("probabilities", "reference"):
            np.save(tmp_path / f"{one.case} {name}.npy", getattr(one, name))
        stored.append(
            replace(
                one,
                probabilities=tmp_path / f"{one.case} probabilities.npy",
                reference=tmp_path / f"{one.case} reference.npy",
            )
        )
    assert tune(stored) == expected


@pytest.mark.slow
def test_two_processes_find_what_one_finds() -> None:
    cases = [speckled(number) for number in range(4)]
    assert tune(cases, workers=2) == tune(cases)


def test_the_box_holds_all_that_any_setting_labels() -> None:
    shares = np.zeros((4, *SHAPE))
    shares[0] = 1
    shares[:, 3, 4, 5] = (0.76, 0.08, 0.08, 0.08)
    reference = np.zeros(SHAPE, np.uint8)
    reference[8, 4, 5] = 2
    assert box_of(case(0, shares, reference)) == (slice(3, 9), slice(4, 5), slice(5, 6))
    shares[0] = 1
    assert tune([case(number, shares, np.zeros_like(reference)) for number in range(2)]).before == 1


def searched(
    score: Callable[[Settings], float], *, regions: Sequence[str] = CHALLENGE_REGIONS
) -> tuple[Settings, list[Settings]]:
    """What a search finds where the score of any settings is known, and what it tried."""
    searching = search(regions)
    asked, tried = next(searching), list[Settings]()
    while True:
        tried += asked
        try:
            asked = searching.send([score(settings) for settings in asked])
        except StopIteration as stopped:
            return stopped.value, tried


def test_a_search_climbs_from_one_setting_to_the_next() -> None:
    """A made-up score whose best settings are known and can be reached one at a time."""

    def score(settings: Settings) -> float:
        thresholds = settings.thresholds or (0.5, 0.5, 0.5)
        miss = sum(abs(one - best) for one, best in zip(thresholds, (0.25, 0.55, 0.75), strict=True))
        return -miss - abs(settings.removed_mm3[1] - 200) / 1000 - abs(settings.relabelled_mm3 - 500) / 1000

    best, tried = searched(score)
    assert best == Settings((0.25, 0.55, 0.75), (0.0, 200.0, 0.0), 500.0)
    assert all(0.25 <= value <= 0.75 for settings in tried for value in settings.thresholds or ())
    assert tried[0] == Settings()
    assert tried[0].steps == ()


def test_a_gain_that_is_none_is_not_taken() -> None:
    assert searched(lambda settings: 0.00009 * (settings != Settings()))[0] == Settings()
    assert searched(lambda settings: 0.00011 * (settings != Settings()))[0] != Settings()


def test_only_the_regions_asked_for_change() -> None:
    _, tried = searched(lambda settings: sum(settings.removed_mm3) - sum(settings.thresholds or (1,)), regions=["TC"])
    assert {settings.removed_mm3[0] for settings in tried} == {settings.removed_mm3[2] for settings in tried} == {0}
    assert {settings.relabelled_mm3 for settings in tried} == {0}
    assert {settings.thresholds[2] for settings in tried if settings.thresholds} == {0.5}
    assert len(tried) > 10


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("dice_mean_WT_TC_ET", "higher"),
        ("hd95_mm_mean_WT_TC_ET", "lower"),
        ("nsd_0.5mm_ED", "higher"),
        ("iou_ET", "higher"),
    ],
)
def test_metrics_have_a_direction(name: str, better: str) -> None:
    assert metric_of(name).better == better


@pytest.mark.parametrize(
    "name", ["dice", "accuracy", "specificity_ET", "dice_brain", "mean_WT_TC_ET", "relative_ET", "dice_RC"]
)
def test_other_metrics_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot tune for '{name}': expected one of dice, iou"):
        metric_of(name)


def test_cases_must_be_in_folds_and_belong_together() -> None:
    with pytest.raises(ConfigError, match="at least two named folds, found 'a'"):
        tune([speckled(0, fold="a"), speckled(1, fold="a")])
    with pytest.raises(ConfigError, match="found none"):
        tune([])
    with pytest.raises(ConfigError, match="each case once"):
        tune([speckled(0, fold="a"), speckled(0, fold="b")])
    with pytest.raises(ConfigError, match=r"case 0: expected probabilities .* of one grid"):
        tune([replace(speckled(0), reference=np.zeros((2, 2, 2), np.uint8)), speckled(1)])


def test_a_patient_is_in_one_inner_fold() -> None:
    cases = [Case(f"{patient}-{time}", f"{patient}", "2023", {}) for patient in range(7) for time in range(2)]
    folds = inner_folds(cases, count=3, seed=1)
    assert set(folds) == {one.id for one in cases}
    assert len(set(folds.values())) == 3
    assert all(folds[f"{patient}-0"] == folds[f"{patient}-1"] for patient in range(7))
    assert folds == inner_folds(cases[::-1], count=3, seed=1)
    assert any(folds != inner_folds(cases, count=3, seed=seed) for seed in range(2, 6))
    with pytest.raises(ConfigError, match="need as many patients"):
        inner_folds(cases, count=8)
