import gc
import logging
import weakref

import pytest
import torch
from torch import Tensor

from brats_lightning.errors import ConfigError
from brats_lightning.inference.predictor.memory import Room, is_out_of_memory, unless_out_of_memory

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def more_than_any_machine_has() -> Tensor:
    return torch.empty(1 << 50)


def test_the_cpu_allocators_complaint_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        more_than_any_machine_has()
    assert not isinstance(caught.value, torch.OutOfMemoryError)
    assert is_out_of_memory(caught.value)
    assert unless_out_of_memory(more_than_any_machine_has) is None


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        MemoryError(),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("Failed to allocate memory for requested buffer of size 1073741824"),
    ],
)
def test_memory_runs_out_in_many_words(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_other_errors_pass() -> None:
    def broken() -> Tensor:
        raise ValueError("sizes of tensors must match")

    with pytest.raises(ValueError, match="sizes of tensors"):
        unless_out_of_memory(broken)


def test_what_was_taken_before_memory_ran_out_is_given_back() -> None:
    taken: list[weakref.ref[Tensor]] = []

    def compute() -> Tensor:
        held = torch.zeros(3)
        taken.append(weakref.ref(held))
        raise torch.OutOfMemoryError

    gc.disable()
    try:
        assert unless_out_of_memory(compute) is None
        assert taken[0]() is None
    finally:
        gc.enable()


def test_a_gpu_gives_up_windows_then_the_sums_then_itself(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(device=GPU, batch=4, sums=GPU)
    steps = []
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            room.with_less((128, 128, 128))
            steps.append((room.batch, room.sums))
    assert steps == [(2, GPU), (1, GPU), (1, CPU)]
    assert len(caplog.records) == 3
    with pytest.raises(ConfigError, match=r"128 × 128 × 128 voxels does not fit .* cuda: choose a smaller --window"):
        room.with_less((128, 128, 128))
