import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.reading import CaseVolumes, background_value, read_case, reference_file
from brats_lightning.errors import DatasetError, Problem
from brats_lightning.labels import MODALITIES, Modality
from brats_lightning.nifti import read_grid

Write = Callable[..., Path]
Change = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
ORIENTATIONS = [
    tuple(axis[side] for axis, side in zip(axes, sides, strict=True))
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for sides in itertools.product((0, 1), repeat=3)
]


@pytest.fixture
def folder(write_case: Write) -> Path:
    """Uncompressed files of BraTS2021_00001."""
    return write_case("BraTS2021_00001", ending=".nii")


def case_in(folder: Path, **options: Any) -> Case:
    (case,) = find_cases(folder, **options).cases
    return case


def change(
    folder: Path, kind: str, content: Change = lambda array: array, *, affine: npt.NDArray[Any] | None = None
) -> None:
    """Write a file anew, its voxels or its affine changed."""
    path = folder / f"BraTS2021_00001_{kind}.nii"
    image = nibabel.load(path)
    array = content(np.asarray(image.dataobj).copy())
    nibabel.save(nibabel.Nifti1Image(array, image.affine if affine is None else affine), path)


def problems_of(folder: Path, **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(DatasetError) as caught:
        read_case(case_in(folder, **options))
    return caught.value.problems


def only_problem(folder: Path, **options: Any) -> Problem:
    (problem,) = problems_of(folder, **options)
    return problem


def with_value(value: float, at: tuple[int, int, int] = (1, 2, 3)) -> Change:
    def put(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array = array.astype(np.float32)
        array[at] = value
        return array

    return put


def test_a_case_is_read_in_ras_order_with_its_labels_decoded(folder: Path) -> None:
    volumes = read_case(case_in(folder))
    assert volumes.image.shape == (4, 20, 22, 18)
    assert volumes.image.dtype == np.float32
    assert volumes.brain.dtype == np.bool_
    assert volumes.label is not None
    assert volumes.label.dtype == np.uint8
    assert volumes.notes == tuple(
        f"BraTS2021_00001_{kind}.nii: sform only" for kind in ("t1", "t1ce", "t2", "flair", "seg")
    )
    assert volumes.grid.orientation == "RAS"
    assert volumes.native.orientation == "LPS"
    for channel, kind in enumerate(("t1", "t1ce", "t2", "flair")):
        stored = np.asarray(nibabel.load(folder / f"BraTS2021_00001_{kind}.nii").dataobj)
        assert np.array_equal(volumes.image[channel], stored[::-1, ::-1])
    stored = np.asarray(nibabel.load(folder / "BraTS2021_00001_seg.nii").dataobj)[::-1, ::-1]
    assert np.array_equal(volumes.label, np.where(stored == 4, 3, stored))
    assert set(np.unique(stored)) == {0, 1, 2, 4}
    assert np.array_equal(volumes.brain, (volumes.image != 0).any(axis=0))


def test_channels_come_as_asked_for(folder: Path) -> None:
    case = case_in(folder)
    every = read_case(case)
    two = read_case(case, modalities=("t2f", "t1n"))
    assert np.array_equal(two.image, every.image[[MODALITIES.index("t2f"), MODALITIES.index("t1n")]])


def test_an_unlabelled_case_has_no_label(folder: Path) -> None:
    (folder / "BraTS2021_00001_seg.nii").unlink()
    assert read_case(case_in(folder)).label is None


@pytest.mark.parametrize("axes", ORIENTATIONS, ids="".join)
def test_axis_order_and_direction_change_nothing(folder: Path, axes: tuple[str, str, str]) -> None:
    """Also where each file has its own, as long as they agree through their affines."""
    before = read_case(case_in(folder))
    turn_all = axes[0] in "LP"
    for path in folder.glob("*.nii") if turn_all else [folder / "BraTS2021_00001_t1ce.nii"]:
        image = nibabel.load(path)
        turned = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(axes)))
        nibabel.save(nibabel.Nifti1Image(np.asarray(turned.dataobj).copy(), turned.affine), path)
    after = read_case(case_in(folder))
    assert after.native.orientation == ("".join(axes) if turn_all else "LPS")
    assert same(before, after)
    assert np.allclose(before.grid.affine, after.grid.affine)


