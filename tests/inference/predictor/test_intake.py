import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, SwinUNETR, UNet
from torch import nn

from brats_lightning.errors import ConfigError
from brats_lightning.inference.predictor.intake import Intake, Size, in_words, probe_divisor

sizes = st.tuples(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))


def unet(levels: int) -> UNet:
    return UNet(3, 4, 4, (4,) * levels, (2,) * (levels - 1))


def dynunet() -> DynUNet:
    deep = DynUNet(3, 4, 4, (3, 3, 3, 3), (1, 2, 2, 2), (2, 2, 2), filters=(4, 4, 4, 4), deep_supervision=True)
    return deep.train()  # where it gives several outputs


class Positional(nn.Module):
    """Patches of 8³ voxels with one learnt offset each, as a vision transformer of 32³ voxels has."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv3d(4, 4, 8, stride=8)
        self.offsets = nn.Parameter(torch.zeros(1, 4, 4, 4, 4))
        self.back = nn.ConvTranspose3d(4, 4, 8, stride=8)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.back(self.patches(image) + self.offsets)
        return logits


@pytest.mark.parametrize(
    ("network", "divisor"),
    [
        (unet(2), 2),
        (unet(3), 4),
        (unet(5), 16),
        (dynunet(), 8),
        (DynUNet(3, 4, 4, (3, 3, 3), ((1, 1, 1), (1, 2, 2), (2, 2, 2)), ((1, 2, 2), (2, 2, 2)), filters=(4, 4, 4)), 4),
        (SegResNet(3, 8, 4, 4), 8),
        (BasicUNet(3, 4, 4, (4,) * 6), 8),  # pads by itself; below 8 it runs out of voxels
        (UNet(3, 4, 4, (4, 4, 4), (3, 2), up_kernel_size=3), 6),
        (nn.Conv3d(4, 4, 3, padding=1), 1),
        (Positional(), None),
        (nn.Conv3d(4, 4, 3), None),  # gives less than it got
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_the_divisor_is_that_of_the_strides(network: nn.Module, divisor: int | None) -> None:
    assert probe_divisor(network, channels=4) == divisor


def test_the_divisor_of_shifted_windows_is_32() -> None:
    pytest.importorskip("einops", reason="MONAI's SwinUNETR needs einops")
    assert probe_divisor(SwinUNETR(4, 4, feature_size=12), channels=4) == 32


def test_a_network_really_takes_multiples_of_its_divisor() -> None:
    network = unet(3).eval()
    divisor = probe_divisor(network, channels=4)
    assert divisor is not None
    with torch.no_grad():
        for factors in ((1, 2, 3), (5, 1, 2)):
            image = torch.zeros(1, 4, *(factor * divisor for factor in factors))
            assert network(image).shape == image.shape


def test_probing_leaves_the_network_as_it_is() -> None:
    network = dynunet()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    identities = [id(value) for value in network.parameters()]
    probe_divisor(network, channels=4)
    assert all(module.training for module in network.modules())
    assert [id(value) for value in network.parameters()] == identities
    assert all(value.requires_grad for value in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@hypothesis.given(sizes, st.integers(1, 64))
def test_a_volume_is_padded_to_the_next_multiple_and_no_further(volume: Size, divisor: int) -> None:
    size = Intake(None, divisor=divisor).size_for(volume)
    assert size is not None
    assert all(edge % divisor == 0 and 0 <= edge - voxels < divisor for edge, voxels in zip(size, volume, strict=True))


def test_a_network_of_one_size_takes_no_other() -> None:
    intake = Intake((96, 96, 96), divisor=None)
    assert intake.size_for((96, 96, 96)) == (96, 96, 96)
    assert intake.size_for((96, 96, 95)) is None
    assert intake.window() == (96, 96, 96)
    with pytest.raises(ConfigError, match="96 × 96 × 96 voxels alone, --window asks for 64 × 64 × 64"):
        intake.window((64, 64, 64))


def test_a_window_is_the_wish_then_the_training_patch_then_128() -> None:
    assert Intake((96, 96, 64), divisor=16).window((100, 16, 17)) == (112, 16, 32)
    assert Intake((96, 96, 64), divisor=16).window() == (96, 96, 64)
    assert Intake(None, divisor=48).window() == (144, 144, 144)


def test_sizes_are_written_as_people_do() -> None:
    assert in_words(torch.Size([1, 2, 3])) == "1 × 2 × 3"
