import math

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage
from scipy.spatial.distance import cdist

from brats_lightning.metrics.surface import hd95_mm

Mask = npt.NDArray[np.bool_]
SPACINGS = [(1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.9, 0.7, 5.0), (2.0, 0.5, 0.5)]


def box_mask(*spans: tuple[int, int], shape: tuple[int, int, int] = (20, 20, 20)) -> Mask:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


def blobs(seed: int, *, shape: tuple[int, int, int] = (24, 20, 18)) -> Mask:
    """Connected lumps of any shape, some at the border."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return np.asarray(ndimage.gaussian_filter(noise, 1.5) > 0.06)


def brute_force_mm(prediction: Mask, reference: Mask, spacing_mm: tuple[float, ...], percentile: float) -> float:
    points = []
    for mask in (prediction, reference):
        boundary = mask & ~ndimage.binary_erosion(mask)  # the outside counts as background
        points.append(np.argwhere(boundary) * spacing_mm)
    distances = cdist(points[0], points[1])
    return float(max(np.percentile(distances.min(axis=axis), percentile) for axis in (0, 1)))


def masks() -> st.SearchStrategy[Mask]:
    """Dense masks with close boundaries, and a few voxels far apart."""
    dense = hypothesis.extra.numpy.arrays(bool, (11, 9, 8), fill=st.just(False))
    solid = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(4, 8)) for _ in range(3)]).map(
        lambda spans: box_mask(*spans, shape=(11, 9, 8))
    )
    return st.one_of(dense, st.tuples(dense, solid).map(lambda pair: pair[0] ^ pair[1])).filter(np.any)


@hypothesis.given(masks(), masks(), st.sampled_from(SPACINGS), st.sampled_from([0, 50, 95, 99.5, 100]))
@hypothesis.settings(deadline=None, max_examples=150)
def test_distance_is_that_of_brute_force(
    prediction: Mask, reference: Mask, spacing_mm: tuple[float, ...], percentile: float
) -> None:
    found = hd95_mm(prediction, reference, spacing_mm=spacing_mm, percentile=percentile)
    assert found == pytest.approx(brute_force_mm(prediction, reference, spacing_mm, percentile), abs=1e-9)


def test_two_voxels_are_as_far_apart_as_pythagoras_says() -> None:
    prediction, reference = np.zeros((2, 12, 12, 12), bool)
    prediction[1, 1, 1] = reference[4, 5, 1] = True
    assert hd95_mm(prediction, reference, spacing_mm=(1, 1, 1)) == pytest.approx(5)
    assert hd95_mm(prediction, reference, spacing_mm=(2, 1, 1)) == pytest.approx(math.sqrt(52))


def test_a_plate_moved_by_seven_slices_is_seven_spacings_away() -> None:
    plate, moved = box_mask((3, 9), (3, 9), (2, 3)), box_mask((3, 9), (3, 9), (9, 10))
    assert hd95_mm(plate, moved, spacing_mm=(1, 1, 3)) == pytest.approx(21)


def test_one_false_voxel_in_ten_counts_in_part_and_one_in_a_hundred_and_one_does_not() -> None:
    # Of ten voxels the percentile's rank is 0.95 * 9 = 8.55: it lies 55 % of the way to the last, 10 mm away.
    for others, expected in ((9, 5.5), (100, 0)):
        line = np.zeros((others + 20, 1, 1), bool)
        line[:others] = True
        stray = line.copy()
        stray[others + 9] = True
        assert hd95_mm(stray, line, spacing_mm=(1, 1, 1)) == pytest.approx(expected)


def test_inner_voxels_do_not_count() -> None:
    """A solid cube against its own shell: every boundary voxel of the cube lies on the shell."""
    solid = box_mask((2, 13), (2, 13), (2, 13))
    shell = solid & ~box_mask((3, 12), (3, 12), (3, 12))
    assert hd95_mm(solid, shell, spacing_mm=(1, 1, 1), percentile=100) == 0
    hollow = solid & ~box_mask((5, 10), (5, 10), (5, 10))  # a wall of three voxels: the inner lies 2 deeper
    assert hd95_mm(solid, hollow, spacing_mm=(1, 1, 1), percentile=100) == 2


def test_a_mask_that_fills_the_image_has_the_images_faces_as_boundary() -> None:
    full = np.ones((7, 7, 7), bool)
    centre = box_mask((3, 4), (3, 4), (3, 4), shape=(7, 7, 7))
    assert hd95_mm(full, centre, spacing_mm=(1, 1, 1), percentile=0) == pytest.approx(3)
    assert hd95_mm(full, centre, spacing_mm=(1, 1, 1), percentile=100) == pytest.approx(math.sqrt(27))


def test_where_the_image_ends_does_not_matter() -> None:
    prediction, reference = blobs(0), blobs(1)
    at_border = hd95_mm(prediction, reference, spacing_mm=(1, 1, 3))
    inside = hd95_mm(np.pad(prediction, 5), np.pad(reference, 5), spacing_mm=(1, 1, 3))
    assert prediction[0].any()
    assert at_border == inside


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_distance_is_that_of_a_distance_transform(seed: int, spacing_mm: tuple[float, ...]) -> None:
    prediction, reference = blobs(seed), blobs(seed + 10)
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction, reference)]
    expected = max(
        np.percentile(ndimage.distance_transform_edt(~edges[1 - side], sampling=spacing_mm)[edges[side]], 95)
        for side in (0, 1)
    )
    assert hd95_mm(prediction, reference, spacing_mm=spacing_mm) == pytest.approx(expected, abs=1e-9)


@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")  # MONAI warns of itself
@pytest.mark.parametrize("spacing_mm", SPACINGS[:2])
@pytest.mark.parametrize("percentile", [95, 100])
def test_distance_is_monais(spacing_mm: tuple[float, ...], percentile: float) -> None:
    prediction, reference = blobs(3), blobs(4)
    theirs = compute_hausdorff_distance(
        *(torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)),
        include_background=True,
        percentile=percentile,
        spacing=list(spacing_mm),
    ).item()
    found = hd95_mm(prediction, reference, spacing_mm=spacing_mm, percentile=percentile)
    assert found == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_distance_is_symmetric_keeps_under_flips_and_scales_with_spacing(
    spacing_mm: tuple[float, ...],
) -> None:
    prediction, reference = blobs(5), blobs(6)
    distance = hd95_mm(prediction, reference, spacing_mm=spacing_mm)
    assert distance > 0
    assert hd95_mm(reference, prediction, spacing_mm=spacing_mm) == distance
    assert hd95_mm(
        np.flip(prediction, (0, 2)), np.asfortranarray(np.flip(reference, (0, 2))), spacing_mm=spacing_mm
    ) == pytest.approx(distance)
    assert hd95_mm(prediction.T, reference.T, spacing_mm=spacing_mm[::-1]) == pytest.approx(distance)
    doubled = [2 * step for step in spacing_mm]
    assert hd95_mm(prediction, reference, spacing_mm=doubled) == pytest.approx(2 * distance)


def test_a_mask_is_at_no_distance_from_itself() -> None:
    assert hd95_mm(blobs(7), blobs(7), spacing_mm=(1, 1, 1), percentile=100) == 0


def test_slices_have_boundaries_too() -> None:
    first, second = np.zeros((2, 9, 9), bool)
    first[1, 1] = second[7, 1] = True
    assert hd95_mm(first, second, spacing_mm=(0.5, 1)) == 3


FULL = np.ones((2, 2, 2), bool)


@pytest.mark.parametrize(
    ("prediction", "spacing_mm", "percentile", "words"),
    [
        (np.ones((2, 2, 3), bool), (1, 1, 1), 95, "one shape"),
        (np.ones((2, 2, 2), np.uint8), (1, 1, 1), 95, "boolean mask as prediction, found uint8"),
        (np.zeros((2, 2, 2), bool), (1, 1, 1), 95, "the prediction is empty"),
        (FULL, (1, 1), 95, "3 spacings"),
        (FULL, (1, 1, 0), 95, "above 0 mm"),
        (FULL, (1, 1, math.nan), 95, "above 0 mm"),
        (FULL, (1, 1, 1), 101, "percentile of 0 to 100, found 101"),
    ],
)
def test_what_has_no_distance_is_refused_in_words(
    prediction: Mask, spacing_mm: tuple[float, ...], percentile: float, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        hd95_mm(prediction, FULL, spacing_mm=spacing_mm, percentile=percentile)
