import pytest
import torch

from brats_lightning.experiment.resources import in_words


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            "GPU ran out: a smaller data.batch",
        ),
        (RuntimeError("CUDA error: out of memory"), "GPU ran out"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] can't allocate memory: you tried"), "this machine ran out"),
        (MemoryError(), "this machine ran out: fewer data.workers"),
        (
            caused(RuntimeError("applying transform <X>"), MemoryError("Unable to allocate 4 GiB")),
            "this machine ran out",
        ),
        (RuntimeError("Caught MemoryError in DataLoader worker process 0.\nUnable to allocate 4 GiB"), "this machine"),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "a process that loads data was killed",
        ),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "fewer data.workers"),
    ],
)
def test_a_machine_that_is_too_small_is_told_with_the_settings_to_change(error: Exception, said: str) -> None:
    sentence = in_words(error)
    assert sentence is not None
    assert said in sentence
    assert "data." in sentence


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Caught ValueError in DataLoader worker process 0.\nthe process was killed by its author"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        caused(RuntimeError("applying transform <X>"), ValueError("no brain")),
    ],
)
def test_other_errors_keep_their_tracebacks(error: Exception) -> None:
    assert in_words(error) is None
