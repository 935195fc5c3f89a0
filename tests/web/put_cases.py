"""Small networks and cases for the tests of what workers do."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel
import torch
from torch import nn

from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.inference.models.networks import build_network
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.records import CaseRecord, FileRecord, Kind

KINDS: Mapping[str, Kind] = {"_t1.": "t1n", "_t1ce.": "t1c", "_t2.": "t2w", "_flair.": "t2f", "_seg.": "seg"}
REGIONS = ("ET", "ED", "NCR", "WT", "TC")


def unet(*, channels: int = 4, labels: int = 4) -> dict[str, Any]:
    """Settings of a network that takes no time."""
    return {
        "class_path": "monai.networks.nets.UNet",
        "init_args": {
            "spatial_dims": 3,
            "in_channels": channels,
            "out_channels": labels,
            "channels": [4, 8],
            "strides": [2],
            "norm": "instance",
        },
    }


def write_network(
    path: Path,
    *,
    network: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    change: Callable[[nn.Module], None] | None = None,
    regions: tuple[str, ...] = REGIONS,
    trained_on: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """A checkpoint of seeded random weights, as `brats fit` writes them."""
    network = network or unet()
    torch.manual_seed(seed)
    built = build_network(network)
    if change:
        change(built)
    content = {
        "state_dict": {f"network.{key}": value for key, value in built.state_dict().items()},
        "hyper_parameters": {"network": dict(network), "regions": list(regions), **settings},
        "datamodule_hyper_parameters": {
            "preprocessing": asdict(preprocessing or Preprocessing(size=None if trained_on else (16, 16, 16)))
        },
        "pytorch-lightning_version": "2.6.6",
        **({} if trained_on is None else {"trained_on": trained_on}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def put_file(store: CaseStore, case: str, path: Path, kind: Kind | None, *, name: str | None = None) -> None:
    """Put a file as an upload does, without looking at it."""
    number = len(store.get(case).files)
    ending = "".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix
    own = f"0file{number}"
    shutil.copy(path, store.files(case) / f"{own}{ending}")
    shape = tuple(nibabel.load(path).shape) if ".nii" in path.name else ()
    store.add_file(
        case,
        FileRecord(id=own, name=name or path.name, kind=kind, bytes=path.stat().st_size, shape=shape, spacing_mm=()),
    )


def put_folder(
    store: CaseStore, folder: Path, *, but: tuple[Kind, ...] = (), needs: list[Kind] | None = None
) -> CaseRecord:
    """A case with the files of a folder of BraTS 2021."""
    record = store.create(networks=["tiny"], needs=needs or ["t1n", "t1c", "t2w", "t2f"])
    for path in sorted(folder.iterdir()):
        kind = next(kind for mark, kind in KINDS.items() if mark in path.name)
        if kind not in but:
            put_file(store, record.id, path, kind)
    return store.get(record.id)
