"""One case, read whole: what is wrong with it, what is odd, and its numbers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from brats_lightning.data.case import Case
from brats_lightning.data.checking.findings import CaseChecked, CaseNumbers, LabelNumbers, Remark
from brats_lightning.data.checking.headers import check_headers, files_of, voxel_ml
from brats_lightning.data.checking.images import judge_images, measure_images, name_of
from brats_lightning.data.checking.segmentation import judge_label, measure_label
from brats_lightning.data.checking.sides import label_contrast, mirrored_modalities
from brats_lightning.data.checking.voxels import digest, digest_of_image
from brats_lightning.data.pictures import is_picture, read_picture, shows_whole_head
from brats_lightning.data.reading import CaseVolumes, read_case
from brats_lightning.errors import DatasetError
from brats_lightning.labels import EDITIONS, LABEL, Modality
from brats_lightning.nifti import UnreadableVolumeError, Volume, read_labels, read_volume


def check_case(case: Case, *, modalities: Sequence[Modality]) -> CaseChecked:
    """Read a case and judge all of it. What is read is let go: the result is some hundred numbers.

    Args:
        case: From `find_cases`.
        modalities: Images to read.
    """
    looked_at = check_headers(case, modalities=modalities)
    headers = looked_at.numbers.headers
    try:
        volumes = read_case(case, modalities=modalities)
    except DatasetError as error:
        numbers = replace(looked_at.numbers, digests=_digests(case, modalities))
        return CaseChecked(error.problems, (), looked_at.remarks, numbers)
    with np.errstate(all="ignore"):  # values near the end of a type are told of, and not worth a warning
        numbers = _measure(case, volumes, modalities)
    numbers = replace(numbers, headers=headers)
    as_stored = {kind: facts for kind, facts in headers.items() if not _is_shifted(facts.file, volumes.notes)}
    problems, remarks = judge_images(case, numbers.images, as_stored, brain_voxels=numbers.brain_voxels)
    wrong, odd = judge_label(case, numbers)
    remarks = [*looked_at.remarks, *remarks, *odd]
    for modality in mirrored_modalities(volumes.image, modalities):
        what = f"{modality} agrees better with the other modalities when left and right are exchanged: is it mirrored?"
        remarks.append(Remark(case.id, "sides", what, name_of(case, modality)))
    return CaseChecked((*problems, *wrong), volumes.notes, tuple(remarks), numbers)


def _is_shifted(file: str, notes: Sequence[str]) -> bool:
    """Whether reading has moved the background of a file to 0, so that its values are not those that it stores."""
    return any(note.startswith(file) and note.endswith("shifted to 0") for note in notes)


def _measure(case: Case, volumes: CaseVolumes, modalities: Sequence[Modality]) -> CaseNumbers:
    whole_head = any(shows_whole_head(path) for path in case.files)
    images = measure_images(volumes, modalities, whole_head=whole_head)
    label: LabelNumbers | None = None
    if volumes.label is not None:
        contrast = None if whole_head else label_contrast(volumes.image, volumes.label, modalities)
        label = measure_label(volumes.label, volumes.brain, contrast=contrast)
    digests: dict[str, str] = {modality: image.digest for modality, image in images.items()}
    if label:
        digests[LABEL] = label.digest
    brain = volumes.brain
    along = [np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return CaseNumbers(
        digests=digests,
        images=images,
        label=label,
        shape=volumes.grid.shape,
        voxel_ml=voxel_ml(volumes.grid),
        brain_voxels=int(np.count_nonzero(brain)),
        brain_box=tuple(int(places[-1] - places[0]) + 1 for places in along),
    )


def _digests(case: Case, modalities: Sequence[Modality]) -> dict[str, str]:
    """Hashes of what can be read of a case that is refused: its images may be known from another one."""
    found: dict[str, str] = {}
    for kind, (path, channel) in files_of(case, modalities).items():
        try:
            if kind == LABEL:
                stored = read_labels(path)
                found[kind] = digest(Volume(EDITIONS[case.edition].decode(stored.array), stored.grid).ras().array)
                continue
            volume = read_picture(path) if is_picture(path) else read_volume(path)
            if channel is not None:
                volume = Volume(volume.array[..., channel], volume.grid)
            found[kind] = digest_of_image(volume, whole_head=shows_whole_head(path))
        except (UnreadableVolumeError, ValueError, IndexError):
            continue  # its problem is told already
    return found
