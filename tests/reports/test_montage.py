from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from brats_lightning.labels import LABELS
from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.figures.montage import across, draw_montage

Array = npt.NDArray[Any]
SIDE = 40


def brain(depth: int = SIDE) -> Array:
    image = np.random.default_rng(0).integers(400, 600, (SIDE, SIDE, depth)).astype(np.float32)
    image[0, 0, 0] = 0
    return image


def tumour(low: int, high: int, *, depth: int = SIDE) -> Array:
    """At the patient's right and front, between two slices."""
    label = np.zeros((SIDE, SIDE, depth), np.uint8)
    label[24:34, 26:36, low:high] = LABELS["ET"]
    return label


def contours(figure: Figure) -> list[list[ContourSet]]:
    return [[part for part in axes.collections if isinstance(part, ContourSet)] for axes in figure.axes]


def test_slices_run_from_end_to_end_with_both_outlines(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_montage(
        brain(), spacing_mm=(1, 1, 2), path=tmp_path / "a.png", title="case · run", reference=tumour(10, 21),
        prediction=tumour(14, 31), slices=6,
    )  # fmt: skip
    (figure,) = saved_figures
    shown = [axes.texts[0].get_text() for axes in figure.axes if axes.images]
    assert shown == ["10", "14", "18", "22", "26", "30"]
    assert [len(found) for found in contours(figure)][:6] == [1, 2, 2, 1, 1, 1]
    both = contours(figure)[1]
    assert ["None" in str(found.get_linestyle()) for found in both] == [True, False]  # whole and dashed
    assert all(np.allclose(np.asarray(found.get_edgecolor())[0, :3], to_rgb(REGION_COLOURS["ET"])) for found in both)
    # 14 mm from the patient's right to 6 mm, and 26 to 36 from the back: at the left and the top.
    corners = both[0].get_paths()[0].get_extents()
    assert (corners.x0, corners.x1) == pytest.approx((6, 16), abs=0.6)
    assert (corners.y0, corners.y1) == pytest.approx((26, 36), abs=0.6)
    said = " ".join(text.get_text() for text in figure.texts)
    assert "case · run" in said
    assert "FLAIR, axial slices, 8 mm apart" in said
    assert {text.get_text() for text in figure.axes[0].texts} == {"10", "R", "L", "P", "A"}
    assert [text.get_text() for text in figure.axes[1].texts][1:] == ["R"]


def test_there_is_something_to_see_without_any_tumour(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_montage(brain(), spacing_mm=(1, 1, 1), path=tmp_path / "a.png", title="a", slices=4)
    draw_montage(
        brain(), spacing_mm=(1, 1, 1), path=tmp_path / "b.png", title="b", prediction=tumour(0, 0), plane="sagittal"
    )
    bare, empty = saved_figures
    assert sum(bool(axes.images) for axes in bare.axes) == 4
    assert "no reference · no prediction" in bare.texts[1].get_text()
    assert sum(bool(axes.images) for axes in empty.axes) == 1
    assert "prediction without tumour" in empty.texts[1].get_text().replace("\n", " ")
    assert [text.get_text() for text in empty.axes[0].texts][1:5] == ["A", "P", "I", "S"]


def test_a_volume_of_one_slice_is_one_panel(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_montage(
        brain(1), spacing_mm=(1, 1, 6), path=tmp_path / "a.png", title="a", reference=tumour(0, 1, depth=1),
        plane="coronal", placed=False,
    )  # fmt: skip
    (figure,) = saved_figures
    assert sum(bool(axes.images) for axes in figure.axes) == 1
    assert [text.get_text() for text in figure.axes[0].texts] == ["0"]  # neither marks nor scale
    assert not figure.axes[0].lines
    assert "axial" not in figure.texts[1].get_text()
    assert not any(isinstance(part, PathCollection) for part in figure.axes[0].collections)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
@pytest.mark.parametrize(("first", "last"), [(0, 39), (5, 5), (5, 8), (3, 31)])
def test_slices_are_equally_far_apart(count: int, first: int, last: int) -> None:
    mask = np.zeros((2, 2, 40), bool)
    mask[0, 0, [first, last]] = True
    found = across([mask], axis=2, count=count)
    assert 1 <= len(found) <= count
    assert len(set(np.diff(found))) <= 1
    assert first <= found[0] <= found[-1] <= last
    assert found[0] - first <= max(1, (last - first + 1) / 2)
    if count > last - first:
        assert found == list(range(first, last + 1))
