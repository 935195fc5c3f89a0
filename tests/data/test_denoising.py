"""Noise of a known level on images that are known without it; a plain loop is the oracle of non-local means."""

import itertools
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from jsonargparse import ArgumentParser
from monai.data.meta_tensor import MetaTensor
from scipy import ndimage

from brats_lightning.data.denoising import Denoised, Denoising, Method, denoise
from brats_lightning.data.nonlocal_means import noise_level, nonlocal_means
from brats_lightning.errors import ConfigError

METHODS = pytest.mark.parametrize("method", ["nonlocal_means", "curvature_flow", "median"])
Floats = npt.NDArray[np.float32]
NOISE = 5.0


def ball(shape: tuple[int, int, int]) -> torch.Tensor:
    """A brain that does not reach the image's edge."""
    axes = np.meshgrid(*[np.linspace(-1.2, 1.2, size) if size > 1 else [0.0] for size in shape], indexing="ij")
    return torch.from_numpy(np.sum(np.square(axes), axis=0) < 1)


def tissues(shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An image (1, X, Y, Z) of two tissues with noise, the same without, and the brain."""
    brain = ball(shape)
    clean = torch.where(brain, 100.0, 0.0)
    clean[: shape[0] // 2] *= 2
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * NOISE
    return torch.where(brain, clean + noise, 0.0)[None], clean[None], brain


def rms(values: torch.Tensor) -> float:
    return float(values.double().square().mean().sqrt())


@pytest.mark.parametrize("shape", [(40, 36, 30), (64, 60, 1)])
@METHODS
def test_noise_is_less_afterwards_and_the_border_of_tissues_and_brain_where_it_was(
    method: Method, shape: tuple[int, int, int]
) -> None:
    noisy, clean, brain = tissues(shape)
    found = denoise(noisy, brain, Denoising(method=method))
    assert found.dtype == torch.float32
    assert not found[:, ~brain].any()
    assert rms((found - clean)[:, brain]) < 0.6 * rms((noisy - clean)[:, brain])
    rim = brain & ~torch.from_numpy(ndimage.binary_erosion(brain.numpy(), np.ones((3, 3, min(3, shape[2])), bool)))
    flat = rim.clone()
    flat[shape[0] // 2 - 2 : shape[0] // 2 + 2] = False
    assert abs(float((found - clean)[:, flat].mean())) < 0.5  # a background of 0 would make it darker by tens
    middle = shape[0] // 2
    step = (found[0, middle - 1] - found[0, middle])[brain[middle] & brain[middle - 1]]
    assert float(step.mean()) > {"nonlocal_means": 98, "median": 90, "curvature_flow": 60}[method]


@METHODS
def test_nothing_outside_changes_or_has_a_say(method: Method) -> None:
    noisy, _, brain = tissues((20, 18, 16))
    other = torch.where(brain, noisy, torch.rand(noisy.shape) * 1e4 + 1)
    found = [denoise(image, brain, Denoising(method=method)) for image in (noisy, other)]
    assert torch.equal(found[0][:, brain], found[1][:, brain])
    assert torch.equal(found[1][:, ~brain], other[:, ~brain])


@METHODS
def test_one_setting_fits_every_scale_and_channels_do_not_depend_on_each_other(method: Method) -> None:
    noisy, _, brain = tissues((20, 18, 16))
    two = torch.cat([noisy, 64 * noisy.flip(1)])
    options = Denoising(method=method)
    found = denoise(two, brain & brain.flip(0), options)
    alone = denoise(noisy, brain & brain.flip(0), options)
    assert torch.equal(found[:1], alone)
    mirrored = denoise(noisy.flip(1), brain & brain.flip(0), options)
    assert torch.allclose(found[1:], 64 * mirrored, rtol=1e-5)


@METHODS
def test_constant_and_empty_channels_stay(method: Method) -> None:
    brain = ball((12, 12, 12))
    image = torch.stack([torch.where(brain, 7.0, 0.0), torch.zeros(brain.shape)])
    assert torch.equal(denoise(image, brain, Denoising(method=method)), image)
    nothing = torch.zeros_like(brain)
    assert torch.equal(denoise(image, nothing, Denoising(method=method)), image)


def test_voxels_without_signal_inside_the_brain_are_none_of_it() -> None:
    noisy, _, brain = tissues((20, 18, 16))
    noisy[0, 10, 8, 6:10] = 0
    found = denoise(noisy, brain, Denoising())
    assert not found[0, 10, 8, 6:10].any()
    around = denoise(noisy, brain & (noisy[0] != 0), Denoising())
    assert torch.equal(found, around)


@METHODS
def test_a_result_does_not_depend_on_threads(method: Method) -> None:
    noisy, _, brain = tissues((36, 36, 36))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(denoise(noisy, brain, Denoising(method=method)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def by_loops(values: Floats, inside: npt.NDArray[np.bool_], *, noise: float, strength: float, search: int) -> Floats:
    """Non-local means as it is written down, voxel by voxel."""
    shape = values.shape
    found = values.copy()

    def apart(one: tuple[int, ...], other: tuple[int, ...]) -> float:
        """Mean squared difference of the surroundings, as far as both lie in the image."""
        squares: npt.NDArray[np.float64] = np.zeros((3, 3, 3))
        there = np.zeros((3, 3, 3), bool)
        for step in itertools.product((-1, 0, 1), repeat=3):
            a, b = np.add(one, step), np.add(other, step)
            if (a >= 0).all() and (b >= 0).all() and (a < shape).all() and (b < shape).all():
                place = tuple(np.add(step, 1))
                squares[place], there[place] = float(values[tuple(a)] - values[tuple(b)]) ** 2, True
        return float(squares[there].mean())

    reach = range(-search, search + 1)
    for one in np.ndindex(*shape):
        total = weights = 0.0
        for step in itertools.product(reach, repeat=3):
            other = tuple(np.add(one, step).tolist())
            if min(other) >= 0 and all(np.less(other, shape)) and inside[one] and inside[other]:
                weight = np.exp(-apart(one, other) / (2 * strength * noise**2))
                total, weights = total + weight * float(values[other]), weights + weight
        if weights:
            found[one] = total / weights
    return found


@pytest.mark.parametrize(("shape", "search"), [((6, 5, 4), 1), ((8, 7, 1), 2), ((2, 5, 3), 1)])
def test_non_local_means_is_its_formula(shape: tuple[int, int, int], search: int) -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(10, 2, shape).astype(np.float32)
    inside = generator.random(shape) < 0.8
    expected = by_loops(values, inside, noise=1.5, strength=0.7, search=search)
    found = nonlocal_means(
        torch.from_numpy(values), torch.from_numpy(inside), noise=1.5, strength=0.7, search=search
    ).numpy()
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 7, 6), (12, 11, 1)])
@pytest.mark.parametrize("radius", [1, 2])
def test_the_median_is_that_of_its_window(shape: tuple[int, int, int], radius: int) -> None:
    image = np.random.default_rng(2).normal(50, 9, shape).astype(np.float32)
    everywhere = torch.ones(shape, dtype=torch.bool)
    found = denoise(torch.from_numpy(image)[None], everywhere, Denoising(method="median", radius=radius))
    padded = np.pad(image, radius, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1,) * 3)
    np.testing.assert_array_equal(found[0].numpy(), np.median(windows, axis=(3, 4, 5)))


@pytest.mark.parametrize(("depth", "curvatures"), [(31, 2), (1, 1)])
def test_curvature_flow_shrinks_spheres_and_circles_as_it_should_and_no_planes(depth: int, curvatures: int) -> None:
    """A sphere's radius falls by both curvatures: r² by 4 a unit of time, a circle's by 2."""
    axes = [torch.arange(-15.0, 16), torch.arange(-15.0, 16), torch.arange(depth) - depth // 2.0]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    everywhere = torch.ones(x.shape, dtype=torch.bool)
    radius = (x**2 + y**2 + z**2).sqrt()
    near = (radius > 5) & (radius < 9)
    for iterations in (1, 20):
        options = Denoising(method="curvature_flow", iterations=iterations)
        found = denoise(40 - radius[None], everywhere, options)
        expected = 40 - (radius**2 + 2 * curvatures * iterations / 16).sqrt()
        assert torch.allclose(found[0][near], expected[near], atol=0.02)
        ramp = denoise(x[None] + 20, everywhere, options)
        assert torch.allclose(ramp, x[None] + 20, atol=1e-4)


@pytest.mark.parametrize("shape", [(60, 60, 40), (200, 200, 1)])
def test_the_noise_is_found_on_slopes_and_across_edges(shape: tuple[int, int, int]) -> None:
    noisy, clean, brain = tissues(shape)
    slope = torch.arange(shape[0]).view(-1, 1, 1) * 2.0
    for image in (noisy[0], noisy[0] + slope, 3 * noisy[0]):
        factor = 3 if image.max() > 3 * 200 else 1
        assert noise_level(image, brain) == pytest.approx(factor * NOISE, rel=0.05)
    assert noise_level(clean[0], brain) == 0


def test_the_noise_of_resampled_slices_is_found_in_their_plane() -> None:
    thick = np.random.default_rng(3).normal(100, NOISE, (60, 60, 12))
    thin = torch.from_numpy(ndimage.zoom(thick, (1, 1, 5), order=1).astype(np.float32))
    everywhere = torch.ones(thin.shape, dtype=torch.bool)
    assert noise_level(thin, everywhere) == pytest.approx(rms(thin - 100), rel=0.1)
    assert noise_level(thin[:2, :2], everywhere[:2, :2]) == 0  # too small for any neighbour
    assert noise_level(thin, torch.zeros_like(everywhere)) == 0


def test_the_transform_keeps_metadata_and_leaves_its_input_alone() -> None:
    noisy, _, brain = tissues((20, 18, 16))
    affine = torch.diag(torch.tensor([2.0, 2, 3, 1], dtype=torch.float64))
    image = MetaTensor(torch.cat([noisy, noisy]), affine=affine)
    sample: dict[str, Any] = {"image": image, "brain": MetaTensor(brain[None].byte(), affine=affine), "case": "a"}
    before = image.clone()
    found = Denoised("image")(sample)
    assert torch.equal(sample["image"], before)
    assert isinstance(found["image"], MetaTensor)
    assert torch.equal(found["image"].affine, affine)
    assert torch.equal(found["image"].as_tensor(), denoise(torch.cat([noisy, noisy]), brain, Denoising()))
    assert found["case"] == "a"
    plain = Denoised(["image", "other"], allow_missing_keys=True)({"image": noisy, "brain": brain[None]})
    assert type(plain["image"]) is torch.Tensor


@METHODS
def test_settings_go_through_yaml_and_plain_data(method: Method) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--denoise", type=Denoising | None)
    options = Denoising(method=method, strength=0.5)
    assert Denoising(**asdict(options)) == options
    parsed = parser.parse_string(f"denoise: {{method: {method}, strength: 0.5}}")
    assert parser.instantiate_classes(parsed).denoise == options


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"method": "bilateral"}, "method is bilateral: expected one of nonlocal_means, curvature_flow, median"),
        ({"strength": 0}, "strength is 0: expected a number above 0"),
        ({"search": 0}, "search is 0: expected a number from 1 to 7"),
        ({"iterations": 0}, "iterations is 0: expected a number from 1"),
        ({"radius": 8}, "radius is 8: expected a number from 1 to 7"),
    ],
)
def test_settings_without_sense_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"denoise's {sentence}"):
        Denoising(**wrong)
