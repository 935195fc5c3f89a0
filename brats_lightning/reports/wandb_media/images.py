"""What W&B shows of validation cases: pictures with masks over them, a table, surfaces."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brats_lightning.labels import LABELS, WHOLE
from brats_lightning.reports.validation.panel import Panel, mosaic
from brats_lightning.reports.validation.sheet import thumbnail

if TYPE_CHECKING:
    import wandb

PICTURES, TABLE, SURFACES = "pictures/validation", "pictures/cases", "pictures/3d"
"""Names under which they are logged; the dashboard looks for these."""
CLASSES: Mapping[int, str] = {**{value: name for name, value in LABELS.items()}, WHOLE: "WT"}


def media(panels: Sequence[Panel], *, epoch: int) -> dict[str, Any]:
    """Pictures and table of validation cases, by the names they are logged under.

    Args:
        panels: The cases, in the order in which they are shown.
        epoch: That they were scored in, from 1 as people count.
    """
    import wandb  # noqa: PLC0415 - half a second that runs without W&B need not wait for

    regions = list(dict.fromkeys(region for panel in panels for region in panel.dice))
    rows: list[list[object]] = [
        [epoch, panel.case, wandb.Image(thumbnail(panel)), *(_number(panel.dice.get(region)) for region in regions)]
        for panel in panels
    ]
    columns = ["epoch", "case", "reference | prediction", *(f"dice_{region}" for region in regions)]
    return {
        PICTURES: [_with_masks(panel, epoch=epoch) for panel in panels],
        TABLE: wandb.Table(columns=columns, data=rows),
    }


def surfaces(files: Sequence[Path]) -> dict[str, Any]:
    """Surfaces of cases, from GLB files."""
    import wandb  # noqa: PLC0415

    return {SURFACES: [wandb.Object3D(str(path), caption=path.stem) for path in files]}


def _with_masks(panel: Panel, *, epoch: int) -> "wandb.Image":
    """Grey values as bytes: W&B stores numbers from 0 to 1 as black."""
    import wandb  # noqa: PLC0415

    labels = _classes(panel)
    drawn = {
        "prediction": mosaic([tile.prediction for tile in panel.tiles]),
        "ground_truth": mosaic([tile.reference for tile in panel.tiles]),
    }
    return wandb.Image(
        mosaic([tile.grey for tile in panel.tiles]),
        caption=" · ".join(filter(None, (panel.case, f"epoch {epoch}", panel.in_words))),
        masks={name: {"mask_data": mask, "class_labels": labels} for name, mask in drawn.items()},
    )


def _classes(panel: Panel) -> dict[int, str]:
    """Names of labels: of a case of masks the tumour alone, else of the three tissues and what else occurs."""
    always = set() if panel.values == {WHOLE} else {LABELS[name] for name in ("NCR", "ED", "ET")}
    return {value: CLASSES[value] for value in sorted(always | panel.values)}


def _number(value: float | None) -> float | None:
    """W&B's tables know no NaN."""
    return None if value is None or math.isnan(value) else float(value)
