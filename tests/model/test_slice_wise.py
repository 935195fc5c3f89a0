import pytest
import torch
from monai.networks.nets import AttentionUnet, BasicUNet
from torch import nn

from brats_lightning.errors import ConfigError
from brats_lightning.inference.predictor.intake import probe_divisor
from brats_lightning.labels import Plane
from brats_lightning.model.slice_wise import SliceWise


def small_unet() -> nn.Module:
    """Halves four times."""
    torch.manual_seed(0)
    network: nn.Module = BasicUNet(2, in_channels=2, out_channels=3, features=(4,) * 6, norm="batch").eval()
    return network


@torch.no_grad()
@pytest.mark.parametrize(("plane", "axis"), [("sagittal", 2), ("coronal", 3), ("axial", 4)])
def test_each_slice_is_seen_by_itself(plane: Plane, axis: int) -> None:
    network = small_unet()
    image = torch.randn(2, 2, 16, 32, 16)
    found = SliceWise(network, planes=(plane,), at_once=3)(image)
    assert found.shape == (2, 3, 16, 32, 16)
    for index in (0, 7, image.shape[axis] - 1):
        alone = network(image.select(axis, index))
        torch.testing.assert_close(found.select(axis, index), alone)


@torch.no_grad()
def test_planes_are_averaged() -> None:
    network = small_unet()
    image = torch.randn(1, 2, 16, 16, 16)
    planes: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
    found = [SliceWise(network, planes=(plane,))(image) for plane in planes]
    torch.testing.assert_close(SliceWise(network, planes=planes)(image), sum(found) / 3)


@torch.no_grad()
@torch.no_grad()
@pytest.mark.parametrize("planes", [("axial",), ("sagittal", "coronal")])
@pytest.mark.parametrize("axis", [2, 3, 4])
def test_a_slice_alone_is_taken_as_it_is_in_whatever_plane_it_was_cut(axis: int, planes: tuple[Plane, ...]) -> None:
    network = small_unet()
    image = torch.randn(3, 2, 32, 16)
    found = SliceWise(network, planes=planes)(image.unsqueeze(axis))
    torch.testing.assert_close(found.squeeze(axis), network(image))


@torch.no_grad()
@pytest.mark.parametrize("size", [(20, 33, 5), (16, 16, 1), (7, 50, 3)])
def test_slices_of_any_size_are_padded_and_cropped_again(size: tuple[int, int, int]) -> None:
    network = small_unet()
    image = torch.randn(1, 2, *size)
    found = SliceWise(network, multiple=16)(image)
    assert found.shape == (1, 3, *size)
    padded = torch.zeros(1, 2, -(-size[0] // 16) * 16, -(-size[1] // 16) * 16, size[2])
    padded[..., : size[0], : size[1], :] = image
    torch.testing.assert_close(found, SliceWise(network)(padded)[..., : size[0], : size[1], :])


def test_gradients_reach_the_network_and_heads_are_kept() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(2, 3, 1)

        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            logits = self.convolution(image)
            return [logits, logits[..., ::2, ::2]]

    network = Heads()
    first, second = SliceWise(network)(torch.randn(2, 2, 8, 8, 1))
    assert first.shape == (2, 3, 8, 8, 1)
    assert second.shape == (2, 3, 4, 4, 1)
    (first.sum() + second.sum()).backward()
    assert network.convolution.weight.grad is not None
    with pytest.raises(ConfigError, match="needs not pad"):
        SliceWise(network, multiple=16)(torch.randn(2, 2, 8, 8, 1))


@pytest.mark.parametrize("multiple", [1, 16])
def test_what_it_takes_is_found_by_shapes(multiple: int) -> None:
    network = AttentionUnet(2, 1, 1, channels=(4, 4, 4, 4, 4), strides=(2, 2, 2, 2))
    expected = 1 if multiple == 16 else 16
    assert probe_divisor(SliceWise(network, multiple=multiple), channels=1) == expected


@pytest.mark.parametrize("settings", [{"planes": ()}, {"planes": ("up",)}, {"multiple": 0}, {"at_once": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="SliceWise"):
        SliceWise(nn.Identity(), **settings)  # type: ignore[arg-type]
