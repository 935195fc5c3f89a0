import dataclasses
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

from brats_lightning.metrics.surface import CONVENTIONS, Convention, SurfaceDistances, hd95_mm, surface_distances
from brats_lightning.metrics.surfels import surfel_areas, surfel_hd95_mm
from brats_lightning.nifti import read_labels

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


def scores_of(distances: SurfaceDistances) -> dict[str, float]:
    """Every quantity that follows from distances."""
    return {
        "hd95": distances.percentile_mm(),
        "hd100": distances.percentile_mm(100),
        "median": distances.percentile_mm(50),
        "assd": distances.assd_mm,
        "nsd_0.5mm": distances.nsd(0.5),
        "nsd_2.3mm": distances.nsd(2.3),
    }


def brute_force_surfels(mask: Mask, spacing_mm: tuple[float, ...]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Points of the half-voxel grid and areas, corner by corner."""
    padded, table, points, areas = np.pad(mask, 1), surfel_areas(spacing_mm), [], []
    for place in itertools.product(*(range(size + 1) for size in mask.shape)):
        corners = padded[tuple(slice(start, start + 2) for start in place)].ravel()
        area = table[int("".join(str(int(corner)) for corner in corners), 2)]
        if area > 0:
            points.append([index * step for index, step in zip(place, spacing_mm, strict=True)])
            areas.append(area)
    return np.array(points), np.array(areas)


@pytest.fixture
def tensors_stay_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the CPU go the way of those on a GPU."""
    for module in ("surface", "overlap", "case_scores"):
        monkeypatch.setattr(f"brats_lightning.metrics.{module}.on_host", lambda array: array)


def masks() -> st.SearchStrategy[Mask]:
    """Dense masks with close boundaries, and a few voxels far apart."""
    dense = hypothesis.extra.numpy.arrays(bool, (11, 9, 8), fill=st.just(False))
    solid = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(4, 8)) for _ in range(3)]).map(
        lambda spans: box_mask(*spans, shape=(11, 9, 8))
    )
    return st.one_of(dense, st.tuples(dense, solid).map(lambda pair: pair[0] ^ pair[1])).filter(np.any)


@hypothesis.given(masks(), masks(), st.sampled_from(SPACINGS), st.sampled_from([0, 50, 95, 99.5, 100]))
@hypothesis.settings(deadline=None, max_examples=150)
@pytest.mark.slow
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


def line(*voxels: int) -> Mask:
    mask = np.zeros((1, 1, 12), bool)
    mask[0, 0, list(voxels)] = True
    return mask


@pytest.mark.parametrize(
    ("convention", "hd40", "hd100", "assd", "nsd"),
    [
        ("directed", 4, 10, 10 / 3, 2 / 3),
        ("pooled", 0, 10, 10 / 3, 2 / 3),
        ("averaged", 2, 5, 2.5, 3 / 4),
        # Of each voxel's eight corners, those of the false one are 9 and 10 mm from the right one's.
        ("surfel", 0, 10, (4 * 9 + 4 * 10) / 24, 2 / 3),
    ],
)
def test_one_voxel_right_and_one_10_mm_off_is_scored_as_by_hand(
    convention: Convention, hd40: float, hd100: float, assd: float, nsd: float
) -> None:
    """Distances of the prediction: 0 and 10; of the reference: 0."""
    for sides in ((line(0, 10), line(0)), (line(0), line(0, 10))):
        distances = surface_distances(*sides, spacing_mm=(1, 1, 1), convention=convention)
        assert distances.percentile_mm(40) == pytest.approx(hd40)
        assert distances.percentile_mm(100) == hd100
        assert distances.assd_mm == pytest.approx(assd)
        assert distances.nsd(8) == pytest.approx(nsd)
        assert distances.nsd(10) == 1


