from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from brats_lightning.comparison.paired_tests import PairedTest
from brats_lightning.comparison.plot import draw_comparison
from brats_lightning.comparison.results import Comparison
from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.score_kinds import Better


def comparison(
    *values: float, score: str = "dice", better: Better = "higher", regions: tuple[str, ...] = ("ET",), pairs: int = 1
) -> Comparison:
    tests = tuple(
        PairedTest(
            "first", f"second {pair}", region, score, better, {str(i): value for i, value in enumerate(values)},
            undefined=0, means=(0.5, 0.5), interval=(min(values), max(values)), p=0.5, balance=0.0, exact=True,
            used=len(values),
        )
        for pair in range(pairs) for region in regions
    )  # fmt: skip
    return Comparison(("first", "second 0"), ("0", "1"), {}, {}, False, tests, (), (), (), 0.05)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is saved."""
    saved: list[Figure] = []

    class Canvas(FigureCanvasAgg):
        def __init__(self, figure: Figure) -> None:
            super().__init__(figure)
            saved.append(figure)

    monkeypatch.setattr("brats_lightning.comparison.plot.FigureCanvasAgg", Canvas)
    return saved


def test_dots_have_their_regions_colour(tmp_path: Path) -> None:
    draw_comparison(comparison(-0.2, 0.1, 0.3, regions=("ET", "own")), tmp_path / "plot.png")
    picture = imread(tmp_path / "plot.png")[..., :3]
    assert picture[0, 0].min() == 1  # as light as the other plots, and as paper
    alike = np.abs(picture - np.array(to_rgb(REGION_COLOURS["ET"]))).max(axis=2) < 0.15
    assert alike.sum() > 100


@pytest.mark.parametrize(("score", "better"), [("dice", "higher"), ("hd95_mm", "lower")])
def test_the_first_is_better_on_the_right(tmp_path: Path, figures: list[Figure], score: str, better: Better) -> None:
    draw_comparison(comparison(-0.2, 0.1, 0.3, score=score, better=better), tmp_path / "plot.png")
    (axes,) = figures[0].axes
    left, right = axes.get_xlim()
    assert left == -right
    assert (right > 0) == (better == "higher")
    texts = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert texts == {"◂ second 0 better": 0.0, "first better ▸": 1.0}


def test_missed_regions_do_not_hide_the_rest(tmp_path: Path, figures: list[Figure]) -> None:
    usual = [0.5, -0.5, 1.0, -1.0] * 6
    for values in (usual, [*usual, 373.13]):
        draw_comparison(comparison(*values, score="hd95_mm", better="lower"), tmp_path / "plot.png")
    straight, bent = (figure.axes[0] for figure in figures)
    assert (straight.get_xscale(), bent.get_xscale()) == ("linear", "symlog")
    one, zero, end = bent.transAxes.inverted().transform(bent.transData.transform([(-1, 0), (0, 0), (-373, 0)]))[:, 0]
    assert zero == pytest.approx(0.5)
    assert one - zero > 0.15
    assert 0.9 < end <= 1


def test_each_pair_has_a_band_and_nothing_overlaps(tmp_path: Path, figures: list[Figure]) -> None:
    draw_comparison(comparison(-0.2, 0.1, pairs=3, regions=("ET", "WT")), tmp_path / "plot.png")
    boxes = [axes.get_position() for axes in figures[0].axes]
    assert len(boxes) == 3
    assert all(upper.y0 > lower.y1 for upper, lower in pairwise(boxes))
    assert min(box.y0 for box in boxes) > 0


def test_a_method_against_itself_is_drawn(tmp_path: Path, figures: list[Figure]) -> None:
    draw_comparison(comparison(0.0, 0.0), tmp_path / "plot.png")
    assert figures[0].axes[0].get_xlim()[1] > 0