def same(one: CaseVolumes, other: CaseVolumes) -> bool:
    assert one.label is not None
    assert other.label is not None
    return (
        np.array_equal(one.image, other.image)
        and np.array_equal(one.brain, other.brain)
        and np.array_equal(one.label, other.label)
    )


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_labels_may_be_stored_in_any_type(folder: Path, kind: type[np.generic]) -> None:
    before = read_case(case_in(folder))
    change(folder, "seg", lambda array: array.astype(kind))
    assert same(before, read_case(case_in(folder)))


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.float32, np.float64])
def test_images_may_be_stored_in_any_type(folder: Path, kind: type[np.generic]) -> None:
    before = read_case(case_in(folder))
    for name in ("t1", "t2"):
        change(folder, name, lambda array: array.astype(kind))
    assert same(before, read_case(case_in(folder)))


def test_a_slope_of_zero_and_a_lone_qform_are_read_and_noted(folder: Path) -> None:
    before = read_case(case_in(folder))
    path = folder / "BraTS2021_00001_t1.nii"
    image = nibabel.load(path)
    image.set_qform(image.affine, code=1)
    image.set_sform(None, code=0)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj).copy(), None, image.header), path)
    content = bytearray(path.read_bytes())
    content[112:116] = np.float32(0).tobytes()
    path.write_bytes(content)
    after = read_case(case_in(folder))
    assert same(before, after)
    assert {note for note in after.notes if note.startswith(path.name)} == {
        f"{path.name}: qform only",
        f"{path.name}: slope 0 (means: not scaled)",
    }


@pytest.mark.parametrize("background", [-0.731, 12.0])
def test_a_background_that_is_not_zero_becomes_zero(folder: Path, background: float) -> None:
    before = read_case(case_in(folder))
    change(folder, "flair", lambda array: array.astype(np.float32) + np.float32(background))
    after = read_case(case_in(folder))
    assert np.array_equal(after.brain, before.brain)
    assert (after.image[3][~after.brain] == 0).all()
    assert np.allclose(after.image[3], before.image[3], atol=1e-3)
    assert f"BraTS2021_00001_flair.nii: background {background:.4g}, shifted to 0" in after.notes


def test_a_whole_scored_image_keeps_its_brain(folder: Path) -> None:
    """Z-scored with its background, as some publish their data: many values inside the brain are negative too."""
    before = read_case(case_in(folder))
    change(folder, "t1", lambda array: ((array - array.mean()) / array.std()).astype(np.float32))
    after = read_case(case_in(folder))
    assert np.array_equal(after.brain, before.brain)
    inside = after.brain
    assert np.corrcoef(after.image[0][inside], before.image[0][inside])[0, 1] > 0.999


def test_an_image_without_background_counts_as_brain(folder: Path) -> None:
    change(folder, "t2", lambda array: np.random.default_rng(0).integers(1, 999, array.shape).astype(np.int16))
    volumes = read_case(case_in(folder))
    assert volumes.brain.all()
    assert any("no constant background" in note for note in volumes.notes)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, None), (0.4, None), (0.6, 7.0), (1.0, 7.0)], ids=["none", "less", "more", "all"]
)
def test_the_background_fills_half_of_the_faces(share: float, expected: float | None) -> None:
    generator = np.random.default_rng(0)
    array = generator.normal(0, 1000, (12, 13, 14)).astype(np.float32)
    array[generator.random(array.shape) < share] = 7
    assert background_value(array) == expected


