"""The seeded order in which samples come.

A draw is an index with the seed of its patch and augmentation. It depends on the run's seed, the epoch and the case,
and on nothing else: the feed, the number of worker processes, or a stop in between, changes no sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from brats_lightning.errors import ConfigError


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
