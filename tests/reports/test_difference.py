from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from brats_lightning.labels import LABELS, WHOLE
from brats_lightning.metrics.overlap import Overlap
from brats_lightning.reports.figures.difference import (
    ERROR_COLOURS,
    FALSE,
    HIT,
    MISSED,
    amounts_in_words,
    draw_difference,
    errors_of,
)

SIDE = 40
Array = npt.NDArray[Any]


def brain(depth: int = SIDE) -> Array:
    image = np.random.default_rng(0).integers(400, 600, (SIDE, SIDE, depth)).astype(np.float32)
    image[0, 0, 0] = 0
    return image


def box(first: int, last: int, value: int = LABELS["ET"], *, depth: int = SIDE) -> Array:
    label = np.zeros((SIDE, SIDE, depth), np.uint8)
    label[first:last, 10:20, depth // 3 : depth // 3 + 8] = value
    return label


def painted(figure: Figure, panel: int, name: str) -> npt.NDArray[np.bool_]:
    """Where a panel has an error's colour, (rows, columns), the first row at the bottom."""
    colours = np.asarray(figure.axes[panel].images[-1].get_array())
    found: npt.NDArray[np.bool_] = np.isclose(colours[..., :3], to_rgb(ERROR_COLOURS[name])).all(axis=-1)
    return found & (colours[..., 3] > 0)


def test_each_voxel_has_the_colour_of_what_became_of_it(tmp_path: Path, saved_figures: list[Figure]) -> None:
    reference, prediction = box(10, 20), box(15, 30)
    draw_difference(brain(), reference, prediction, spacing_mm=(1, 1, 1), path=tmp_path / "a.png", title="case · run")
    (figure,) = saved_figures
    assert len(figure.axes) == 9  # three regions in three planes
    axial = {name: np.flatnonzero(painted(figure, 0, name)[15]) for name in ERROR_COLOURS}
    flipped = {name: SIDE - 1 - columns for name, columns in axial.items()}  # right is left
    assert sorted(flipped[MISSED]) == list(range(10, 15))
    assert sorted(flipped[HIT]) == list(range(15, 20))
    assert sorted(flipped[FALSE]) == list(range(20, 30))
    assert np.flatnonzero(painted(figure, 0, HIT).any(axis=1)).tolist() == list(range(10, 20))
    heading = figure.axes[0].get_title(loc="left")
    assert heading.startswith("WT  whole tumour   Dice 0.400   hit 0.4 ml   missed 0.4 ml   false 0.8 ml")
    assert [text.get_text() for text in figure.axes[2].texts] == ["A", "P", "I", "S", "sagittal"]


def test_an_empty_prediction_is_all_missed(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_difference(
        brain(), box(10, 20), box(0, 0), spacing_mm=(1, 1, 1), path=tmp_path / "a.png", title="a",
        regions={"WT": (1, 2, 3), "own": (5,)},
    )  # fmt: skip
    (figure,) = saved_figures
    assert painted(figure, 0, MISSED).sum() == 100
    assert not painted(figure, 0, HIT).any()
    assert figure.axes[0].get_title(loc="left").endswith("false 0 ml   not predicted")
    assert figure.axes[3].get_title(loc="left") == "own   in neither"
    assert "prediction without tumour" in figure.texts[1].get_text().replace("\n", " ")


def test_masks_of_one_slice_have_one_panel(tmp_path: Path, saved_figures: list[Figure]) -> None:
    sides = box(10, 20, WHOLE, depth=1), box(10, 18, WHOLE, depth=1)
    draw_difference(brain(1), *sides, spacing_mm=(1, 1, 1), path=tmp_path / "a.png", title="a", placed=False)
    (figure,) = saved_figures
    (axes,) = figure.axes
    assert axes.get_title(loc="left").splitlines() == [
        "WT  whole tumour", "Dice 0.889", "hit 80 voxels", "missed 20 voxels", "false 0 voxels",
    ]  # fmt: skip
    assert not axes.lines  # no scale bar where the scale is not known
    assert not axes.texts  # nor the name of a plane


def test_regions_of_one_slice_stand_side_by_side(tmp_path: Path, saved_figures: list[Figure]) -> None:
    sides = box(10, 20, depth=1), box(10, 18, depth=1)
    draw_difference(brain(1), *sides, spacing_mm=(1, 1, 1), path=tmp_path / "a.png", title="a")
    (figure,) = saved_figures
    boxes = [axes.get_position() for axes in figure.axes]
    assert len({box.y0 for box in boxes}) == 1
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
    assert [axes.get_title(loc="left").splitlines()[0][:2] for axes in figure.axes] == ["WT", "TC", "ET"]


def test_errors_divide_what_either_has() -> None:
    one, other = np.random.default_rng(0).random((2, 9, 9)) < 0.5
    found = errors_of(one, other)
    assert (sum(mask.astype(int) for mask in found.values()) == (one | other)).all()
    assert (found[HIT] | found[MISSED]).tolist() == one.tolist()
    assert (found[HIT] | found[FALSE]).tolist() == other.tolist()


@pytest.mark.parametrize(
    ("overlap", "last"),
    [
        (Overlap(0, 0, 0, 9), "in neither"),
        (Overlap(3, 0, 0, 9), "not in the reference"),
        (Overlap(0, 3, 0, 9), "not predicted"),
        (Overlap(2, 2, 2, 9), "false 0 ml"),
    ],
)
def test_amounts_say_what_is_absent(overlap: Overlap, last: str) -> None:
    assert amounts_in_words(overlap, 0.001)[-1] == last
