import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brats_lightning.errors import BratsError
from brats_lightning.loggers.metrics_csv import MetricsCsv
from brats_lightning.reports.run.history import Curve, history_of, read_history, smoothed


def logged(folder: Path) -> Path:
    """Three epochs of two steps, as a run logs them."""
    logger = MetricsCsv(folder)
    for step in range(6):
        epoch = step // 2
        logger.log_metrics({"epoch": epoch, "train/loss_step": 1 / (step + 1)}, step)
        if step % 2:
            dice = [0.2, 0.8, 0.5][epoch]
            logger.log_metrics({"val/dice_ET": dice, "val/dice_WT": 1 - dice, "val/dice_mean_WT_TC_ET": dice}, step)
    return folder / "metrics.csv"


def test_what_is_logged_is_read(tmp_path: Path) -> None:
    history = read_history(logged(tmp_path))
    assert not history.notes
    assert (history.steps, history.epochs) == (6, 3)
    assert history.curves["train/loss_step"].values == tuple(1 / (step + 1) for step in range(6))
    assert history.curves["val/dice_ET"] == Curve((1, 3, 5), (0, 1, 2), (0.2, 0.8, 0.5))
    assert list(history.regions("dice")) == ["ET", "WT"]  # a mean is no region
    assert history.curves["val/dice_ET"].at(3) == 0.8
    assert math.isnan(history.curves["val/dice_ET"].at(4))


def test_the_best_network_is_that_of_the_monitor_or_of_the_mean_dice(tmp_path: Path) -> None:
    history = read_history(logged(tmp_path))
    assert [best and best.step for best in (history.best(), history.best("val/dice_WT"), history.best("nowhere"))] == [
        3, 1, 3,
    ]  # fmt: skip
    smallest = history.best("train/loss_step", largest=False)
    assert smallest is not None
    assert (smallest.step, smallest.by) == (5, "train/loss_step")
    assert history_of([{"step": 0, "val/loss": 1.0}]).best() is None


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97])
def test_of_a_file_cut_anywhere_the_whole_rows_remain(tmp_path: Path, share: float) -> None:
    path = logged(tmp_path)
    whole, content = read_history(path), path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    history = read_history(path)
    assert any("ends in the middle of a row" in note or "holds no row" in note for note in history.notes)
    for name, curve in history.curves.items():
        assert curve.values == whole.curves[name].values[: len(curve.values)]


@given(st.binary(max_size=400))
def test_no_content_makes_it_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    assert read_history(path).notes or not content.strip() or read_history(path).curves


def test_what_is_no_number_is_kept_and_said() -> None:
    history = history_of([{"step": 0, "val/loss": "1.5"}, {"step": 1, "val/loss": "nan"}, {"step": 2, "word": "a"}])
    assert history.curves["val/loss"].finite == [1.5]
    assert "word" not in history.curves
    assert history.notes == ("val/loss was no number in some epochs: the training broke.",)
    assert history.curves["val/loss"].best(largest=False) == 0


def test_steps_that_were_done_again_count_once() -> None:
    rows = [{"step": 1, "epoch": 0, "a": 1.0}, {"step": 0, "epoch": 0, "a": 0.0}, {"step": 1, "epoch": 0, "a": 5.0}]
    assert history_of(rows).curves["a"] == Curve((0, 1), (0, 0), (0.0, 5.0))


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=60), st.integers(1, 12))
def test_smoothing_keeps_the_mean(values: list[float], over: int) -> None:
    steps = tuple(range(len(values)))
    thin = smoothed(Curve(steps, tuple(map(float, steps)), tuple(values)), over=over)
    assert len(thin.steps) == math.ceil(len(values) / over)
    assert sorted(thin.steps) == list(thin.steps)
    whole = len(values) // over * over
    parts = thin.values[: whole // over]
    assert math.fsum(parts) * over == pytest.approx(math.fsum(values[:whole]), abs=1e-6)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BratsError, match=r"metrics\.csv cannot be read .*expected the metrics\.csv of a run"):
        read_history(tmp_path / "metrics.csv")


@pytest.mark.parametrize("damage", ['1,1,"' + "1" * 200_000 + "\n", "1,\u00b2,3\n"])
def test_damage_ends_no_report(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,val/loss\n0,0,0.5\n" + damage, encoding="utf-8")
    history = read_history(path)
    assert history.curves["val/loss"].values == (0.5,)
    assert "no rows, left out" in " ".join(history.notes)
