"""Readers of trained networks: checkpoints, exported files and their descriptions, weights of encoders."""

import hashlib
import io
import json
import random
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.fuzz.children import Reader
from benchmarks.fuzz.mutating import changed, damaged, in_zip, of_bytes, of_json
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.experiment.training import sound_checkpoint
from brats_lightning.inference.exporting.export import export
from brats_lightning.inference.models.bundle_folder import SIDECAR, WEIGHTS
from brats_lightning.inference.models.exported import open_model
from brats_lightning.inference.models.networks import build_network
from brats_lightning.model.encoder_weights import load_encoder

NETWORK = {
    "class_path": "monai.networks.nets.UNet",
    "init_args": {
        "spatial_dims": 3, "in_channels": 4, "out_channels": 4, "channels": [4, 8], "strides": [2], "norm": "instance",
    },
}  # fmt: skip
_STEPS = [
    {"class_path": "Thresholds", "init_args": {"thresholds": {"ET": 0.4}}},
    {"class_path": "RemoveSmall", "init_args": {"region": "ET", "voxels": 9}},
]


def model_readers(formats: Sequence[str] = ("pt", "pt2", "onnx")) -> list[Reader]:
    """Every reader of networks.

    Exported files have a description with their SHA-256 beside them. It is put right here after each damage, as who
    means harm would: else nothing would be read of a damaged file.

    Args:
        formats: Of exported files.
    """
    mutations = {"pt": in_zip(of_bytes), "pt2": in_zip(_of_pt2), "onnx": of_bytes}
    exported = [
        Reader(f"exported network, .{form}", f"model.{form}", partial(_exported, form), mutations[form],
               partial(_open, f"model.{form}"), _described)
        for form in formats
    ]  # fmt: skip
    return [
        Reader("checkpoint", "model.ckpt", _checkpoint, _of_checkpoint, partial(_open, "model.ckpt")),
        Reader("checkpoint to go on from", "model.ckpt", _checkpoint, damaged_file, _found),
        *exported,
        Reader("bundle's weights", f"bundle/{WEIGHTS}", _bundle, _of_weights, partial(_open, "bundle"),
               _bundle_described),
        Reader("description of an exported network", f"bundle/{SIDECAR}", _bundle_description, of_json,
               partial(_open, "bundle")),
        Reader("encoder's weights, .pth", "resnet.pth", _encoder, _of_weights, partial(_load, "resnet.pth")),
        Reader("encoder's weights, .safetensors", "resnet.safetensors", _safetensors, of_safetensors,
               partial(_load, "resnet.safetensors")),
    ]  # fmt: skip


def _checkpoint(folder: Path) -> list[bytes]:
    """As `brats fit` writes them, with and without tuned post-processing."""
    torch.manual_seed(0)
    state = {f"network.{name}": value for name, value in build_network(NETWORK).state_dict().items()}
    plain: dict[str, Any] = {
        "state_dict": state,
        "hyper_parameters": {"network": NETWORK, "regions": ["ET", "ED", "NCR", "WT", "TC"], "outputs": "labels"},
        "datamodule_hyper_parameters": {"preprocessing": asdict(Preprocessing(size=(16, 16, 16)))},
        "epoch": 3, "global_step": 12, "pytorch-lightning_version": "2.6.6", "loops": {}, "callbacks": {},
        "trained_on": {"smallest": [16, 16, 16], "largest": [16, 16, 16]},
    }  # fmt: skip
    return [_saved(plain, folder), _saved({**plain, "postprocessing": _STEPS}, folder)]


def _saved(content: object, folder: Path) -> bytes:
    path = folder / "saved"
    torch.save(content, path)
    found = path.read_bytes()
    path.unlink()
    return found