def test_notes_tell_of_odd_segmentations(folder: Path) -> None:
    change(folder, "seg", lambda array: np.where(array == 4, 1, array))
    assert read_case(case_in(folder)).notes[-1] == "no enhancing tumour"

    def with_corner(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array[0, 0, :3] = 4
        return array

    change(folder, "seg", with_corner)
    assert read_case(case_in(folder)).notes[-1] == "3 labelled voxels where all images are background"
    change(folder, "seg", np.zeros_like)
    assert read_case(case_in(folder)).notes[-1] == "the segmentation is empty"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (with_value(np.nan), "1 voxels are NaN or infinite"),
        (with_value(-np.inf), "1 voxels are NaN or infinite"),
        (np.zeros_like, "an empty image: every voxel is 0"),
        (lambda array: np.full_like(array, 7), "an empty image: every voxel is 7"),
        (lambda array: np.stack([array] * 3, axis=-1), "expected three dimensions, found shape (20, 22, 18, 3)"),
        (lambda array: array[0, 0], "expected two to four dimensions, found shape (18,)"),
    ],
)
def test_an_unusable_image_is_refused(folder: Path, content: Change, sentence: str) -> None:
    change(folder, "t2", content)
    problem = only_problem(folder)
    assert (problem.case, problem.file) == ("BraTS2021_00001", "BraTS2021_00001_t2.nii")
    assert sentence in problem.what
    assert problem.cure == "download the file again or leave the case out"


def test_a_slice_among_volumes_is_refused(folder: Path) -> None:
    change(folder, "t2", lambda array: array[..., 9])
    problem = only_problem(folder)
    assert "its grid (20×22×1 voxels of 1×1×1 mm, LPS) is not that of BraTS2021_00001_t1.nii" in problem.what
    assert "co-register" in problem.cure


@pytest.mark.parametrize("kind", ["t1", "seg"])
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-4000]), "not a readable volume"),
        (lambda path: path.write_bytes(b"<html>404 Not Found</html>" * 40), "not a readable volume"),
        (lambda path: path.write_bytes(b""), "shorter than a NIfTI header"),
        (lambda path: path.unlink(), "the file is not there"),
    ],
    ids=["truncated", "web page", "empty", "gone"],
)
def test_a_damaged_file_is_refused(folder: Path, kind: str, damage: Callable[[Path], None], sentence: str) -> None:
    case = case_in(folder)
    damage(folder / f"BraTS2021_00001_{kind}.nii")
    with pytest.raises(DatasetError) as caught:
        read_case(case)
    (problem,) = caught.value.problems
    assert problem.file == f"BraTS2021_00001_{kind}.nii"
    assert sentence in problem.what


def test_a_compressed_file_that_is_cut_short_is_refused(write_case: Write) -> None:
    folder = write_case("BraTS2021_00001")
    path = folder / "BraTS2021_00001_t1ce.nii.gz"
    path.write_bytes(path.read_bytes()[:-1000])
    assert only_problem(folder).what == "the compressed data are cut short or damaged"


def test_labels_of_another_edition_are_refused_with_a_hint(folder: Path) -> None:
    change(folder, "seg", lambda array: np.where(array == 4, 3, array))
    problem = only_problem(folder)
    assert problem.file == "BraTS2021_00001_seg.nii"
    assert "label 3 found, BraTS 2021 has 0 1 2 4 (they would fit 2015, 2023" in problem.what
    assert "`edition`" in problem.cure
    assert read_case(case_in(folder, edition="2023")).label is not None


def test_labels_of_no_edition_are_refused(folder: Path) -> None:
    change(folder, "seg", lambda array: np.where(array == 4, -7, array.astype(np.int16)))
    assert re.fullmatch(r"label -7 found, BraTS 2021 has 0 1 2 4", only_problem(folder).what)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (np.ones_like, "every voxel is labelled as tumour"),
        (with_value(1.5), "labels that are no whole numbers, as after interpolation"),
        (with_value(np.nan), "labels that are NaN or infinite"),
        (lambda array: np.stack([array] * 2, axis=-1), "expected three dimensions"),
    ],
)
def test_an_unusable_segmentation_is_refused(folder: Path, content: Change, sentence: str) -> None:
    change(folder, "seg", content)
    assert sentence in only_problem(folder).what


@pytest.mark.parametrize("kind", ["t1ce", "seg"])
def test_grids_that_differ_are_both_named_with_their_distance(folder: Path, kind: str) -> None:
    moved = np.diag([-1.0, -1.0, 1.0, 1.0])
    moved[:3, 3] = (3, 0, 4)
    change(folder, kind, affine=moved)
    problem = only_problem(folder)
    assert problem.file == f"BraTS2021_00001_{kind}.nii"
    assert problem.what == (
        "its grid (20×22×18 voxels of 1×1×1 mm, LPS) is not that of BraTS2021_00001_t1.nii "
        "(20×22×18 voxels of 1×1×1 mm, LPS), 5 mm apart"
    )


