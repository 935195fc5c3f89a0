from typing import Any

import pytest
import torch
from monai.losses import DiceFocalLoss
from torch import Tensor, nn

from brats_lightning.model.losses import DiceFocal


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


def test_far_logits_and_half_precision_stay_finite() -> None:
    logits, target = case("softmax", 1e3)
    for given in (logits, logits.half(), logits.bfloat16()):
        value, gradient = value_and_gradient(DiceFocal(), given.float(), target)
        assert value.isfinite()
        assert gradient.isfinite().all()
    assert DiceFocal()(logits.bfloat16(), target).dtype == torch.float32


@pytest.mark.slow
def test_it_is_one_graph_which_that_of_monai_is_not() -> None:
    logits, target = case("softmax", 1.0)
    explain: Any = torch._dynamo.explain
    assert explain(DiceFocal(include_background=False))(logits, target).graph_break_count == 0
    torch._dynamo.reset()
    assert explain(DiceFocalLoss(softmax=True, to_onehot_y=True))(logits, target).graph_break_count > 0
    torch._dynamo.reset()
