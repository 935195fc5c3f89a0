import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from brats_lightning.comparison.members import has_scores, is_of_wandb, members_of
from brats_lightning.comparison.run_rows import run_rows, setting_rows
from brats_lightning.data.splits import Parts
from brats_lightning.loggers.metrics_csv import MetricsCsv

WriteScores = Callable[..., Path]


def wandb_run(folder: Path, *, name: str, rate: float) -> Path:
    """W&B's folder of a run of two epochs."""
    about, settings = Record(), Record()
    about.run.display_name = name
    model = {"optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": rate}}}
    settings.config.update.add(key="model", value_json=json.dumps(model))
    records = [about, settings]
    for step in range(2):
        row = Record()
        row.history.step.num = step
        for key, value in {
            "val/dice_ET": step / 2,
            "epoch": step,
            "_runtime": 30.0 * step,
            "trainer/global_step": step,
        }.items():
            row.history.item.add(nested_key=[key], value_json=json.dumps(value))
        records.append(row)
    content = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        part = record.SerializeToString()
        content += bytes(4) + len(part).to_bytes(2, "little") + b"\x01" + part
    own = folder / "wandb" / f"offline-run-20261120_131109-{name}"
    own.mkdir(parents=True)
    (own / f"run-{name}.wandb").write_bytes(bytes(content))
    return own


def test_wandbs_folders_and_those_of_runs_tell_the_same(tmp_path: Path) -> None:
    own = wandb_run(tmp_path / "run", name="first", rate=0.1)
    logger = MetricsCsv(tmp_path / "run")
    for step in range(2):
        logger.log_metrics({"epoch": step, "val/dice_ET": step / 2}, step)
    members = [member for member in members_of([own, tmp_path / "run"]) if member is not None]
    assert [member.name for member in members] == ["first", "run"]
    assert members[0].history == members[1].history
    assert [member.seconds for member in members] == [30.0, 30.0]
    assert is_of_wandb(own)
    assert not is_of_wandb(tmp_path / "run")


def test_scores_alone_are_no_run(tmp_path: Path, write_score_file: WriteScores) -> None:
    path = write_score_file("x/scores_test.csv", {"a": 0.5})
    assert members_of([path, path.parent]) == [None, None]
    assert has_scores(path.parent)
    assert not has_scores(tmp_path)


def test_rows_name_what_runs_reached_and_where_they_differ(tmp_path: Path) -> None:
    paths = [wandb_run(tmp_path / name, name=name, rate=rate) for name, rate in (("a", 0.1), ("b", 0.01))]
    members = [member for member in members_of(paths) if member is not None]
    rows = {row.name: row.cells for row in run_rows(members)}
    assert rows == {
        "epochs": ("2", "2"),
        "steps": ("2", "2"),
        "time": ("30 s", "30 s"),
        "best network": ("epoch 2", "epoch 2"),
        "Dice ET": ("0.500 / 0.500", "0.500 / 0.500"),
    }
    assert [(row.name, row.cells) for row in setting_rows(members)] == [("model.optimizer.lr", ("0.1", "0.01"))]


def test_a_run_without_a_configuration_is_not_called_different(tmp_path: Path) -> None:
    own = wandb_run(tmp_path, name="a", rate=0.1)
    MetricsCsv(tmp_path / "bare").log_metrics({"val/loss": 1.0}, 0)
    members = [member for member in members_of([own, tmp_path / "bare"]) if member is not None]
    assert setting_rows(members) == []
    assert math.isnan(members[1].seconds)
    assert "config.yaml is missing: what the run was made of is not known." in members[1].notes


@pytest.mark.parametrize("content", [b"", b":W&B\xe1\xbe\x00", b"nonsense" * 9])
def test_an_empty_file_of_wandb_is_a_run_that_logged_nothing(tmp_path: Path, content: bytes) -> None:
    own = wandb_run(tmp_path, name="a", rate=0.1)
    (own / "run-a.wandb").write_bytes(content)
    (member,) = members_of([own])
    assert member is not None
    assert not member.history.curves
    assert member.notes == ["W&B's file holds no row: nothing was logged before the run ended."]


def test_of_a_run_one_sees_its_network_and_how_many_cases_it_saw(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "model: {network: {class_path: a.SliceWise, init_args: {network: {class_path: b.UNet}}}}\n"
    )
    Parts(train=("a", "b", "c"), validation=("d",), test=()).write(tmp_path / "split.json")
    (member,) = members_of([tmp_path])
    assert member is not None
    rows = {row.name: row.cells for row in run_rows([member, member])}
    assert rows["network"] == ("SliceWise of UNet",) * 2
    assert rows["cases trained on / validated"] == ("3 / 1",) * 2
    assert len(rows["split"][0]) == 9
