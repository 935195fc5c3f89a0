import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.figures.score_plots import draw_dice_against_volume, draw_scores, sized

NAN = math.nan


def values(numbers: list[float], region: str = "ET") -> dict[tuple[str, str], float]:
    return {(f"case-{place}", region): number for place, number in enumerate(numbers)}


def dots(axes: Axes, colour: str) -> list[float]:
    """Heights of the dots of a colour."""
    found = [part for part in axes.collections if isinstance(part, PathCollection)]
    own = [part for part in found if np.allclose(np.asarray(part.get_facecolor())[0, :3], to_rgb(colour))]
    return [float(height) for part in own for height in np.asarray(part.get_offsets())[:, 1]]


def test_every_case_is_a_dot_and_undefined_ones_are_counted(tmp_path: Path, saved_figures: list[Figure]) -> None:
    numbers = [0.1, 0.5, 0.6, 0.7, 0.8, 0.9, NAN]
    dice = values(numbers) | values([0.5, NAN], "WT")
    distances = values([3.0, 4, 5, 6, 7, 374, NAN]) | values([2.0, NAN], "WT")
    draw_scores({"run": {"dice": dice, "hd95_mm": distances}}, path=tmp_path / "a.png", title="run · test")
    (figure,) = saved_figures
    left, right = figure.axes
    assert dots(left, REGION_COLOURS["ET"]) == numbers[:-1]
    assert dots(left, REGION_COLOURS["WT"]) == [0.5]
    assert [label.get_text() for label in left.get_xticklabels()] == ["ET\n1 undef.", "WT\n1 undef."]
    assert len(left.patches) == 1  # a box of six cases, none of one
    assert left.patches[0].get_path().get_extents().y0 == pytest.approx(np.percentile(numbers[:-1], 25))
    assert left.get_ylim() == (-0.02, 1.02)
    assert right.get_yscale() == "symlog"
    assert right.get_ylim()[1] > 374
    assert "7 cases" in figure.texts[1].get_text()


def test_several_runs_stand_side_by_side(tmp_path: Path, saved_figures: list[Figure]) -> None:
    runs = {"one": {"dice": values([0.1, 0.2])}, "two": {"dice": values([0.3])}}
    draw_scores(runs, path=tmp_path / "a.svg", title="runs", names=["dice"])
    (axes,) = saved_figures[0].axes
    one, two = (np.asarray(part.get_offsets()) for part in axes.collections if part.get_zorder() == 3)
    assert one[:, 0].max() < 0 < two[:, 0].min()
    text = (tmp_path / "a.svg").read_text()
    assert ">one<" in text
    assert ">two<" in text


@pytest.mark.parametrize(
    ("scores", "said"),
    [({}, "not scored"), ({"dice": values([NAN, NAN])}, "undefined in every case")],
)
def test_what_is_missing_is_said(
    scores: dict[str, dict[tuple[str, str], float]], said: str, tmp_path: Path, saved_figures: list[Figure]
) -> None:
    draw_scores({"run": scores}, path=tmp_path / "a.png", title="run", names=["dice"])
    assert saved_figures[0].axes[0].texts[0].get_text() == said


def test_a_single_case_has_no_mean(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_scores({"run": {"dice": values([0.4])}}, path=tmp_path / "a.png", title="run", names=["dice"])
    (axes,) = saved_figures[0].axes
    assert dots(axes, REGION_COLOURS["ET"]) == [0.4]
    assert not dots(axes, "#FFFFFF")
    assert saved_figures[0].texts[1].get_text() == "1 case · dot: a case"


def test_volumes_are_on_a_logarithmic_axis_and_absent_regions_apart(
    tmp_path: Path, saved_figures: list[Figure]
) -> None:
    dice = values([0.2, 0.6, 0.9, 1.0, 0.0, NAN]) | values([0.5], "own")
    volumes = values([0.3, 3, 30, 0, 0, 10])
    draw_dice_against_volume(dice, volumes, path=tmp_path / "a.png", title="run")
    et, own = saved_figures[0].axes
    assert et.get_xscale() == "log"
    there, absent = (part for part in et.collections if isinstance(part, PathCollection))
    assert np.asarray(there.get_offsets()).tolist() == [[0.3, 0.2], [3, 0.6], [30, 0.9]]
    assert np.asarray(absent.get_offsets())[:, 1].tolist() == [1, 0]
    assert np.asarray(absent.get_offsets())[:, 0].max() < 0.1  # left of the axis' first mark
    assert np.asarray(absent.get_offsets())[:, 0].min() > et.get_xlim()[0]
    assert et.get_title(loc="right") == "3 cases  ·  1 undef."
    assert own.texts[0].get_text() == "1 case without a volume or a Dice"


def test_scores_and_volumes_are_paired_by_case() -> None:
    dice = {("b", "ET"): 0.2, ("a", "ET"): 0.1, ("a", "WT"): 0.9}
    found = sized(dice, {("a", "ET"): 1.0, ("b", "ET"): 2.0, ("a", "WT"): 9.0}, "ET")
    assert found.volumes_ml.tolist() == [2, 1]
    assert found.dice.tolist() == [0.2, 0.1]
    assert found.undefined == 0


def test_ranks_are_said_of_enough_cases(tmp_path: Path, saved_figures: list[Figure]) -> None:
    rising = [number / 20 for number in range(20)]
    draw_dice_against_volume(
        values(rising), values([math.exp(number) for number in rising]), path=tmp_path / "a.png", title="run"
    )
    draw_dice_against_volume({}, {}, path=tmp_path / "b.png", title="run")
    some, none = saved_figures
    assert some.axes[0].get_title(loc="right") == "20 cases  ·  Spearman 1.00"
    assert none.axes[0].texts[0].get_text() == "no scores"
