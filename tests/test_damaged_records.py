"""Configurations and records that benchmarks/fuzzing.py has found to end in something else than a sentence."""

import io
import json
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from torch import nn
from wandb.proto.wandb_internal_pb2 import Record

from brats_lightning.cli import main
from brats_lightning.cluster.holder import from_json, this_process
from brats_lightning.errors import BratsError, CheckpointError, ConfigError
from brats_lightning.loggers.metrics_csv import MetricsCsv
from brats_lightning.loggers.wandb_segments import HEADER, Tail, tail_of
from brats_lightning.model.encoder_weights import load_encoder
from brats_lightning.phantom.folder import phantom
from brats_lightning.reports.run.facts import read_starts
from brats_lightning.reports.run.history import read_history
from brats_lightning.reports.run.settings import differences, read_settings
from brats_lightning.runs import find_checkpoint
from brats_lightning.web.files.contents import look
from brats_lightning.web.files.unpacking import unpack
from brats_lightning.web.limits import Limits
from tests.web.image_bytes import nifti, picture

CONFIG = Path(__file__).parents[1] / "configs" / "demo.yaml"
BILLION = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
)
"""A few lines of YAML that stand for a billion values."""


NO_CONFIGURATIONS = [
    BILLION.encode(),
    b"self: &s [*s]",
    b"a: " + b"[" * 1100,
    b"a: " + b"{a: " * 70 + b"1" + b"}" * 70,
    b"a: 2001-99-99",
    b"a: " + b"9" * 5000,
    b"a: !!python/object/apply:os.getcwd []",
    b"\xff\xfea: 1",
    b"a: \x00",
    b"a: !!int x",
]


@pytest.mark.parametrize("content", NO_CONFIGURATIONS)
def test_a_configuration_that_cannot_be_gone_through_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(BratsError, match="is no configuration") as error:
        read_settings(path)
    assert str(error.value).isprintable()


def test_training_refuses_it_in_one_sentence_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(BILLION)
    for given in (["--config", str(path)], [f"--config={path}"], ["-c", str(path)]):
        with pytest.raises(SystemExit):
            main(["fit", *given, "--data.root", str(tmp_path)])
        assert capsys.readouterr().err.strip().startswith(f"brats: {path} is no configuration (it is nested too deeply")


def test_aliases_that_stand_for_little_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: &a {b: [1, 2]}\nc: *a\n")
    assert differences([read_settings(path), {}]) == {"a.b": ("[1, 2]", "–"), "c.b": ("[1, 2]", "–")}


@pytest.mark.parametrize(
    "change",
    [{"process": "12"}, {"process": 1.5}, {"process": -1}, {"process": 2**70}, {"born": []}, {"job": "\ud800"}],
)
def test_a_lease_with_other_things_in_it_tells_nothing(change: dict[str, object]) -> None:
    whole = this_process(None)
    assert from_json(whole.json) == whole
    assert not from_json(json.dumps(json.loads(whole.json) | change)).mark
    assert not from_json("[" * 100_000).mark


def test_phantoms_do_not_go_into_a_folder_whose_note_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "PHANTOM.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(ConfigError, match="phantoms of other options"):
        phantom(tmp_path, cases=1, size=(16, 16, 16), spacing_mm=10, workers=1)


def test_a_damaged_quotation_or_step_takes_no_row_before_it_along(tmp_path: Path) -> None:
    table = tmp_path / "metrics.csv"
    for damage in (f'0,2,"{"x" * 200_000}\n', f"0,{'9' * 5000},0.25\n"):
        table.write_text(f"epoch,step,loss\n0,0,0.5\n0,1,0.375\n{damage}")
        history = read_history(table)
        assert history.curves["loss"].values == (0.5, 0.375)
        assert len(history.notes) == 1
        logger = MetricsCsv(tmp_path)
        logger.go_on_from(2)
        assert table.read_text() == "epoch,step,loss\n0,0,0.5\n0,1,0.375\n"


@pytest.mark.parametrize("number", ["1e308", "NaN", "-1", "Infinity"])
def test_starts_that_took_no_time_that_can_be_told_are_refused(number: str, tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text(f'[{{"started": "", "seconds": {number}}}]')
    with pytest.raises(BratsError, match="is no list of starts"):
        read_starts(tmp_path)


def test_a_row_of_wandb_without_a_name_is_passed_over(tmp_path: Path) -> None:
    record = Record()
    record.history.step.num = 3
    record.history.item.add().value_json = "1"
    written = record.SerializeToString()
    segment = tmp_path / "run-x.wandb"
    segment.write_bytes(bytes(HEADER) + bytes(4) + len(written).to_bytes(2, "little") + b"\1" + written)
    assert tail_of([segment]) == Tail(3)


def test_a_seed_below_zero_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(CONFIG), "--data.root", str(tmp_path), "--seed_everything", "-1"])
    assert capsys.readouterr().err.strip().startswith("brats: seed_everything: expected a whole number")


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 2, 1, bias=False), nn.BatchNorm2d(2)
        self.layer1, self.layer2, self.layer3, self.layer4 = (nn.Conv2d(2, 2, 1) for _ in range(4))


@pytest.mark.parametrize("kind", ["meta", "sparse"])
def test_weights_that_are_not_in_the_file_are_refused(kind: str, tmp_path: Path) -> None:
    state = dict(Encoder().state_dict())
    state["conv1.weight"] = state["conv1.weight"].to("meta") if kind == "meta" else state["conv1.weight"].to_sparse()
    torch.save(state, tmp_path / "resnet.pth")
    with pytest.raises(ConfigError, match=r"'conv1\.weight' is no tensor"):
        load_encoder(Encoder(), tmp_path / "resnet.pth")


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    torch.save({**Encoder().state_dict(), "conv1.weight": torch.ones(2, 4, 1, 1, dtype=torch.long)}, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match=r"conv1\.weight is of type torch\.int64"):
        load_encoder(Encoder(), tmp_path / "a.pth")


def test_a_zip_may_name_nothing(tmp_path: Path) -> None:

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"x")
        archive.writestr(zipfile.ZipInfo("a.nii"), nifti())
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    (tmp_path / "into").mkdir()
    unpacked = unpack(tmp_path / "a.zip", into=tmp_path / "into", room=10**6, limits=Limits())
    assert unpacked.names == ("a.nii",)


def test_a_picture_that_claims_to_move_is_read_quietly(tmp_path: Path) -> None:

    whole = picture()
    control = b"acTL" + bytes(8)  # no frames
    chunk = (8).to_bytes(4, "big") + control + zlib.crc32(control).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(whole[:33] + chunk + whole[33:])
    assert look(tmp_path / "a.png", limits=Limits()).shape == (9, 4)  # warnings are errors here


def test_a_checkpoint_that_lies_on_several_disks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {}}, path)
    content = bytearray(path.read_bytes())
    locator = content.rfind(b"PK\x06\x07")
    if locator < 0:  # of a zip that is small
        content[-22:-22] = b"PK\x06\x07" + bytes(12) + (5).to_bytes(4, "little")
    else:
        content[locator + 16] = 5
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        find_checkpoint(str(path), None)
