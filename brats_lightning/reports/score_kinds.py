"""What a column of a score file holds: which way is better, what values it can have, or that it is no score."""

import re
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "nearer to 0"]

CONVENTIONS = ("empty_masks", "distances", "rules", "grid")
"""Columns of words that rows must share to be comparable; so must any other column of words but these:"""
DESCRIPTIONS = ("patient", "edition", "fold", "prediction", "reference", "file", "status", "note", "checkpoint")
MAIN = ("dice", "iou", "hd95_mm", "lesionwise_dice", "lesionwise_hd95_mm", "accuracy")
"""Compared unless others are asked for: each further score makes Holm's correction of all of them stricter."""

_LESIONWISE = "lesionwise_"
_DISTANCE = re.compile(r"hd\d*_mm|assd_mm|nsd_.*")

_NO_SCORE = re.compile(r"fold|seconds|(.*_)?(voxels|lesions|volume_ml)")
_KINDS: tuple[tuple[str, Better, float], ...] = (
    ("dice|iou|sensitivity|recall|specificity|precision|accuracy|f1|nsd", "higher", 1.0),
    ("true_positives", "higher", float("inf")),
    (r"hd\d*|assd|false_positives|false_negatives|absolute_volume_difference", "lower", float("inf")),
    ("volume_difference", "nearer to 0", float("inf")),
)


@dataclass(frozen=True)
class ScoreKind:
    """How a score is read.

    Args:
        better: Which way.
        lowest: Smallest value that it can have.
        highest: Largest value that it can have.
    """

    better: Better
    lowest: float = float("-inf")
    highest: float = float("inf")


def score_kind(column: str) -> ScoreKind | None:
    """Kind of a score by its name, whatever stands before or behind (`lesionwise_dice`, `nsd_1mm`); None if unknown.

    Example:
        >>> score_kind("hd95_mm").better, score_kind("relative_volume_difference").better, score_kind("beauty")
        ('lower', 'nearer to 0', None)
    """
    for names, better, highest in _KINDS:
        if re.search(rf"(^|_)({names})(_|$)", column):
            return ScoreKind(better, float("-inf") if better == "nearer to 0" else 0.0, highest)
    return None


def concerns(convention: str, score: str) -> bool:
    """Whether a score depends on what a column of words says.

    Example:
        >>> concerns("distances", "hd95_mm"), concerns("distances", "dice"), concerns("rules", "dice")
        (True, False, False)
    """
    if score.startswith(_LESIONWISE):
        return convention not in {"empty_masks", "distances"}  # the rules say both
    if convention == "distances":
        return _DISTANCE.fullmatch(score) is not None
    return convention != "rules"


def is_no_score(column: str) -> bool:
    """Whether a column of numbers is known to say nothing about quality: a volume, a count, a fold."""
    return _NO_SCORE.fullmatch(column) is not None and score_kind(column) is None
