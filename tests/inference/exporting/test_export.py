import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.networks.nets import UNet

from brats_lightning.cli import main
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import BratsError, CheckpointError
from brats_lightning.inference.exporting.export import Format, export
from brats_lightning.inference.exporting.graphs import write_torchscript
from brats_lightning.inference.models.checkpoints import digest_of, open_checkpoint
from brats_lightning.inference.models.exported import open_exported
from tests.inference.conftest import UNET, WriteCheckpoint

CPU = torch.device("cpu")
DYNUNET = {
    "class_path": "monai.networks.nets.DynUNet",
    "init_args": {
        "spatial_dims": 3,
        "in_channels": 4,
        "out_channels": 4,
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 16],
        "norm_name": "instance",
        "deep_supervision": True,
        "deep_supr_num": 1,
    },
}
SLICES = {
    "class_path": "brats_lightning.model.slice_wise.SliceWise",
    "init_args": {
        "multiple": 4,
        "network": {
            **UNET,
            "init_args": {**UNET["init_args"], "spatial_dims": 2, "channels": [4, 4, 8], "strides": [2, 2]},
        },
    },
}
ONE_SIZE = """
import torch
class OneSize(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Conv3d(4, 4, 3, padding=1)
        self.place = torch.nn.Parameter(torch.randn(1, 4, 12, 16, 8))
    def forward(self, image):
        return self.head(image) + self.place
"""


def largest_difference(checkpoint: Path, exported: Path, images: torch.Tensor) -> float:
    with torch.inference_mode():
        with open_checkpoint(checkpoint, trust=("one_size",)).member.on(CPU) as network:
            expected = network(images)
        with open_exported(exported, trust=("one_size",)).member.on(CPU) as network:
            return float((network(images) - expected).abs().max())


