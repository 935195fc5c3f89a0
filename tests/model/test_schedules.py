import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.cli import LRSchedulerCallable, ReduceLROnPlateau
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, OneCycleLR

from brats_lightning.errors import ConfigError
from brats_lightning.model.schedules import LearningRateScaling, ScheduledModule

ONE_CYCLE = partial(OneCycleLR, max_lr=0.1, total_steps=10)
CYCLIC = partial(CyclicLR, base_lr=0.01, max_lr=0.1, cycle_momentum=False)


def groups(parameters: Any) -> torch.optim.Optimizer:
    """An optimiser whose second group of weights learns at a tenth of the rate."""
    weight, bias = parameters
    both: list[dict[str, Any]] = [{"params": [weight]}, {"params": [bias], "lr": 0.02}]
    return torch.optim.SGD(both, lr=0.2)


def module_of(
    scaling: LearningRateScaling, scheduler: LRSchedulerCallable | None = None, *, processes: int = 4
) -> ScheduledModule:
    module = ScheduledModule(groups, scheduler, scheduler_interval="epoch", learning_rate_scaling=scaling)
    module.layer = nn.Linear(1, 1)
    trainer: Any = SimpleNamespace(world_size=processes)
    module._trainer = trainer
    return module


def rates(configured: Any) -> list[float]:
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    return [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1), ("linear", 4), ("sqrt", 2)])
@pytest.mark.parametrize("scheduler", [None, partial(CosineAnnealingLR, T_max=10)])
def test_every_rate_is_scaled_by_the_number_of_processes(
    scaling: LearningRateScaling, factor: float, scheduler: LRSchedulerCallable | None
) -> None:
    assert rates(module_of(scaling, scheduler).configure_optimizers()) == pytest.approx([0.2 * factor, 0.02 * factor])


@pytest.mark.parametrize("scaling", ["none", "linear", "sqrt"])
def test_one_process_learns_at_the_configured_rate(scaling: LearningRateScaling) -> None:
    assert rates(module_of(scaling, processes=1).configure_optimizers()) == [0.2, 0.02]


def test_a_schedule_falls_from_the_scaled_rate() -> None:
    configured: Any = module_of("linear", partial(CosineAnnealingLR, T_max=10)).configure_optimizers()
    schedule = configured["lr_scheduler"]["scheduler"]
    for epoch in range(1, 10):
        schedule.optimizer.step()
        schedule.step()
        share = (1 + math.cos(math.pi * epoch / 10)) / 2
        assert rates(configured) == pytest.approx([0.8 * share, 0.08 * share])


@pytest.mark.parametrize("scheduler", [ONE_CYCLE, CYCLIC])
def test_a_schedule_that_sets_the_rate_by_itself_is_not_scaled_in_silence(scheduler: LRSchedulerCallable) -> None:
    name = scheduler.func.__name__  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=rf"learning_rate_scaling: {name} sets the learning rate by itself"):
        module_of("linear", scheduler).configure_optimizers()
    for module in (module_of("none", scheduler), module_of("linear", scheduler, processes=1)):
        assert module.configure_optimizers()


def test_a_plateau_within_an_epoch_is_refused() -> None:
    module = module_of("none", partial(ReduceLROnPlateau, monitor="train/loss_step"))
    assert module.configure_optimizers()
    module.scheduler_interval = "step"
    with pytest.raises(ConfigError, match="scheduler_interval is step, and ReduceLROnPlateau needs epoch"):
        module.configure_optimizers()


def test_a_linear_rate_of_n_processes_goes_as_far_as_n_steps_of_one() -> None:
    """Goyal et al.: as long as the gradient hardly changes. Here it does not change at all."""

    def weight_after(module: ScheduledModule, steps: int) -> Tensor:
        optimizer: Any = module.configure_optimizers()
        weight, _ = module.parameters()
        for _ in range(steps):
            weight.grad = torch.ones(1, 1)
            optimizer.step()
        return weight.detach()

    torch.manual_seed(0)
    together = module_of("linear")
    torch.manual_seed(0)
    alone = module_of("linear", processes=1)
    assert torch.allclose(weight_after(together, 1), weight_after(alone, 4))
