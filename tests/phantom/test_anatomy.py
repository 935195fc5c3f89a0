import numpy as np
import pytest
from scipy.interpolate import BSpline

from brats_lightning.phantom.anatomy import (
    Points,
    Tissues,
    _expand,
    brain_depth,
    make_tissues,
    ramp,
    smooth_field,
    ventricle_distance,
)


def lattice(step: float) -> Points:
    axes = [np.arange(-95, 95, step, dtype=np.float32)] * 3
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x, y, z


@pytest.fixture(scope="module")
def tissues() -> tuple[Points, Tissues]:
    points = lattice(3.0)
    depth = brain_depth(points)
    x, y, z = (axis[depth > 0] for axis in points)
    variation = np.zeros(x.shape, np.float32)
    made = make_tissues(np.random.default_rng(0), (x, y, z), depth=depth[depth > 0], variation=variation, age=0.5)
    return (x, y, z), made


def test_the_spline_is_that_of_scipy() -> None:
    control = np.random.default_rng(0).standard_normal(9).astype(np.float32)
    places = np.linspace(0, 5.9, 50).astype(np.float32)
    expected = BSpline(np.arange(-3.0, 10.0), control, 3)(places)  # control points from -1 on
    np.testing.assert_allclose(_expand(control, places), expected, atol=1e-6)


def test_a_field_has_mean_0_and_deviation_1_and_is_smooth() -> None:
    axes = [np.arange(0, length, dtype=np.float32) for length in (150, 130, 110)]
    field = smooth_field(np.random.default_rng(1), axes, wavelength_mm=16)
    assert field.shape == (150, 130, 110)
    assert abs(field.mean()) < 0.15
    assert field.std() == pytest.approx(1, abs=0.05)
    assert np.abs(np.diff(field, axis=0)).max() < 1


def test_a_ramp_is_half_way_up_at_the_border() -> None:
    np.testing.assert_allclose(ramp(np.array([-2.0, 0, 0.5, 2]), 2.0), [0, 0.5, 0.75, 1])


def test_the_brain_is_as_large_as_a_brain_and_the_same_on_both_sides() -> None:
    depth = brain_depth(lattice(2.0))
    assert 1100 < (depth > 0).sum() * 8 / 1000 < 1700  # ml
    x, y, z = lattice(5.0)
    np.testing.assert_array_equal(brain_depth((x, y, z)), brain_depth((-x, y, z)))


def test_fractions_are_fractions(tissues: tuple[Points, Tissues]) -> None:
    made = tissues[1]
    total = made.csf + made.cortex + made.nuclei
    for part in (made.csf, made.cortex, made.nuclei, made.vessels, total):
        assert -1e-6 <= part.min() <= part.max() <= 1 + 1e-6


def test_the_cortex_lies_outside_white_matter(tissues: tuple[Points, Tissues]) -> None:
    points, made = tissues
    depth = brain_depth(points)
    white = (made.csf + made.cortex + made.nuclei) < 0.1
    assert np.median(depth[made.cortex > 0.8]) < np.median(depth[white]) - 5
    for share in (made.csf > 0.5, made.cortex > 0.5, white):
        assert 0.04 < share.mean() < 0.7


def test_ventricles_hold_csf_and_widen_with_age(tissues: tuple[Points, Tissues]) -> None:
    points, made = tissues
    assert (made.csf[made.ventricle_mm < -1] == 1).all()
    young, old = ((ventricle_distance(points, widening_mm=w) < 0).sum() for w in (-1, 2))
    assert 0 < young < old
