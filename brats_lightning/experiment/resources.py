"""What training says when the machine is too small for it, with the settings that make it smaller."""

from collections.abc import Iterator

import torch

from brats_lightning.inference.predictor.memory import is_out_of_memory
from brats_lightning.parallel import lost_a_worker

_LESS = "a smaller data.batch_size (trainer.accumulate_grad_batches makes up for it), smaller data.patches"


def in_words(error: Exception) -> str | None:
    """What to do about memory that ran out or a loading process that was killed; None where neither is the case.

    Args:
        error: Of PyTorch, NumPy or a transform around them, which know of no settings.
    """
    chain = list(_chain(error))
    if any(lost_a_worker(each) for each in chain):
        return (
            "a process that loads data was killed, often for want of memory, sometimes for want of shared memory "
            "(/dev/shm): fewer data.workers, or data.workers 0"
        )
    full = next((each for each in chain if is_out_of_memory(each) or "Unable to allocate" in str(each)), None)
    if full is None:
        return None
    if isinstance(full, torch.OutOfMemoryError) or "cuda" in str(full).lower():
        return f"the memory of the GPU ran out: {_LESS}, trainer.precision bf16-mixed, or data.feed host"
    return f"the memory of this machine ran out: fewer data.workers, {_LESS}, or data.cache disk"


def _chain(error: BaseException | None) -> Iterator[Exception]:
    while isinstance(error, Exception):
        yield error
        error = error.__cause__ or error.__context__
