"""Samples for the data loader, and the seeded order in which they come.

A draw is an index with the seed of its patch and augmentation. It depends on the run's seed, the epoch and the case,
and on nothing else: the feed, the number of worker processes, or a stop in between, changes no sample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Transform
from torch.utils.data import Dataset, Sampler

from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.feeding.patches import Foreground, Patches, Shape, cut
from brats_lightning.data.preprocessing import Sample
from brats_lightning.errors import ConfigError
from brats_lightning.labels import CASE, IMAGE, LABEL, SEED, SPACING

Batch = dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """One sample of an epoch.

    Args:
        index: Of the case.
        seed: Of its patch and augmentation, 32 bits.
    """

    index: int
    seed: int


class ShuffledDraws(Sampler[Draw]):
    """Every case once an epoch, in an order of its own each epoch, or as many samples as one likes.

    Fewer samples than cases are the first of a new order each epoch; of more, every case comes again, with another
    seed, before one comes a third time. On several ranks each takes every n-th draw, so that a step of all ranks has
    the draws of one process with their batches in one. Where the samples do not divide evenly, the last few of the
    epoch, fewer than there are ranks, are left out: none is drawn twice, and each epoch leaves out others.

    Args:
        size: Number of cases.
        samples: Of an epoch, over all ranks; null takes every case once.
        seed: Of order, patches and augmentation.
        rank: Of this process.
        ranks: Number of processes.
    """

    def __init__(self, size: int, *, seed: int, samples: int | None = None, rank: int = 0, ranks: int = 1) -> None:
        self.size = size
        self.samples = size if samples is None else samples
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.epoch = 0
        self._stopped = -1, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning tells the epoch before it begins."""
        self.epoch = epoch

    def go_on(self, epoch: int, *, drawn: int) -> None:
        """Leave out what each rank has drawn of an epoch before the run was stopped; other epochs are whole."""
        self._stopped = epoch, drawn

    def __len__(self) -> int:
        return self.samples // self.ranks

    def __iter__(self) -> Iterator[Draw]:
        generator = np.random.default_rng([self.seed, self.epoch])
        drawn: list[Draw] = []
        while len(drawn) < self.samples:
            order = generator.permutation(self.size)
            seeds = generator.integers(2**32, size=self.size)
            drawn += [Draw(int(index), int(seeds[index])) for index in order]
        epoch, done = self._stopped
        first = done if epoch == self.epoch else 0
        for place in range(self.rank + first * self.ranks, len(self) * self.ranks, self.ranks):
            yield drawn[place]


class EveryNth(Sampler[int]):
    """Every case once over all ranks, none twice: ranks may get different numbers of them.

    Args:
        size: Number of cases.
        rank: Of this process.
        ranks: Number of processes.
    """

    def __init__(self, size: int, *, rank: int = 0, ranks: int = 1) -> None:
        self.indices = range(rank, size, ranks)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def require_shares(count: int, *, ranks: int, what: str) -> None:
    """Refuse what leaves a process without work: the others would wait for it.

    Args:
        count: Of what the ranks share.
        ranks: Number of processes.
        what: They share, in words.

    Raises:
        ConfigError: There are more processes than that.
    """
    if count < ranks:
        raise ConfigError(
            f"{ranks} processes share {count} {what}, and each needs one: "
            f"ask for more, or for at most {count} processes (trainer.devices × trainer.num_nodes)"
        )


