"""The project's own N4 against ITK's on planted fields and a real case, and what it owes to a batch of channels."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from brats_lightning.data.bias_field import N4, correct_bias_field, log_bias_field
from brats_lightning.data.cases import find_cases
from brats_lightning.data.n4 import _expected, fit_log_fields
from brats_lightning.data.reading import read_case
from brats_lightning.phantom.scanner import make_phantom

Scan = tuple[torch.Tensor, torch.Tensor, torch.Tensor, tuple[float, float, float]]
"""Channels, brain, planted log field and voxel size in mm."""
SHAPES = {
    "isotropic": ((48, 48, 32), N4(shrink=2)),
    "few thick slices": ((120, 120, 28), N4(shrink=4)),  # of 5.5 mm, which are not shrunk
    "shrunk to three slices": ((48, 48, 14), N4(shrink=(2, 2, 4))),
}


def scan(size: tuple[int, int, int], *, seed: int = 0) -> Scan:
    phantom = make_phantom(seed, size=size)
    brain = torch.from_numpy((phantom.images != 0).any(axis=0))
    planted = torch.from_numpy(phantom.bias).double().log()
    return torch.from_numpy(phantom.images).float(), brain, planted, phantom.grid.spacing_mm


@pytest.fixture(scope="module")
def small() -> Scan:
    return scan((48, 48, 31))


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]).double())[0, 1])


def error(found: torch.Tensor, planted: torch.Tensor) -> float:
    """Root mean square error of a log field whose mean is free, relative to the planted one's deviation."""
    return float((found.double() - planted).std() / planted.std())


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if "few" in kind else kind for kind in SHAPES]
)
def test_a_field_is_that_of_itk_and_no_further_from_the_planted_one(kind: str) -> None:
    size, options = SHAPES[kind]
    image, brain, planted, spacing_mm = scan(size)
    own, itk = (
        log_bias_field(image[:1], brain, replace(options, backend=backend), spacing_mm=spacing_mm)[0, brain]
        for backend in ("torch", "itk")
    )
    assert correlation(own, itk) > 0.9999
    assert (own - itk).abs().max() < 5e-3
    assert error(own, planted[brain]) < error(itk, planted[brain]) + 1e-3


@pytest.mark.slow
def test_fields_of_a_real_case_are_those_of_itk(shared: Path) -> None:
    found = {found.id: found for found in find_cases(shared / "data/brats").cases}["Brats18_2013_21_1"]
    volumes = read_case(found)
    brain = torch.from_numpy(volumes.brain)
    own, itk = (
        log_bias_field(torch.from_numpy(volumes.image[:2]), brain, options, spacing_mm=(1, 1, 1))[:, brain]
        for options in (N4(), N4(backend="itk"))
    )
    assert min(map(correlation, own, itk)) > 0.999


def test_a_channel_does_not_depend_on_the_others(small: Scan) -> None:
    image, brain, _, spacing_mm = small
    image = image.clone()
    image[1, torch.rand(brain.shape, generator=torch.Generator().manual_seed(0)) < 0.2] = 0
    image[3, :20] = torch.nan
    options = N4(shrink=2)
    together = log_bias_field(image, brain, options, spacing_mm=spacing_mm)
    for channels in ([0], [1], [2], [3], [3, 1], [2, 1, 0, 3]):
        apart = log_bias_field(image[channels], brain, options, spacing_mm=spacing_mm)
        torch.testing.assert_close(apart, together[channels], rtol=0, atol=1e-6)


def test_a_channel_that_has_settled_waits_unchanged_for_the_others(small: Scan) -> None:
    image, brain, _, spacing_mm = small

    def fields(*iterations: int, tolerance: float = 1e-3) -> torch.Tensor:
        options = N4(shrink=2, iterations=iterations, tolerance=tolerance)
        return log_bias_field(image, brain, options, spacing_mm=spacing_mm)

    once, twice, often, without_end = fields(1), fields(2), fields(60), fields(60, tolerance=0)
    assert torch.equal(often[0], once[0])
    assert not torch.equal(without_end[0], once[0])
    assert not torch.equal(often[3], twice[3])
    assert torch.equal(often[3], fields(80)[3])


