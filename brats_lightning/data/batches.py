"""Samples stacked to batches, and what changes them as such."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from brats_lightning.data.feeding.patches import Shape
from brats_lightning.errors import ConfigError
from brats_lightning.labels import CASE, IMAGE, LABEL, SEED, SPACING

Batch = dict[str, Any]


class BatchAugmentation(Protocol):
    """Augments whole batches on the device where they are."""

    def __call__(self, batch: Batch) -> Batch:
        """The batch, changed as its seeds say."""


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
