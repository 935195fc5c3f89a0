"""The example: a synthetic phantom with its reference, made once, so that the page can be tried without a patient."""

import shutil
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from brats_lightning.errors import BratsError
from brats_lightning.labels import EDITIONS, MODALITIES, Modality
from brats_lightning.web.records import Kind, Network

NAME = "synthetic-phantom"
EDITION = "2021"
"""Whose label values its reference holds."""
SIZE = (240, 240, 155)
NOISE, BIAS = 0.03, 0.3
WHITE = 255
_GENERATION = 1
"""Raised whenever the files become others."""
_MAKING = threading.Lock()


def example_files(
    folder: Path, networks: Sequence[Network], *, size: tuple[int, int, int] = SIZE
) -> Mapping[Kind, Path]:
    """Files of the example; they are made when they are asked for the first time, which takes some seconds.

    Args:
        folder: For examples alone, made where it is not there.
        networks: That are offered: a slice of one modality if they take nothing else, or else volumes of all four.
        size: Voxels of the volumes along each axis.

    Raises:
        BratsError: They cannot be written.
    """
    slices = bool(networks) and all(network.slices for network in networks)
    kinds = [name for name in MODALITIES if not slices or name in networks[0].modalities]
    made = folder / f"{'slice-' + kinds[0] if slices else 'volumes'}-{_GENERATION}"
    with _MAKING:
        if not made.is_dir():
            process = get_context("spawn").Process(target=_make, args=(made, kinds, size, slices))
            process.start()  # besides this one, which has others to answer
            process.join()
        if not made.is_dir():
            raise BratsError("the example could not be made, often for want of room or memory: use files of your own")
    ending = ".png" if slices else ".nii.gz"
    wanted: list[Kind] = [*kinds, "seg"]
    return {kind: made / f"{NAME}_{kind}{ending}" for kind in wanted}


def _make(made: Path, kinds: Sequence[Modality], size: tuple[int, int, int], slices: bool) -> None:
    """Write the files into a folder beside, and give it its name when it is whole; the target of a process."""
    from brats_lightning.data.grey_pictures import write_grey  # noqa: PLC0415 - not in the server
    from brats_lightning.nifti import write_volume  # noqa: PLC0415
    from brats_lightning.phantom.folder import SYNTHETIC  # noqa: PLC0415
    from brats_lightning.phantom.scanner import make_phantom  # noqa: PLC0415

    phantom = make_phantom(0, index=0, size=size, spacing_mm=None, noise=NOISE, bias=BIAS)
    half = made.with_name(f".{made.name}")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    images: dict[Kind, npt.NDArray[Any]] = {kind: phantom.images[MODALITIES.index(kind)] for kind in kinds}
    if slices:
        fullest = int(np.count_nonzero(phantom.label, axis=(0, 1)).argmax())
        for kind, image in images.items():
            pixels = image[..., [fullest]]
            write_grey(half / f"{NAME}_{kind}.png", np.rint(pixels * (WHITE / pixels.max())).astype(np.uint8))
        mask = np.where(phantom.label[..., [fullest]] > 0, np.uint8(WHITE), np.uint8(0))
        write_grey(half / f"{NAME}_seg.png", mask)
    else:
        volumes = {**images, "seg": EDITIONS[EDITION].encode(phantom.label)}
        for name, volume in volumes.items():
            write_volume(half / f"{NAME}_{name}.nii.gz", volume, phantom.grid, description=SYNTHETIC)
    half.rename(made)
