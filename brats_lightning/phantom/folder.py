"""`brats phantom`: seeded synthetic cases in a BraTS 2021 folder, to try everything without patients."""

import json
import math
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from brats_lightning.errors import ConfigError
from brats_lightning.labels import EDITIONS
from brats_lightning.machine import usable_cores
from brats_lightning.nifti import write_volume
from brats_lightning.phantom.scanner import make_phantom

SMALLEST_VIEW_MM = 120.0
FIRST_NUMBER, LAST_NUMBER = 90_000, 99_999
"""Numbers that no case of BraTS 2021 has."""
GENERATION = 1
"""Raised whenever the same seed gives other voxels."""
NOTE = "PHANTOM.json"
SYNTHETIC = "synthetic phantom, no patient"


@dataclass(frozen=True)
class _Options:
    """All that the voxels of a case depend on, besides its index."""

    seed: int
    size: tuple[int, int, int]
    spacing_mm: float | None
    noise: float
    bias: float
    labelled: bool


def phantom(
    output: Path,
    *,
    cases: int = 8,
    seed: int = 0,
    size: tuple[int, int, int] = (240, 240, 155),
    spacing_mm: float | None = None,
    noise: float = 0.03,
    bias: float = 0.3,
    labelled: bool = True,
    workers: int | None = None,
) -> list[Path]:
    """Write synthetic cases as a BraTS 2021 folder; a stopped call goes on where it was.

    Beside the four modalities and the segmentation each case has the bias field that was planted in it.

    Args:
        output: Folder for the cases; new, or one that this command began with the same options.
        cases: How many.
        seed: Another seed gives other brains.
        size: Voxels along each axis.
        spacing_mm: Voxel size in mm; unless given, the axes are 240, 240 and 155 mm long.
        noise: Noise, relative to the signal of white matter.
        bias: Strength of the bias field: 0.3 brightens and darkens by up to 30 %.
        labelled: Whether to write segmentations.
        workers: Processes; unless given, one for each core.

    Returns:
        The cases' folders.

    Raises:
        ConfigError: Options without sense, or a folder that holds something else or cannot be written.
    """
    options = _Options(seed, (size[0], size[1], size[2]), spacing_mm, noise, bias, labelled)
    _validate(options, cases=cases, workers=workers)
    folders = [output / f"BraTS2021_{FIRST_NUMBER + index}" for index in range(cases)]
    try:
        _claim(output, options)
        missing = [index for index, folder in enumerate(folders) if not _complete(folder, labelled=labelled)]
        _write_cases(output, missing, options, workers=min(workers or usable_cores(), len(missing)))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{output} cannot be written ({reason}): make room or give another folder") from error
    return folders


def _validate(options: _Options, *, cases: int, workers: int | None) -> None:
    """Refuse options without sense.

    Raises:
        ConfigError: Says which.
    """
    most = LAST_NUMBER - FIRST_NUMBER + 1
    views = [count * (options.spacing_mm or math.inf) for count in options.size]
    for wrong, message in (
        (not 1 <= cases <= most, f"cases is {cases}: give 1 to {most}"),
        (workers is not None and workers < 1, f"workers is {workers}: give 1 or more"),
        (options.seed < 0, f"seed is {options.seed}: give 0 or more"),
        (min(options.size) < 16, f"size is {options.size}: give 16 voxels or more along each axis"),
        (not 0 <= options.noise <= 1, f"noise is {options.noise}: give 0 to 1"),
        (not 0 <= options.bias <= 1, f"bias is {options.bias}: give 0 to 1"),
        (
            min(views) < SMALLEST_VIEW_MM,
            f"{options.size} voxels of {options.spacing_mm} mm hold no brain: give a larger spacing_mm",
        ),
    ):
        if wrong:
            raise ConfigError(message)


def _claim(output: Path, options: _Options) -> None:
    """Make the output folder, or see that it holds phantoms of the same options.

    Raises:
        ConfigError: It is a file or holds something else.
    """
    note = output / NOTE
    text = json.dumps(
        {
            "note": "Everything in this folder is synthetic: computed by `brats phantom`, of no patient.",
            "generation": GENERATION,
            "options": asdict(options),
        },
        indent=2,
    )
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is a file: give a folder")
    if note.exists():
        if note.read_bytes() != text.encode():
            raise ConfigError(
                f"{output} holds phantoms of other options (see {NOTE}): give another folder, or remove it"
            )
    elif output.exists() and any(output.iterdir()):
        raise ConfigError(
            f"{output} holds other files: give an empty or a new folder, phantoms stay apart from patients"
        )
    else:
        output.mkdir(parents=True, exist_ok=True)
        note.write_text(text)


def _names(case: str, *, labelled: bool) -> list[str]:
    """Files of a case: its modalities, its bias field and its segmentation."""
    kinds = [*EDITIONS["2021"].modality_names, "bias", *(["seg"] if labelled else [])]
    return [f"{case}_{kind}.nii.gz" for kind in kinds]


def _complete(folder: Path, *, labelled: bool) -> bool:
    return all((folder / name).exists() for name in _names(folder.name, labelled=labelled))


def _write_cases(output: Path, indices: list[int], options: _Options, *, workers: int) -> None:
    """Write cases in one or several processes under a progress bar."""
    # Workers import this module and draw nothing.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import track  # noqa: PLC0415

    console = Console(stderr=True)
    if workers <= 1:
        for index in track(indices, "Phantoms", console=console):
            _write_case(output, index, options)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_write_case, output, index, options) for index in indices]
        for future in track(as_completed(futures), "Phantoms", total=len(futures), console=console):
            future.result()


def _write_case(output: Path, index: int, options: _Options) -> None:
    """Write a case in a hidden folder and rename it when it is whole."""
    case = f"BraTS2021_{FIRST_NUMBER + index}"
    made = make_phantom(
        options.seed, index=index, size=options.size, spacing_mm=options.spacing_mm,
        noise=options.noise, bias=options.bias,
    )  # fmt: skip
    arrays = [*made.images, made.bias, EDITIONS["2021"].encode(made.label)]
    unfinished, finished = output / f".{case}", output / case
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for name, array in zip(_names(case, labelled=options.labelled), arrays, strict=False):
        write_volume(unfinished / name, array, made.grid, description=SYNTHETIC)
    shutil.rmtree(finished, ignore_errors=True)
    unfinished.rename(finished)
