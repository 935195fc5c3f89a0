import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy.ndimage import gaussian_filter, zoom
from scipy.spatial.transform import Rotation
from torch.nn.functional import interpolate, one_hot

from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.data.reading import read_case, reference_file
from brats_lightning.inference.restore import Placement
from brats_lightning.labels import EDITIONS, LABELS, REGIONS
from brats_lightning.nifti import Grid, Volume, read_grid, read_labels, write_volume

Array = npt.NDArray[np.float64]
Three = tuple[int, int, int]
Write = Callable[..., Path]
ORIENTATIONS = [
    "".join(axis[side] for axis, side in zip(axes, sides, strict=True))
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for sides in itertools.product((0, 1), repeat=3)
]
NATIVE = Grid((20, 22, 18), np.diag([-1.0, -1.0, 1.0, 1.0]))
three_sizes = st.tuples(*[st.integers(2, 9)] * 3)


def inside(native: Grid, start: Three, stop: Three, size: Three) -> Grid:
    """Grid of an image of a size that reaches from edge to edge of a box of the RAS-ordered native voxels."""
    ratio = (np.array(stop) - start) / size
    to_native = np.diag([*ratio, 1.0])
    to_native[:3, 3] = np.array(start) + (ratio - 1) / 2
    return Grid(size, native.ras().affine @ to_native)


@st.composite
def placements(draw: st.DrawFn, *, resampled: bool) -> tuple[Grid, Placement]:
    """Oblique, anisotropic, flipped and permuted files, with an image of a part of them, padding included."""
    spacing = [draw(st.floats(0.4, 6)) for _ in range(3)]
    turned = Rotation.from_rotvec([draw(st.floats(-0.3, 0.3)) for _ in range(3)]).as_matrix()
    order = draw(st.permutations(range(3)))
    signs = [draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = turned @ np.eye(3)[:, order] * signs * spacing
    affine[:3, 3] = [draw(st.floats(-200, 200)) for _ in range(3)]
    native = Grid(draw(three_sizes), affine)
    starts, stops = [], []
    for size in native.ras().shape:
        starts.append(draw(st.integers(-3, size - 1)))
        stops.append(draw(st.integers(max(starts[-1], 0) + 1, size + 3)))
    (a, b, c), (d, e, f) = starts, stops
    seen = draw(three_sizes) if resampled else (d - a, e - b, f - c)
    return inside(native, (a, b, c), (d, e, f), seen), Placement((a, b, c), (d, e, f), native)


@given(placements(resampled=True))
def test_two_grids_tell_what_was_done(drawn: tuple[Grid, Placement]) -> None:
    grid, made = drawn
    found = Placement.between(grid, made.native)
    assert (found.start, found.stop) == (made.start, made.stop)
    # An image of its own voxels' places, counted in native voxels, comes back as those of the native voxels.
    ratio = (np.array(made.stop) - made.start) / grid.shape
    seen = np.array(made.start) + (np.indices(grid.shape).T + 0.5) * ratio - 0.5
    restored = found.resample(torch.from_numpy(seen.T.copy())).numpy()
    places = np.indices(made.native.ras().shape)[(slice(None), *found.box)]
    assert restored.shape == (3, *found.box_shape)
    errors = np.abs(restored - places).T
    assert np.all(errors <= ratio / 2 + 1e-4)


@given(placements(resampled=False))
def test_voxels_that_were_only_cropped_padded_and_turned_come_back_as_they_were(drawn: tuple[Grid, Placement]) -> None:
    grid, made = drawn
    stored = np.random.default_rng(0).random(made.native.shape).astype(np.float32)
    ras = Volume(stored, made.native).ras().array
    around = np.pad(ras, 3, constant_values=7)
    seen = around[tuple(slice(a + 3, b + 3) for a, b in zip(made.start, made.stop, strict=True))]

    placement = Placement.between(grid, made.native)
    (restored,) = placement.resample(torch.from_numpy(seen.copy())[None])
    whole = placement.paste(restored.numpy(), fill=-1)

    assert whole.shape == stored.shape
    assert whole.flags.f_contiguous
    assert np.array_equal(whole[whole >= 0], stored[whole >= 0])
    assert np.count_nonzero(whole >= 0) == np.prod(placement.box_shape)
    assert np.array_equal(placement.paste_ras(restored.numpy(), fill=-1)[placement.box], ras[placement.box])


def resampled(volumes: torch.Tensor, size: Three) -> torch.Tensor:
    native = Grid(size, np.eye(4))
    x, y, z = volumes.shape[1:]
    return Placement.between(inside(native, (0, 0, 0), size, (x, y, z)), native).resample(volumes)


def test_growing_is_linear_from_edge_to_edge() -> None:
    volumes = torch.rand(3, 8, 9, 10, generator=torch.Generator().manual_seed(0))
    grown = resampled(volumes, (11, 9, 17))
    assert torch.equal(grown, interpolate(volumes[None], (11, 9, 17), mode="trilinear", align_corners=False)[0])
    oracle = zoom(volumes[1].double().numpy(), (11 / 8, 1, 1.7), order=1, mode="nearest", grid_mode=True)
    assert np.allclose(grown[1].numpy(), oracle, atol=1e-5)


@pytest.mark.parametrize("size", [(4, 3, 5), (7, 9, 3), (1, 1, 1)])
def test_shrinking_is_the_mean_of_what_is_covered(size: Three) -> None:
    """The oracle cuts every voxel into as many slices as there are new ones, which makes all edges fall on edges."""
    volumes = torch.rand(2, 8, 9, 10, generator=torch.Generator().manual_seed(0))
    oracle = volumes.double().numpy()
    for axis, new in enumerate(size, start=1):
        cut = np.moveaxis(np.repeat(oracle, new, axis=axis), axis, -1)
        oracle = np.moveaxis(cut.reshape(*cut.shape[:-1], new, -1).mean(axis=-1), -1, axis)
    assert np.allclose(resampled(volumes, size).numpy(), oracle, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "tolerance"),
    [((14, 9, 26), 1e-5), ((60, 70, 55), 0.01), ((45, 9, 80), 0.01), ((30, 32, 28), 1e-6)],
    ids=["smaller", "larger", "both", "same"],
)
def test_volumes_are_kept(size: Three, tolerance: float) -> None:
    """Of lesions of about three voxels, which point sampling in thick slices may miss or double."""
    points = np.zeros((30, 32, 28))
    points[tuple(np.random.default_rng(0).integers(5, 23, (3, 20)))] = 30
    lesions = torch.from_numpy(gaussian_filter(points, 1)).float()[None]
    share = float(resampled(lesions, size).mean() / lesions.mean())
    assert share == pytest.approx(1, abs=tolerance)