def test_torchscript_gives_what_the_checkpoint_gives(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    checkpoint = write_checkpoint("runs/small/checkpoints/best.ckpt")
    export(checkpoint, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["small-best-card.md", "small-best.pt", "small-best.pt.json"]
    for size in ((2, 4, 24, 8, 40), (1, 4, 34, 18, 2)):
        assert largest_difference(checkpoint, tmp_path / "out/small-best.pt", torch.randn(size)) == 0


def test_the_description_says_what_the_network_expects(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    settings = Preprocessing(modalities=("t1c", "t2f", "t2w", "t1n"), size=None, spacing_mm=1.0)
    checkpoint = write_checkpoint(preprocessing=settings)
    export(checkpoint, tmp_path)
    described = json.loads((tmp_path / "model.pt.json").read_text())
    assert described["checkpoint"] == {"name": "model.ckpt", "sha256": digest_of(checkpoint)}
    assert described["file"]["sha256"] == digest_of(tmp_path / "model.pt")
    assert described["input"]["channels"] == ["t1c", "t2f", "t2w", "t1n"]
    assert described["input"]["spacing_mm"] == 1.0
    assert described["input"]["size"] == {"any_multiple_of": 2}
    assert described["output"]["channels"] == ["background", "NCR", "ED", "ET"]
    assert described["editions"]["2021"] == {"NCR": 1, "ED": 2, "ET": 4}
    assert described["editions"]["2024-PED"] == {"NCR": 2, "ED": 4, "ET": 1}
    assert described["verification"]["largest_difference"] == 0
    assert described["verification"]["sizes"] == [[16, 16, 16], [16, 18, 20]]
    assert described["verification"]["batches"] == [1, 2]
    assert open_exported(tmp_path / "model.pt").spec == open_checkpoint(checkpoint).spec


def test_editions_without_one_of_the_labels_are_left_out(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    network = {**UNET, "init_args": {**UNET["init_args"], "out_channels": 5}}
    export(write_checkpoint(network=network), tmp_path)
    assert list(json.loads((tmp_path / "model.pt.json").read_text())["editions"]) == ["2024-GLI"]


@pytest.mark.slow
def test_heads_of_deep_supervision_are_left_behind(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(network=DYNUNET)
    export(checkpoint, tmp_path, ("pt", "bundle"))
    described = json.loads((tmp_path / "model.pt.json").read_text())
    assert described["file"]["how"] == "scripted"
    assert described["network"]["init_args"]["deep_supervision"] is False
    assert not [name for name in torch.load(tmp_path / "model-bundle/models/model.pt") if "supervision" in name]
    images = torch.randn(1, 4, 16, 24, 8)
    for name in ("model.pt", "model-bundle"):
        assert largest_difference(checkpoint, tmp_path / name, images) == 0


def test_what_cannot_be_scripted_is_traced(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(network: torch.nn.Module) -> None:
        raise torch.jit.frontend.NotSupportedError(None, "no")

    monkeypatch.setattr(torch.jit, "script", refuse)
    checkpoint = write_checkpoint()
    export(checkpoint, tmp_path)
    assert json.loads((tmp_path / "model.pt.json").read_text())["file"]["how"] == "traced"
    assert largest_difference(checkpoint, tmp_path / "model.pt", torch.randn(1, 4, 8, 24, 40)) < 1e-5


@pytest.fixture
def one_size(write_checkpoint: WriteCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoint of a network that takes images of 12×16×8 voxels."""
    (tmp_path / "one_size.py").write_text(ONE_SIZE)
    monkeypatch.syspath_prepend(tmp_path)
    from one_size import OneSize  # type: ignore[import-not-found]  # noqa: PLC0415

    unet = write_checkpoint(preprocessing=Preprocessing(size=(12, 16, 8)))
    content = torch.load(unet, weights_only=True)
    content["hyper_parameters"]["network"] = {"class_path": "one_size.OneSize"}
    content["state_dict"] = {f"network.{name}": value for name, value in OneSize().state_dict().items()}
    torch.save(content, unet)
    return unet


def test_a_network_of_one_size_is_checked_at_that_size(one_size: Path, tmp_path: Path) -> None:
    export(one_size, tmp_path, ("pt", "bundle"), trust=("one_size",))
    described = json.loads((tmp_path / "model.pt.json").read_text())
    assert described["verification"]["sizes"] == [[12, 16, 8]]
    assert described["input"]["size"] == {"exactly": [12, 16, 8]}
    for name in ("model.pt", "model-bundle"):
        assert largest_difference(one_size, tmp_path / name, torch.randn(2, 4, 12, 16, 8)) == 0


def test_a_file_that_differs_is_not_kept(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(network: torch.nn.Module, *arguments: Any, **options: Any) -> str:
        spoiled = UNet(3, 4, 4, channels=(4, 8), strides=(2,), norm="instance").eval()
        return write_torchscript(spoiled, *arguments, **options)

    monkeypatch.setattr(f"{export.__module__}.write_torchscript", spoil)
    with pytest.raises(CheckpointError, match=r"model\.pt is not kept: .* differs .* by [\d.]+, and 0\.001 is allowed"):
        export(write_checkpoint(), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_trace_of_one_size_alone_is_not_kept(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Frozen(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.reshape(image.shape[0], 4, 16, 16, 16)

    def freeze(network: torch.nn.Module, *arguments: Any, **options: Any) -> str:
        return write_torchscript(Frozen(), *arguments, **options)

    monkeypatch.setattr(f"{export.__module__}.write_torchscript", freeze)
    with pytest.raises(CheckpointError, match=r"model\.pt is not kept"):
        export(write_checkpoint(), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_nothing_is_overwritten_unasked(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(write_checkpoint(seed=1), out, ("pt", "bundle"))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    other = write_checkpoint(seed=2)
    forms: tuple[Format, ...] = ("pt", "bundle")
    for form in forms:
        with pytest.raises(BratsError, match=r"exists already: give another folder, or --overwrite"):
            export(other, out, (form,))
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    export(other, out, ("pt", "bundle"), overwrite=True)
    assert {path.name for path in out.iterdir()} == {"model.pt", "model.pt.json", "model-bundle", "model-card.md"}
    for name in ("model.pt", "model-bundle"):
        assert largest_difference(other, out / name, torch.randn(1, 4, 16, 16, 16)) == 0


@pytest.mark.parametrize("name", ["model.pt", "model-bundle"])
def test_folders_of_others_are_never_replaced(write_checkpoint: WriteCheckpoint, tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "out" / name / "notes.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(BratsError, match="is a folder that `brats export` did not write"):
        export(write_checkpoint(), tmp_path / "out", ("pt", "bundle"), overwrite=True)
    assert theirs.read_text() == "mine"


def test_an_output_that_is_a_file_is_named(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(BratsError, match=r"out cannot be written"):
        export(write_checkpoint(), tmp_path / "out")


def test_a_full_disk_is_named(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> str:
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")

    monkeypatch.setattr(f"{export.__module__}.write_torchscript", fail)
    with pytest.raises(BratsError, match=r"UNet cannot be exported as pt \(\[enforce fail"):
        export(write_checkpoint(), tmp_path / "out")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(BratsError, match=r"out cannot be written \(no space left\)"):
        export(write_checkpoint(), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_network_that_has_diverged_is_refused(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    def diverge(network: torch.nn.Module) -> None:
        for value in network.parameters():
            value.data.fill_(float("nan"))

    with pytest.raises(CheckpointError, match=r"model\.ckpt: its network gives values that are not finite"):
        export(write_checkpoint(change=diverge), tmp_path / "out")


def test_onnx_without_its_packages_names_the_extra(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brats_lightning.inference.models.runtimes.find_spec", lambda _: None)
    cure = "pip install -c constraints.txt 'brats-lightning[onnx]'"
    with pytest.raises(BratsError, match=re.escape(cure)):
        export(write_checkpoint(), tmp_path / "out", ("pt", "onnx"))
    assert not (tmp_path / "out").exists()


def test_unknown_formats_are_named(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(BratsError, match=r"formats are pt, pt2, onnx, bundle, found tflite"):
        export(write_checkpoint(), tmp_path / "out", ("tflite",))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("network", [UNET, DYNUNET, SLICES], ids=["UNet", "DynUNet", "slices"])
def test_every_format_takes_any_batch_and_size(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, network: dict[str, Any]
) -> None:
    pytest.importorskip("onnxruntime")
    checkpoint = write_checkpoint(network=network)
    export(checkpoint, tmp_path / "out", ("pt", "pt2", "onnx", "bundle"))
    weights = (tmp_path / "out/model-bundle/models/model.pt").stat().st_size
    for name in ("model.pt", "model.pt2", "model.onnx", "model-bundle"):
        for size in ((3, 4, 24, 40, 16), (1, 4, 32, 16, 48)):
            assert largest_difference(checkpoint, tmp_path / "out" / name, torch.randn(size)) < 1e-4
    assert (tmp_path / "out/model.pt2").stat().st_size < weights + 400_000  # its graph, and no example
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or str(Path(torch.__file__).parents[1]).encode() not in path.read_bytes()


@pytest.mark.slow
def test_every_format_takes_a_network_of_one_size(one_size: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    export(one_size, tmp_path / "out", ("pt2", "onnx"), trust=("one_size",))
    for name in ("model.pt2", "model.onnx"):
        assert largest_difference(one_size, tmp_path / "out" / name, torch.randn(3, 4, 12, 16, 8)) < 1e-5


def test_the_command_says_what_it_has_checked(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["export", str(write_checkpoint()), str(tmp_path / "out"), "--formats", "pt", "bundle"])
    printed = capsys.readouterr().out
    assert "16×16×16 and 16×18×20" in printed
    assert "0.0e+00" in printed
    assert f"Written to {tmp_path / 'out'}" in printed
    assert (tmp_path / "out/model.pt").exists()
    assert (tmp_path / "out/model-bundle").exists()
