"""Rules by which the BraTS challenges score lesions, by season and task, as their scorers run and as they were meant.

`2024-GLI` is what the scorer of that season does, `2024-GLI-corrected` the same without its slips. The season
`2024HEAD` is the later state of the scorers of 2024, which adds a surface Dice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class RegionRules:
    """How one region's lesions are told apart.

    Args:
        dilation: Steps by which lesions are dilated, to merge those nearby and to match predictions.
        ignored: Reference lesions of at most so many mm³ are left out; predicted ones of at most so many voxels too,
            where predictions are merged.
        joined_through: Tissues whose lesions join those of this region that touch them, in this order.
    """

    dilation: int
    ignored: int
    joined_through: tuple[str, ...] = ()


@dataclass(frozen=True)
class LesionRules:
    """Rules of one season and task.

    Args:
        name: Season and task, `-corrected` where slips of the scorer are put right.
        regions: Rules of each region, names as in `brats_lightning.labels.REGIONS`.
        penalty_mm: HD95 of a missed lesion and of a false positive; None takes the diagonal of the grid in voxels.
        merges_predictions: Predicted lesions are merged, joined and dropped like those of the reference.
        scores_numbers: Whole-image HD95, sensitivity and specificity are taken of the lesions' numbers, as if they were
            a mask.
        nsd_tolerances_mm: Tolerances of the surface Dice, where the scorer has it.
    """

    name: str
    regions: Mapping[str, RegionRules]
    penalty_mm: float | None = 374
    merges_predictions: bool = False
    scores_numbers: bool = False
    nsd_tolerances_mm: tuple[float, ...] = ()


def _alike(dilation: int, ignored: int, regions: Sequence[str] = ("WT", "TC", "ET")) -> dict[str, RegionRules]:
    return dict.fromkeys(regions, RegionRules(dilation, ignored))


def _joined_through_core(dilation: int, ignored: int) -> dict[str, RegionRules]:
    return {**_alike(dilation, ignored), "ET": RegionRules(dilation, ignored, ("NCR",))}


def _post_treatment(oedema_dilation: int) -> dict[str, RegionRules]:
    return {
        **_alike(3, 20, ("WT", "TC")),
        "NCR": RegionRules(5, 20, ("ET", "RC")),
        "ED": RegionRules(oedema_dilation, 20, ("ET", "RC", "NCR")),
        "ET": RegionRules(3, 10, ("NCR", "RC")),
        "RC": RegionRules(5, 20, ("ET", "NCR")),
    }


_2023 = (
    *(LesionRules(f"2023-{task}", _alike(3, 50)) for task in ("GLI", "SSA", "PED")),
    LesionRules("2023-MEN", _alike(1, 50)),
    LesionRules("2023-MET", _alike(1, 2)),
)
# The scorer tests for "SFNH" where the region is "SNFH", so that oedema is dilated by 3 steps.
_2024 = tuple(
    LesionRules(f"2024-{task}", regions, penalty, merges_predictions=True, scores_numbers=True)
    for task, regions, penalty in (
        ("GLI", _post_treatment(oedema_dilation=3), 337),
        ("SSA", _joined_through_core(3, 50), 374),
        ("PED", _alike(5, 10, ("WT", "TC", "ET", "NCR", "CC", "ED")), 374),
        ("MET", _joined_through_core(1, 2), 374),
    )
)
_2024HEAD = tuple(
    replace(rules, name=rules.name.replace("2024", "2024HEAD"), nsd_tolerances_mm=(0.5, 1.0)) for rules in _2024
)
_2024HEAD_MET = replace(_2024HEAD[-1], regions={**_joined_through_core(1, 2), "RC": RegionRules(1, 2)}, penalty_mm=None)
_2024HEAD_MEN = LesionRules("2024HEAD-MEN", _alike(1, 50), nsd_tolerances_mm=(0.5, 1.0))


def _corrected(rules: LesionRules) -> LesionRules:
    regions = _post_treatment(oedema_dilation=5) if rules.name.endswith("GLI") else rules.regions
    return replace(rules, name=f"{rules.name}-corrected", regions=regions, scores_numbers=False)


_PUBLISHED = (*_2023, *_2024, *_2024HEAD[:-1], _2024HEAD_MET, _2024HEAD_MEN)

RULES: Mapping[str, LesionRules] = {
    rules.name: rules for rules in (*_PUBLISHED, *(_corrected(rules) for rules in _PUBLISHED if rules.scores_numbers))
}
"""Rules by name: https://github.com/rachitsaluja/BraTS-2023-Metrics at 43c9052, BraTS-2024-Metrics at 9c2bcf9 (2024)
and f1131e3 (2024HEAD)."""
