import pytest
import torch
from monai.networks.nets import FlexibleUNet

from brats_lightning.errors import ConfigError
from brats_lightning.inference.models.networks import build_network
from brats_lightning.model.resnet_unet import BACKBONES, ResNetUNet


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
@pytest.mark.parametrize(("size", "channels"), [((64, 96), 4), ((32, 32, 32), 2)])
def test_logits_lie_on_the_grid_of_the_image(backbone: str, size: tuple[int, ...], channels: int) -> None:
    with torch.device("meta"):
        network = ResNetUNet(channels, 3, backbone=backbone, spatial_dims=len(size))
    assert network(torch.empty(2, channels, *size, device="meta")).shape == (2, 3, *size)


def test_its_decoder_is_that_of_monai() -> None:
    with torch.device("meta"):
        own, theirs = ResNetUNet(4, 1), FlexibleUNet(4, 1, "resnet34")
    names = [name for name in theirs.state_dict() if not name.startswith("encoder.")]
    assert names == [name for name in own.state_dict() if not name.startswith("encoder.")]
    assert all(own.state_dict()[name].shape == theirs.state_dict()[name].shape for name in names)


def test_it_is_built_from_the_settings_of_a_checkpoint() -> None:
    settings = {
        "class_path": "brats_lightning.model.resnet_unet.ResNetUNet",
        "init_args": {"in_channels": 4, "out_channels": 1, "backbone": "resnet18"},
    }
    assert isinstance(build_network(settings), ResNetUNet)


def test_every_weight_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = ResNetUNet(2, 1, backbone="resnet18", decoder_channels=(8, 8, 8, 8, 8))
    network(torch.randn(2, 2, 64, 64)).square().sum().backward()
    assert all(value.grad is not None and value.grad.any() for value in network.parameters())


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"backbone is 'vgg16': expected one of {', '.join(BACKBONES)}"):
        ResNetUNet(4, 1, backbone="vgg16")
    with pytest.raises(ConfigError, match=r"decoder_channels are \[8, 8\]: expected five"):
        ResNetUNet(4, 1, decoder_channels=(8, 8))
