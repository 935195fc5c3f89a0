import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from brats_lightning.data.case import Volume4D
from brats_lightning.data.cases import find_cases
from brats_lightning.data.reading import read_case
from brats_lightning.errors import DatasetError
from brats_lightning.labels import MODALITIES

Write = Callable[[], Path]


def change_description(root: Path, **changed: dict[str, str]) -> None:
    description = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**description, **changed}))


def test_cases_are_channels_of_one_file_and_shadow_files_are_none(write_decathlon: Write) -> None:
    root = write_decathlon()
    found = find_cases(root)
    assert found.problems == ()
    training, test = found.cases
    assert (training.id, training.patient, training.edition) == ("BRATS_001", "BRATS_001", "MSD")
    path = root / "imagesTr" / "BRATS_001.nii.gz"
    assert dict(training.images) == {
        "t1n": Volume4D(path, 1), "t1c": Volume4D(path, 2), "t2w": Volume4D(path, 3), "t2f": Volume4D(path, 0),
    }  # fmt: skip
    assert training.label == root / "labelsTr" / "BRATS_001.nii.gz"
    assert training.files == [path, training.label]
    assert test.label is None


def test_channels_and_labels_get_their_right_places(write_decathlon: Write) -> None:
    root = write_decathlon()
    stored = np.asarray(nibabel.load(root / "imagesTr/BRATS_001.nii.gz").dataobj)
    case = find_cases(root).cases[0]
    volumes = read_case(case)
    for channel, at in enumerate((1, 2, 3, 0)):
        assert np.array_equal(volumes.image[channel], stored[::-1, ::-1, :, at])  # LPS to RAS
    assert volumes.label is not None
    outside = np.asarray(nibabel.load(case.label).dataobj)[::-1, ::-1]
    for task01, inside in ((1, 2), (2, 1), (3, 3)):  # oedema, non-enhancing, enhancing
        assert np.array_equal(volumes.label == inside, outside == task01)


def test_channels_follow_the_description(write_decathlon: Write) -> None:
    root = write_decathlon()
    change_description(root, modality={"0": "T1w", "1": "T1GD", "2": "t2w", "3": "Flair"})
    images = find_cases(root).cases[0].images
    assert [image.channel for image in images.values() if isinstance(image, Volume4D)] == [0, 1, 2, 3]
    assert tuple(images) == MODALITIES


def test_a_4d_file_is_read_once(write_decathlon: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    read_bytes = Path.read_bytes

    def counted(path: Path) -> bytes:
        opened.append(path)
        return read_bytes(path)

    case = find_cases(write_decathlon()).cases[0]
    monkeypatch.setattr(Path, "read_bytes", counted)
    read_case(case)
    assert sorted(opened) == sorted(case.files)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"labels": {"0": "background", "1": "edema", "2": "enhancing", "3": "non-enhancing tumor"}}, "expected the"),
        ({"labels": {"0": "background", "1": "liver", "2": "tumour"}}, "expected the labels 1 edema"),
        ({"labels": {"background": 0, "edema": 1}}, "no usable description"),
        ({"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd"}}, "t2w"),
        ({"modality": {"0": "CT"}}, "ct"),
    ],
)
def test_a_description_of_something_else_is_refused(
    write_decathlon: Write, changed: dict[str, dict[str, str]], sentence: str
) -> None:
    root = write_decathlon()
    change_description(root, **changed)
    found = find_cases(root)
    assert found.cases == ()
    (problem,) = found.problems
    assert problem.case == "Task01_BrainTumour"
    assert problem.file == "dataset.json"
    assert sentence in problem.what


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"\xff\xfe", b"{}"])
def test_a_broken_description_is_refused(write_decathlon: Write, content: bytes) -> None:
    root = write_decathlon()
    (root / "dataset.json").write_bytes(content)
    (problem,) = find_cases(root).problems
    assert "no usable description" in problem.what


def test_another_programs_dataset_json_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(DatasetError, match="no case of a known edition"):
        find_cases(tmp_path)


def test_a_linked_task_folder_is_found(write_decathlon: Write, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "Task01").symlink_to(write_decathlon())
    assert len(find_cases(tmp_path / "root").cases) == 2
