"""Splines on grids against SciPy, and against fits of scattered points."""

import importlib
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from brats_lightning.data.n4_splines import (
    Approximation,
    bounding_box,
    contract,
    evaluate_spline,
    refine,
    samples,
    spline_bases,
    within,
)


def normal(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape))


@pytest.fixture
def itk() -> Iterator[ModuleType]:
    """ITK, whose modules crash Python when they load while warnings are errors."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        yield importlib.import_module("itk")


@pytest.mark.parametrize(("size", "factor"), [(64, 2), (63, 2), (61, 4), (62, 4), (155, 4), (26, 3), (9, 4), (5, 1)])
def test_shrinking_takes_the_voxels_that_itk_takes(size: int, factor: int, itk: ModuleType) -> None:
    ramp = np.broadcast_to(np.arange(size, dtype=np.float32)[:, None, None], (size, 2, 2))
    shrink = importlib.import_module("itk.itkShrinkImageFilterPython").itkShrinkImageFilterIF3IF3.New()
    shrink.SetInput(itk.image_from_array(np.ascontiguousarray(ramp)))
    shrink.SetShrinkFactors([1, 1, factor])
    shrink.Update()
    taken = itk.array_from_image(shrink.GetOutput())[:, 0, 0]
    np.testing.assert_array_equal(np.arange(size)[samples(size, factor)], taken)


def test_a_spline_is_that_of_scipy_and_level_beyond_what_was_sampled() -> None:
    lattice = normal(2, 5, 7, 4)
    shape, factors, first, last = (20, 23, 9), (3, 2, 1), (2, 1, 0), (17, 21, 8)
    field = evaluate_spline(lattice, spline_bases(shape, factors, (5, 7, 4)))
    bases = []
    for size, points, start, end in zip(shape, (5, 7, 4), first, last, strict=True):
        position = np.clip((np.arange(size) - start) / (end - start), 0, 1) * (points - 3)
        bases.append(BSpline(np.arange(-3, points + 1), np.eye(points), 3)(position))
    expected = np.einsum("xa,yb,zd,cabd->cxyz", *bases, lattice.numpy())
    np.testing.assert_allclose(field.numpy(), expected, atol=1e-12)


def test_bases_at_the_samples_are_those_of_the_shrunken_image() -> None:
    shape, factors, lattice = (61, 40, 9), (4, 3, 1), (4, 5, 7)
    whole = spline_bases(shape, factors, lattice)
    shrunken = spline_bases([size // factor for size, factor in zip(shape, factors, strict=True)], (1, 1, 1), lattice)
    for basis, size, factor, expected in zip(whole, shape, factors, shrunken, strict=True):
        torch.testing.assert_close(basis[samples(size, factor)], expected, rtol=0, atol=1e-12)


def test_contracting_is_the_transpose_of_evaluating() -> None:
    lattice, values = normal(3, 4, 6, 5), normal(3, 8, 9, 7)
    bases = spline_bases((8, 9, 7), (1, 1, 1), (4, 6, 5))
    one = (contract(values, bases) * lattice).sum()
    torch.testing.assert_close(one, (values * evaluate_spline(lattice, bases)).sum())


def test_refining_changes_the_lattice_and_not_the_spline() -> None:
    lattice = normal(2, 4, 5, 7)
    finer = refine(lattice)
    assert finer.shape == (2, 5, 7, 11)
    coarse, fine = (
        evaluate_spline(points, spline_bases((9, 8, 13), (1, 1, 1), points.shape[1:])) for points in (lattice, finer)
    )
    torch.testing.assert_close(fine, coarse)


def test_an_approximation_is_that_of_scattered_points() -> None:
    """Equations 4 and 5 of Lee, Wolberg and Shin, point by point."""
    values, inside = normal(2, 5, 6, 4), normal(2, 5, 6, 4) > 0
    values = values * inside
    bases = spline_bases((5, 6, 4), (1, 1, 1), (4, 5, 4))
    sums, weights = torch.zeros(2, 4, 5, 4).double(), torch.zeros(2, 4, 5, 4).double()
    for channel, x, y, z in inside.nonzero().tolist():
        weight = torch.einsum("a,b,d->abd", bases[0][x], bases[1][y], bases[2][z])
        proposal = weight * values[channel, x, y, z] / (weight**2).sum()
        sums[channel] += weight**2 * proposal
        weights[channel] += weight**2
    expected = torch.where(weights > 0, sums / weights, 0.0)
    approximate = Approximation(inside, bases)
    torch.testing.assert_close(approximate(values), expected)
    torch.testing.assert_close(approximate(values[1:], torch.tensor([1])), expected[1:])


def test_control_points_without_voxels_stay_at_0() -> None:
    inside = torch.zeros(1, 12, 12, 12, dtype=torch.bool)
    inside[:, :3] = True
    lattice = Approximation(inside, spline_bases((12, 12, 12), (1, 1, 1), (11, 11, 11)))(inside.double())
    assert lattice.isfinite().all()
    assert not lattice[:, 6:].any()
    assert lattice[:, :4].any()


def test_a_box_holds_all_of_a_mask_and_cuts_the_bases_to_it() -> None:
    mask = torch.zeros(9, 8, 7, dtype=torch.bool)
    mask[2, 3, 6] = mask[5, 1, 4] = True
    box = bounding_box(mask)
    assert box == (slice(2, 6), slice(1, 4), slice(4, 7))
    lattice = normal(1, 4, 4, 4)
    bases = spline_bases((9, 8, 7), (1, 1, 1), (4, 4, 4))
    torch.testing.assert_close(evaluate_spline(lattice, within(box, bases)), evaluate_spline(lattice, bases)[:, *box])
