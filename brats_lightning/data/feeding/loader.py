"""Loaders of training batches: each knows how far its epoch has come, and goes on from there."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

import torch
from torch.utils.data import DataLoader

from brats_lightning.data.batches import Batch, collate
from brats_lightning.data.dataset import CaseDataset
from brats_lightning.data.feeding.patches import Patches
from brats_lightning.data.feeding.prefetch import prefetched
from brats_lightning.data.feeding.resident import ResidentCase, stack
from brats_lightning.data.order import Draw, ShuffledDraws
from brats_lightning.errors import CheckpointError
from brats_lightning.labels import IMAGE


class EpochPosition:
    """Where in which epoch a loader is: what a checkpoint keeps of it.

    Args:
        sampler: Of the loader.
        batch_size: Samples a batch.
    """

    def __init__(self, sampler: ShuffledDraws, batch_size: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self._loaded = -1, 0
        self._given = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return math.ceil(len(self.sampler) / self.batch_size)

    def counted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches of the current epoch, counted as they are handed out."""
        epoch, done = self._loaded
        self._given = done if epoch == self.sampler.epoch else 0
        for batch in batches:
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Epoch, batches handed out on each rank of how many, and what a batch was."""
        return {
            "epoch": self.sampler.epoch,
            "batches": self._given,
            "of": len(self),
            "batch_size": self.batch_size,
            "ranks": self.sampler.ranks,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the batches that were handed out.

        Raises:
            CheckpointError: An epoch that was stopped in its midst would go on with other batches.
        """
        before = state["of"], state["batch_size"], state["ranks"]
        now = len(self), self.batch_size, self.sampler.ranks
        if before != now and 0 < state["batches"] < state["of"]:
            said, found = (f"{of} batches of {size} on {ranks} processes" for of, size, ranks in (before, now))
            raise CheckpointError(
                f"the checkpoint was saved in the midst of an epoch of {said}, and this run has {found}: expected the "
                "same until the epoch is over"
            )
        self._loaded = state["epoch"], state["batches"]
        self.sampler.go_on(state["epoch"], drawn=state["batches"] * self.batch_size)


class WorkerLoader(DataLoader[Batch]):
    """Batches that worker processes read and augment.

    Args:
        dataset: All training cases.
        order: Lightning tells it the epoch before it begins.
        batch_size: Samples a batch.
        workers: Processes.
        seed: Of nothing that reaches a sample.
    """

    def __init__(
        self, dataset: CaseDataset, *, order: ShuffledDraws, batch_size: int, workers: int, seed: int = 0
    ) -> None:
        self.position = EpochPosition(order, batch_size)
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=order,
            num_workers=workers,
            collate_fn=collate,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            # A generator of its own: starting an epoch must not move the random state of the network.
            generator=torch.Generator().manual_seed(seed),
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Lightning asks for iterators that it never uses: nothing is drawn before the first batch."""
        yield from self.position.counted(super().__iter__())

    def state_dict(self) -> dict[str, int]:
        """See `EpochPosition`."""
        return self.position.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """See `EpochPosition`."""
        self.position.load_state_dict(state)


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
        self.position = EpochPosition(sampler, batch_size)

    def state_dict(self) -> dict[str, int]:
        """See `EpochPosition`."""
        return self.position.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """See `EpochPosition`."""
        self.position.load_state_dict(state)

    def __len__(self) -> int:
        return len(self.position)

    def __iter__(self) -> Iterator[Batch]:
        """Lightning asks for iterators that it never uses: nothing is drawn before the first batch."""
        draws = iter(self.sampler)
        groups = iter(lambda: list(islice(draws, self.batch_size)), [])
        if self.device.type == "cuda" and self.cases[0].image.device.type == "cpu":
            batches = self._copied(groups)
        else:
            batches = (stack(self.cases, group, patches=self.patches) for group in groups)
        yield from self.position.counted(batches)

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
