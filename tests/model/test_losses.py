from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, TverskyLoss
from torch import Tensor, nn

from brats_lightning.errors import ConfigError
from brats_lightning.model.losses import BCEIoU, CrossEntropy, DiceFocal
from brats_lightning.model.outputs import targets


def case(activation: str, scale: float, *, empty: bool = False) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    if activation == "softmax":
        logits, target = torch.randn(2, 4, 5, 6, 7), torch.randint(0, 4, (2, 1, 5, 6, 7))
    else:
        logits, target = torch.randn(2, 3, 5, 6, 7), (torch.rand(2, 3, 5, 6, 7) > 0.7).float()
    return scale * logits, target * (not empty)


def value_and_gradient(loss: nn.Module, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.double().clone().requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        ({}, {"softmax": True, "to_onehot_y": True}),
        ({"include_background": False}, {"softmax": True, "to_onehot_y": True, "include_background": False}),
        ({"activation": "sigmoid"}, {"sigmoid": True}),
        ({"activation": "sigmoid", "batch": True}, {"sigmoid": True, "batch": True}),
        (
            {"gamma": 1.5, "dice": 0.3, "focal": 2.0, "smooth": 1e-2},
            {
                "softmax": True,
                "to_onehot_y": True,
                "gamma": 1.5,
                "lambda_dice": 0.3,
                "lambda_focal": 2.0,
                "smooth_nr": 1e-2,
                "smooth_dr": 1e-2,
            },
        ),
    ],
)
def test_value_and_gradient_are_those_of_monai(
    own: dict[str, Any], theirs: dict[str, Any], scale: float, empty: bool
) -> None:
    logits, target = case(own.get("activation", "softmax"), scale, empty=empty)
    value, gradient = value_and_gradient(DiceFocal(**own), logits, target)
    expected, their_gradient = value_and_gradient(DiceFocalLoss(**theirs), logits, target)
    assert float(value) == pytest.approx(float(expected), rel=1e-6, abs=1e-6)
    assert torch.allclose(gradient, their_gradient, rtol=1e-5, atol=1e-6 * float(their_gradient.abs().max()))


def label_of(*, empty: bool = True) -> Tensor:
    """Two cases of labels, the second one without a tumour if that is wanted."""
    label = torch.randint(0, 4, (2, 1, 5, 6, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    label[1] *= not empty
    return label


CHANNELS: dict[Any, int] = {"labels": 4, "regions": 3, "tumour": 1}
OF_LABELS: dict[str, nn.Module] = {
    "Dice + focal": DiceFocal(),
    "cross-entropy": CrossEntropy(),
    "weighted cross-entropy": CrossEntropy(weight=[0.1, 1, 1, 2]),
    "IoU of MONAI": DiceLoss(softmax=True, to_onehot_y=True, jaccard=True),
    "cross-entropy + IoU of MONAI": DiceCELoss(softmax=True, to_onehot_y=True, jaccard=True),
    "Tversky of MONAI": TverskyLoss(softmax=True, to_onehot_y=True, alpha=0.3, beta=0.7),
}
OF_MASKS: dict[str, nn.Module] = {
    "Dice + focal": DiceFocal("sigmoid"),
    "BCE + IoU": BCEIoU(),
    "IoU of MONAI": DiceLoss(sigmoid=True, jaccard=True),
    "Tversky of MONAI": TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7),
}
EVERY = [("labels", name, loss) for name, loss in OF_LABELS.items()]
EVERY += [(outputs, name, loss) for outputs in ("regions", "tumour") for name, loss in OF_MASKS.items()]
every = pytest.mark.parametrize(("outputs", "loss"), [(outputs, loss) for outputs, _, loss in EVERY], ids=str)


def formula(name: str, logits: Tensor, target: Tensor, *, smooth: float = 1e-5) -> float:
    """The published formula, case by case and channel by channel, in float64."""
    values, given = logits.double().numpy(), target.numpy()
    if given.shape[1] == values.shape[1] != 4:
        shares, inside = 1 / (1 + np.exp(-values)), given.astype(float)
    else:
        shares = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
        inside = np.concatenate([given == channel for channel in range(4)], axis=1).astype(float)

    def overlaps(false_positives: float, false_negatives: float, added: float) -> float:
        found = []
        for share, mask in zip(
            shares.reshape(-1, *shares.shape[2:]), inside.reshape(-1, *shares.shape[2:]), strict=True
        ):
            shared = (share * mask).sum()
            wrong = false_positives * (share * (1 - mask)).sum() + false_negatives * ((1 - share) * mask).sum()
            found.append(1 - (shared + added) / (shared + wrong + added))
        return float(np.mean(found))

    entropy = -np.log((shares * inside).sum(axis=1))
    weight = (inside * np.array([0.1, 1, 1, 2])[: inside.shape[1], None, None, None]).sum(axis=1)
    binary = float(-np.log(np.where(inside > 0, shares, 1 - shares)).mean())
    iou = overlaps(1, 1, smooth / 2)
    return {
        "cross-entropy": float(entropy.mean()),
        "weighted cross-entropy": float((entropy * weight).sum() / weight.sum()),
        "IoU of MONAI": iou,
        "cross-entropy + IoU of MONAI": float(entropy.mean()) + iou,
        "BCE + IoU": binary + iou,
        "Tversky of MONAI": overlaps(0.3, 0.7, smooth),
        "Dice + focal": overlaps(0.5, 0.5, smooth / 2) + focal(values, inside),
    }[name]


def focal(values: npt.NDArray[np.float64], inside: npt.NDArray[np.float64]) -> float:
    right = np.where(inside > 0, 1 / (1 + np.exp(-values)), 1 / (1 + np.exp(values)))
    return float(-((1 - right) ** 2 * np.log(right)).mean())


@pytest.mark.parametrize(("outputs", "name", "loss"), EVERY, ids=lambda value: value if isinstance(value, str) else "")
def test_values_are_those_of_the_published_formula(outputs: Any, name: str, loss: nn.Module) -> None:
    torch.manual_seed(0)
    label, logits = label_of(), torch.randn(2, CHANNELS[outputs], 5, 6, 1)
    target = targets(label, outputs, channels=CHANNELS[outputs])
    with np.errstate(divide="ignore", invalid="ignore"):
        assert float(loss(logits, target)) == pytest.approx(formula(name, logits, target), rel=1e-5)


@every
def test_a_few_steps_lower_each_loss(outputs: Any, loss: nn.Module) -> None:
    torch.manual_seed(0)
    label, network = label_of(empty=False), nn.Conv3d(4, CHANNELS[outputs], 1)
    image = torch.cat([label == value for value in range(4)], dim=1).float()
    target = targets(label, outputs, channels=CHANNELS[outputs])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.2)
    found = []
    for _ in range(30):
        value = loss(network(image), target)
        found.append(float(value.detach()))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert found[-1] < 0.7 * found[0]


