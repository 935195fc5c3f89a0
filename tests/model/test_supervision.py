import itertools
from typing import Any

import pytest
import torch
from monai.losses import DiceFocalLoss
from monai.networks.nets import DynUNet, SegResNetDS
from torch import Tensor, nn
from torch.nn import functional

from brats_lightning.inference.predictor.intake import probe_divisor
from brats_lightning.model.losses import DiceFocal
from brats_lightning.model.module import SegmentationModule
from brats_lightning.model.supervision import heads_of, supervised, weights_of


def dynunet(**settings: Any) -> nn.Module:
    plan: dict[str, Any] = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
    network: nn.Module = DynUNet(3, 4, 3, **plan, filters=[4, 4, 4], deep_supervision=True, deep_supr_num=1, **settings)
    return network


def segresnet() -> nn.Module:
    network: nn.Module = SegResNetDS(3, 8, 4, 3, norm="instance", blocks_down=(1, 1, 1), dsdepth=2)
    return network


def test_weights_halve_and_sum_to_one() -> None:
    for heads in (1, 2, 5):
        weights = weights_of(heads)
        assert sum(weights) == pytest.approx(1)
        assert all(second == pytest.approx(first / 2) for first, second in itertools.pairwise(weights))


@pytest.mark.parametrize(("make", "sizes"), [(dynunet, [8, 8]), (segresnet, [8, 4])])
def test_heads_of_networks_while_they_train_and_after(make: Any, sizes: list[int]) -> None:
    network, image = make(), torch.randn(2, 4, 8, 8, 8)
    heads = heads_of(network(image))
    assert [tuple(head.shape) for head in heads] == [(2, 3, *[size] * 3) for size in sizes]
    plain = network.eval()(image)
    assert heads_of(plain)[0] is plain


def test_one_head_is_the_loss_itself() -> None:
    logits, label = torch.randn(2, 4, 4, 4, 4), torch.randint(0, 4, (2, 1, 4, 4, 4)).byte()
    assert torch.equal(supervised(DiceFocal(), [logits], label, "labels"), DiceFocal()(logits, label))


@pytest.mark.parametrize("outputs", ["labels", "regions"])
def test_smaller_heads_are_compared_with_the_nearest_voxels(outputs: Any) -> None:
    torch.manual_seed(0)
    label = torch.randint(0, 4, (2, 1, 8, 8, 8), dtype=torch.uint8)
    heads = [torch.randn(2, 4 if outputs == "labels" else 3, size, size, size) for size in (8, 4)]
    small = functional.interpolate(label, size=4, mode="nearest-exact")
    loss: Any = DiceFocalLoss(softmax=True, to_onehot_y=True) if outputs == "labels" else DiceFocalLoss(sigmoid=True)

    def target(values: Tensor) -> Tensor:
        if outputs == "labels":
            return values.long()
        return torch.cat([torch.isin(values, torch.tensor(inside)) for inside in ([1, 2, 3], [1, 3], [3])], 1).float()

    expected = (2 * loss(heads[0], target(label)) + loss(heads[1], target(small))) / 3
    assert torch.allclose(supervised(loss, heads, label, outputs), expected)


@pytest.mark.parametrize("make", [dynunet, segresnet])
def test_every_head_learns_and_scoring_sees_the_first_alone(make: Any, cases_of: Any, trainer_of: Any) -> None:
    torch.manual_seed(0)
    module = SegmentationModule(make(), DiceFocal("sigmoid"), outputs="regions")
    before = {name: value.clone() for name, value in module.named_parameters()}
    trainer = trainer_of()
    trainer.fit(module, cases_of(), cases_of(2))
    still = [name for name, value in module.named_parameters() if torch.equal(value, before[name])]
    assert not still
    assert trainer.callback_metrics["val/loss"].isfinite()
    (logged,) = trainer.validate(module, cases_of(2), verbose=False)
    assert 0 <= logged["val/dice_WT"] <= 1


@pytest.mark.parametrize("make", [dynunet, segresnet])
def test_what_a_network_takes_is_found_after_training_too(make: Any) -> None:
    network = make()
    fresh = probe_divisor(network, channels=4)
    sum(head.sum() for head in heads_of(network(torch.randn(2, 4, 8, 8, 8)))).backward()  # type: ignore[union-attr]
    assert probe_divisor(network, channels=4) == fresh is not None
    assert network.training
