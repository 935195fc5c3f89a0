import csv
import errno
import math
import os
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from brats_lightning.errors import BratsError
from brats_lightning.loggers.metrics_csv import MetricsCsv

Rows = dict[int, dict[str, float]]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written by the thousand here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def rows_on_disk(folder: Path) -> Rows:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        int(row["step"]): {name: float(value) for name, value in row.items() if value and name != "step"}
        for row in rows
    }


def test_a_step_is_one_row_and_a_metric_one_column_on_disk_at_once(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path / "run")
    logger.log_metrics({"epoch": 0, "train/loss": 0.5}, step=9)
    assert (tmp_path / "run" / "metrics.csv").read_text() == "epoch,step,train/loss\n0,9,0.5\n"
    logger.log_metrics({"epoch": 0, "val/dice_Ödem": 0.25}, step=9)
    assert rows_on_disk(tmp_path / "run") == {9: {"epoch": 0, "train/loss": 0.5, "val/dice_Ödem": 0.25}}
    logger.log_metrics({"train/loss": 0.125}, step=19)
    assert (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8") == (
        "epoch,step,train/loss,val/dice_Ödem\n0,9,0.5,0.25\n,19,0.125,\n"
    )
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.csv"]


def test_a_shorter_value_leaves_nothing_of_the_longer(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path)
    logger.log_metrics({"a": 0.123456789}, step=0)
    logger.log_metrics({"a": 1.0}, step=0)
    assert (tmp_path / "metrics.csv").read_text() == "epoch,step,a\n,0,1\n"


def same(left: Rows, right: Rows) -> bool:
    def key(rows: Rows) -> list[tuple[int, list[tuple[str, str]]]]:
        return [(step, sorted((name, repr(value + 0.0)) for name, value in row.items())) for step, row in rows.items()]

    return key(left) == key(right)


