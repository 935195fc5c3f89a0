import json
import math
from pathlib import Path

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from monai.metrics.utils import create_table_neighbour_code_to_surface_area
from scipy import ndimage

from brats_lightning.metrics.surfels import surfel_areas, surfel_hd95_mm
from brats_lightning.nifti import read_labels

Bytes = npt.NDArray[np.uint8]
FILE_REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
scattered = hypothesis.extra.numpy.arrays(np.uint8, (7, 8, 9), elements=st.integers(0, 1), fill=st.just(0))


def ball(radius: float, *, size: int = 40) -> Bytes:
    distances = np.linalg.norm(np.indices((size, size, size)) - size // 2, axis=0)
    return np.asarray(distances <= radius, np.uint8)


def slow_hd95_mm(prediction: Bytes, reference: Bytes, spacing_mm: tuple[float, ...]) -> float:
    """By distance transforms of the whole grid, all surfels sorted."""
    weights = 2 ** np.arange(7, -1, -1).reshape(2, 2, 2)
    padded = [np.pad(side, 1).astype(int) for side in (prediction, reference)]
    codes = [ndimage.correlate(side, weights, mode="constant") % 256 for side in padded]
    areas, found = surfel_areas(spacing_mm), []
    for code, other in (codes, codes[::-1]):
        surface = areas[code] > 0
        distances = ndimage.distance_transform_edt(areas[other] == 0, sampling=spacing_mm)[surface]
        order = np.lexsort((areas[code[surface]], distances))
        share = np.cumsum(areas[code[surface]][order]) / areas[code[surface]][order].sum()
        found.append(distances[order][np.searchsorted(share, 0.95)])
    return float(max(found))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.0, 2.0, 3.7), (0.9, 0.3, 5.0)])
def test_areas_are_those_of_the_published_table(spacing_mm: tuple[float, float, float]) -> None:
    table, _ = create_table_neighbour_code_to_surface_area(spacing_mm)
    np.testing.assert_allclose(surfel_areas(spacing_mm), table.numpy(), rtol=1e-6)


def test_the_table_cannot_be_overwritten() -> None:
    with pytest.raises(ValueError, match="read-only"):
        surfel_areas((1, 1, 1))[0] = 1


def test_only_eight_voxels_alike_have_no_surface() -> None:
    assert np.flatnonzero(surfel_areas((1, 2, 3)) == 0).tolist() == [0, 255]


@hypothesis.given(scattered, scattered, st.sampled_from([(1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.9, 0.7, 5.0)]))
@hypothesis.settings(deadline=None, max_examples=100)
def test_distance_is_that_of_distance_transforms(
    prediction: Bytes, reference: Bytes, spacing_mm: tuple[float, ...]
) -> None:
    hypothesis.assume(prediction.any() and reference.any())
    expected = slow_hd95_mm(prediction, reference, spacing_mm)
    assert surfel_hd95_mm(prediction, reference, spacing_mm=spacing_mm) == pytest.approx(expected, abs=1e-9)


def test_a_plate_moved_by_seven_slices_is_seven_spacings_away() -> None:
    plate, moved = np.zeros((2, 12, 12, 20), np.uint8)
    plate[3:9, 3:9, 4:6] = moved[3:9, 3:9, 11:13] = 1
    # Of the two sheets the near one is 5 slices nearer to the other plate.
    assert surfel_hd95_mm(plate, moved, spacing_mm=(1, 1, 3)) == pytest.approx(21)


def test_spacing_scales_the_distance() -> None:
    small, large = ball(6), ball(9.3)
    found = [surfel_hd95_mm(small, large, spacing_mm=(step, step, step)) for step in (1.0, 2.5)]
    assert found[1] == pytest.approx(2.5 * found[0])
    assert 3 <= found[0] <= 4


def test_neither_order_nor_flips_nor_the_border_matter() -> None:
    generator = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(generator.normal(size=(2, 20, 24, 18)), (0, 2, 2, 2))
    prediction, reference = (noise > 0.02).astype(np.uint8)
    expected = surfel_hd95_mm(prediction, reference, spacing_mm=(1, 1, 2))
    others = [
        (reference, prediction),
        (prediction[::-1, :, ::-1], reference[::-1, :, ::-1]),
        (np.pad(prediction, 4), np.pad(reference, 4)),
        (np.asfortranarray(prediction), reference.copy()),
    ]
    assert prediction[0].any()
    for first, second in others:
        assert surfel_hd95_mm(first, second, spacing_mm=(1, 1, 2)) == pytest.approx(expected, abs=1e-9)
    turned = surfel_hd95_mm(prediction.T, reference.T, spacing_mm=(2, 1, 1))
    assert turned == pytest.approx(expected, abs=1e-9)


def test_empty_masks() -> None:
    empty = np.zeros((5, 5, 5), np.uint8)
    full = np.ones((5, 5, 5), np.uint8)
    assert surfel_hd95_mm(empty, empty, spacing_mm=(1, 1, 1)) == 0
    assert surfel_hd95_mm(full, empty, spacing_mm=(1, 1, 1)) == math.inf
    assert surfel_hd95_mm(empty, full, spacing_mm=(1, 1, 1)) == math.inf
    assert surfel_hd95_mm(full, full, spacing_mm=(1, 1, 1)) == 0


@pytest.mark.parametrize(("voxels", "expected"), [(20, 2.0), (40, 0.0), (60, 2.0), (180, 0.0)])
def test_ninety_five_percent_met_exactly_is_decided_as_the_published_sum_rounds(voxels: int, expected: float) -> None:
    """Single voxels have one area; one in twenty is moved, so that the others make up 95 % but for rounding."""
    reference, prediction = np.zeros((2, 4 * voxels + 8, 8, 4), np.uint8)
    places = 4 * np.arange(voxels) + 2
    reference[places, 2, 2] = 1
    prediction[places[: voxels // 20], 5, 2] = prediction[places[voxels // 20 :], 2, 2] = 1
    assert slow_hd95_mm(prediction, reference, (1.0, 1.0, 1.0)) == expected
    assert surfel_hd95_mm(prediction, reference, spacing_mm=(1, 1, 1)) == expected


def test_numbers_above_one_wrap_so_that_the_inside_becomes_surface() -> None:
    """2 · 255 is 254 in eight bits: the code of a corner, not of the inside."""
    mask = ball(8)
    distance = surfel_hd95_mm(2 * mask, mask, spacing_mm=(1, 1, 1))
    assert surfel_hd95_mm(mask, mask, spacing_mm=(1, 1, 1)) == 0
    assert distance == pytest.approx(slow_hd95_mm(2 * mask, mask, (1.0, 1.0, 1.0)))
    assert distance > 3


def test_distances_are_those_of_surface_distance(shared: Path) -> None:
    golden = json.loads((shared / "golden" / "whole_image.json").read_text())["pairs"]
    compared = 0
    for pair in (pair for pair in golden if pair.startswith("s")):
        prediction, reference = (
            read_labels(shared / "golden" / "pairs" / pair / f"{side}.nii.gz") for side in ("pred", "gt")
        )
        for region, values in FILE_REGIONS.items():
            sides = [np.isin(volume.array, values).astype(np.uint8) for volume in (prediction, reference)]
            if sides[0].any() or sides[1].any():
                expected = float(golden[pair][region]["surface_distance"]["hd95"])
                found = surfel_hd95_mm(sides[0], sides[1], spacing_mm=reference.grid.spacing_mm)
                assert found == pytest.approx(expected, abs=1e-6), (pair, region)
                compared += 1
    assert compared > 60
