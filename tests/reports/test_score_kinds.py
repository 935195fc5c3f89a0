import pytest

from brats_lightning.metrics.case_scores import ALL_SCORES
from brats_lightning.reports.score_kinds import CONVENTIONS, DESCRIPTIONS, is_no_score, score_kind


@pytest.mark.parametrize(
    ("column", "better"),
    [
        *((name, "higher") for name in ("dice", "iou", "sensitivity", "specificity", "precision", "accuracy")),
        *((name, "higher") for name in ("nsd_1mm", "nsd_0.5mm", "lesionwise_dice", "true_positives")),
        *((name, "lower") for name in ("hd95_mm", "hd100_mm", "hd_mm", "assd_mm", "lesionwise_hd95_mm")),
        *((name, "lower") for name in ("absolute_volume_difference_ml", "false_positives", "false_negatives")),
        ("relative_volume_difference", "nearer to 0"),
    ],
)
def test_which_way_is_better_is_known_by_name(column: str, better: str) -> None:
    kind = score_kind(column)
    assert kind is not None
    assert kind.better == better


@pytest.mark.parametrize("column", ["beauty", "paradice", "thd95", "diceness", "shd", "case", "tolerance_mm"])
def test_a_strange_name_is_not_guessed(column: str) -> None:
    assert score_kind(column) is None
    assert not is_no_score(column)


def test_every_score_of_a_region_is_known() -> None:
    for name in ALL_SCORES:
        assert (score_kind(name) is None) == is_no_score(name), name
    assert {name for name in ALL_SCORES if is_no_score(name)} == {"predicted_volume_ml", "reference_volume_ml"}


def test_shares_end_at_one_and_distances_do_not() -> None:
    dice, distance, difference = (score_kind(name) for name in ("dice", "hd95_mm", "relative_volume_difference"))
    assert dice is not None
    assert distance is not None
    assert difference is not None
    assert (dice.lowest, dice.highest) == (0, 1)
    assert (distance.lowest, distance.highest) == (0, float("inf"))
    assert difference.lowest == float("-inf")


def test_columns_of_words_are_no_scores() -> None:
    assert not any(score_kind(column) for column in (*CONVENTIONS, *DESCRIPTIONS))
    assert not set(CONVENTIONS) & set(DESCRIPTIONS)