@hypothesis.given(masks(), masks(), st.sampled_from(SPACINGS))
@hypothesis.settings(deadline=None, max_examples=80)
def test_every_score_of_voxels_is_that_of_brute_force(
    prediction: Mask, reference: Mask, spacing_mm: tuple[float, ...]
) -> None:
    points = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) * spacing_mm for mask in (prediction, reference)]
    apart = cdist(points[0], points[1])
    forth, back = apart.min(axis=1), apart.min(axis=0)
    both = np.concatenate([forth, back])
    found = surface_distances(prediction, reference, spacing_mm=spacing_mm)
    pooled, averaged = (dataclasses.replace(found, convention=other) for other in ("pooled", "averaged"))
    for percentile in (50, 95, 100):
        each = [np.percentile(side, percentile) for side in (forth, back)]
        assert found.percentile_mm(percentile) == pytest.approx(max(each), abs=1e-9)
        assert pooled.percentile_mm(percentile) == pytest.approx(np.percentile(both, percentile), abs=1e-9)
        assert averaged.percentile_mm(percentile) == pytest.approx(np.mean(each), abs=1e-9)
    assert found.assd_mm == pooled.assd_mm == pytest.approx(both.mean(), abs=1e-9)
    assert averaged.assd_mm == pytest.approx((forth.mean() + back.mean()) / 2, abs=1e-9)
    for tolerance in (0, 1, 2.7, 4):
        near = [side <= tolerance + 1e-9 for side in (forth, back)]
        assert found.nsd(tolerance) == pooled.nsd(tolerance) == pytest.approx(np.concatenate(near).mean())
        assert averaged.nsd(tolerance) == pytest.approx((near[0].mean() + near[1].mean()) / 2)


@hypothesis.given(masks(), masks(), st.sampled_from(SPACINGS))
@hypothesis.settings(deadline=None, max_examples=12)
def test_every_score_of_surfels_is_that_of_brute_force(
    prediction: Mask, reference: Mask, spacing_mm: tuple[float, ...]
) -> None:
    (here, areas), (there, others) = (brute_force_surfels(mask, spacing_mm) for mask in (prediction, reference))
    apart = cdist(here, there)
    forth, back = apart.min(axis=1), apart.min(axis=0)
    found = surface_distances(prediction, reference, spacing_mm=spacing_mm, convention="surfel")
    np.testing.assert_allclose(np.sort(found.prediction), np.sort(forth), atol=1e-9)
    np.testing.assert_allclose(np.sort(found.reference), np.sort(back), atol=1e-9)
    total = areas.sum() + others.sum()
    assert found.assd_mm == pytest.approx((forth @ areas + back @ others) / total, abs=1e-9)
    assert found.nsd(2.7) == pytest.approx((areas[forth < 2.7 + 1e-9].sum() + others[back < 2.7 + 1e-9].sum()) / total)
    as_numbers = [mask.astype(np.uint8) for mask in (prediction, reference)]
    assert found.percentile_mm() == pytest.approx(surfel_hd95_mm(*as_numbers, spacing_mm=spacing_mm), abs=1e-9)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_scores_do_not_depend_on_how_both_masks_lie_in_the_image(
    convention: Convention, spacing_mm: tuple[float, ...]
) -> None:
    def scores(prediction: Mask, reference: Mask, spacing_mm: tuple[float, ...]) -> dict[str, float]:
        return scores_of(surface_distances(prediction, reference, spacing_mm=spacing_mm, convention=convention))

    prediction, reference = blobs(5), blobs(6)
    expected = scores(prediction, reference, spacing_mm)
    assert scores(reference, prediction, spacing_mm) == pytest.approx(expected)
    assert scores(prediction[::-1, :, ::-1], reference[::-1, :, ::-1], spacing_mm) == pytest.approx(expected)
    assert scores(np.pad(prediction, 3), np.pad(reference, 3), spacing_mm) == pytest.approx(expected)
    turned = (*spacing_mm[1:], spacing_mm[0])
    assert scores(prediction.transpose(1, 2, 0), reference.transpose(1, 2, 0), turned) == pytest.approx(expected)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_distances_scale_with_spacing_and_shares_with_the_tolerance(convention: Convention) -> None:
    once, thrice = (
        surface_distances(blobs(5), blobs(6), spacing_mm=(scale, scale, 2 * scale), convention=convention)
        for scale in (1, 3)
    )
    for percentile in (50, 95, 100):
        assert thrice.percentile_mm(percentile) == pytest.approx(3 * once.percentile_mm(percentile))
    assert thrice.assd_mm == pytest.approx(3 * once.assd_mm)
    shares = [once.nsd(tolerance) for tolerance in (0, 1, 2, 4)]
    assert shares == sorted(shares)
    assert shares == pytest.approx([thrice.nsd(3 * tolerance) for tolerance in (0, 1, 2, 4)])
    assert 0 < shares[0] < shares[-1] <= once.nsd(once.percentile_mm(100) * 2) == 1


