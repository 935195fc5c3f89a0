import pytest
import torch
from torch import nn

from brats_lightning.model.weights import channels_last_, plain_order


@pytest.mark.parametrize(
    ("convolution", "transposed", "order"),
    [
        (nn.Conv3d, nn.ConvTranspose3d, torch.channels_last_3d),
        (nn.Conv2d, nn.ConvTranspose2d, torch.channels_last),
    ],
)
def test_channels_of_convolutions_of_volumes_and_of_slices_stand_next_to_each_other(
    convolution: type[nn.Module], transposed: type[nn.Module], order: torch.memory_format
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(convolution(3, 4, 3), nn.ReLU(), transposed(4, 5, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    channels_last_(network)
    state = network.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in state.items())
    assert all(state[name].is_contiguous(memory_format=order) for name in ("0.weight", "2.weight"))
    assert not state["0.weight"].is_contiguous()
    assert all(value.is_contiguous() for value in plain_order(state).values())
