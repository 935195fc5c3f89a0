"""A validation case as small tiles in the orientation radiologists read.

The same tiles make the picture in the run's folder (`validation_sheet`) and the one that W&B shows with masks over it
(`wandb_media`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from brats_lightning.labels import label_values
from brats_lightning.model.scored_case import ScoredCase
from brats_lightning.reports.figures.canvas import TITLES
from brats_lightning.reports.figures.planes import VIEWS, fullest, views_of
from brats_lightning.reports.figures.remarks import dice_in_words, tilt_in_words

SIDE, LARGE, MARGIN = 192, 320, 13
"""Pixels of a tile, of one that has room, and between its edge and a volume's longest one: there stand the letters."""
SUBSAMPLED = 3
"""Grey values are stretched by every third voxel along each axis."""
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Tile:
    """A plane of a case.

    Args:
        name: Of the modality, and of the plane where it is not the axial one.
        marks: Letters at left, right, bottom and top, empty where directions are not known.
        grey: (S, S) grey values, the first row at the top.
        reference: (S, S) labels as inside the program.
        prediction: The same.
    """

    name: str
    marks: str
    grey: Bytes
    reference: Bytes
    prediction: Bytes


@dataclass(frozen=True)
class Panel:
    """A case on the slices with the most tumour.

    Args:
        case: Its id.
        tiles: Each modality's axial slice, then the other planes.
        best: Index of the tile that shows most by itself.
        pixels_per_mm: Of the tiles; 0 where it is not known.
        dice: Of each region.
        values: Labels that occur in the whole case, in the reference or the prediction.
        tilt_degrees: Of the grid against the patient's axes.
    """

    case: str
    tiles: tuple[Tile, ...]
    best: int
    pixels_per_mm: float
    dice: Mapping[str, float] = field(default_factory=dict)
    values: frozenset[int] = frozenset()
    tilt_degrees: float = 0.0

    @property
    def side(self) -> int:
        """Pixels of a tile."""
        return len(self.tiles[0].grey)

    @property
    def in_words(self) -> str:
        """Dice of each region, and how oblique the planes are."""
        return " · ".join(dice_in_words(self.dice) + tilt_in_words(self.tilt_degrees))


def panel_of(
    scored: ScoredCase,
    *,
    modalities: Sequence[str],
    dice: Mapping[str, float],
    plane: str | None = None,
    tilt_degrees: float = 0.0,
) -> Panel:
    """Cut the tiles out of a case; of a volume on a GPU little more than these comes to the host.

    Args:
        scored: The case.
        modalities: Names of the image's channels in their order.
        dice: Of each region.
        plane: Of the slices that the volume is made of, where it is made of some.
        tilt_degrees: Of the grid against the patient's axes.
    """
    image = scored.image()
    labels = reference, prediction = [
        each.cpu().numpy().astype(np.uint8) for each in (scored.reference, scored.prediction)
    ]
    centre = fullest(labels, reference.shape)
    names = [TITLES.get(name, name) for name in modalities]
    best = names.index("FLAIR") if "FLAIR" in names else 0  # the whole tumour is bright on FLAIR
    shape, spacing_mm = reference.shape, [float(spacing) for spacing in scored.spacing_mm]
    is_volume = plane is None and 1 not in shape
    views = [VIEWS[plane]] if plane else views_of(shape)
    cuts = [(views[0], channel, name) for channel, name in enumerate(names)]
    cuts += [(view, best, f"{names[best]}, {view.name}") for view in views[1:]]
    side = SIDE if len(cuts) > 2 else LARGE
    scale = (side - 2 * MARGIN) / max(length for view in views for length in view.extent_mm(shape, spacing_mm))
    ranges = _ranges(image)
    tiles = []
    for view, channel, name in cuts:
        width, height = (max(1, round(scale * length)) for length in view.extent_mm(shape, spacing_mm))
        index = centre[view.axis]
        planes = image.select(1 + view.axis, index).float().cpu().numpy()
        shown = (_stretched(planes, channel, ranges[channel]), *(np.take(each, index, view.axis) for each in labels))
        drawn = [_as_tile(cut, (width, height), side=side, smooth=number == 0) for number, cut in enumerate(shown)]
        # Of a picture that is all there is of a case nobody knows which way it lies.
        tiles.append(Tile(name, view.marks if is_volume or plane else "", *drawn))
    values = frozenset(label_values(reference) | label_values(prediction)) - {0}
    scale, tilt = (scale, tilt_degrees) if is_volume or plane else (0.0, 0.0)
    return Panel(scored.case, tuple(tiles), best, scale, dict(dice), values, tilt)


def mosaic(tiles: Sequence[Bytes]) -> Bytes:
    """Tiles of one size as one picture of about 3 to 2."""
    columns = len(tiles) if len(tiles) <= 3 else math.ceil(math.sqrt(len(tiles)))
    filled = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % columns)]
    rows = [np.concatenate(filled[first : first + columns], axis=1) for first in range(0, len(filled), columns)]
    return np.concatenate(rows, axis=0)


def _ranges(image: torch.Tensor) -> list[tuple[float, float]]:
    """Lowest and highest grey value of each channel (C, X, Y, Z) that are told apart; background is 0 in all."""
    steps = [slice(None, None, SUBSAMPLED if size >= 32 else 1) for size in image.shape[1:]]
    some = image[(slice(None), *steps)].float().cpu().numpy()
    inside = (some != 0).any(axis=0)
    if not inside.any():
        return [(0.0, 1.0)] * len(some)
    found = (np.percentile(channel[inside], (0.5, 99.7)) for channel in some)
    return [(float(low), float(high)) for low, high in found]


def _stretched(planes: npt.NDArray[Any], channel: int, limits: tuple[float, float]) -> Bytes:
    """One of the planes (C, U, V) as grey values, the background black."""
    low, high = limits
    values = np.clip((planes[channel] - low) / max(high - low, 1e-6), 0, 1)
    return (255 * np.where((planes != 0).any(axis=0), np.nan_to_num(values), 0)).round().astype(np.uint8)


def _as_tile(cut: Bytes, size: tuple[int, int], *, side: int, smooth: bool) -> Bytes:
    """A plane (U, V) as its viewers see it, first row at the top, in the middle of a square tile."""
    upright = np.ascontiguousarray(cut.T[::-1, ::-1])
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    scaled = np.asarray(Image.fromarray(upright).resize(size, how))
    tile = np.zeros((side, side), np.uint8)
    top, left = (side - scaled.shape[0]) // 2, (side - scaled.shape[1]) // 2
    tile[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return tile
