"""What there is to see of a case in three dimensions: the brain, and each kind of tissue that its label map holds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label as connected

from brats_lightning.labels import LABELS, WHOLE
from brats_lightning.reports.figures.colours import OUTSIDE_IN, REGION_COLOURS, REGION_TITLES
from brats_lightning.reports.rendering.surface import Affine, Mask, Surface, surface

BRAIN, BRAIN_COLOUR = "brain", "#C8CDD6"
OPACITY = {BRAIN: 0.22, "ED": 0.35, "WT": 0.85, "RC": 0.6, "CC": 0.7, "ET": 0.5, "NCR": 1.0}
"""To begin with: what lies outside lets through what lies inside."""
TUMOUR_STEP_MM, BRAIN_STEP_MM = 1.2, 2.2
TUMOUR_SMOOTHING_MM, BRAIN_SMOOTHING_MM = 0.8, 0.9
MOST_TRIANGLES = 30_000
"""Of one part: a page of six such parts has 2 MB."""
CUT_OFF = 0.2
"""Where this part of a volume's faces is bright, the images show more than the brain, and no outside."""


@dataclass(frozen=True, eq=False)
class Part:
    """One thing to see.

    Args:
        name: Of the tissue, or `brain`.
        title: In words.
        colour: As #rrggbb.
        opacity: From 0 to 1.
        volume_ml: Of its voxels.
        surface: Round it.
    """

    name: str
    title: str
    colour: str
    opacity: float
    volume_ml: float
    surface: Surface


@dataclass(frozen=True, eq=False)
class Scene:
    """All there is to see.

    Args:
        title: Of the case.
        parts: Outside in; only those that are there.
        remark: What is missing and why, in a sentence; empty where nothing is.
    """

    title: str
    parts: tuple[Part, ...]
    remark: str = ""

    @property
    def box_mm(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Lowest and highest corner of all parts in mm, right, anterior and superior; a point where there are none."""
        ends = [(part.surface.vertices.min(0), part.surface.vertices.max(0)) for part in self.parts]
        if not ends:
            return np.zeros(3), np.zeros(3)
        low, high = (np.stack(corners).astype(np.float64) for corners in zip(*ends, strict=True))
        return low.min(0), high.max(0)


def scene(label: npt.NDArray[np.integer], affine: Affine, *, title: str, brain: Mask | None = None) -> Scene:
    """The surfaces of a case.

    Args:
        label: (X, Y, Z) label values as inside the program, in any axis order.
        affine: (4, 4) from voxel indices to mm in RAS.
        title: Of the case.
        brain: (X, Y, Z), see `brain_mask`; None draws the tumour alone.
    """
    if min(label.shape) < 2:
        return Scene(title, (), "One slice has no third dimension: there is nothing to see in 3-D.")
    millilitres = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    parts, remark = [], ""
    if brain is not None and brain.any():
        around = surface(
            brain, affine, smoothing_mm=BRAIN_SMOOTHING_MM, step_mm=BRAIN_STEP_MM, triangles=MOST_TRIANGLES
        )
        parts.append(Part(BRAIN, "brain", BRAIN_COLOUR, OPACITY[BRAIN], float(brain.sum()) * millilitres, around))
    for name, value in OUTSIDE_IN.items():
        mask = label == value
        if mask.any():
            round_it = surface(
                mask, affine, smoothing_mm=TUMOUR_SMOOTHING_MM, step_mm=TUMOUR_STEP_MM, triangles=MOST_TRIANGLES
            )
            title_of = REGION_TITLES.get(name, name)
            parts.append(
                Part(name, title_of, REGION_COLOURS[name], OPACITY[name], float(mask.sum()) * millilitres, round_it)
            )
    if not np.isin(label, [*LABELS.values(), WHOLE]).any():
        remark = "The label map is empty: there is no tumour to see."
    return Scene(title, tuple(parts), remark)


def brain_mask(image: npt.NDArray[Any]) -> Mask | None:
    """The largest piece of what is not background, its holes filled; None where the images are not cut to the brain.

    Args:
        image: (C, X, Y, Z), the background of each channel of one value.
    """
    foreground = (image != image[:, :1, :1, :1]).any(axis=0)
    faces = [np.take(foreground, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    if not foreground.any() or np.concatenate(faces).mean() > CUT_OFF:
        return None
    outside = _largest(np.pad(~foreground, 1, constant_values=True))[1:-1, 1:-1, 1:-1]
    return _largest(~outside)


def _largest(mask: Mask) -> Mask:
    pieces, count = connected(mask)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    return np.asarray(pieces == 1 + sizes[1:].argmax())
