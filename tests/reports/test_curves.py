import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.figures.curves import clock, draw_curves, draw_speed
from brats_lightning.reports.run.history import History, history_of, read_history

STEPS = 4
"""Of an epoch."""


def history(epochs: int = 5, *, broken: int = -1, far: float = 8.0) -> History:
    rows: list[dict[str, object]] = []
    for step in range(epochs * STEPS):
        row: dict[str, object] = {"step": step, "epoch": step // STEPS, "train/loss_step": 1 / (step + 1)}
        if step % STEPS == 0:
            row |= {"lr-AdamW": 1e-3 / (step + 1), "lr-AdamW-momentum": 0.9}
            del row["epoch"]  # as Lightning's monitor leaves it
        if step % STEPS == STEPS - 1:
            epoch = step // STEPS
            row |= {"val/loss": math.nan if epoch == broken else 1.0, "val/dice_ET": 0.1 * epoch, "val/dice_WT": 0.5}
            row |= {"val/dice_mean_WT_TC_ET": 0.3, "val/hd95_mm_ET": far if epoch == 0 else 8.0, "val/hd95_mm_WT": 4.0}
            row |= {"speed/samples_per_s": 12.5, "speed/waiting": 0.1}
        rows.append(row)
    return history_of(rows)


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def test_one_run_has_its_regions_in_their_colours(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_curves({"run": history()}, path=tmp_path / "a.png", title="run")
    found = panels(saved_figures[0])
    assert list(found) == ["loss", "Dice, validation", "HD95 mm, validation"]
    dice = found["Dice, validation"]
    lines = {str(line.get_label()): line for line in dice.lines if len(np.asarray(line.get_xdata())) > 1}
    assert list(lines) == ["ET", "WT"]  # no mean among the regions
    assert all(to_rgb(line.get_color()) == to_rgb(REGION_COLOURS[name]) for name, line in lines.items())
    assert np.asarray(lines["ET"].get_xdata()).tolist() == [1, 2, 3, 4, 5]
    assert np.asarray(lines["ET"].get_ydata()).tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert dice.get_ylim() == (0, 1.02)
    assert {text.get_text() for text in dice.texts} == {"ET", "WT"}
    best = [line for line in dice.lines if line.get_marker() == "o"]
    assert [float(np.asarray(line.get_xdata())[0]) for line in best] == [5, 1]
    assert found["loss"].get_ylim()[0] == 0


def test_several_runs_share_axes(tmp_path: Path, saved_figures: list[Figure]) -> None:
    runs = {"one": history(5), "two": history(3), "none": history_of([])}
    draw_curves(runs, path=tmp_path / "a.svg", title="runs")
    (figure,) = saved_figures
    found = panels(figure)
    assert list(found) == ["validation loss", "training loss", "Dice ET", "Dice WT", "HD95 mm ET", "HD95 mm WT"]
    dice = found["Dice ET"]
    assert [len(np.asarray(line.get_xdata())) for line in dice.lines] == [5, 3]
    assert len({str(line.get_color()) for line in dice.lines}) == 2
    assert len({str(line.get_linestyle()) for line in dice.lines}) == 2
    assert found["training loss"].texts[0].get_text() == "not logged"
    text = (tmp_path / "a.svg").read_text()
    assert all(f">{name}<" in text for name in runs)
    assert "nothing was logged by none" in text


def test_values_that_are_no_numbers_leave_a_gap_and_a_mark(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_curves({"run": history(broken=2)}, path=tmp_path / "a.png", title="run")
    loss = panels(saved_figures[0])["loss"]
    lines = {str(line.get_label()): line for line in loss.lines}
    assert np.isnan(np.asarray(lines["validation"].get_ydata())).tolist() == [False, False, True, False, False]
    assert np.asarray(lines["undefined"].get_xdata()).tolist() == [3]
    assert loss.get_legend() is not None


def test_far_distances_are_drawn_in_logarithms(tmp_path: Path, saved_figures: list[Figure]) -> None:
    for far in (8.0, 374.0):
        draw_curves({"run": history(far=far)}, path=tmp_path / "a.png", title="run")
    scales = [panels(figure)["HD95 mm, validation"].get_yscale() for figure in saved_figures]
    assert scales == ["linear", "log"]


def test_learning_rate_and_speed(tmp_path: Path, saved_figures: list[Figure]) -> None:
    draw_speed({"run": history()}, path=tmp_path / "a.png", title="run")
    found = panels(saved_figures[0])
    assert list(found) == ["learning rate", "samples/s", "share of time waiting for data"]
    rate = found["learning rate"].lines[0]
    assert np.asarray(rate.get_xdata()).tolist() == [0.25, 1.25, 2.25, 3.25, 4.25]
    assert np.asarray(rate.get_ydata())[0] == 1e-3
    draw_speed({"run": history_of([])}, path=tmp_path / "b.png", title="run")
    empty = panels(saved_figures[1])
    assert {axes.texts[0].get_text() for axes in empty.values()} == {"not logged"}
    assert "nothing was logged" in saved_figures[1].texts[1].get_text()


def test_the_last_line_of_a_killed_run_does_not_hurt(tmp_path: Path, saved_figures: list[Figure]) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,val/loss,val/dice_ET\n0,1,0.9,0.5\n1,3,0.8,0.6\n2,5,0.7")
    draw_curves({"run": read_history(path)}, path=tmp_path / "a.png", title="run")
    line = panels(saved_figures[0])["loss"].lines[0]
    assert np.asarray(line.get_ydata()).tolist() == [0.9, 0.8]


def test_a_single_step_is_a_dot(tmp_path: Path, saved_figures: list[Figure]) -> None:
    one = history_of([{"step": 0, "val/loss": 0.5, "val/dice_ET": 0.2}])
    draw_curves({"run": one}, path=tmp_path / "a.png", title="run")
    loss = panels(saved_figures[0])["loss"]
    assert loss.get_xlabel() == "step"
    assert np.asarray(loss.collections[0].get_offsets()).tolist() == [[0, 0.5]]


def test_epochs_have_fractions_and_the_last_one_may_be_cut_short() -> None:
    rows = [{"step": step, "epoch": step // STEPS, "train/loss_step": 1.0} for step in range(10)]
    assert clock(history_of(rows))([1, 3, 7, 9]) == [0.5, 1, 2, 2.5]
    later = [{"step": step, "epoch": step // STEPS, "val/loss": 1.0} for step in (11, 15, 19)]
    assert clock(history_of(later))([15, 19]) == [4, 5]
