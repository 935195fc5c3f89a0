import math

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.spatial.distance import cdist

from brats_lightning.metrics import nearest
from brats_lightning.metrics.nearest import margin_of, nearest_mm, pairwise_mm

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
SPACINGS = [np.array(steps) for steps in ((1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.9, 0.7, 5.0), (2.0, 0.5, 0.5))]


def with_margin(mask: Mask, spacing: Floats) -> Mask:
    return np.pad(mask, margin_of(spacing)[:, None])


def brute_force_mm(origin: Mask, target: Mask, spacing: Floats) -> Floats:
    return np.asarray(cdist(np.argwhere(origin) * spacing, np.argwhere(target) * spacing).min(axis=1))


def points() -> st.SearchStrategy[Mask]:
    """Few points, most of them far from others, or a crowd."""
    few = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9), st.integers(0, 7)), min_size=1, max_size=9)
    crowd = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.1, 0.6]))
    return st.one_of(few.map(scattered), crowd.map(lambda drawn: speckle(*drawn))).filter(np.any)


def scattered(places: list[tuple[int, int, int]]) -> Mask:
    mask = np.zeros((13, 10, 8), bool)
    mask[tuple(np.array(places).T)] = True
    return mask


def speckle(seed: int, share: float, *, shape: tuple[int, ...] = (13, 10, 8)) -> Mask:
    return np.asarray(np.random.default_rng(seed).random(shape) < share)


@pytest.mark.parametrize("few", [0.0, nearest.FEW, 1.0], ids=["distance transform", "either", "tree"])
@hypothesis.given(origin=points(), target=points(), spacing=st.sampled_from(SPACINGS))
@hypothesis.settings(
    deadline=None, max_examples=80, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_distances_are_those_of_brute_force(
    few: float, origin: Mask, target: Mask, spacing: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(nearest, "FEW", few)
        start, goal = with_margin(origin, spacing), with_margin(target, spacing)
        found = nearest_mm(np.flatnonzero(start), goal, spacing)
    np.testing.assert_allclose(found, brute_force_mm(origin, target, spacing), rtol=0, atol=1e-12)


@hypothesis.given(origin=points(), target=points(), spacing=st.sampled_from(SPACINGS), share=st.floats(0, 1))
@hypothesis.settings(deadline=None, max_examples=150)
def test_what_is_found_first_is_the_nearest_and_weighs_enough(
    origin: Mask, target: Mask, spacing: Floats, share: float
) -> None:
    expected = brute_force_mm(origin, target, spacing)
    start, goal = np.flatnonzero(with_margin(origin, spacing)), with_margin(target, spacing)
    for weights in (None, np.random.default_rng(0).random(start.size)):
        heavy = np.ones(start.size) if weights is None else weights
        enough = share * float(heavy.sum())
        distances = nearest_mm(start, goal, spacing, weights=weights, enough=enough)
        found = np.isfinite(distances)
        np.testing.assert_allclose(distances[found], expected[found], rtol=0, atol=1e-12)
        assert heavy[found].sum() >= enough * (1 - 1e-12)
        if not found.all():
            assert expected[found].max(initial=0) <= expected[~found].min() + 1e-12


def test_what_is_not_needed_is_not_sought() -> None:
    """One point on the target, one next to it, one 9 mm off."""
    origin, target = np.zeros((2, 1, 1, 12), bool)
    origin[0, 0, [1, 2, 10]] = target[0, 0, 1] = True
    start, goal = np.flatnonzero(with_margin(origin, SPACINGS[0])), with_margin(target, SPACINGS[0])
    sought = [nearest_mm(start, goal, SPACINGS[0], enough=enough).tolist() for enough in (1, 2, 3)]
    assert sought == [[0, math.inf, math.inf], [0, 1, math.inf], [0, 1, 9]]
    heavy = nearest_mm(start, goal, SPACINGS[0], weights=np.array([5.0, 2.0, 1.0]), enough=6)
    assert heavy.tolist() == [0, 1, math.inf]


@pytest.mark.parametrize("shape", [(200,), (30, 20), (13, 10, 8)])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_any_number_of_axes_will_do(shape: tuple[int, ...], share: float) -> None:
    spacing = np.array([1.0, 2.5, 0.7])[: len(shape)]
    origin, target = speckle(1, share, shape=shape), speckle(2, 0.02, shape=shape)
    start, goal = np.flatnonzero(with_margin(origin, spacing)), with_margin(target, spacing)
    found = nearest_mm(start, goal, spacing)
    np.testing.assert_allclose(found, brute_force_mm(origin, target, spacing), rtol=0, atol=1e-12)


def test_crowded_points_take_the_distance_transform_and_few_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    target = np.pad(speckle(0, 0.001, shape=(20, 20, 20)), 3)
    for share, other in ((0.5, "cKDTree"), (0.01, "ndimage")):
        origin = np.flatnonzero(np.pad(speckle(1, share, shape=(20, 20, 20)), 3))
        expected = nearest_mm(origin, target, SPACINGS[0])
        with monkeypatch.context() as patched:
            patched.setattr(nearest, other, None)  # not to be touched
            assert (nearest_mm(origin, target, SPACINGS[0]) == expected).all()
        assert expected.max() > nearest.SHELL


@pytest.mark.parametrize("pairs", [1, 500, 2**24])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_blocks_of_pairs_give_the_same(spacing: Floats, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "PAIRS", pairs)
    for origin, target in ((speckle(0, 0.1), speckle(1, 0.05)), (speckle(2, 0.3), speckle(2, 0.3))):
        expected = nearest_mm(np.flatnonzero(with_margin(origin, spacing)), with_margin(target, spacing), spacing)
        found = pairwise_mm(torch.from_numpy(origin), torch.from_numpy(target), spacing)
        both = np.count_nonzero(origin & target)
        assert both
        assert not found[:both].any()
        np.testing.assert_allclose(found[both:], expected[~target[origin]], rtol=0, atol=1e-9)
