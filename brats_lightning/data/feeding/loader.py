"""`ResidentLoader`: training batches from resident cases, in this process."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

import torch

from brats_lightning.data.dataset import Batch, Draw, ShuffledDraws
from brats_lightning.data.feeding.patches import Patches
from brats_lightning.data.feeding.prefetch import prefetched
from brats_lightning.data.feeding.resident import ResidentCase, stack
from brats_lightning.labels import IMAGE


class ResidentLoader:
    """Batches as `DataLoader` would make them, for the trainer.

    Cases on the GPU are cut there. Cases in main memory are cut by a thread into pinned memory and copied, as 16-bit
    images, on a stream of their own while the GPU computes; where training runs on the CPU too, they are cut when the
    batch is asked for.

    Args:
        cases: All training cases, on one device.
        sampler: Lightning tells it the epoch before it begins.
        batch_size: Samples a batch; the last of an epoch may have fewer.
        device: Where training runs.
        patches: What to cut out of each case; null takes whole cases.
    """

    def __init__(
        self,
        cases: Sequence[ResidentCase],
        *,
        sampler: ShuffledDraws,
        batch_size: int,
        device: torch.device,
        patches: Patches | None = None,
    ) -> None:
        self.cases = cases
        self.sampler = sampler
        self.batch_size = batch_size
        self.device = device
        self.patches = patches

    def __len__(self) -> int:
        return math.ceil(len(self.sampler) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Lightning asks for iterators that it never uses: nothing is drawn before the first batch."""
        draws = iter(self.sampler)
        groups = iter(lambda: list(islice(draws, self.batch_size)), [])
        if self.device.type == "cuda" and self.cases[0].image.device.type == "cpu":
            yield from self._copied(groups)
        else:
            yield from (stack(self.cases, group, patches=self.patches) for group in groups)

    def _copied(self, groups: Iterator[list[Draw]]) -> Iterator[Batch]:
        stream = torch.cuda.Stream(self.device)
        for batch, copied in prefetched(partial(self._copy, stream=stream), groups):
            current = torch.cuda.current_stream(self.device)
            current.wait_event(copied)
            for value in batch.values():
                if isinstance(value, torch.Tensor):
                    value.record_stream(current)  # or its memory would be given away while the step still reads it
            yield batch

    def _copy(self, group: list[Draw], *, stream: torch.cuda.Stream) -> tuple[Batch, torch.cuda.Event]:
        batch = stack(self.cases, group, patches=self.patches, pin=True)
        with torch.cuda.stream(stream):
            for key, value in batch.items():
                if isinstance(value, torch.Tensor):
                    batch[key] = value.to(self.device, non_blocking=True)
            batch[IMAGE] = batch[IMAGE].float()
            return batch, stream.record_event()
