from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from brats_lightning.labels import LABELS, WHOLE
from brats_lightning.reports.figures.canvas import BOTTOM, GAP, LEFT, TOP
from brats_lightning.reports.figures.canvas import PANEL as PANEL_INCHES
from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.slice_figure import overlay_slices, slices_with_most

SIDE, DPI = 60, 130
PANEL = PANEL_INCHES[0] * DPI
Array = npt.NDArray[Any]


def image_of(*, channels: int = 1, depth: int = 1) -> Array:
    """Grey squares that fill their slices but for the corner, (C, X, Y, Z)."""
    image = np.random.default_rng(0).integers(400, 600, (channels, SIDE, SIDE, depth)).astype(np.float32)
    image[:, 0, 0, 0] = 0
    return image


def mask_of(value: int, *, depth: int = 1) -> Array:
    """A square at the patient's right and front of every slice."""
    mask = np.zeros((SIDE, SIDE, depth), np.uint8)
    mask[40:55, 40:55] = value
    return mask


def outlined(path: Path, region: str) -> npt.NDArray[np.bool_]:
    """Pixels of a region's colour above the legend, which may have two lines."""
    picture = imread(path)[: -round((BOTTOM + 0.22) * DPI), :, :3]
    near: npt.NDArray[np.bool_] = np.abs(picture - to_rgb(REGION_COLOURS[region])).max(axis=2) < 0.15
    return near


def test_one_modality_has_its_segmentations_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    sides = {"prediction": mask_of(WHOLE), "reference": mask_of(LABELS["ET"])}
    overlay_slices(image_of(), sides, spacing_mm=(1, 1, 6), path=path, title="a", modalities=["t1c"], placed=False)
    height, width, _ = imread(path).shape
    assert width == pytest.approx(3 * PANEL + (LEFT + 3 * GAP) * DPI, abs=2)
    assert height == pytest.approx(PANEL + (TOP + BOTTOM + 0.22) * DPI, abs=2)  # a legend of two lines
    for number, region in enumerate(("WT", "ET"), start=1):
        rows, columns = (np.flatnonzero(outlined(path, region).any(axis=axis)) for axis in (1, 0))
        inside = columns - LEFT * DPI - number * (PANEL + GAP * DPI)
        assert 0 < inside.min() < inside.max() < PANEL / 2  # the patient's right is on the left
        assert 0 < (rows - TOP * DPI).min() < (rows - TOP * DPI).max() < PANEL / 2  # the front is up


def test_several_modalities_have_rows_of_segmentations(tmp_path: Path, saved_figures: list[Figure]) -> None:
    image, spacing_mm = image_of(channels=2, depth=20), (1.0, 1.0, 1.0)
    mask = mask_of(LABELS["ED"], depth=20)
    mask[..., :5] = 0
    for name, sides in (("one", {"prediction": mask}), ("two", {"prediction": mask, "reference": mask})):
        overlay_slices(
            image, sides, spacing_mm=spacing_mm, path=tmp_path / f"{name}.png", title="a", modalities=["t1n", "t2f"]
        )
    one, two = ([axes.get_ylabel() for axes in figure.axes[::2]] for figure in saved_figures)
    assert one == [f"{kind} · slice {index}" for index in (5, 13) for kind in ("image", "prediction")]
    assert two == [f"{kind} · slice {index}" for index in (5, 13) for kind in ("image", "prediction", "reference")]
    outlined = [bool(axes.collections) for axes in saved_figures[0].axes[::2]]
    assert outlined == [False, True, False, True]


@pytest.mark.parametrize(
    ("areas", "count", "spacing_mm", "expected"),
    [
        ({3: 5, 4: 6, 5: 5, 14: 2}, 2, 1, [4, 14]),
        ({3: 5, 4: 6, 5: 5, 14: 2}, 2, 8, [3, 4]),
        ({3: 5, 4: 6, 5: 5}, 3, 1, [4]),
        ({7: 1}, 3, 1, [7]),
        ({}, 3, 1, [10]),
    ],
)
def test_slices_with_most_tumour_are_chosen(
    areas: dict[int, int], count: int, spacing_mm: float, expected: list[int]
) -> None:
    mask = np.zeros((3, 3, 20), np.uint8)
    for index, area in areas.items():
        mask[..., index].flat[:area] = 1
    assert slices_with_most([mask], count=count, spacing_mm=spacing_mm) == expected
    other = np.zeros_like(mask)
    other[0, 0, 19] = 1
    both = slices_with_most([mask, other], count=count, spacing_mm=spacing_mm)
    assert both == (expected if areas else [19])
