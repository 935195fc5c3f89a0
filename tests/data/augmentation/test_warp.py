"""Geometry against MONAI's transforms with the same parameters."""

import numpy as np
import pytest
import torch
from monai.transforms import Affine, Flip, Resample, Rotate, Zoom

from brats_lightning.data.augmentation.spatial import Displacement, Elastic, Warp
from brats_lightning.data.augmentation.warp import make_grid, warp_image, warp_label

SIZE = (20, 24, 22)
Size = tuple[int, int, int]


@pytest.fixture
def image() -> torch.Tensor:
    """Smooth structure that ends smoothly on zeros, (2, 20, 24, 22)."""
    coarse = torch.rand(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    smooth = torch.nn.functional.interpolate(coarse, size=SIZE, mode="trilinear")[0]
    x, y, z = (torch.linspace(-1, 1, length) for length in SIZE)
    return smooth * (1 - 1.6 * (x[:, None, None] ** 2 + y[:, None] ** 2 + z**2)).clamp(0) ** 2


def warped(image: torch.Tensor, warp: Warp, size: Size = SIZE) -> torch.Tensor:
    source = (image.shape[1], image.shape[2], image.shape[3])
    grid = make_grid(warp, source=source, size=size, device=image.device) if warp.resamples else None
    return warp_image(image, warp, size=size, grid=grid)


@pytest.mark.parametrize("axes", [(), (0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_flips_are_exact_with_and_without_resampling(image: torch.Tensor, axes: tuple[int, ...]) -> None:
    flips = (0 in axes, 1 in axes, 2 in axes)
    expected = torch.as_tensor(Flip(list(axes))(image)) if axes else image
    assert torch.equal(warped(image, Warp(flips=flips)), expected)
    resampled = warped(image, Warp(flips=flips, radians=(0.0, 0.0, 0.0)))
    torch.testing.assert_close(resampled, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("radians", [(0.3, 0, 0), (0, -0.2, 0), (0, 0, 0.25), (0.2, -0.3, 0.15)])
def test_rotation_is_that_of_monai(image: torch.Tensor, radians: tuple[float, float, float]) -> None:
    expected = Rotate(radians, padding_mode="zeros", align_corners=True)(image)
    torch.testing.assert_close(warped(image, Warp(radians=radians)), torch.as_tensor(expected), rtol=0, atol=1e-4)


def test_magnification_is_that_of_monai(image: torch.Tensor) -> None:
    factors = (1.3, 0.8, 1.1)
    affine = Affine(scale_params=[1 / factor for factor in factors], padding_mode="zeros", image_only=True)
    torch.testing.assert_close(warped(image, Warp(factors=factors)), torch.as_tensor(affine(image)), rtol=0, atol=1e-4)
    # The same direction as MONAI's Zoom, which rounds the size in between.
    ball = torch.zeros(1, *SIZE)
    ball[:, 6:14, 8:16, 7:15] = 1
    volumes = [float((volume > 0.5).sum()) for volume in (warped(ball, Warp(factors=(1.5, 1.5, 1.5))), Zoom(1.5)(ball))]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.15)
    assert volumes[0] == pytest.approx(1.5**3 * 512, rel=0.05)


def test_steps_follow_one_another_as_in_a_list_of_transforms(image: torch.Tensor) -> None:
    radians = (0.2, -0.1, 0.15)
    turned = torch.as_tensor(Rotate(radians, padding_mode="zeros", align_corners=True)(Flip(0)(image)))
    size = [1 / 1.2, 1.0, 1 / 0.9]
    expected = Affine(scale_params=size, padding_mode="zeros", image_only=True)(turned)
    found = warped(image, Warp(flips=(True, False, False), radians=radians, factors=(1.2, 1.0, 0.9)))
    difference = (found - torch.as_tensor(expected)).abs()
    assert float(difference.mean()) < 0.03 * float(image.abs().mean())  # two interpolations against one
    wrong = warped(image, Warp(radians=radians, factors=(1.2, 1.0, 0.9)))
    assert float((wrong - torch.as_tensor(expected)).abs().mean()) > 4 * float(difference.mean())


def test_displacement_is_that_of_monais_resampling(image: torch.Tensor) -> None:
    displacement = Elastic(probability=1, magnitude=(1, 1), spacing=(6, 6)).draw(np.random.default_rng(0), SIZE)
    bases = [displacement.basis(axis, length) for axis, length in enumerate(SIZE)]
    field = np.einsum("cabd,xa,yb,zd->cxyz", displacement.points, *bases)
    centred = np.meshgrid(*[np.arange(length) - (length - 1) / 2 for length in SIZE], indexing="ij")
    grid = torch.from_numpy(np.stack(centred) + field).float()
    expected = Resample(padding_mode="zeros")(image, torch.cat([grid, torch.ones(1, *SIZE)]))
    found = warped(image, Warp(displacement=displacement))
    torch.testing.assert_close(found, torch.as_tensor(expected), rtol=0, atol=1e-4)
    assert float((found - image).abs().max()) > 0.1


def test_displacement_has_the_asked_size_and_is_smooth() -> None:
    elastic = Elastic(probability=1, magnitude=(1.4, 1.4), spacing=(8.5, 8.5))
    squares, steps = [], []
    for seed in range(12):
        drawn = elastic.draw(np.random.default_rng(seed), (40, 41, 42))
        bases = [drawn.basis(axis, length) for axis, length in enumerate((40, 41, 42))]
        for basis in bases:
            np.testing.assert_allclose(basis.sum(axis=1), 1)
        field = np.einsum("cabd,xa,yb,zd->cxyz", drawn.points, *bases, optimize=True)
        squares.append(np.square(field).mean())
        steps.append(np.square(np.diff(field, axis=1)).mean())
        gradient = np.stack([np.stack(np.gradient(part)) for part in field]) + np.eye(3)[..., None, None, None]
        assert np.linalg.det(np.moveaxis(gradient, (0, 1), (-2, -1))).min() > 0  # nothing folds
    assert np.sqrt(np.mean(squares)) == pytest.approx(1.4, rel=0.1)
    assert np.sqrt(np.mean(steps)) == pytest.approx(1.4 * 1.18 / 8.5, rel=0.1)


@pytest.mark.parametrize("size", [(14, 13, 22), (30, 27, 22), (14, 31, 21)])
def test_output_is_the_middle_with_and_without_resampling(image: torch.Tensor, size: Size) -> None:
    still, resampled = warped(image, Warp(), size), warped(image, Warp(factors=(1.0, 1.0, 1.0)), size)
    assert still.shape == (2, *size)
    torch.testing.assert_close(resampled, still, rtol=0, atol=1e-4)
    first = [(source - wanted) // 2 for source, wanted in zip(SIZE, size, strict=True)]
    inner = still[(slice(None), *[slice(max(0, -at), max(0, -at) + 13) for at in first])]
    assert torch.equal(inner, image[(slice(None), *[slice(max(0, at), max(0, at) + 13) for at in first])])
    flipped = warped(image, Warp(flips=(True, True, False)), size)
    assert torch.equal(flipped, still.flip(1, 2))


@pytest.mark.parametrize("interpolation", ["nearest", "soft"])
def test_labels_move_with_the_image(interpolation: str) -> None:
    size = (40, 44, 42)
    x, y, z = (torch.linspace(-1, 1, length) for length in size)
    ball = 1 - ((x - 0.1)[:, None, None] ** 2 + y[:, None] ** 2 + 1.4 * z**2).sqrt()
    label = (ball > 0.5).to(torch.uint8)[None] * 3
    displacement = Elastic(probability=1, magnitude=(1.5, 1.5), spacing=(9, 9)).draw(np.random.default_rng(0), size)
    warp = Warp((True, False, True), (0.2, 0.1, -0.3), (1.2, 1.0, 0.9), displacement)
    grid = make_grid(warp, source=size, size=size, device=label.device)
    found = warp_label(label, warp, size=size, grid=grid, interpolation=interpolation)  # type: ignore[arg-type]
    expected = warp_image(ball[None], warp, size=size, grid=grid) > 0.5
    assert found.dtype == torch.uint8
    assert set(found.unique().tolist()) == {0, 3}
    overlap = 2 * float(((found == 3) & expected).sum()) / float((found == 3).sum() + expected.sum())
    assert overlap > (0.95 if interpolation == "nearest" else 0.97)
    unmoved = 2 * float(((label == 3) & expected).sum()) / float((label == 3).sum() + expected.sum())
    assert unmoved < 0.9


def test_soft_labels_keep_the_largest_share() -> None:
    label = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    label[:, 4:] = 5
    quarter = Warp(displacement=Displacement(4.0, np.stack([np.full((5, 5, 5), 0.3), *np.zeros((2, 5, 5, 5))])))
    grid = make_grid(quarter, source=(8, 8, 8), size=(8, 8, 8), device=label.device)
    found = warp_label(label, quarter, size=(8, 8, 8), grid=grid, interpolation="soft")
    assert torch.equal(found[:, :7], label[:, :7])  # at 3.3 the share of 5 is 0.3, and past the end 0.7