# What happens next: (another object takes over, steps forward or, at a takeover, back, what is logged).
moves = st.tuples(
    st.booleans(),
    st.integers(0, 3),
    st.dictionaries(st.sampled_from(["epoch", "a", "b,c", 'd"']), st.floats(), max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(moves, min_size=1, max_size=12))
def test_the_file_is_what_was_logged_by_all_runs_in_it(history: list[tuple[bool, int, dict[str, float]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        logger, step, expected = MetricsCsv(Path(folder)), 3, Rows()
        for takes_over, distance, metrics in history:
            if takes_over:
                logger = MetricsCsv(Path(folder))
                step = max(0, step - distance)
                expected = {number: row for number, row in expected.items() if number < step}
            else:
                step += distance
            logger.log_metrics(metrics, step=step)
            expected.setdefault(step, {}).update({name: value + 0.0 for name, value in metrics.items()})
            assert same(rows_on_disk(Path(folder)), expected)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_file_cut_anywhere_keeps_its_whole_rows(tmp_path: Path, ending: str) -> None:
    logger = MetricsCsv(tmp_path)
    for step in range(5):
        logger.log_metrics({"epoch": step // 2, "loss": 0.1 + step, "dice_Ödem": 1 / (step + 3)}, step=step)
    file = tmp_path / "metrics.csv"
    whole, rows = file.read_bytes().replace(b"\n", ending.encode()), rows_on_disk(tmp_path)
    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        MetricsCsv(tmp_path).log_metrics({"loss": 7.0}, step=5)
        survivors = max(0, whole[:cut].count(b"\n") - 1)
        assert rows_on_disk(tmp_path) == {**{step: rows[step] for step in range(survivors)}, 5: {"loss": 7.0}}
        assert file.read_text(encoding="utf-8").startswith("epoch,step")


@pytest.mark.parametrize("tail", [b"\0" * 64, b"\0" * 64 + b"\n", b"0,8,1,2,3,4\n", b"x,y,z\n", b"\xff\xfe\n", b"\n\n"])
def test_rubbish_behind_whole_rows_is_dropped(tmp_path: Path, tail: bytes) -> None:
    MetricsCsv(tmp_path).log_metrics({"loss": 0.5}, step=0)
    with (tmp_path / "metrics.csv").open("ab") as file:
        file.write(tail)
    MetricsCsv(tmp_path).log_metrics({"loss": 0.25}, step=9)
    assert rows_on_disk(tmp_path) == {0: {"loss": 0.5}, 9: {"loss": 0.25}}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e-320, 1e300, 0.1, -3.0, 2.0**60, 12345678.9])
def test_values_come_back_as_they_were(tmp_path: Path, value: float) -> None:
    MetricsCsv(tmp_path).log_metrics({"a": value}, step=0)
    MetricsCsv(tmp_path).log_metrics({"a": 0.0}, step=1)
    back = rows_on_disk(tmp_path)[0]["a"]
    assert back == value or (math.isnan(back) and math.isnan(value))


def test_only_rank_0_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    MetricsCsv(tmp_path).log_metrics({"a": 1.0}, step=0)
    assert list(tmp_path.iterdir()) == []


class Counting(LightningModule):
    """Its training loss is the step's number, its validation loss the epoch's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: list[torch.Tensor], batch_index: int) -> torch.Tensor:  # noqa: ARG002
        loss = self.weight.sum() * 0 + self.global_step
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor], batch_index: int) -> None:  # noqa: ARG002
        self.log("val/loss", float(self.current_epoch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())


def count(folder: Path, *, epochs: int, checkpoint: Path | None = None) -> None:
    loader = DataLoader(TensorDataset(torch.zeros(5, 1)))
    trainer = Trainer(
        max_epochs=epochs,
        logger=MetricsCsv(folder),
        callbacks=ModelCheckpoint(folder, filename="last"),
        log_every_n_steps=2,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Counting(), loader, loader, ckpt_path=checkpoint, weights_only=True)


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*is not empty", "ignore:.*LeafSpec")
def test_a_run_of_the_trainer_and_one_that_was_continued_leave_the_same_file(tmp_path: Path) -> None:
    uncut, cut = tmp_path / "uncut", tmp_path / "cut"
    count(uncut, epochs=2)
    assert rows_on_disk(uncut) == {
        1: {"epoch": 0, "train/loss_step": 1},
        3: {"epoch": 0, "train/loss_step": 3},
        4: {"epoch": 0, "train/loss_epoch": 2, "val/loss": 0},
        5: {"epoch": 1, "train/loss_step": 5},
        7: {"epoch": 1, "train/loss_step": 7},
        9: {"epoch": 1, "train/loss_step": 9, "train/loss_epoch": 7, "val/loss": 1},
    }
    count(cut, epochs=1)
    with (cut / "metrics.csv").open("a") as file:
        file.write("1,5,0.5,,\n1,7,0.")  # it had gone further than its checkpoint
    count(cut, epochs=2, checkpoint=cut / "last.ckpt")
    assert (cut / "metrics.csv").read_text() == (uncut / "metrics.csv").read_text()


def test_an_open_quotation_mark_takes_no_row_before_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,a\n0,0,1\n0,1,2\n" + '0,2,"' + "x" * 200_000 + "\n0,\u00b2,4\n")
    log = MetricsCsv(tmp_path)
    log.go_on_from(9)
    log.log_metrics({"a": 3, "epoch": 0}, 9)
    assert path.read_text() == "epoch,step,a\n0,0,1\n0,1,2\n0,9,3\n"


def test_a_full_disk_is_told_and_takes_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    log = MetricsCsv(tmp_path)
    log.log_metrics({"a": 1, "epoch": 0}, 0)
    before = log.path.read_text()
    for values in ({"a": 2.0}, {"b": 2.0}):  # a row more, and a column more
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", full)
            with pytest.raises(BratsError, match=r"metrics\.csv could not be written \(No space left .*make room"):
                log.log_metrics(values, 1)
    assert log.path.read_text() == before
