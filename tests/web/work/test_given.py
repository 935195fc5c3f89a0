from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from brats_lightning.errors import BratsError, DatasetError, Problem
from brats_lightning.web.records import CaseRecord, FileRecord, Kind
from brats_lightning.web.work.tasks.given import Given, given
from brats_lightning.web.work.tasks.meaning import edition_of_reference

GLI = ("BraTS-GLI-00001-000-t1n.nii.gz", "BraTS-GLI-00001-000-t2f.nii.gz")


def case(
    folder: Path, *names: str, reference: list[int] | None = None, called: str = "truth.nii.gz", size: int = 3
) -> Given:
    kinds: list[Kind] = ["t1n", "t2f", "t1c", "t2w"]
    (folder / "files").mkdir(parents=True)
    files = []
    for number, name in enumerate([*names, *[called] * (reference is not None)]):
        kind: Kind = "seg" if number == len(names) else kinds[number]
        values = [*(reference or []), 0] if kind == "seg" else range(size)
        array = np.array(values, np.uint8).reshape(-1, 1, 1)
        path = folder / "files" / f"0file{number}{'.png' if name.endswith('.png') else '.nii.gz'}"
        if name.endswith(".png"):
            Image.fromarray(array[..., 0]).save(path)
        else:
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
        files.append(FileRecord(id=f"0file{number}", name=name, kind=kind, bytes=1, shape=(), spacing_mm=()))
    record = CaseRecord(id="x" * 22, name="Doe, Jane", created=0, expires=1, files=files)
    return given(record, folder)


@pytest.mark.parametrize(
    ("names", "edition"),
    [
        (("BraTS2021_00001_t1.nii.gz", "BraTS2021_00001_flair.nii.gz"), "2021"),
        (GLI, "2023"),
        (("BraTS-PED-00001-000-t1n.nii.gz",), "2024-PED"),
        (("BraTS-GLI-00001-000-t1n.nii.gz", "FLAIR.nii.gz"), "2023"),
        (("t1.nii.gz", "flair.nii.gz"), "2023"),
        (("slice.png",), "mask"),
    ],
)
def test_a_case_has_the_edition_of_its_files_names(tmp_path: Path, names: tuple[str, ...], edition: str) -> None:
    found = case(tmp_path, *names)
    assert found.case.edition == edition
    assert found.case.id == "Doe_Jane"
    assert found.reference is None
    assert list(found.images) == ["t1n", "t2f"][: len(names)]


def test_errors_name_files_as_the_user_does(tmp_path: Path) -> None:
    found = case(tmp_path, "My T1.nii.gz", "My FLAIR.nii.gz")
    own = found.images["t2f"].name
    both = DatasetError([Problem("p", own, "an empty image", "replace it"), Problem("p", "", "no brain", "look at it")])
    assert found.sentence(both) == "My FLAIR.nii.gz: an empty image; replace it; no brain; look at it"
    assert found.sentence(BratsError(f"{own} is odd")) == "My FLAIR.nii.gz is odd"


@pytest.mark.parametrize(
    ("names", "called", "values", "edition"),
    [
        (("BraTS2021_00001_t1.nii.gz",), "BraTS2021_00001_seg.nii.gz", [1], "2021"),
        (("BraTS2021_00001_t1.nii.gz",), "truth.nii.gz", [1], "mask"),
        (("t1.nii.gz",), "truth.nii.gz", [1, 2, 3], "2023"),
        (("t1.nii.gz",), "truth.nii.gz", [1, 2, 4], "2021"),
        (("t1.nii.gz",), "truth.nii.gz", [1, 2, 3, 4], "2024-GLI"),
        (("t1.nii.gz",), "truth.nii.gz", [], "2023"),
        (("slice.png",), "truth.png", [255], "mask"),
        (("slice.png",), "truth.png", [1, 2, 3], "2023"),
    ],
)
def test_a_reference_means_what_its_name_or_its_values_say(
    tmp_path: Path, names: tuple[str, ...], called: str, values: list[int], edition: str
) -> None:
    found = case(tmp_path, *names, reference=values, called=called)
    assert found.reference is not None
    meant, notes = edition_of_reference(found, found.reference, predicted="2023")
    assert meant == edition
    assert bool(notes) == ((called == "truth.nii.gz" and bool(values)) or called == "truth.png")


def test_a_reference_of_no_edition_is_refused(tmp_path: Path) -> None:
    found = case(tmp_path, "t1.nii.gz", reference=[7, 200])
    assert found.reference is not None
    with pytest.raises(DatasetError, match="values 7 200, which are the labels of no edition"):
        edition_of_reference(found, found.reference, predicted="2023")