def test_the_same_image_gives_the_same_field(small: Scan) -> None:
    image, brain, _, spacing_mm = small
    first, second = (log_bias_field(image, brain, N4(), spacing_mm=spacing_mm) for _ in range(2))
    assert torch.equal(first, second)


def test_brightness_and_the_order_of_axes_play_no_part(small: Scan) -> None:
    image, brain, _, spacing_mm = small
    options = N4(shrink=2)
    field = log_bias_field(image[:1], brain, options, spacing_mm=spacing_mm)
    brighter = log_bias_field(37 * image[:1], brain, options, spacing_mm=spacing_mm)
    torch.testing.assert_close(brighter, field, rtol=0, atol=1e-4)
    turned = log_bias_field(
        image[:1].permute(0, 3, 1, 2), brain.permute(2, 0, 1), options, spacing_mm=[spacing_mm[at] for at in (2, 0, 1)]
    )
    torch.testing.assert_close(turned.permute(0, 2, 3, 1), field, rtol=0, atol=1e-4)


@pytest.mark.parametrize("value", [1e-30, 1e30])
def test_one_extreme_voxel_leaves_a_finite_field(value: float, small: Scan) -> None:
    image, brain, _, spacing_mm = small
    image = image[:1].clone()
    image[0, *brain.nonzero()[1000]] = value
    options = N4(shrink=1, iterations=(5, 5))
    assert log_bias_field(image, brain, options, spacing_mm=spacing_mm).abs().max() < 3
    assert correct_bias_field(image, brain, options, spacing_mm=spacing_mm).isfinite().all()


def test_nothing_is_expected_beyond_what_was_measured() -> None:
    """Between two peaks a Fourier transform leaves rounding errors, whose ratio could be anything."""
    histogram = torch.zeros(1, 200).double()
    histogram[0, [0, 199]] = 1000
    low, width = torch.tensor([[-70.0]]).double(), torch.tensor([[0.7]]).double()
    expected = _expected(histogram, low, width, fwhm=0.15, noise=0.01)
    assert expected.min() >= low - 1e-9
    assert expected.max() <= low + 199 * width + 1e-9


def test_settings_of_matrix_products_do_not_reach_the_fit(small: Scan) -> None:
    image, brain, _, spacing_mm = small
    before = torch.get_float32_matmul_precision()
    exact = log_bias_field(image, brain, N4(), spacing_mm=spacing_mm)
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            rough = log_bias_field(image, brain, N4(), spacing_mm=spacing_mm)
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(rough, exact)


def test_whatever_takes_no_part_is_not_even_looked_at(small: Scan) -> None:
    image, brain, _, _ = small
    fit = partial(
        fit_log_fields,
        iterations=(3, 3),
        tolerance=0,
        spline_control_points=4,
        histogram_bins=200,
        fwhm=0.15,
        wiener_noise=0.01,
    )
    inside = brain & (image[:2] > 0)
    clean, dirty = (fit(channels, inside) for channels in (image[:2], image[:2].masked_fill(~inside, torch.nan)))
    assert clean.dtype == torch.float64
    assert clean.shape == (2, 5, 5, 5)
    assert torch.equal(clean, dirty)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA can use, and there is none")
def test_a_gpu_gives_the_fields_of_the_cpu_each_time(small: Scan) -> None:
    image, brain, _, spacing_mm = small
    expected = correct_bias_field(image, brain, N4(), spacing_mm=spacing_mm)
    first, second = (correct_bias_field(image.cuda(), brain.cuda(), N4(), spacing_mm=spacing_mm) for _ in range(2))
    assert first.is_cuda
    assert torch.equal(first, second)
    np.testing.assert_allclose(first.cpu().numpy(), expected.numpy(), rtol=1e-4)