def _of_checkpoint(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Settings with other values and weights of other shapes, pickled as training does; else damage of the zip."""
    if rng.random() < 0.4:
        return in_zip(of_bytes, members=lambda name: not name.endswith(".data/serialization_id"))(rng, seeds)
    content = torch.load(io.BytesIO(rng.choice(seeds)), weights_only=True)
    for _ in range(rng.choice((1, 1, 2))):
        key = rng.choice(("hyper_parameters",) * 3 + ("datamodule_hyper_parameters", "trained_on", "postprocessing"))
        content[key] = changed(rng, content.get(key, []))
        if rng.random() < 0.1:
            content["state_dict"] = _changed_weights(rng, content["state_dict"])
        if rng.random() < 0.05:
            content = changed(rng, content)
            break
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _changed_weights(rng: random.Random, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    name = rng.choice(list(state))
    value = state[name]
    if not isinstance(value, torch.Tensor) or value.numel() > 10**6:
        return state
    other: Any = rng.choice(
        (value.reshape(-1)[:0], value.double(), value.long(), value.expand(3, *value.shape), value.double() * torch.nan,
         value.to("meta"), torch.zeros(()), value.flatten(), None, 3, "x", value.to_sparse(),
         torch.zeros(1).expand(2**40))
    )  # fmt: skip
    return {**state, name: other}


def _of_weights(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    if rng.random() < 0.6:
        return in_zip(of_bytes)(rng, seeds)
    state = torch.load(io.BytesIO(rng.choice(seeds)), weights_only=True)
    buffer = io.BytesIO()
    torch.save(_changed_weights(rng, state) if rng.random() < 0.8 else changed(rng, {"a": 1, "b": [2]}), buffer)
    return buffer.getvalue()


def damaged_file(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage as disks and broken copies do it: nothing is put right."""
    return damaged(rng, rng.choice(seeds), seeds)


def _found(folder: Path) -> None:
    """What training goes on from, as Lightning loads it."""
    path = sound_checkpoint(str(folder / "model.ckpt"), folder)
    torch.load(path, map_location="cpu", weights_only=True)


def _open(name: str, folder: Path) -> None:
    open_model(folder / name)


def _exported(form: Any, folder: Path) -> list[bytes]:
    (folder / "model.ckpt").write_bytes(_checkpoint(folder)[0])
    with redirect_stdout(io.StringIO()):
        export(folder / "model.ckpt", folder, (form,))
    path = folder / f"model.{form}"
    return [path.read_bytes()] if path.is_file() else []


def _bundle(folder: Path) -> list[bytes]:
    _exported("bundle", folder)
    (folder / "model-bundle").rename(folder / "bundle")
    return [(folder / "bundle" / WEIGHTS).read_bytes()]


def _bundle_description(folder: Path) -> list[bytes]:
    _bundle(folder)
    return [(folder / "bundle" / SIDECAR).read_bytes()]


def _described(folder: Path) -> None:
    (sidecar,) = folder.glob("model.*.json")
    _put_digest(sidecar, sidecar.with_suffix(""))


def _bundle_described(folder: Path) -> None:
    _put_digest(folder / "bundle" / SIDECAR, folder / "bundle" / WEIGHTS)


def _put_digest(sidecar: Path, file: Path) -> None:
    description = json.loads(sidecar.read_text())
    description["file"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    sidecar.write_text(json.dumps(description))


def _of_pt2(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Members of JSON by their values, others by their bytes."""
    return of_json(rng, seeds) if seeds[0].startswith(b"{") else of_bytes(rng, seeds)


class _Encoder(nn.Module):
    """The parts of a ResNet's encoder, as small as they can be."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 2, 1, bias=False), nn.BatchNorm2d(2)
        for stage in range(1, 5):
            block = nn.Sequential()
            block.add_module("conv1", nn.Conv2d(2, 2, 1, bias=False))
            block.add_module("bn1", nn.BatchNorm2d(2))
            self.add_module(f"layer{stage}", nn.Sequential(block))


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = {name: value.clone() for name, value in _Encoder().state_dict().items()}
    return {**state, "conv1.weight": torch.ones(2, 3, 1, 1), "fc.weight": torch.ones(2, 2)}


def _encoder(folder: Path) -> list[bytes]:
    return [_saved(_state(), folder)]


def _safetensors(folder: Path) -> list[bytes]:
    from safetensors.torch import save  # noqa: PLC0415

    del folder
    return [save(_state())]


def of_safetensors(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage of the table of contents, which is JSON behind its length; else of bytes."""
    content = rng.choice(seeds)
    if rng.random() < 0.4:
        return damaged(rng, content, seeds)
    length = int.from_bytes(content[:8], "little")
    table = of_json(rng, [content[8 : 8 + length].strip()])
    said = len(table) if rng.random() < 0.9 else rng.choice((0, 2**63, len(content), len(table) - 1, 100_000_001))
    return said.to_bytes(8, "little", signed=False) + table + content[8 + length :]


def _load(name: str, folder: Path) -> None:
    load_encoder(_Encoder(), folder / name)