def test_half_precision_becomes_single() -> None:
    half = torch.rand(2, 6, 6, 6, generator=torch.Generator().manual_seed(0)).half()
    restored = resampled(half, (9, 4, 6))
    assert restored.dtype == torch.float32
    assert torch.equal(restored, resampled(half.float(), (9, 4, 6)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (np.array([[1, 0.02, 0, 0], [-0.02, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "no box of voxels"),
        (np.array([[1, 0, 0.02, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "no box of voxels"),
        (np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "no box of voxels"),
        (np.diag([0.93, 1, 1, 1]), "no box of voxels"),
        (np.array([[-1, 0, 0, 19], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "flipped or lies beside"),
        (np.array([[1, 0, 0, 20], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "flipped or lies beside"),
        (np.array([[1, 0, 0, -20], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "flipped or lies beside"),
    ],
    ids=["turned", "sheared", "half a voxel off", "between edges", "flipped", "to the right", "to the left"],
)
def test_a_grid_that_did_not_come_from_the_files_is_refused(change: Array, sentence: str) -> None:
    grid = NATIVE.ras()
    Placement.between(grid, NATIVE)
    with pytest.raises(ValueError, match=sentence):
        Placement.between(Grid(grid.shape, grid.affine @ change), NATIVE)


def test_a_part_of_the_files_that_is_flipped_is_refused() -> None:
    part = inside(NATIVE, (5, 5, 5), (10, 10, 10), (5, 5, 5))
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = 4
    with pytest.raises(ValueError, match="flipped"):
        Placement.between(Grid(part.shape, part.affine @ flip), NATIVE)


def test_an_array_of_another_shape_than_the_box_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape of the box \(20, 22, 18\), found \(20, 22, 17\)"):
        Placement.between(NATIVE.ras(), NATIVE).paste(np.zeros((20, 22, 17)))


def restore_label(sample: Sample) -> tuple[Placement, npt.NDArray[np.uint8]]:
    """What a network that knows the reference would give, decided on the native voxels of the box."""
    assert sample.label is not None
    probabilities = one_hot(sample.label[0].long(), 1 + max(LABELS.values())).movedim(-1, 0).half()
    placement = Placement.between(sample.grid, sample.native)
    decided: npt.NDArray[np.uint8] = placement.resample(probabilities).numpy().argmax(axis=0).astype(np.uint8)
    return placement, decided


def assert_comes_back(case: Case, pipeline: Preprocessing, folder: Path) -> None:
    """The file that is written for the sample's own label is the case's label file."""
    sample = pipeline(case)
    placement, decided = restore_label(sample)
    labels = EDITIONS[case.edition].encode(placement.paste(decided))
    reference = reference_file(case, modalities=pipeline.modalities)
    write_volume(folder / "back.nii.gz", labels, sample.native, like=reference, verify=True)
    assert case.label is not None
    back, stored = read_labels(folder / "back.nii.gz"), read_labels(case.label)
    assert np.array_equal(back.ras().array, stored.ras().array)
    assert np.array_equal(back.grid.affine, read_grid(reference).affine)
    assert back.grid.shape == read_grid(reference).shape


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_any_axis_order_comes_back(write_case: Write, tmp_path: Path, axes: str) -> None:
    folder = write_case("BraTS2021_00001", ending=".nii")
    for path in folder.glob("*.nii"):
        image = nibabel.load(path)
        turned = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(axes)))
        nibabel.save(nibabel.Nifti1Image(np.asarray(turned.dataobj).copy(), turned.affine), path)
    (case,) = find_cases(folder).cases
    assert_comes_back(case, Preprocessing(size=None), tmp_path)
    assert read_labels(tmp_path / "back.nii.gz").grid.orientation == axes


OBLIQUE = np.array([[0, -0.995, 0.0998, 30], [0, -0.0998, -0.995, 12], [-1, 0, 0, 50], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "pipeline",
    [
        Preprocessing(size=None),
        Preprocessing(size=None, crop_margin=3),
        Preprocessing(size=None, crop=False),
        Preprocessing(size=None, spacing_mm=1),
    ],
    ids=["crop", "margin", "whole", "1 mm on 1 mm"],
)
@pytest.mark.parametrize("affine", [np.eye(4), OBLIQUE], ids=["RAS", "oblique IRP"])
def test_pipelines_that_keep_the_voxels_bring_them_back(
    write_case: Write, tmp_path: Path, pipeline: Preprocessing, affine: Array
) -> None:
    (case,) = find_cases(write_case("BraTS2021_00001", affine=affine)).cases
    assert_comes_back(case, pipeline, tmp_path)


def test_files_with_nothing_but_a_qform_and_thick_slices_come_back(write_case: Write, tmp_path: Path) -> None:
    folder = write_case("BraTS2021_00001", ending=".nii")
    for path in folder.glob("*.nii"):
        image = nibabel.load(path)
        image.set_qform(OBLIQUE @ np.diag([0.9, 1.2, 5.5, 1]), code=2)
        image.set_sform(None, code=0)
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj).copy(), None, image.header), path)
    (case,) = find_cases(folder).cases
    assert_comes_back(case, Preprocessing(size=None), tmp_path)
    header = nibabel.load(tmp_path / "back.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (2, 0)


def dice_after(case: Case, pipeline: Preprocessing, region: str) -> float:
    """Dice of a case's label with itself, through a pipeline and back."""
    placement, decided = restore_label(pipeline(case))
    label = read_case(case, modalities=pipeline.modalities).label
    assert label is not None
    back, stored = (np.isin(array, REGIONS[region]) for array in (placement.paste_ras(decided), label))
    return float(2 * np.count_nonzero(back & stored) / (np.count_nonzero(back) + np.count_nonzero(stored)))


@pytest.mark.parametrize("pipeline", [Preprocessing(size=(40, 44, 36)), Preprocessing(size=(22, 60, 40))])
def test_labels_survive_other_voxels(phantoms: Path, pipeline: Preprocessing) -> None:
    cases = find_cases(phantoms).cases[:3]
    assert min(dice_after(case, pipeline, "WT") for case in cases) > 0.9


REAL = (
    "BraTS2021_01481", "BraTS-GLI-00000-000", "Brats18_2013_21_1", "BraTS2021_00006", "BraTS2021_01476",
    "BraTS2021_01477", "BraTS2021_01483", "BraTS2021_01657", "BraTS2021_01659",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_labels_come_back(shared: Path, tmp_path: Path, name: str) -> None:
    (case,) = find_cases(shared / "data/brats" / name).cases
    assert_comes_back(case, Preprocessing(size=None), tmp_path)
    assert dice_after(case, Preprocessing(), "WT") > 0.98


@pytest.fixture
def odd(shared: Path, tmp_path: Path) -> Callable[[str], Case]:
    """Cases of one image each on grids met in the wild; where the data hold no pair of image and label, one is made."""
    formats = shared / "data/formats"

    def make(name: str) -> Case:
        lumiere = formats / "axis_order_lumiere"
        image, label, edition = lumiere / "CT1.nii", lumiere / "ct1_seg_mask.nii", "2023"
        if name == "tcga":
            image, label = next((formats / "TCGA-FG-6692_native").glob("*fla.nii.gz")), tmp_path / "label.nii.gz"
            grid = read_grid(image)
            blob = np.linalg.norm((np.indices(grid.shape).T - [90, 140, 14]) * [0.9, 0.9, 5.5], axis=-1).T
            write_volume(label, (blob < 25).astype(np.uint8) + (blob < 18), grid, like=image)
        elif name == "2024":
            edition, label = "2024-GLI", formats / "seg_brats2024/BraTS-GLI-00046-101-seg.nii.gz"
            image, grid = tmp_path / "image.nii.gz", read_grid(label)
            brain = np.zeros(grid.shape, np.uint8)
            brain[20:160, 20:200, 20:160] = 1
            write_volume(image, brain, grid, like=label)
        return Case(name, name, edition, {"t1c": image}, label)

    return make


@pytest.mark.parametrize(
    ("name", "axes"), [("lumiere", "LIP"), ("tcga", "LAS"), pytest.param("2024", "LAS", marks=pytest.mark.slow)]
)
def test_odd_grids_come_back(odd: Callable[[str], Case], tmp_path: Path, name: str, axes: str) -> None:
    case = odd(name)
    assert_comes_back(case, Preprocessing(modalities=("t1c",), size=None), tmp_path)
    assert read_labels(tmp_path / "back.nii.gz").grid.orientation == axes
    assert dice_after(case, Preprocessing(modalities=("t1c",)), "WT") > 0.97
