import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.errors import Problem
from brats_lightning.evaluation.matching import Pair
from brats_lightning.evaluation.measures import chosen_measures
from brats_lightning.evaluation.scoring import Scored, read_pair, resample_labels, score_pair
from brats_lightning.nifti import Grid, Volume, read_labels

Write = Callable[..., Path]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def labels(*, shape: tuple[int, int, int] = (7, 8, 9), seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 4, shape, np.uint8)


def oriented(order: tuple[int, ...], signs: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Affine whose stored axes run along these axes of the world, with spacings of 1, 2 and 3 mm there."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign * (world + 1)
    return affine


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_prediction_comes_to_the_references_axes_however_it_is_stored(
    write_labels: Write, order: tuple[int, int, int]
) -> None:
    array = labels()
    array[0, 0, 0] = 0
    reference = write_labels("r.nii.gz", array, affine=np.diag([1.0, 2, 3, 1]))
    for signs in itertools.product((1, -1), repeat=3):
        affine = oriented(order, signs)
        stored = array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
        corner = [0 if sign == 1 else size - 1 for sign, size in zip(signs, stored.shape, strict=True)]
        affine[:3, 3] -= affine[:3, :3] @ corner
        prediction = write_labels("p.nii.gz", np.ascontiguousarray(stored), affine=affine)
        read, expected, spacing_mm = read_pair(Pair("c", reference, "2023", prediction, "2023"))
        assert np.array_equal(read, expected)
        assert spacing_mm == pytest.approx((1, 2, 3))


def test_resampling_to_the_same_grid_changes_nothing() -> None:
    volume = Volume(labels(), Grid((7, 8, 9), LPS))
    assert np.array_equal(resample_labels(volume, volume), volume.array)


def test_resampling_takes_the_nearest_label_and_background_outside() -> None:
    generator = np.random.default_rng(1)
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn * (0.8, 1.3, 1.1)
    affine[:3, 3] = (1.0, 2.0, 0.5)
    source = Volume(labels(), Grid((7, 8, 9), LPS))
    target = Volume(np.zeros((6, 5, 7), np.uint8), Grid((6, 5, 7), affine))
    moved = resample_labels(source, target)
    for voxel in np.ndindex(6, 5, 7):
        place = np.linalg.solve(LPS, affine @ (*voxel, 1))[:3]
        nearest = np.rint(place).astype(int)
        inside = ((nearest >= 0) & (nearest < source.grid.shape)).all()
        assert moved[voxel] == (source.array[tuple(nearest)] if inside else 0)
    assert moved.any()


def test_a_file_that_has_gone_since_it_was_looked_at_is_a_problem(write_labels: Write, tmp_path: Path) -> None:
    array = labels()
    array[0, 0, 0] = 0
    pair = Pair("c", write_labels("r.nii.gz", array), "2023", tmp_path / "absent.nii", "2023")
    problem = score_pair((pair, chosen_measures(["ET"])))
    assert isinstance(problem, Problem)
    assert (problem.case, problem.what) == ("c", "absent.nii: the file is not there")


def test_each_edition_is_read_by_its_own_values(write_labels: Write) -> None:
    stored = np.zeros((5, 5, 5), np.uint8)
    stored[0, 0, :4] = (1, 2, 3, 4)
    path = write_labels("p.nii.gz", stored)
    pair = Pair("c", path, "2024-PED", path, "2024-GLI")
    prediction, reference, _ = read_pair(pair)
    assert prediction[0, 0, :4].tolist() == [1, 2, 3, 4]
    assert reference[0, 0, :4].tolist() == [3, 1, 5, 2]
    result = score_pair((pair, chosen_measures(None)))
    assert isinstance(result, Scored)
    # A pediatric reference has no resection cavity; a cyst is tumour core.
    assert [row.region for row in result.rows] == ["ET", "ED", "NCR", "WT", "TC", "CC"]


def test_a_mask_on_other_axes_is_a_real_files(shared: Path) -> None:
    """Image and mask agree only through their affines; brought to the image's axes the mask keeps its volume."""
    source = shared / "data/formats/axis_order_lumiere"
    mask = read_labels(source / "ct1_seg_mask.nii")
    image = read_labels(source / "ct1_seg_mask.nii").ras()
    moved = resample_labels(mask, image)
    assert np.array_equal(moved, image.array)
