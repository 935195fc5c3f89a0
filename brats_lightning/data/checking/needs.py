"""Memory and disk that a run on the cases would take, from their sizes alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from brats_lightning.data.checking.findings import CaseNumbers

HALF, LABEL, SINGLE, MASK = 2, 1, 4, 1
"""Bytes a voxel: of a preprocessed image's channel, of a label, of a channel as it is read, of the brain's mask."""


@dataclass(frozen=True)
class Needs:
    """What the cases would take.

    Args:
        cases: That can be used.
        files_bytes: Of their files.
        resampled_bytes: Of all of them preprocessed to one size: disk of the cache, and memory where they stay there.
        native_bytes: The same cropped to the brain alone, their voxels as they are; whole where only headers were read.
        cropped: Whether that is known, not guessed by the whole grid.
        reading_bytes: Memory of a process that reads the largest of them, at least.
    """

    cases: int
    files_bytes: int
    resampled_bytes: int
    native_bytes: int
    cropped: bool
    reading_bytes: int


def needs(measured: Mapping[str, CaseNumbers], *, channels: int, size: Sequence[int], itemsize: int = 4) -> Needs:
    """Work out what the cases would take.

    Args:
        measured: Numbers of the usable cases.
        channels: Modalities of each.
        size: Voxels an axis to which a run resamples them.
        itemsize: Bytes a voxel of files whose header is not known.
    """
    used = [numbers for numbers in measured.values() if numbers.shape]
    stored = HALF * channels + LABEL

    def as_read(numbers: CaseNumbers) -> int:
        types = [np.dtype(header.stored_as).itemsize for header in numbers.headers.values()]
        return sum(types or [itemsize] * channels) + SINGLE * channels + MASK + LABEL

    return Needs(
        cases=len(used),
        files_bytes=sum(
            sum({header.file: header.bytes for header in numbers.headers.values()}.values()) for numbers in used
        ),
        resampled_bytes=len(used) * math.prod(size) * stored,
        native_bytes=sum(math.prod(numbers.brain_box or numbers.shape) for numbers in used) * stored,
        cropped=all(numbers.brain_box for numbers in used),
        reading_bytes=max((math.prod(numbers.shape) * as_read(numbers) for numbers in used), default=0),
    )
