import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from brats_lightning.errors import ConfigError
from brats_lightning.labels import IMAGE, LABEL
from brats_lightning.model.compiled import LossOf
from brats_lightning.model.losses import DiceFocal
from brats_lightning.model.module import SegmentationModule

Given = tuple[Tensor, Tensor]


@pytest.fixture
def given() -> Given:
    torch.manual_seed(0)
    return torch.randn(2, 4, 8, 8, 8), torch.randint(0, 4, (2, 1, 8, 8, 8), dtype=torch.uint8)


@pytest.fixture
def without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Compiled functions fail when they are called, as they do where no compiler is found."""
    calls: list[int] = []

    def compile_(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        def broken(*_: Any) -> Any:
            calls.append(1)
            raise RuntimeError("\nno working C++ compiler found\nmore lines")

        return broken

    monkeypatch.setattr(torch, "compile", compile_)
    return calls


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(4, 6, 3, padding=1), nn.InstanceNorm3d(6), nn.ReLU(), nn.Conv3d(6, 4, 1))


def test_without_a_compiler_training_goes_on_and_says_why_once(
    given: Given, without_a_compiler: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    eager = LossOf(network(), DiceFocal(), outputs="labels", compiled=False)
    loss_of = LossOf(network(), DiceFocal(), outputs="labels", compiled=True)
    assert [loss_of(*given).value.item() for _ in range(3)] == [eager(*given).value.item()] * 3
    assert len(without_a_compiler) == 1
    assert caplog.messages == ["training without torch.compile, more slowly: no working C++ compiler found"]


def test_faults_of_settings_are_not_put_down_to_the_compiler(
    given: Given, without_a_compiler: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ConfigError, match=r"into logits of \[4, 4, 4\]"):
        LossOf(nn.Conv3d(4, 4, 2, 2), DiceFocal(), outputs="labels", compiled=True)(*given)
    with pytest.raises(ConfigError, match=r"outputs: regions needs .*found 2"):
        LossOf(nn.Conv3d(4, 2, 1), DiceFocal("sigmoid"), outputs="regions", compiled=True)(*given)
    assert not caplog.messages


def test_auto_leaves_a_cpu_alone(given: Given, without_a_compiler: list[int]) -> None:
    LossOf(network(), DiceFocal(), outputs="labels")(*given)
    assert not without_a_compiler


def test_images_of_ever_new_shapes_are_not_compiled_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    loss_of = LossOf(network(), DiceFocal(), outputs="labels", compiled=True)
    for size in range(4, 11):
        image = torch.randn(1, 4, size, size, size)
        assert loss_of(image, torch.zeros(1, 1, size, size, size).byte()).value.isfinite()
    assert caplog.messages == ["training without torch.compile, more slowly: images have more than 4 shapes"]


@pytest.mark.parametrize("outputs", ["labels", "regions"])
@pytest.mark.slow
def test_network_and_loss_are_one_graph(given: Given, outputs: Any) -> None:
    chosen, last = (DiceFocal(), 4) if outputs == "labels" else (DiceFocal("sigmoid"), 3)
    loss_of = LossOf(nn.Sequential(network(), nn.Conv3d(4, last, 1)), chosen, outputs=outputs)
    explain: Any = torch._dynamo.explain
    found = explain(loss_of._eager)(*given)
    torch._dynamo.reset()
    assert (found.graph_count, found.graph_break_count) == (1, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_step_is_the_eager_step(given: Given) -> None:
    found = []
    for compiled in (False, True):
        built = network()
        loss = LossOf(built, DiceFocal(include_background=False), outputs="labels", compiled=compiled)(*given)
        loss.value.backward()
        found.append([loss.value.detach(), *(value.grad for value in built.parameters())])
    for eager, fused in zip(*found, strict=True):
        assert torch.allclose(eager, fused, atol=1e-5)


def test_names_in_checkpoints_are_plain_and_training_equal(
    monkeypatch: pytest.MonkeyPatch, cases_of: Any, trainer_of: Any
) -> None:
    original, weights = torch.compile, []

    def compile_(function: Callable[..., Any], **_: Any) -> Any:
        return original(function, backend="eager", dynamic=False)

    monkeypatch.setattr(torch, "compile", compile_)
    for compiled in (True, False):
        module = SegmentationModule(network(), DiceFocal(), compile=compiled)
        trainer_of(max_epochs=2).fit(module, cases_of(), cases_of())
        assert (module._loss_of._compiled is not None) is compiled
        weights.append({name: value.clone() for name, value in module.state_dict().items()})
    torch._dynamo.reset()
    assert set(weights[0]) == {f"network.{name}" for name in network().state_dict()}
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_on_a_gpu_waits_for_nothing(cases_of: Any) -> None:
    built = network().cuda()
    (batch,) = cases_of(2)
    image, label = batch[IMAGE].cuda(), batch[LABEL].cuda()
    loss_of = LossOf(built, DiceFocal(), outputs="labels", compiled=False)
    loss_of(image, label).value.backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss_of(image, label).value.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
