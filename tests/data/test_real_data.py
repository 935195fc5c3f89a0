"""Nine real cases and the oddities met in published files."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.reading import read_case
from brats_lightning.errors import DatasetError
from brats_lightning.labels import LABELS
from brats_lightning.nifti import read_grid, read_labels, read_volume

BACKGROUND = "14 labelled voxels where all images are background"
NO_ET = "no enhancing tumour"
QFORM = "qform only"
SLOPE_0 = "slope 0 (means: not scaled)"
# Edition; NCR, ED and ET in ml as the data's own table has them; quirk of how many files; other notes.
CASES = {
    "BraTS-GLI-00000-000": (
        "2023",
        (12, 13, 33),
        (QFORM, 1),
        {
            "BraTS-GLI-00000-000-t2W.nii.gz: unusual letter case",
            "BraTS-GLI-00000-000-seg.nii.gz: labels stored as float32",
        },
    ),
    "Brats18_2013_21_1": ("2018", (58, 45, 18), (SLOPE_0, 1), {BACKGROUND}),
    "BraTS2021_01477": ("2021", (78, 117, 0), (SLOPE_0, 5), {NO_ET}),
    "BraTS2021_01657": ("2021", (0.9, 122, 12.7), (QFORM, 5), {"BraTS2021_01657_seg.nii.gz: labels stored as uint16"}),
    "BraTS2021_00006": ("2021", (25.5, 86, 26.4), ("", 0), set()),
    "BraTS2021_01476": ("2021", (23, 28, 0.2), (SLOPE_0, 1), set()),
    "BraTS2021_01481": ("2021", (1.5, 52, 2.6), (SLOPE_0, 1), set()),
    "BraTS2021_01483": ("2021", (59, 48, 0), (SLOPE_0, 1), {NO_ET}),
    "BraTS2021_01659": ("2021", (7.3, 76, 62.8), (QFORM, 5), {"BraTS2021_01659_seg.nii.gz: labels stored as uint16"}),
}
QUICK = 2


def link(folder: Path, **files: Path) -> Path:
    """A case of BraTS 2021 whose images are other files."""
    folder.mkdir()
    for kind, file in files.items():
        (folder / f"{folder.name}_{kind}.nii{'.gz' if file.name.endswith('.gz') else ''}").symlink_to(file.resolve())
    return folder


def images_of(shared: Path, case: str) -> dict[str, Path]:
    return {kind: shared / "data/brats" / case / f"{case}_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair")}


def test_the_cases_of_three_editions_are_found(shared: Path) -> None:
    found = find_cases(shared / "data/brats")
    assert found.problems == ()
    assert {case.id: case.edition for case in found.cases} == {case: about[0] for case, about in CASES.items()}
    assert all(case.label is not None for case in found.cases)
    (unlabelled,) = find_cases(shared / "data/brats_unlabelled").cases
    assert (unlabelled.edition, unlabelled.label) == ("2023", None)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (at >= QUICK)) for at, name in enumerate(CASES)]
)
def test_a_case_has_its_volumes_and_quirks(shared: Path, name: str) -> None:
    edition, millilitres, (quirk, files), others = CASES[name]
    (case,) = find_cases(shared / "data/brats" / name).cases
    volumes = read_case(case)
    assert case.edition == edition
    assert volumes.image.shape == (4, 240, 240, 155)
    assert volumes.native.orientation == "LPS"
    assert volumes.label is not None
    for label, expected in zip(("NCR", "ED", "ET"), millilitres, strict=True):
        found = np.count_nonzero(volumes.label == LABELS[label]) / 1000
        assert found == pytest.approx(expected, abs=0.5 if expected == int(expected) else 0.06)
    assert 1000 < np.count_nonzero(volumes.brain) / 1000 < 1700
    assert [note.endswith(quirk) for note in volumes.notes if note not in others] == [True] * files
    assert others <= set(volumes.notes)


@pytest.mark.slow
def test_preprocessing_keeps_volumes_and_places(shared: Path) -> None:
    (case,) = find_cases(shared / "data/brats/BraTS2021_00006").cases
    sample = Preprocessing()(case)
    assert sample.image.shape == (4, 128, 128, 128)
    assert sample.label is not None
    assert case.label is not None
    native = read_labels(case.label)
    labels = sample.label[0].numpy()
    for outside, inside in ((1, 1), (2, 2), (4, 3)):
        before, after = native.array == outside, labels == inside
        voxel_mm3 = np.prod(sample.grid.spacing_mm)
        assert np.count_nonzero(after) * voxel_mm3 == pytest.approx(np.count_nonzero(before), rel=0.05)
        one, other = (
            grid.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + grid.affine[:3, 3]
            for grid, mask in ((native.grid, before), (sample.grid, after))
        )
        assert np.allclose(one, other, atol=0.3)


def test_a_segmentation_of_2024_has_its_cavity(shared: Path, tmp_path: Path) -> None:
    """Only the segmentation is at hand: a synthetic image on its grid makes it a case."""
    segmentation = shared / "data/formats/seg_brats2024/BraTS-GLI-00046-101-seg.nii.gz"
    (tmp_path / segmentation.name).symlink_to(segmentation.resolve())
    grid = read_grid(segmentation)
    image = np.zeros(grid.shape, np.uint8)
    image[40:140, 40:180, 40:140] = 1
    nibabel.save(nibabel.Nifti1Image(image, grid.affine), tmp_path / "BraTS-GLI-00046-101-t1c.nii")
    (case,) = find_cases(tmp_path, modalities=("t1c",)).cases
    assert (case.edition, case.patient) == ("2024-GLI", "BraTS-GLI-00046")
    volumes = read_case(case, modalities=("t1c",))
    assert volumes.native.orientation == "LAS"
    assert volumes.label is not None
    stored = np.asarray(nibabel.load(segmentation).dataobj)
    assert np.count_nonzero(volumes.label == LABELS["RC"]) == np.count_nonzero(stored == 4) > 0
    with pytest.raises(DatasetError, match="label 4 found, BraTS 2023 has 0 1 2 3"):
        read_case(find_cases(tmp_path, modalities=("t1c",), edition="2023").cases[0], modalities=("t1c",))


def test_a_segmentation_that_is_one_everywhere_is_refused(shared: Path, tmp_path: Path) -> None:
    files = images_of(shared, "BraTS2021_01476") | {"seg": shared / "data/formats/seg_all_ones/mav.nii.gz"}
    (case,) = find_cases(link(tmp_path / "BraTS2021_90000", **files), modalities=("t1c",)).cases
    with pytest.raises(DatasetError) as caught:
        read_case(case, modalities=("t1c",))
    (problem,) = caught.value.problems
    assert problem.file == "BraTS2021_90000_seg.nii.gz"
    assert problem.what == "every voxel is labelled as tumour"


def test_a_mask_scaled_through_floating_point_is_zero_and_one(shared: Path) -> None:
    mask = read_labels(shared / "data/formats/mask_scaled_brainmask/brainmask.nii.gz")
    assert np.bincount(mask.array.ravel()).shape == (2,)
    assert 1000 < np.count_nonzero(mask.array) / 1000 < 1700
    assert any("scaled by 2.33e-10 + 0.5" in quirk for quirk in mask.quirks)


@pytest.mark.slow
def test_a_background_that_is_not_zero_becomes_zero(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/formats/background_not_zero"
    folder = link(
        tmp_path / "BraTS2021_90001",
        t1ce=source / "T1c_subtrMeanDivStd.nii.gz",
        flair=source / "Flair_subtrMeanDivStd.nii.gz",
        seg=source / "OTMultiClass.nii.gz",
    )
    (case,) = find_cases(folder, modalities=("t1c", "t2f"), edition="2015").cases
    volumes = read_case(case, modalities=("t1c", "t2f"))
    assert 1000 < np.count_nonzero(volumes.brain) / 1000 < 1700
    assert (volumes.image[:, ~volumes.brain] == 0).all()
    assert sum("shifted to 0" in note for note in volumes.notes) == 2
    assert volumes.label is not None
    stored = np.asarray(nibabel.load(source / "OTMultiClass.nii.gz").dataobj)
    assert np.count_nonzero(volumes.label == LABELS["NCR"]) == np.count_nonzero((stored == 1) | (stored == 3))
    with pytest.raises(DatasetError, match=r"label 3 found, BraTS 2021 has 0 1 2 4 \(they would fit 2015"):
        read_case(find_cases(folder, modalities=("t1c",)).cases[0], modalities=("t1c",))


def test_axis_orders_that_agree_through_affines_are_one_grid(shared: Path) -> None:
    source = shared / "data/formats/axis_order_lumiere"
    image, mask = read_volume(source / "CT1.nii"), read_labels(source / "ct1_seg_mask.nii")
    assert image.grid.shape != mask.grid.shape
    assert image.grid.ras().distance_mm(mask.grid.ras()) < 0.05
    case = Case("lumiere", "lumiere", "2023", {"t1c": source / "CT1.nii"}, source / "ct1_seg_mask.nii")
    volumes = read_case(case, modalities=("t1c",))
    assert volumes.label is not None
    assert volumes.label.shape == volumes.brain.shape
    inside = np.count_nonzero(volumes.label[volumes.brain])
    assert inside > 0.99 * np.count_nonzero(mask.array)


def test_an_exam_as_the_scanner_gave_it_is_refused(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/formats/TCGA-FG-6692_native"
    endings = {"t1": "se2d1_t1", "t1ce": "t1c", "t2": "_t2", "flair": "fla"}
    files = {kind: next(source.glob(f"*{ending}.nii.gz")) for kind, ending in endings.items()}
    (case,) = find_cases(link(tmp_path / "BraTS2021_90002", **files)).cases
    with pytest.raises(DatasetError) as caught:
        read_case(case)
    problems = {problem.file.split("_")[2]: problem for problem in caught.value.problems}
    assert {"t2.nii.gz", "flair.nii.gz"} <= set(problems)
    assert "224×256×26 voxels of 0.898×0.898×5.5 mm" in problems["t2.nii.gz"].what
    assert "256×224×26 voxels" in problems["t2.nii.gz"].what
    assert problems["t2.nii.gz"].cure.startswith("co-register the files and resample them to one grid")
