"""Surfaces of predicted tumours, as files that W&B shows in three dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from brats_lightning.model.scored_case import ScoredCase
from brats_lightning.reports.rendering.gltf import write_glb
from brats_lightning.reports.rendering.scene import brain_mask, scene
from brats_lightning.whole_files import whole_file


@dataclass(frozen=True, eq=False)
class Predicted:
    """What is kept of a case until the end of training.

    Args:
        case: Its id.
        labels: (X, Y, Z) predicted labels as inside the program.
        foreground: (X, Y, Z) where any image is not 0.
        spacing_mm: Between voxels along each axis.
    """

    case: str
    labels: npt.NDArray[np.uint8]
    foreground: npt.NDArray[np.bool_]
    spacing_mm: tuple[float, ...]


def predicted(scored: ScoredCase) -> Predicted:
    """What the surfaces of a case are made of."""
    return Predicted(
        scored.case,
        scored.prediction.cpu().numpy().astype(np.uint8),
        (scored.image() != 0).any(dim=0).cpu().numpy(),
        tuple(float(spacing) for spacing in scored.spacing_mm),
    )


def write_surfaces(cases: Sequence[Predicted], folder: Path) -> list[Path]:
    """Write `<case>.glb` of each case with something to see: the brain, translucent, and the tumour's parts.

    Args:
        cases: In RAS order.
        folder: That exists.
    """
    written = []
    for each in cases:
        affine = np.diag([*each.spacing_mm, 1.0])
        seen = scene(each.labels, affine, title=each.case, brain=brain_mask(each.foreground[None]))
        if seen.parts:
            written.append(folder / f"{each.case}.glb")
            with whole_file(written[-1]) as part:
                write_glb(seen, path=part)
    return written