def test_a_tolerance_of_a_spacing_reaches_the_next_voxel_whatever_rounding_does() -> None:
    for first in range(1, 10):
        distances = surface_distances(line(first), line(first + 1), spacing_mm=(1, 1, 0.7))
        assert distances.nsd(0.7) == 1


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_apart_from_each_other_two_lesions_are_no_further_off_than_the_worse(spacing_mm: tuple[float, ...]) -> None:
    pairs = [(blobs(seed), blobs(seed + 1)) for seed in (0, 2)]
    single = [hd95_mm(*pair, spacing_mm=spacing_mm, percentile=100) for pair in pairs]
    joint = [np.concatenate([np.pad(sides[0], 1), np.pad(sides[1], 1)]) for sides in zip(*pairs, strict=True)]
    assert 0 < hd95_mm(*joint, spacing_mm=spacing_mm, percentile=100) <= max(single)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("percentile", [0, 30, 95, 100])
def test_what_a_percentile_does_not_need_does_not_change_it(convention: Convention, percentile: float) -> None:
    for seed in range(3):
        sides = blobs(seed), blobs(seed + 10)
        every = surface_distances(*sides, spacing_mm=(1, 1, 3), convention=convention)
        found = hd95_mm(*sides, spacing_mm=(1, 1, 3), convention=convention, percentile=percentile)
        assert found == every.percentile_mm(percentile)
        assert np.isfinite([*every.prediction, *every.reference]).all()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("pairs", [2**24, 1000])
