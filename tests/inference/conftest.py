"""Checkpoints as `brats fit` writes them, without training."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.inference.models.networks import build_network

WriteCheckpoint = Callable[..., Path]
UNET: Mapping[str, Any] = {
    "class_path": "monai.networks.nets.UNet",
    "init_args": {
        "spatial_dims": 3,
        "in_channels": 4,
        "out_channels": 4,
        "channels": [4, 8],
        "strides": [2],
        "norm": "instance",
    },
}


@pytest.fixture
def write_checkpoint(tmp_path: Path) -> WriteCheckpoint:
    """Writes a checkpoint of a network with seeded random weights and returns its path."""

    def write(
        name: str = "model.ckpt",
        *,
        network: Mapping[str, Any] = UNET,
        preprocessing: Preprocessing | None = None,
        regions: Any = ("ET", "ED", "NCR", "WT", "TC"),
        seed: int = 0,
        change: Callable[[nn.Module], None] | None = None,
        **more: Any,
    ) -> Path:
        torch.manual_seed(seed)
        built = build_network(network)
        if change:
            change(built)
        plain = asdict(preprocessing or Preprocessing(size=(16, 16, 16)))
        content = {
            "state_dict": {f"network.{key}": value for key, value in built.state_dict().items()},
            "hyper_parameters": {"network": dict(network), "regions": list(regions)},
            "datamodule_hyper_parameters": {"preprocessing": plain},
            "pytorch-lightning_version": "2.6.6",
            **more,
        }
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        return path

    return write