@every
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_empty_masks_and_far_logits_stay_finite(outputs: Any, loss: nn.Module, scale: float) -> None:
    label = torch.zeros_like(label_of())
    logits = scale * torch.randn(2, CHANNELS[outputs], 5, 6, 1, generator=torch.Generator().manual_seed(0))
    value, gradient = value_and_gradient(loss, logits, targets(label, outputs, channels=CHANNELS[outputs]))
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("outputs", "loss"), [("labels", DiceFocal()), ("labels", CrossEntropy(weight=[1, 2, 3, 4])), ("tumour", BCEIoU())]
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_own_losses_of_16_bit_logits_are_those_of_32_bits(outputs: Any, loss: nn.Module, dtype: torch.dtype) -> None:
    """More voxels than a 16-bit number can count."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, CHANNELS[outputs], 64, 64, 32, generator=generator).to(dtype)
    label = torch.randint(0, 4, (1, 1, 64, 64, 32), generator=generator, dtype=torch.uint8)
    target = targets(label, outputs, channels=CHANNELS[outputs])
    logits.requires_grad_()
    value = loss(logits, target)
    assert value.dtype == torch.float32
    assert float(value.detach()) == pytest.approx(float(loss(logits.detach().float(), target)))
    value.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("settings", [{}, {"batch": True}, {"smooth": 1e-2}])
def test_bce_and_iou_of_the_tumour_are_those_of_monai(settings: dict[str, Any]) -> None:
    logits = 3 * torch.randn(2, 1, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    mask = (logits + torch.randn_like(logits) > 1).float()
    theirs = {"smooth_nr": settings["smooth"], "smooth_dr": settings["smooth"]} if "smooth" in settings else settings
    own = value_and_gradient(BCEIoU(**settings, bce=0.5, iou=2), logits, mask)
    monai = DiceCELoss(sigmoid=True, jaccard=True, lambda_ce=0.5, lambda_dice=2, **theirs)
    for found, expected in zip(own, value_and_gradient(monai, logits, mask), strict=True):
        assert torch.allclose(found.float(), expected.float(), rtol=1e-5, atol=1e-8)


def test_of_several_masks_each_counts_by_itself() -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 3, 5, 6, 1), (torch.rand(2, 3, 5, 6, 1) > 0.5).float()
    together = BCEIoU()(logits, masks)
    alone = [BCEIoU()(logits[:, at : at + 1], masks[:, at : at + 1]) for at in range(3)]
    assert torch.allclose(together, torch.stack(alone).mean())
    # MONAI's takes the cross-entropy of channels that exclude each other there.
    assert not torch.allclose(together, DiceCELoss(sigmoid=True, jaccard=True)(logits, masks), rtol=0.05)


def test_weights_that_do_not_fit_the_classes_are_refused() -> None:
    for weight in ([0.0, 1.0], [1.0, float("nan")], [1.0, -1.0]):
        with pytest.raises(ConfigError, match=r"CrossEntropy: weight is \[.*\]: expected a number above 0 for each"):
            CrossEntropy(weight=weight)
    with pytest.raises(ConfigError, match="weight has 3 numbers, and the network 4 output channels: give one for each"):
        CrossEntropy(weight=[1, 1, 1])(torch.zeros(1, 4, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2))
    assert not CrossEntropy(weight=[1, 2]).state_dict()


@pytest.mark.slow
def test_they_are_one_graph_which_those_of_monai_are_not() -> None:
    logits, target = case("softmax", 1.0)
    mask = (target > 0).float()
    explain: Any = torch._dynamo.explain
    for own in (DiceFocal(include_background=False), CrossEntropy(weight=[1, 2, 3, 4])):
        assert explain(own)(logits, target).graph_break_count == 0
        torch._dynamo.reset()
    assert explain(BCEIoU())(logits[:, :1], mask).graph_break_count == 0
    torch._dynamo.reset()
    assert explain(DiceFocalLoss(softmax=True, to_onehot_y=True))(logits, target).graph_break_count > 0
    torch._dynamo.reset()
    assert explain(DiceCELoss(sigmoid=True, jaccard=True))(logits[:, :1], mask).graph_break_count > 0
    torch._dynamo.reset()
