"""Preprocessed training cases that stay where batches are made of them: in main memory or on the GPU."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from brats_lightning.data.batches import Batch, require_one_shape
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.feeding.patches import Foreground, Patches, Shape, cut
from brats_lightning.data.order import Draw
from brats_lightning.data.slices import Slices, slice_name, slice_of, spacing_of
from brats_lightning.labels import CASE, IMAGE, LABEL, SEED, SPACING

READERS = 4
"""Threads that read cases: checking one takes about as long as the disk."""


@dataclass(frozen=True, eq=False)
class ResidentCase:
    """One case, or a slice of one, ready to be cut.

    Args:
        case: Its id, of a slice also its place.
        image: (C, X, Y, Z) float16.
        label: (1, X, Y, Z) uint8, on the same device.
        spacing_mm: (3,), on the same device.
        foreground: Where patches are centred.
    """

    case: str
    image: torch.Tensor
    label: torch.Tensor
    spacing_mm: torch.Tensor
    foreground: Foreground

    @property
    def shape(self) -> Shape:
        """Voxels an axis."""
        x, y, z = self.image.shape[1:]
        return x, y, z


def load_cases(
    cache: CaseCache,
    cases: Sequence[Case],
    *,
    device: torch.device,
    patches: Patches | None = None,
    slices: Slices | None = None,
    show: bool = True,
) -> list[ResidentCase]:
    """Take cases from the cache to a device, with a progress bar.

    In main memory they are what the cache's home hands out: the memory home's own tensors, or pages of the disk
    home's files, which all processes of a machine share and the system may drop when it runs short.

    Args:
        cache: Has the preprocessed cases.
        cases: All have a label.
        device: Where to.
        patches: Decide what is noted of a case's foreground.
        slices: Of each case, to be had as cases of their own in the same memory.
        show: The progress bar.

    Raises:
        DatasetError: A case has no such slices.
        torch.OutOfMemoryError: They do not fit.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    where = "main memory" if device.type == "cpu" else "the GPU"
    pool = ThreadPoolExecutor(READERS)
    try:
        loaded = pool.map(partial(_load, cache, device=device, patches=patches, slices=slices), cases)
        with Progress(*columns, disable=not show) as progress:
            tracked = progress.track(loaded, total=len(cases), description=f"Loading cases into {where}")
            return [sample for samples in tracked for sample in samples]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _load(
    cache: CaseCache, case: Case, *, device: torch.device, patches: Patches | None, slices: Slices | None
) -> list[ResidentCase]:
    sample = cache.get(case)
    if sample.label is None:
        raise RuntimeError(f"{case.id} has no label")
    image, label = sample.image.to(device), sample.label.to(device)
    spacing = torch.tensor(sample.grid.spacing_mm, dtype=torch.float32).to(device)
    if slices is None:
        foreground = patches.foreground_of(sample.label, case.id) if patches else {}
        return [ResidentCase(sample.case, image, label, spacing, foreground)]
    return [
        ResidentCase(
            name := slice_name(sample.case, place),
            slice_of(image, place),
            slice_of(label, place),
            spacing_of(spacing, place),
            patches.foreground_of(slice_of(sample.label, place), name) if patches else {},
        )
        for place in slices.of(sample.label, case=case.id)
    ]


def stack(
    cases: Sequence[ResidentCase], draws: Sequence[Draw], *, patches: Patches | None = None, pin: bool = False
) -> Batch:
    """One batch, on the device where the cases are, without waiting for it.

    Args:
        cases: All of them.
        draws: Which of them, and their seeds.
        patches: What to cut out of each; null takes whole cases.
        pin: Keep the image 16-bit, in memory from which it can be copied while the GPU computes.

    Raises:
        UnequalShapesError: Whole cases of more than one shape.
    """
    drawn = [cases[draw.index] for draw in draws]
    if patches is None:
        require_one_shape([(case.case, case.shape) for case in drawn])
        size = drawn[0].shape
    else:
        size = patches.cut_size
    device = drawn[0].image.device
    shape = (len(drawn), len(drawn[0].image), *size)
    image = torch.empty(shape, dtype=torch.float16 if pin else torch.float32, device=device, pin_memory=pin)
    label = torch.empty((len(drawn), 1, *size), dtype=torch.uint8, device=device, pin_memory=pin)
    for place, (case, draw) in enumerate(zip(drawn, draws, strict=True)):
        corner = patches.corner(case.shape, case.foreground, draw.seed) if patches else (0, 0, 0)
        cut(case.image, corner, into=image[place])
        cut(case.label, corner, into=label[place])
    return {
        IMAGE: image,
        SPACING: torch.stack([case.spacing_mm for case in drawn]),
        CASE: [case.case for case in drawn],
        SEED: [draw.seed for draw in draws],
        LABEL: label,
    }
