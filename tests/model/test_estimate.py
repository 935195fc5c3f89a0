from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.networks.nets import DynUNet, SegResNet, UNet
from torch import nn

from brats_lightning.model.estimate import activations, memory_in_words, spent_in_words


def kept_in_truth(network: nn.Module, image: torch.Tensor) -> int:
    kept = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        kept[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        network(image)
    own = {value.untyped_storage().data_ptr() for value in network.parameters()}
    return sum(value.untyped_storage().nbytes() for key, value in kept.items() if key not in own)


@pytest.mark.parametrize(
    "network",
    [
        UNet(3, 4, 4, channels=(8, 16, 16), strides=(2, 2), num_res_units=2, norm="instance", dropout=0.1),
        SegResNet(3, 8, 4, 4),
        DynUNet(3, 4, 4, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8], deep_supervision=True),
    ],
)
def test_what_a_forward_pass_keeps_is_found_without_computing(network: nn.Module) -> None:
    image = torch.randn(2, 4, 16, 16, 16)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    found = activations(network, image.shape)
    assert torch.equal(torch.get_rng_state(), state)
    assert found == pytest.approx(kept_in_truth(network, image), rel=0.15)
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items() if "running" not in name)
    assert all(value.device.type == "cpu" for value in network.parameters())


def test_networks_whose_shapes_depend_on_values_are_not_guessed() -> None:
    class Looking(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image if image.sum() > 0 else -image

    assert activations(Looking(), (1, 4, 8, 8, 8)) is None


def test_words_count_weights_their_gradients_and_moments() -> None:
    network = nn.Conv3d(1, 1000, 10, bias=False)  # a million weights
    module: Any = SimpleNamespace(
        network=network, trainer=SimpleNamespace(precision="32-true"), device=torch.device("cpu")
    )
    adam, sgd = torch.optim.Adam(network.parameters()), torch.optim.SGD(network.parameters())
    image = torch.zeros(1, 1, 10, 10, 10)
    said = memory_in_words(module, image, optimizers=[adam])
    assert said == "training 1 million weights on batches of 1×1×10×10×10: about 0.016 GB of memory"
    assert "0.012 GB" in memory_in_words(module, image, optimizers=[sgd])


@pytest.mark.parametrize(
    ("seconds", "steps", "epochs", "said"),
    [
        (0.5, 100, 10, "an epoch of 100 steps takes about 50 s, 10 epochs 8 min, without validation"),
        (0.01, 100, 1, "an epoch of 100 steps takes about 1 s"),
        (9.0, 1000, 100, "an epoch of 1000 steps takes about 2.5 h, 100 epochs 250.0 h, without validation"),
        (0.25, float("inf"), 100, "a step takes 0.25 s"),
    ],
)
def test_time_is_told_as_people_do(seconds: float, steps: float, epochs: int, said: str) -> None:
    trainer: Any = SimpleNamespace(num_training_batches=steps, max_epochs=epochs, current_epoch=0)
    assert spent_in_words(seconds, trainer) == said