class CaseDataset(Dataset[Any]):
    """Cached samples, cut and augmented where they are drawn for training.

    Args:
        cache: Holds the preprocessed cases.
        cases: Of this part of the split.
        augmentation: MONAI dictionary transforms of `image` and `label`.
        patches: What to cut out of a training case; null takes it whole.
    """

    def __init__(
        self,
        cache: CaseCache,
        cases: Sequence[Case],
        *,
        augmentation: Sequence[Transform] = (),
        patches: Patches | None = None,
    ) -> None:
        self.cache = cache
        self.cases = tuple(cases)
        self.augmentation = Compose(list(augmentation)) if augmentation else None
        self.patches = patches
        self._foreground: dict[str, Foreground] = {}

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, draw: Draw | int) -> Any:
        """A sample, or the list of patches that a crop in the augmentation has made of it."""
        index = draw.index if isinstance(draw, Draw) else draw
        sample = self.cache.get(self.cases[index])
        item: Batch = {
            CASE: sample.case,
            SPACING: torch.tensor(sample.grid.spacing_mm, dtype=torch.float32),
        }
        if not isinstance(draw, Draw):
            item[IMAGE] = sample.image.float()
            if sample.label is not None:
                item[LABEL] = sample.label
            return item
        item |= self._drawn(sample, draw)
        if self.augmentation is None:
            return item
        self.augmentation.set_random_state(seed=draw.seed)
        return self.augmentation(item)

    def _drawn(self, sample: Sample, draw: Draw) -> Batch:
        if sample.label is None:
            raise RuntimeError(f"{sample.case} has no label to train with")
        x, y, z = sample.image.shape[1:]
        size, corner = (x, y, z), (0, 0, 0)
        if self.patches is not None:
            if sample.case not in self._foreground:
                self._foreground[sample.case] = self.patches.foreground_of(sample.label, sample.case)
            foreground = self._foreground[sample.case]
            size, corner = self.patches.cut_size, self.patches.corner(size, foreground, draw.seed)
        # New tensors: augmentation in place must not reach the cache.
        image = torch.empty(len(sample.image), *size)
        label = torch.empty(1, *size, dtype=torch.uint8)
        cut(sample.image, corner, into=image)
        cut(sample.label, corner, into=label)
        return {IMAGE: image, LABEL: label, SEED: draw.seed}


class UnequalShapesError(ConfigError):
    """Samples that make no batch."""

    def __init__(self, text: str) -> None:
        # A worker process's error is raised again with its traceback before its words.
        super().__init__(text.rpartition(f"{type(self).__name__}: ")[2].strip())


def require_one_shape(shapes: Sequence[tuple[str, Shape]]) -> None:
    """Refuse samples that cannot be stacked, each given with its case.

    Raises:
        UnequalShapesError: Samples of more than one shape.
    """
    cases = {shape: case for case, shape in shapes}
    if len(cases) > 1:
        found = ", ".join(f"{case} has {'×'.join(map(str, shape))}" for shape, case in cases.items())
        raise UnequalShapesError(
            f"cases of one batch differ in their voxels: {found}; "
            "set data.preprocessing.size, cut patches with data.patches, or set batch sizes to 1"
        )


def collate(drawn: Sequence[Batch | list[Batch]]) -> Batch:
    """Stack samples to a batch of plain tensors: image (B, C, X, Y, Z) float32, label (B, 1, X, Y, Z) uint8.

    Training samples have their seeds in it.
    MONAI's crops around labels make a list of patches of one sample: each counts as one of the batch.

    Raises:
        UnequalShapesError: Samples of more than one shape.
    """
    items = [item for sample in drawn for item in (sample if isinstance(sample, list) else [sample])]
    require_one_shape([(item[CASE], tuple(item[IMAGE].shape[1:])) for item in items])
    batch: Batch = {
        IMAGE: torch.stack([torch.as_tensor(item[IMAGE]).as_subclass(torch.Tensor).float() for item in items]),
        SPACING: torch.stack([item[SPACING] for item in items]),
        CASE: [item[CASE] for item in items],
    }
    if all(LABEL in item for item in items):
        labels = [item[LABEL].as_subclass(torch.Tensor).to(torch.uint8) for item in items]
        batch[LABEL] = torch.stack(labels)
    if all(SEED in item for item in items):
        batch[SEED] = [item[SEED] for item in items]
    return batch
