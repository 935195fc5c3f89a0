from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pytorch_lightning.plugins.precision import Precision

from brats_lightning.model.replicas import Replicas


@pytest.mark.parametrize("chosen", [{}, {"static_graph": True}, {"find_unused_parameters": True}])
def test_what_is_chosen_reaches_the_wrapper_and_gradients_have_one_copy(chosen: dict[str, bool]) -> None:
    defaults = {"static_graph": False, "find_unused_parameters": False}
    assert Replicas(**chosen)._ddp_kwargs == defaults | chosen | {"gradient_as_bucket_view": True}


def test_no_process_waits_for_ever() -> None:
    patience = Replicas()._timeout
    assert patience is not None
    assert timedelta() < patience < timedelta(hours=1)


def test_validation_does_not_go_through_the_wrapper_that_makes_processes_wait() -> None:
    strategy = Replicas()
    module: Any = SimpleNamespace(validation_step=lambda *batch: ("scored", *batch))
    strategy._lightning_module = module
    strategy.precision_plugin = Precision()
    strategy.model = None  # what Lightning calls instead
    assert strategy.validation_step("batch", 3) == ("scored", "batch", 3)


@pytest.mark.slow
def test_buffers_become_those_of_the_first_process(two_processes: list[dict[str, Any]]) -> None:
    for found in two_processes:
        assert found["buffers"] == [[1.0, 1.0], 5]
