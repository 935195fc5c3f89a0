from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.figures.confusion_plot import draw_confusion, in_percent

COUNTS = np.array([[900, 10, 0], [20, 30, 0], [80, 0, 0]])
"""Predicted class first: 10 voxels of the reference's ET were predicted as background."""


def test_rows_are_the_reference(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_confusion(COUNTS, ["ET", "RC"], path=tmp_path / "a.png", title="run", cases=2)
    (figure,) = saved_figures
    (axes,) = figure.axes
    cells: dict[tuple[int, int], list[str]] = {}
    for text in axes.texts:
        x, y = text.get_position()
        cells.setdefault((round(y), round(x)), []).append(text.get_text())
    assert cells[0, 0] == ["90.0 %", "900"]
    assert cells[1, 0] == ["25.0 %", "10"]  # ET missed
    assert cells[1, 1] == ["75.0 %", "30"]
    assert cells[0, 2] == ["8.0 %", "80"]
    assert [cells[2, column] for column in range(3)] == [["absent"]] * 3
    assert axes.get_ylabel() == "reference"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is at the top
    said = figure.texts[1].get_text().replace("\n", " ")
    assert said == "voxels of 2 cases pooled · share of each row · right of all voxels: 89.4 %"


def test_darker_is_more_and_classes_have_their_colours(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_confusion(COUNTS, ["ET", "RC"], path=tmp_path / "a.png", title="run")
    patches = [patch for patch in saved_figures[0].axes[0].patches if isinstance(patch, Rectangle)]
    background = patches[:3]
    light = [sum(to_rgb(patch.get_facecolor())) for patch in background]
    assert light[0] < light[2] < light[1]
    swatches = {to_rgb(patch.get_facecolor()) for patch in patches[9:]}
    assert swatches == {to_rgb(REGION_COLOURS[name]) for name in ("ET", "RC")}


def test_nothing_counted_is_drawn(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_confusion(np.zeros((2, 2), int), ["WT"], path=tmp_path / "a.png", title="run", cases=0)
    assert [text.get_text() for text in saved_figures[0].axes[0].texts] == ["absent"] * 4


@pytest.mark.parametrize("share", np.linspace(0, 1, 41))
def test_a_share_is_never_rounded_to_all_or_nothing(share: float) -> None:
    assert (in_percent(share) == "0 %") == (share == 0)
    assert (in_percent(share) == "100 %") == (share == 1)
    assert in_percent(1e-9) == "<0.1 %"
    assert in_percent(1 - 1e-9) == ">99.9 %"
