"""Samples for the data loader."""

from collections.abc import Sequence
from typing import Any

import torch
from monai.transforms import Compose, Transform
from torch.utils.data import Dataset

from brats_lightning.data.batches import Batch
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.feeding.patches import Foreground, Patches, cut
from brats_lightning.data.order import Draw
from brats_lightning.data.preprocessing import Sample
from brats_lightning.data.slices import Place, Slices, slice_name, slice_of, spacing_of
from brats_lightning.labels import CASE, IMAGE, LABEL, SEED, SPACING


class CaseDataset(Dataset[Any]):
    """Cached samples, cut and augmented where they are drawn for training.

    Args:
        cache: Holds the preprocessed cases.
        cases: Of this part of the split.
        augmentation: MONAI dictionary transforms of `image` and `label`.
        patches: What to cut out of a training sample; null takes it whole.
        slices: Of each case, as training samples of their own; what is not drawn for training is a case's chosen slices
            as one volume.

    Raises:
        DatasetError: A case has no such slices.
    """

    def __init__(
        self,
        cache: CaseCache,
        cases: Sequence[Case],
        *,
        augmentation: Sequence[Transform] = (),
        patches: Patches | None = None,
        slices: Slices | None = None,
    ) -> None:
        self.cache = cache
        self.cases = tuple(cases)
        self.slices = slices
        self._places: list[tuple[int, Place]] = []
        self._samples: dict[int, Sample] = {}
        self.augmentation = Compose(list(augmentation)) if augmentation else None
        self.patches = patches
        self._foreground: dict[str, Foreground] = {}

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def samples(self) -> int:
        """Training samples: cases, or slices of them."""
        return len(self.cases) if self.slices is None else len(self.places)

    @property
    def places(self) -> Sequence[tuple[int, Place]]:
        """Number of the case and place of each training sample, where samples are slices."""
        if self.slices is not None and not self._places:
            for number, case in enumerate(self.cases):
                label = _label_of(self.cache.get(case))
                self._places += [(number, place) for place in self.slices.of(label, case=case.id)]
        return self._places

    def __getitem__(self, draw: Draw | int) -> Any:
        """A sample, or the list of patches that a crop in the augmentation has made of it."""
        if not isinstance(draw, Draw):
            return self._whole(self.cache.get(self.cases[draw]))
        item = self._drawn(draw)
        if self.augmentation is None:
            return item
        self.augmentation.set_random_state(seed=draw.seed)
        return self.augmentation(item)

    def _whole(self, sample: Sample) -> Batch:
        """A case, or its chosen slices, as it is."""
        spacing = torch.tensor(sample.grid.spacing_mm, dtype=torch.float32)
        volumes = {IMAGE: sample.image} | ({} if sample.label is None else {LABEL: sample.label})
        if self.slices is not None:
            volumes = {key: self.slices.stacked(volume, case=sample.case) for key, volume in volumes.items()}
        return {CASE: sample.case, SPACING: spacing, **volumes, IMAGE: volumes[IMAGE].float()}

    def _drawn(self, draw: Draw) -> Batch:
        """A training sample."""
        number, place = self.places[draw.index] if self.slices is not None else (draw.index, None)
        sample = self._sample(number)
        source, target = sample.image, _label_of(sample)
        name, spacing = sample.case, torch.tensor(sample.grid.spacing_mm, dtype=torch.float32)
        if place is not None:
            source, target = slice_of(source, place), slice_of(target, place)
            name, spacing = slice_name(name, place), spacing_of(spacing, place)
        x, y, z = source.shape[1:]
        size, corner = (x, y, z), (0, 0, 0)
        if self.patches is not None:
            if name not in self._foreground:
                self._foreground[name] = self.patches.foreground_of(target, name)
            foreground = self._foreground[name]
            size, corner = self.patches.cut_size, self.patches.corner(size, foreground, draw.seed)
        # New tensors: augmentation in place must not reach the cache.
        image = torch.empty(len(source), *size)
        label = torch.empty(1, *size, dtype=torch.uint8)
        cut(source, corner, into=image)
        cut(target, corner, into=label)
        return {CASE: name, SPACING: spacing, IMAGE: image, LABEL: label, SEED: draw.seed}

    def _sample(self, number: int) -> Sample:
        """A case; one whose slices come one by one stays open: its pages are read once."""
        if self.slices is None:
            return self.cache.get(self.cases[number])
        if number not in self._samples:
            self._samples[number] = self.cache.get(self.cases[number])
        return self._samples[number]


def _label_of(sample: Sample) -> torch.Tensor:
    if sample.label is None:
        raise RuntimeError(f"{sample.case} has no label to train with")
    return sample.label
