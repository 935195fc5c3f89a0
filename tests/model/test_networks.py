"""Networks of published systems, by class path alone, take a step and are scored."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.networks.nets import AttentionUnet, SegResNetVAE, VNet
from torch import nn
from torch.utils.data import DataLoader

from brats_lightning.labels import IMAGE, LABEL
from brats_lightning.model.losses import BCEIoU, DiceFocal
from brats_lightning.model.module import SegmentationModule
from brats_lightning.model.resnet_unet import ResNetUNet
from brats_lightning.model.slice_wise import SliceWise


def attention(dimensions: int) -> nn.Module:
    network: nn.Module = AttentionUnet(dimensions, 4, 4, channels=(4, 8, 8), strides=(2, 2), dropout=0.1)
    return network


def vnet() -> nn.Module:
    network: nn.Module = VNet(3, 4, 4)
    return network


def autoencoder() -> nn.Module:
    plan: dict[str, Any] = {"blocks_down": (1, 1), "blocks_up": (1,), "vae_nz": 4, "vae_estimate_std": True}
    network: nn.Module = SegResNetVAE([8, 8, 8], in_channels=4, out_channels=4, **plan)
    return network


def resnet() -> nn.Module:
    return SliceWise(
        ResNetUNet(4, 1, backbone="resnet18", decoder_channels=(8, 8, 8, 8, 8)), planes=("axial",), multiple=32
    )


@pytest.mark.parametrize(
    ("make", "size", "settings"),
    [
        (lambda: attention(3), (8, 8, 8), {}),
        (lambda: SliceWise(attention(2), planes=("axial",), multiple=4), (10, 12, 1), {}),
        (autoencoder, (8, 8, 8), {}),
        (vnet, (16, 16, 16), {}),
        (resnet, (40, 36, 1), {"loss": BCEIoU(), "outputs": "tumour", "regions": ["WT"]}),
    ],
    ids=["attention 3-D", "attention 2-D", "SegResNet with an autoencoder", "V-Net", "ResNet of the tumour"],
)
def test_a_step_changes_every_weight_and_scores_are_numbers(
    make: Callable[[], nn.Module],
    size: tuple[int, int, int],
    settings: dict[str, Any],
    cases_of: Any,
    trainer_of: Any,
) -> None:
    torch.manual_seed(0)
    (batch,) = cases_of(2, size=max(size))
    x, y, z = size
    cut = {**batch, IMAGE: batch[IMAGE][:, :, :x, :y, :z], LABEL: batch[LABEL][:, :, :x, :y, :z]}
    module = SegmentationModule(**{"network": make(), "loss": DiceFocal(), **settings})
    before = {name: value.clone() for name, value in module.named_parameters()}
    loader: DataLoader[Any] = DataLoader([cut], batch_size=None)  # type: ignore[arg-type]
    trainer = trainer_of()
    trainer.fit(module, loader, loader)
    assert not [name for name, value in module.named_parameters() if torch.equal(value, before[name])]
    assert trainer.callback_metrics["val/loss"].isfinite()
    assert 0 <= trainer.callback_metrics["val/dice_WT"] <= 1
    assert module.eval()(cut[IMAGE]).shape[2:] == size