def test_spacing_and_shape_that_differ_are_named(folder: Path) -> None:
    change(folder, "t2", affine=np.diag([-1.0, -1.0, 1.2, 1.0]))
    change(folder, "flair", lambda array: array[:, :, :-1])
    spacing, shape = problems_of(folder)
    assert "20×22×18 voxels of 1×1×1.2 mm" in spacing.what
    assert spacing.what.endswith(", 3.4 mm apart")
    assert "20×22×17 voxels of 1×1×1 mm" in shape.what
    assert shape.what.endswith("LPS)")


def test_rounding_of_an_affine_is_no_difference(folder: Path) -> None:
    change(folder, "t2", affine=np.diag([-1.0, -1.0, 1.0, 1.0]) + 1e-5 * np.eye(4)[::-1] * [[1], [1], [1], [0]])
    assert read_case(case_in(folder)).image.shape[0] == 4


def test_everything_that_is_wrong_is_told_at_once(folder: Path) -> None:
    (folder / "BraTS2021_00001_t1.nii").write_bytes(b"")
    change(folder, "t1ce", np.zeros_like)
    change(folder, "flair", lambda array: array[1:])
    change(folder, "seg", lambda array: array + 5)
    problems = problems_of(folder)
    assert sorted(problem.file.removeprefix("BraTS2021_00001_") for problem in problems) == [
        "flair.nii",
        "seg.nii",
        "t1.nii",
        "t1ce.nii",
    ]
    assert "not that of BraTS2021_00001_t2.nii" in next(p.what for p in problems if "flair" in p.file)


def test_all_volumes_run_through_memory_in_the_same_order(folder: Path) -> None:
    """The files' order, x first, though their axes are flipped: comparing in two orders takes four times as long."""
    volumes = read_case(case_in(folder))
    assert volumes.label is not None
    for array in (volumes.label, volumes.brain, *volumes.image):
        assert array.flags.f_contiguous


def test_labels_outside_the_images_are_counted(folder: Path) -> None:
    before = read_case(case_in(folder))
    assert before.label is not None
    change(folder, "seg", with_value(2, at=(0, 0, 0)))
    after = read_case(case_in(folder))
    assert after.notes[-1] == "1 labelled voxels where all images are background"


@pytest.fixture
def moved(folder: Path) -> Path:
    """As `folder`, with the FLAIR image on coarser voxels of its own: 10 of the 11 that would cover the second axis."""
    path = folder / "BraTS2021_00001_flair.nii"
    array = np.asarray(nibabel.load(path).dataobj)[:, :20].astype(np.float32)
    halves = array.reshape(20, 10, 2, 18).mean(axis=2)
    affine = np.diag([-1.0, -2.0, 1.0, 1.0])
    affine[1, 3] = -0.5
    nibabel.save(nibabel.Nifti1Image(halves, affine), path)
    return folder


def test_images_on_other_grids_are_refused_or_aligned(folder: Path, moved: Path) -> None:
    problem = only_problem(moved)
    assert problem.file == "BraTS2021_00001_flair.nii"
    assert problem.cure.startswith("co-register the files and resample them to one grid, or")
    assert problem.cure.endswith("by their headers with --align header")

    volumes = read_case(case_in(moved), align=True)
    assert volumes.image.shape == (4, 20, 22, 18)
    assert (
        "BraTS2021_00001_flair.nii: resampled by its header onto the grid of BraTS2021_00001_t1ce.nii, "
        "9.1% of which lies outside its field of view"
    ) in volumes.notes
    assert sum("resampled" in note for note in volumes.notes) == 1
    t2f, t1c = volumes.image[3], volumes.image[1]
    assert (t2f[:, :2] == 0).all()  # the file's last two columns, which RAS order has first
    brain = t1c != 0
    assert np.corrcoef(t2f[:, 2:][brain[:, 2:]], t1c[:, 2:][brain[:, 2:]])[0, 1] > 0.3
    assert volumes.label is not None


