import json
import math
from pathlib import Path

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from brats_lightning.errors import BratsError
from brats_lightning.reports.run.wandb import machine_of, read_wandb, segments_of


def framed(records: list[Record]) -> bytes:
    """Short records as LevelDB has them, all in the first frame."""
    content = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        part = record.SerializeToString()
        content += bytes(4) + len(part).to_bytes(2, "little") + b"\x01" + part
    assert len(content) < 32768
    return bytes(content)


def row(number: int, **values: object) -> Record:
    record = Record()
    record.history.step.num = number
    for name, value in values.items():
        record.history.item.add(nested_key=[name.replace("__", "/")], value_json=json.dumps(value))
    return record


def config(**values: object) -> Record:
    record = Record()
    for name, value in values.items():
        record.config.update.add(key=name, value_json=json.dumps(value))
    return record


def environment() -> Record:
    record = Record()
    told = record.environment
    told.git.commit, told.gpu_type, told.gpu_count = "0123456789abcdef", "NVIDIA H200", 2
    told.host, told.username, told.root = "secret-host", "secret-user", "/home/secret-user/runs"
    return record


def written(folder: Path, records: list[Record], *, name: str = "offline-run-20261120_131109-x") -> Path:
    file = folder / "wandb" / name / f"run-{name.rpartition('-')[2]}.wandb"
    file.parent.mkdir(parents=True)
    file.write_bytes(framed(records))
    return file


def test_curves_configuration_time_and_machine_are_read(tmp_path: Path) -> None:
    about = Record()
    about.run.display_name = "unet3d"
    settings = {"model": {"outputs": "labels"}, "data": {"root": "x"}}
    rows = [
        row(0, trainer__global_step=0, epoch=0, train__loss=1.0, _runtime=2.5, picture={"_type": "image-file"}),
        row(1, trainer__global_step=7, epoch=1, val__dice_ET=0.5, _runtime=9.0, val__loss=math.nan),
    ]
    records = [
        about,
        environment(),
        config(**settings, _wandb={}, network="UNet", commit="abc-dirty", data_sha256="d"),
        *rows,
    ]
    file = written(tmp_path, records)
    record = read_wandb(segments_of(file.parent))
    assert record.settings == settings
    assert (record.seconds, record.name) == (9.0, "unet3d")
    assert set(record.history.curves) == {"train/loss", "val/dice_ET", "val/loss"}
    assert record.history.curves["val/dice_ET"].steps == (7,)
    assert record.history.epochs == 2
    assert record.machine == machine_of([file])
    assert record.machine["GPU"] == "2 × NVIDIA H200"
    assert (record.machine["git commit"], record.machine["data"]) == ("abc-dirty", "d")  # of the program, not the shell
    assert "secret" not in str(record)


def test_starts_of_one_run_are_one_history(tmp_path: Path) -> None:
    for number, day in enumerate(("20261119", "20261120")):
        rows = [
            row(n, trainer__global_step=n, a=float(number), _runtime=10.0) for n in range(number * 2, number * 2 + 3)
        ]
        written(tmp_path, rows, name=f"offline-run-{day}_101010-x")
    files = segments_of(tmp_path / "wandb")
    assert [file.parent.name[12:20] for file in files] == ["20261119", "20261120"]
    record = read_wandb(files)
    assert record.seconds == 20
    assert record.history.curves["a"].values == (0.0, 0.0, 1.0, 1.0, 1.0)  # step 2 was done again


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_killed_run_is_read_up_to_its_end(tmp_path: Path, cut: int) -> None:
    file = written(tmp_path, [row(n, trainer__global_step=n, a=1.0) for n in range(3)])
    file.write_bytes(file.read_bytes()[:-cut])
    assert read_wandb([file]).history.curves["a"].steps in {(0, 1), (0,)}


def test_what_is_none_of_wandbs_is_nothing_and_several_runs_are_refused(tmp_path: Path) -> None:
    assert segments_of(tmp_path) == segments_of(tmp_path / "nowhere") == []
    assert math.isnan(read_wandb([]).seconds)
    for name in ("x", "y"):
        written(tmp_path, [row(0, a=1.0)], name=f"offline-run-20261120_131109-{name}")
    with pytest.raises(BratsError, match=r"holds 2 runs of W&B \(x, y\): give the folder of one"):
        segments_of(tmp_path / "wandb")
    assert len(segments_of(tmp_path / "wandb" / "offline-run-20261120_131109-y")) == 1
