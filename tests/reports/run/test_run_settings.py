from pathlib import Path

import pytest

from brats_lightning.errors import BratsError
from brats_lightning.reports.run.settings import (
    Setting,
    class_name,
    differences,
    flat,
    monitored,
    read_settings,
    value_of,
)

TEXT = """
run: runs/a
model:
  network: {class_path: monai.networks.nets.UNet, init_args: {channels: [16, 32], norm: instance}}
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.001, foreach: null}}
trainer:
  logger: {class_path: x.Logger, init_args: {save_dir: runs/a}}
  callbacks:
  - {class_path: brats_lightning.model.callbacks.BestCheckpoint, init_args: {monitor: val/loss, mode: min}}
  - {class_path: x.Throughput}
"""


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Setting]:
    (tmp_path / "config.yaml").write_text(TEXT)
    return dict(read_settings(tmp_path / "config.yaml"))


def test_each_setting_has_one_line(settings: dict[str, Setting]) -> None:
    lines = flat(settings)
    assert lines["model.network"] == "UNet"
    assert lines["model.network.channels"] == "[16, 32]"
    assert lines["model.optimizer.lr"] == "0.001"
    assert lines["model.optimizer.foreach"] == "null"
    assert lines["trainer.callbacks.BestCheckpoint.monitor"] == "val/loss"
    assert lines["trainer.callbacks.Throughput"] == "Throughput"
    assert class_name(settings, "model.network") == "UNet"
    assert value_of(settings, "model.network.init_args.norm") == "instance"
    assert value_of(settings, "model.network.channels.deeper") is None


def test_runs_differ_in_what_they_do_and_not_in_where_they_lie(settings: dict[str, Setting], tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(
        TEXT.replace("runs/a", "runs/b").replace("0.001", "0.01").replace("- {class_path: x.T", "- {class_path: x.U")
    )
    other = read_settings(tmp_path / "b.yaml")
    assert differences([settings, settings]) == {}
    assert differences([settings, other]) == {
        "model.optimizer.lr": ("0.001", "0.01"),
        "trainer.callbacks.Throughput": ("Throughput", "–"),
        "trainer.callbacks.Uhroughput": ("–", "Uhroughput"),
    }


def test_of_two_classes_of_one_name_both_are_kept(settings: dict[str, Setting]) -> None:
    flips: list[Setting] = [{"class_path": "m.Flip", "init_args": {"axis": axis}} for axis in (0, 1)]
    zoom: Setting = {"class_path": "m.Zoom", "init_args": {"most": 2.0}}
    one: dict[str, Setting] = {"data": {"augmentation": [*flips, zoom]}}
    other: dict[str, Setting] = {"data": {"augmentation": [flips[0], zoom, flips[1]]}}
    assert flat(one) == {
        "data.augmentation.Flip": "Flip",
        "data.augmentation.Flip.axis": "0",
        "data.augmentation.Flip 2": "Flip",
        "data.augmentation.Flip 2.axis": "1",
        "data.augmentation.Zoom": "Zoom",
        "data.augmentation.Zoom.most": "2",
    }
    assert flat(other) == flat(one)  # what stands between them renames neither
    assert differences([one, {"data": {"augmentation": [flips[0], zoom]}}]) == {
        "data.augmentation.Flip 2": ("Flip", "–"),
        "data.augmentation.Flip 2.axis": ("1", "–"),
    }
    assert flat({"groups": [{"lr": 1}, {"lr": 2}, "rest", "more"]}) == {
        "groups.lr": "1", "groups.2.lr": "2", "groups.3": "rest", "groups.4": "more"
    }  # fmt: skip


def test_the_monitor_is_that_of_the_best_checkpoint(settings: dict[str, Setting]) -> None:
    assert monitored(settings) == ("val/loss", False)
    assert monitored({}) == (None, True)
    assert monitored({"trainer": {"callbacks": [{"class_path": "a.BestCheckpoint"}]}}) == (None, True)


@pytest.mark.parametrize("text", ["a: [1", "- a\n- b\n", "just words", "", "a: !!python/object/apply:os.getcwd []"])
def test_what_is_no_configuration_is_said_and_nothing_is_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(BratsError, match=r"config\.yaml is no configuration"):
        read_settings(tmp_path / "config.yaml")
