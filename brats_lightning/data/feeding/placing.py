"""Bring the training cases to where batches are made of them."""

import logging
from collections.abc import Sequence

import torch

from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.feeding.feed import Feed, Machine, choose_feed
from brats_lightning.data.feeding.memory import free_device_bytes, free_host_bytes, predicted_bytes
from brats_lightning.data.feeding.patches import Patches
from brats_lightning.data.feeding.resident import ResidentCase, load_cases
from brats_lightning.data.homes import MemoryHome, NoHome
from brats_lightning.data.slices import Slices

CPU = torch.device("cpu")
log = logging.getLogger(__name__)


def place_cases(
    cache: CaseCache,
    cases: Sequence[Case],
    *,
    feed: Feed,
    device: torch.device,
    patches: Patches | None = None,
    slices: Slices | None = None,
    transforms: bool = False,
    processes: int = 1,
    show: bool = True,
) -> list[ResidentCase] | None:
    """Choose a feed, say so in the log, and load the cases where it needs them.

    Args:
        cache: Has the preprocessed cases.
        cases: For training, all with a label.
        feed: As the user wishes.
        device: Where training runs.
        patches: What will be cut out of them.
        slices: That are to be had instead of whole cases.
        transforms: MONAI transforms work on the samples.
        processes: That train on this machine.
        show: Log the choice, with a progress bar: one process of several does.

    Returns:
        The cases in main memory or on the GPU; None where worker processes read them.

    Raises:
        DatasetError: A case has no such slices.
        ConfigError: The feed contradicts other settings or the machine.
    """
    reason = ""
    if transforms:
        reason = "MONAI transforms in data.augmentation work on one sample at a time"
    elif isinstance(cache.home, NoHome):
        reason = "data.cache: none keeps no case"
    choice = choose_feed(
        feed,
        needed=0 if reason else predicted_bytes(cache, cases),
        machine=Machine(free_device_bytes(device), free_host_bytes(), processes),
        in_memory=isinstance(cache.home, MemoryHome),
        needs_workers=reason,
    )
    if show:
        log.log(logging.WARNING if choice.otherwise else logging.INFO, choice.said)
    if choice.place == "workers":
        return None
    if choice.place == "device":
        try:
            return load_cases(cache, cases, device=device, patches=patches, slices=slices, show=show)
        except torch.OutOfMemoryError:
            log.warning("cases: they do not fit the GPU after all: in main memory")
        torch.cuda.empty_cache()
    return load_cases(cache, cases, device=CPU, patches=patches, slices=slices, show=show)
