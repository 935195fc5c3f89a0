from typing import Any

import numpy as np
import pytest
import torch

from brats_lightning.model.epoch_loss import EpochLoss

LOSSES, SAMPLES = [0.25, 1.5, 3.0, 0.125], [2, 2, 2, 1]


def added(loss: EpochLoss, first: int, last: int) -> EpochLoss:
    for value, samples in zip(LOSSES[first:last], SAMPLES[first:last], strict=True):
        loss.add(torch.tensor(value, requires_grad=True), samples)
    return loss


def test_the_mean_is_over_samples_and_not_over_batches() -> None:
    mean = added(EpochLoss(), 0, 4).mean()
    assert mean == pytest.approx(np.average(LOSSES, weights=SAMPLES), rel=1e-15)
    assert mean != pytest.approx(np.mean(LOSSES))


def test_small_losses_are_not_lost_beside_many_large_ones() -> None:
    loss = EpochLoss()
    loss.add(torch.tensor(1e8), 1)
    for _ in range(1000):
        loss.add(torch.tensor(1.0), 1)
    assert loss.mean() == (1e8 + 1000) / 1001


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 4])
def test_a_stop_changes_no_bit(stop: int) -> None:
    state = added(EpochLoss(), 0, stop).state()
    later = EpochLoss()
    later.go_on(state, first_process=True)
    assert added(later, stop, 4).state() == added(EpochLoss(), 0, 4).state()


def test_an_epoch_begins_with_nothing() -> None:
    loss = added(EpochLoss(), 0, 4)
    loss.reset()
    assert loss.mean() == 0
    assert added(loss, 1, 2).mean() == LOSSES[1]


def test_only_one_process_carries_what_was_there_and_nothing_may_have_been_there() -> None:
    for state, first_process in (([5.0, 2.0], False), (None, True), (None, False)):
        loss = added(EpochLoss(), 0, 2)
        loss.go_on(state, first_process=first_process)
        assert loss.state() == [0, 0]


@pytest.mark.slow
def test_two_processes_have_the_mean_of_all_their_samples(two_processes: list[dict[str, Any]]) -> None:
    """Losses 1 and 2 of two samples each on one, 4 of one sample on the other."""
    for found in two_processes:
        assert found["losses"] == {"mean": 10 / 5, "state": [10, 5], "over_a_stop": 10 / 5}
