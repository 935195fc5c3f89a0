from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from brats_lightning.reports.figures.canvas import canvas
from brats_lightning.reports.figures.style import apart, dress, fitted, label_ends, legend_columns, save, sheet


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.12))
def test_names_keep_their_order_and_their_distance(heights: list[float], least: float) -> None:
    ordered = sorted(heights)
    places = apart(ordered, least=least)
    assert len(places) == len(heights)
    assert all(high - low >= least - 1e-6 for low, high in pairwise(places))
    if all(high - low >= least for low, high in pairwise(ordered)):
        assert places == pytest.approx(ordered)


@pytest.mark.parametrize("title", ["a", "BraTS2021_00001 · run", "a run with " + "very " * 40 + "long name"])
def test_a_title_stays_readable_and_inside(title: str) -> None:
    lines, size = fitted(title, 4.0, largest=13)
    assert 10 <= size <= 13
    assert " ".join(lines).split() == title.split()
    figure = Figure(figsize=(4, 3), dpi=100)
    text = figure.text(0, 0.5, "\n".join(lines), fontsize=size, weight="bold")
    assert text.get_window_extent().width <= 400


def test_a_legend_is_broken_where_it_is_too_wide() -> None:
    key = [Patch(label=f"run number {number}") for number in range(9)]
    assert legend_columns(key, 100) == (9, 1)
    columns, rows = legend_columns(key, 4)
    assert columns < 4
    assert columns * rows >= 9
    assert legend_columns([], 4) == (1, 1)


def test_an_svg_keeps_its_text_and_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg", "a.png"):
        figure, (axes,) = sheet(title="run · case", notes=["something is missing"])
        dress(axes, x="epoch", y="Dice")
        axes.plot([0, 1], [0, 1])
        label_ends(axes, [(1, "ET", "#F0E442"), (1, "ED", "#56B4E9")])
        save(figure, tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    for words in ("run · case", "something is missing", "epoch", "Dice", ">ET<", ">ED<"):
        assert words in text
    assert text == (tmp_path / "b.svg").read_text()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_dollar_signs_of_a_name_make_no_formula(tmp_path: Path) -> None:
    name = r"a_$x_$b $\frac$"
    figure, _ = sheet(title=name, notes=[name], key=[Patch(label=name)])
    save(figure, tmp_path / "sheet.svg")
    figure, _ = canvas([(100.0, 100.0)], rows=1, title=name, notes=[name], key=[Patch(label=name)])
    save(figure, tmp_path / "canvas.svg")
    for file in tmp_path.iterdir():
        assert file.read_text().count(name) >= 3
