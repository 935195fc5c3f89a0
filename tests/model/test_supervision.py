import itertools
from copy import deepcopy
from typing import Any

import pytest
import torch
from monai.losses import DiceFocalLoss
from monai.networks.nets import DynUNet, SegResNetDS, SegResNetVAE
from torch import Tensor, nn
from torch.nn import functional

from brats_lightning.errors import ConfigError
from brats_lightning.inference.predictor.intake import probe_divisor
from brats_lightning.model.compiled import LossOf
from brats_lightning.model.losses import DiceFocal
from brats_lightning.model.module import SegmentationModule
from brats_lightning.model.supervision import heads_of, logits_alone, own_losses_of, supervised, weights_of


def dynunet(**settings: Any) -> nn.Module:
    plan: dict[str, Any] = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
    network: nn.Module = DynUNet(3, 4, 3, **plan, filters=[4, 4, 4], deep_supervision=True, deep_supr_num=1, **settings)
    return network


def segresnet() -> nn.Module:
    network: nn.Module = SegResNetDS(3, 8, 4, 3, norm="instance", blocks_down=(1, 1, 1), dsdepth=2)
    return network


def autoencoder() -> nn.Module:
    torch.manual_seed(0)
    plan: dict[str, Any] = {"blocks_down": (1, 1), "blocks_up": (1,), "vae_nz": 4, "vae_estimate_std": True}
    network: nn.Module = SegResNetVAE([8, 8, 8], in_channels=4, out_channels=4, **plan)
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


def test_a_loss_of_the_networks_own_is_told_from_its_heads() -> None:
    network, image = autoencoder(), torch.randn(2, 4, 8, 8, 8)
    given = network(image)
    assert [head.shape for head in heads_of(given)] == [(2, 4, 8, 8, 8)]
    assert [own.shape for own in own_losses_of(given)] == [()]
    given = network.eval()(image)
    assert given[1] is None
    assert [head.shape for head in heads_of(given)] == [(2, 4, 8, 8, 8)]
    assert own_losses_of(given) == own_losses_of(given[0]) == own_losses_of([given[0], given[0]]) == []


@pytest.mark.parametrize("weight", [0.0, 0.1, 2.0])
def test_it_is_added_by_its_weight(weight: float) -> None:
    network, image = autoencoder(), torch.randn(2, 4, 8, 8, 8)
    label = torch.randint(0, 4, (2, 1, 8, 8, 8), dtype=torch.uint8)
    torch.manual_seed(3)
    logits, own = network(image)
    torch.manual_seed(3)
    found = LossOf(network, DiceFocal(), outputs="labels", auxiliary_weight=weight)(image, label)
    assert torch.allclose(found.value, DiceFocal()(logits, label) + weight * own)
    assert float(own.detach()) > 0.1
    assert found.channels == 4


def test_what_is_logged_is_the_sum_and_scoring_sees_the_logits_alone(cases_of: Any, trainer_of: Any) -> None:
    (batch,), logged = cases_of(2), []
    logits, own = autoencoder()(batch["image"])
    for weight in (0.0, 1.0):
        module = SegmentationModule(autoencoder(), DiceFocal(), auxiliary_weight=weight)
        trainer = trainer_of()
        trainer.fit(module, cases_of(2), cases_of(2))
        logged.append(float(trainer.callback_metrics["train/loss_step"]))
        assert trainer.callback_metrics["train/loss_epoch"] == trainer.callback_metrics["train/loss_step"]
        assert trainer.callback_metrics["val/loss"].isfinite()
        assert module.eval()(batch["image"]).shape == logits.shape
    assert logged[0] == pytest.approx(float(DiceFocal()(logits, batch["label"]).detach()), rel=1e-5)
    assert logged[1] - logged[0] == pytest.approx(float(own.detach()), rel=0.05)  # which draws random numbers


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_that_cannot_be_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match=rf"model\.auxiliary_weight is {weight}: expected a number from 0 on"):
        SegmentationModule(autoencoder(), DiceFocal(), auxiliary_weight=weight)


def test_a_hook_leaves_the_logits_alone_where_nothing_trains() -> None:
    network, image = autoencoder(), torch.randn(2, 4, 8, 8, 8)
    network.register_forward_hook(logits_alone)
    assert len(network(image)) == 2
    plain = network.eval()(image)
    assert torch.equal(plain, deepcopy(network)(image))
    network._forward_hooks.clear()
    assert torch.equal(plain, network(image)[0])


@pytest.mark.slow
def test_a_network_with_a_loss_of_its_own_is_one_graph() -> None:
    loss_of = LossOf(autoencoder(), DiceFocal(), outputs="labels")
    explain: Any = torch._dynamo.explain
    found = explain(loss_of._eager)(torch.randn(2, 4, 8, 8, 8), torch.zeros(2, 1, 8, 8, 8, dtype=torch.uint8))
    torch._dynamo.reset()
    assert (found.graph_count, found.graph_break_count) == (1, 0)
