"""Readers of images: cases in folders, labels, pictures, and what people upload."""

import gzip
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.fuzz import volumes
from benchmarks.fuzz.children import Reader
from benchmarks.fuzz.mutating import damaged, in_gzip, in_zip, of_json, zipped
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.reading import read_case
from brats_lightning.errors import DatasetError, Problem
from brats_lightning.labels import MODALITIES, Modality
from brats_lightning.nifti import UnreadableVolumeError
from brats_lightning.reports.predicted import Predicted, read_prediction
from brats_lightning.web.files.contents import look
from brats_lightning.web.files.unpacking import unpack
from brats_lightning.web.limits import Limits

_GLI = "BraTS-GLI-00000-000"
_LIMITS = Limits(unpacked_mb=100, voxels_millions=16)


def image_readers(real: Path | None) -> list[Reader]:
    """Every reader of images.

    Args:
        real: Folder of real cases whose headers are damaged too.
    """
    name, other = f"{_GLI}/{_GLI}-t1c", f"{_GLI}/{_GLI}-t1n.nii"
    images, labels = partial(_niftis, real, other), partial(_niftis, None, other, labels=True)
    return [
        Reader("NIfTI image", f"{name}.nii", images, volumes.of_nifti, _folder),
        Reader("NIfTI image, gzip", f"{name}.nii.gz", images, in_gzip(volumes.of_nifti), _folder),
        Reader("NIfTI labels", f"{_GLI}/{_GLI}-seg.nii", labels, volumes.of_nifti, _labelled),
        Reader("NIfTI image, aligned", f"{_GLI}/{_GLI}-t2w.nii", partial(_niftis, None, other), volumes.of_nifti,
               _aligned),
        Reader("NIfTI prediction", "prediction.nii", labels, volumes.of_nifti, _prediction),
        Reader("MSD Task01's dataset.json", "Task01/dataset.json", _decathlon, of_json, _all_modalities),
        Reader("MetaImage", "HGG/1/VSD.Brain.XX.O.MR_T1c.1/VSD.Brain.XX.O.MR_T1c.1.mha",
               lambda _: volumes.metaimages(), volumes.of_metaimage, _folder),
        Reader("MATLAB", "1.mat", volumes.matlabs, volumes.of_matlab, _folder),
        Reader("PNG", "1.png", lambda _: volumes.pictures("PNG"), volumes.of_png, _folder),
        Reader("JPEG", "1.jpg", lambda _: volumes.pictures("JPEG"), volumes.of_png, _folder),
        Reader("upload", "upload", _uploads(real), _of_uploads, _look),
        Reader("upload, zip", "upload.zip", _zips(real), in_zip(volumes.of_nifti), _unpack),
    ]  # fmt: skip


def _niftis(real: Path | None, beside: str, folder: Path, *, labels: bool = False) -> list[bytes]:
    """Whole files; beside them a whole image of the case."""
    whole = volumes.niftis(labels=False)[0]
    path = folder / beside
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(whole)
    return volumes.niftis(labels=labels, real=real)


def _folder(folder: Path, modalities: Sequence[Modality] = ("t1c",)) -> None:
    found = find_cases(folder, modalities=modalities)
    problems = list(found.problems)
    for case in found.cases:
        try:
            read_case(case, modalities=modalities)
        except DatasetError as error:
            problems += error.problems
    if problems:
        raise DatasetError(problems)


def _all_modalities(folder: Path) -> None:
    _folder(folder, MODALITIES)


def _labelled(folder: Path) -> None:
    _folder(folder, ("t1n",))


def _aligned(folder: Path) -> None:
    names: tuple[Modality, ...] = ("t1n", "t2w")
    case = Case(_GLI, _GLI, "2023", {name: folder / _GLI / f"{_GLI}-{name}.nii" for name in names})
    read_case(case, modalities=names, align=True)


def _prediction(folder: Path) -> None:
    case = Case(_GLI, _GLI, "2023", {"t1n": folder / _GLI / f"{_GLI}-t1n.nii"})
    whole = read_case(case, modalities=("t1n",))
    try:
        read_prediction(Predicted(folder / "prediction.nii", "2023"), whole)
    except (UnreadableVolumeError, ValueError) as error:  # as those do who ask for it
        raise DatasetError(Problem(_GLI, "prediction.nii", str(error), "write it again")) from error


def _decathlon(folder: Path) -> list[bytes]:
    root = folder / "Task01"
    four = volumes.niftis(labels=False)[6]
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True)
    (root / "imagesTr" / "BRATS_001.nii.gz").write_bytes(gzip.compress(four))
    description = {
        "name": "BRATS", "tensorImageSize": "4D", "numTraining": 1,
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "training": [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}],
    }  # fmt: skip
    return [json.dumps(description, indent=1).encode()]


def _uploads(real: Path | None) -> Callable[[Path], list[bytes]]:
    """Every kind of file that the web application takes, uncompressed ones first."""

    def prepare(folder: Path) -> list[bytes]:
        images = [file for file in volumes.niftis(labels=False, real=real) if file[40:42] == b"\3\0"]
        pictures = [*volumes.pictures("PNG")[:2], *volumes.pictures("JPEG")[:1], *volumes.matlabs(folder)]
        return [*images, *(gzip.compress(image) for image in images[:2]), *pictures]

    return prepare


def _of_uploads(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    content = rng.choice(seeds)
    if content.startswith(b"\x89PNG"):
        return volumes.of_png(rng, [content])
    if content.startswith(b"MATLAB"):
        return volumes.of_matlab(rng, [content])
    if content.startswith(b"\x1f\x8b"):
        return in_gzip(volumes.of_nifti)(rng, [gzip.decompress(content)])
    return damaged(rng, content, seeds) if content.startswith(b"\xff\xd8") else volumes.of_nifti(rng, [content])


def _look(folder: Path) -> None:
    look(folder / "upload", limits=_LIMITS)


def _zips(real: Path | None) -> Callable[[Path], list[bytes]]:
    def prepare(folder: Path) -> list[bytes]:
        images = _uploads(real)(folder)
        names = ("case/a_t1.nii", "b_t1ce.nii", "c.nii.gz", "d.png")
        picked = (images[0], images[1], next(file for file in images if file[:2] == b"\x1f\x8b"), images[-4])
        return [zipped(dict(zip(names, picked, strict=True)), deflated=deflated) for deflated in (False, True)]

    return prepare


def _unpack(folder: Path) -> None:
    into = folder / "unpacked"
    into.mkdir(exist_ok=True)
    try:
        unpack(folder / "upload.zip", into=into, room=50_000_000, limits=replace(_LIMITS, unpacked_mb=50))
        for path in into.iterdir():
            look(path, limits=_LIMITS)
    finally:
        for path in into.iterdir():
            path.unlink()