def test_aligning_changes_nothing_where_all_agree(folder: Path) -> None:
    before, after = read_case(case_in(folder)), read_case(case_in(folder), align=True)
    assert same(before, after)
    assert before.notes == after.notes


@pytest.mark.parametrize("background", [0.0, -0.7])
def test_a_background_survives_alignment(moved: Path, background: float) -> None:
    change(moved, "flair", lambda array: array + np.float32(background))
    volumes = read_case(case_in(moved), modalities=("t1c", "t2f"), align=True)
    assert np.median(np.abs(volumes.image[1])) == pytest.approx(0, abs=1e-6)
    assert (volumes.image[1][:, :2] == 0).all()
    assert not volumes.brain.all()


def test_preprocessing_hands_alignment_on_and_stays_the_same_pipeline(moved: Path) -> None:
    pipeline, case = Preprocessing(size=None, crop=False), case_in(moved)
    with pytest.raises(DatasetError, match="--align header"):
        pipeline(case)
    sample = pipeline(case, align=True)
    assert any("resampled by its header" in note for note in sample.notes)
    assert np.array_equal(sample.image != 0, read_case(case, align=True).image != 0)
    assert "align" not in pipeline.fingerprint


def test_headers_that_place_an_image_elsewhere_are_refused(moved: Path) -> None:
    elsewhere = np.diag([-1.0, -1.0, 1.0, 1.0])
    elsewhere[0, 3] = 12
    change(moved, "t2", affine=elsewhere)
    with pytest.raises(DatasetError) as caught:
        read_case(case_in(moved), align=True)
    (problem,) = caught.value.problems
    assert problem.file == "BraTS2021_00001_t2.nii"
    assert problem.what == (
        "by its header it shows 40% of the place that BraTS2021_00001_t1ce.nii shows, too little to align them"
    )
    assert "--align" not in problem.cure


def test_a_label_must_lie_on_the_reference_grid_though_images_are_aligned(moved: Path) -> None:
    change(moved, "seg", affine=np.diag([-1.0, -1.0, 1.2, 1.0]))
    with pytest.raises(DatasetError) as caught:
        read_case(case_in(moved), align=True)
    (problem,) = caught.value.problems
    assert problem.file == "BraTS2021_00001_seg.nii"
    assert "is not that of BraTS2021_00001_t1ce.nii" in problem.what


def test_the_reference_file_has_the_native_grid(moved: Path) -> None:
    case = case_in(moved)
    asked: tuple[tuple[tuple[Modality, ...], bool, str], ...] = (
        (("t1n", "t1c"), False, "t1"),
        (("t2f", "t1c"), True, "t1ce"),
        (("t2f", "t1n"), True, "flair"),
    )
    for modalities, align, kind in asked:
        reference = reference_file(case, modalities=modalities, align=align)
        assert reference.name == f"BraTS2021_00001_{kind}.nii"
        native = read_case(replace(case, label=None), modalities=modalities, align=align).native
        assert native.distance_mm(read_grid(reference)) == 0


def test_an_exam_as_the_scanner_gave_it_is_aligned(shared: Path) -> None:
    source = shared / "data/formats/TCGA-FG-6692_native"
    endings: dict[Modality, str] = {"t1n": "se2d1_t1", "t1c": "t1c", "t2w": "_t2", "t2f": "fla"}
    images = {kind: next(source.glob(f"*{ending}.nii.gz")) for kind, ending in endings.items()}
    case = Case("TCGA", "TCGA", "2021", images)
    volumes = read_case(case, align=True)
    assert volumes.native.distance_mm(read_grid(images["t1c"])) == 0
    assert [note.split("_")[1] for note in volumes.notes if "resampled" in note] == ["T2", "FLAIR"]
    heads = [channel > np.percentile(channel, 70) for channel in volumes.image]
    for other in (0, 2, 3):  # the same head at the same place: chance gives 0.3
        assert np.count_nonzero(heads[1] & heads[other]) > 0.6 * np.count_nonzero(heads[1])
