"""The same prediction under every convention, so that a number can be held against any paper."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from brats_lightning.evaluation.summary import mean_of
from brats_lightning.metrics.case_scores import score_case
from brats_lightning.metrics.empty import EMPTY_POLICIES
from brats_lightning.metrics.lesion_rules import RULES
from brats_lightning.metrics.lesionwise import lesionwise_scores
from brats_lightning.metrics.surface import CONVENTIONS
from brats_lightning.reports.scores import write_table

Labels = npt.NDArray[np.integer[Any]]
_VOLUMES = ("predicted_volume_ml", "reference_volume_ml")
_TASK = re.compile(r"BraTS-([A-Z]{3})-", re.IGNORECASE)


class Way(NamedTuple):
    """A way of scoring.

    Args:
        distances: Convention for distances of boundaries.
        empty_masks: Policy for empty masks; empty where lesion-wise rules have their own.
        rules: Lesion-wise rules; empty for whole images.
    """

    distances: str
    empty_masks: str = ""
    rules: str = ""


class Side(NamedTuple):
    """A region's two scores that every paper gives."""

    dice: float
    hd95_mm: float


Sides: TypeAlias = Mapping[str, Side]


def side_by_side(
    prediction: Labels,
    reference: Labels,
    *,
    case: str,
    spacing_mm: Sequence[float],
    regions: Mapping[str, tuple[int, ...]],
    rules: str | None = None,
) -> dict[Way, Sides]:
    """Dice and HD95 of each region of a case, by every convention.

    Args:
        prediction: (X, Y, Z) label map.
        reference: The same, of the same shape.
        case: Its id tells the challenge's task, whose lesion-wise rules are tried; glioma where it does not.
        spacing_mm: Distance between neighbouring voxels along each axis.
        regions: Label values of each region.
        rules: Lesion-wise rules instead of those of the task.
    """
    tried: dict[Way, Sides] = {}
    diagonal_mm = math.hypot(*(size * step for size, step in zip(reference.shape, spacing_mm, strict=True)))
    for convention in CONVENTIONS:
        row = score_case(
            prediction,
            reference,
            spacing_mm=spacing_mm,
            regions=regions,
            empty=EMPTY_POLICIES["nan"],
            scores=("dice", "hd95_mm", *_VOLUMES),
            convention=convention,
        )
        for policy in EMPTY_POLICIES.values():
            sides = {}
            for region in regions:
                scores = {name: row[f"{name}_{region}"] for name in ("dice", "hd95_mm")}
                predicted, expected = (row[f"{name}_{region}"] > 0 for name in _VOLUMES)
                if not (predicted and expected):
                    scores = policy.settle(scores, prediction=predicted, reference=expected, diagonal_mm=diagonal_mm)
                sides[region] = Side(**scores)
            tried[Way(convention, policy.name)] = sides
    for name in [rules] if rules else _rules_of(case):
        lesions = lesionwise_scores(prediction, reference, spacing_mm=spacing_mm, rules=RULES[name])
        tried[Way("surfel", rules=name)] = {
            region: Side(lesions[region].dice, lesions[region].hd95_mm) for region in regions if region in lesions
        }
    return tried


def _rules_of(case: str) -> list[str]:
    """Every season's rules for the task that a case's name tells."""
    match = _TASK.search(case)
    task = match[1].upper() if match else "GLI"
    return [name for name in RULES if name.split("-")[1] == task]


def write_conventions(path: Path, tried: Mapping[str, Mapping[Way, Sides]]) -> None:
    """Write the means of every convention as a CSV file.

    Args:
        path: CSV file.
        tried: By case, convention and region.
    """
    columns = (*Way._fields, "region", "dice", "dice_cases", "hd95_mm", "hd95_cases")
    write_table(
        path,
        columns,
        [
            [
                *way,
                region,
                *_mean_and_count([side.dice for side in sides]),
                *_mean_and_count([side.hd95_mm for side in sides]),
            ]
            for way, regions in _gathered(tried).items()
            for region, sides in regions.items()
        ],
    )


def print_conventions(tried: Mapping[str, Mapping[Way, Sides]], console: Console) -> None:
    """Print mean Dice and HD95 of every convention below each other.

    Args:
        tried: By case, convention and region.
        console: To print on.
    """
    gathered = _gathered(tried)
    regions = list(dict.fromkeys(region for scores in gathered.values() for region in scores))
    caption = "mean Dice, mean HD95 in mm, and over how many cases where not over all"
    table = Table(title="The same prediction under every convention", caption=caption)
    table.add_column("HD95")
    table.add_column("empty masks or rules", overflow="fold")
    for region in regions:
        table.add_column(region, justify="right")
    for way, scores in gathered.items():
        names = ("lesion-wise", way.rules) if way.rules else way[:2]
        table.add_row(*names, *[_cell(scores.get(region, []), len(tried)) for region in regions])
    console.print(table)


def _gathered(tried: Mapping[str, Mapping[Way, Sides]]) -> dict[Way, dict[str, list[Side]]]:
    """Scores of all cases, by convention and region."""
    gathered: dict[Way, dict[str, list[Side]]] = {}
    for case in sorted(tried):
        for way, regions in tried[case].items():
            for region, side in regions.items():
                gathered.setdefault(way, {}).setdefault(region, []).append(side)
    return gathered


def _mean_and_count(values: Sequence[float]) -> tuple[float, int]:
    return mean_of(values), sum(not math.isnan(value) for value in values)


def _cell(sides: Sequence[Side], cases: int) -> str:
    (dice, with_dice), (hd95_mm, with_hd95) = (
        _mean_and_count([side.dice for side in sides]),
        _mean_and_count([side.hd95_mm for side in sides]),
    )
    if not with_dice and not with_hd95:
        return "–"
    counts = dict.fromkeys((with_dice, with_hd95))
    over = "" if set(counts) == {cases} else f" ({'/'.join(map(str, counts))})"
    return f"{dice:.3f} {hd95_mm:.2f}{over}"