@pytest.mark.usefixtures("tensors_stay_tensors")
def test_the_way_of_a_gpu_gives_the_same(
    convention: Convention, spacing_mm: tuple[float, ...], pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brats_lightning.metrics.nearest.PAIRS", pairs)  # one block or many
    for sides in ((blobs(0), blobs(1)), (blobs(2), blobs(2)), (line(1), line(3, 9))):
        expected = scores_of(surface_distances(*sides, spacing_mm=spacing_mm, convention=convention))
        tensors = [torch.from_numpy(mask) for mask in sides]
        with torch.autocast("cpu", torch.bfloat16):
            found = surface_distances(*tensors, spacing_mm=spacing_mm, convention=convention)
        assert scores_of(found) == pytest.approx(expected, abs=1e-9)


def test_tensors_of_the_cpu_go_the_way_of_arrays() -> None:
    sides = blobs(0), blobs(1)
    tensors = [torch.from_numpy(mask) for mask in sides]
    found = surface_distances(*tensors, spacing_mm=(1, 1, 1))
    assert scores_of(found) == scores_of(surface_distances(*sides, spacing_mm=(1, 1, 1)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_gpu_gives_the_same(convention: Convention) -> None:
    sides = blobs(0), blobs(1)
    tensors = [torch.from_numpy(mask).cuda() for mask in sides]
    found = surface_distances(*tensors, spacing_mm=(1, 0.7, 3), convention=convention)
    expected = surface_distances(*sides, spacing_mm=(1, 0.7, 3), convention=convention)
    assert scores_of(found) == pytest.approx(scores_of(expected), abs=1e-9)


def golden_pairs(shared: Path) -> Iterator[tuple[str, str, Mask, Mask, tuple[float, ...], dict[str, Any]]]:
    """Name, region, masks, spacing and reference values of each pair of which neither side is empty."""
    golden = json.loads((shared / "golden" / "whole_image.json").read_text())
    for name, expected in golden["pairs"].items():
        files = (shared / "golden" / "pairs" / name / file for file in ("pred.nii.gz", "gt.nii.gz"))
        prediction, reference = (read_labels(file) for file in files)
        for region, values in golden["meta"]["regions"].items():
            masks = [np.isin(volume.array, values) for volume in (prediction, reference)]
            if masks[0].any() and masks[1].any():
                yield name, region, masks[0], masks[1], reference.grid.spacing_mm, expected[region]


@pytest.mark.slow
def test_every_convention_is_that_of_the_tools_named_for_it(shared: Path) -> None:
    """MONAI and brute force; MedPy; brute force and the BraTS 2025 scorer; surface-distance."""
    scorer = json.loads((shared / "golden" / "lesionwise" / "2024HEAD-MEN.json").read_text())["pairs"]
    compared = 0
    for name, region, prediction, reference, spacing_mm, tools in golden_pairs(shared):
        directed = surface_distances(prediction, reference, spacing_mm=spacing_mm)
        pooled, averaged = (dataclasses.replace(directed, convention=other) for other in ("pooled", "averaged"))
        surfel = surface_distances(prediction, reference, spacing_mm=spacing_mm, convention="surfel")
        brute, monai, medpy, surfels = (tools[key] for key in ("bruteforce", "monai", "medpy", "surface_distance"))
        exact = [
            (directed.percentile_mm(), brute["hd95"]),
            (directed.percentile_mm(100), brute["hd100"]),
            (directed.assd_mm, brute["assd_pooled"]),
            (directed.nsd(1), brute["nsd_1mm"]),
            (directed.nsd(0.5), brute["nsd_0_5mm"]),
            (pooled.percentile_mm(), brute["hd95_pooled"]),
            (pooled.percentile_mm(), medpy["hd95"]),
            (pooled.percentile_mm(100), medpy["hd100"]),
            (pooled.assd_mm, medpy["assd"]),
            (averaged.percentile_mm(), (brute["hd95_gt_to_pred"] + brute["hd95_pred_to_gt"]) / 2),
            (averaged.assd_mm, brute["assd_mean_of_two"]),
            (surfel.percentile_mm(), surfels["hd95"]),
            (surfel.percentile_mm(100), surfels["hd100"]),
            (surfel.assd_mm, surfels["assd_pooled"]),
            (surfel.nsd(1), surfels["nsd_1mm"]),
            (surfel.nsd(0.5), surfels["nsd_0_5mm"]),
        ]
        if name in scorer:  # its shares are rounded by a small number in the denominator
            scored = scorer[name][region]
            exact += [
                (averaged.nsd(0.5), pytest.approx(scored["legacy_nsd_0_5"], abs=1e-8)),
                (averaged.nsd(1), pytest.approx(scored["legacy_nsd_1_0"], abs=1e-8)),
            ]
        in_float32 = [
            (directed.percentile_mm(), monai["hd95"]),
            (directed.percentile_mm(100), monai["hd100"]),
            (directed.assd_mm, monai["assd_symmetric"]),
            (directed.nsd(1), monai["nsd_1mm"]),
            (surfel.nsd(1), monai["nsd_1mm_subvoxels"]),
        ]
        for tolerance, values in ((1e-9, exact), (1e-4, in_float32)):
            for place, (found, expected) in enumerate(values):
                wanted = pytest.approx(expected, abs=tolerance) if isinstance(expected, float) else expected
                assert found == wanted, (name, region, place)
        compared += 1
    assert compared == 97


@pytest.mark.parametrize(
    ("prediction", "settings", "words"),
    [
        (np.ones((3, 3), bool), {"spacing_mm": (1, 1), "convention": "surfel"}, "three axes for surfels"),
        (np.ones((3, 3), bool), {"spacing_mm": (1, 1), "convention": "medpy"}, "'medpy': expected one of directed"),
    ],
)
def test_an_impossible_convention_is_refused_in_words(prediction: Mask, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        surface_distances(prediction, prediction, **settings)


@pytest.mark.parametrize("tolerance_mm", [-1, math.nan])
def test_a_tolerance_below_0_is_refused(tolerance_mm: float) -> None:
    with pytest.raises(ValueError, match="tolerance of at least 0 mm"):
        surface_distances(line(1), line(2), spacing_mm=(1, 1, 1)).nsd(tolerance_mm)


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
