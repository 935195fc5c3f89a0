"""A slice is augmented within its plane: what SciPy and MONAI make of the picture, whichever axis has one voxel."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.transforms import GaussianSmooth, RandSimulateLowResolution
from scipy import ndimage

from brats_lightning.data.augmentation.artefacts import BiasField, ModalityDropout, Noise
from brats_lightning.data.augmentation.fused import FusedAugmentation
from brats_lightning.data.augmentation.intensity import Brightness, Contrast, Gamma, Saturation, Shift
from brats_lightning.data.augmentation.sharpness import Blur, LowResolution
from brats_lightning.data.augmentation.spatial import Elastic, Rotation, Scaling, Warp
from brats_lightning.data.augmentation.step import Intensity
from brats_lightning.data.augmentation.warp import make_grid, warp_image, warp_label
from brats_lightning.errors import ConfigError
from brats_lightning.labels import IMAGE, LABEL, SEED, WHOLE

PICTURE = (2, 20, 23)
Size = tuple[int, int, int]
Floats = npt.NDArray[np.float64]
axes = pytest.mark.parametrize("axis", [0, 1, 2])


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand(PICTURE, generator=torch.Generator().manual_seed(0)) + 0.5


def size_of(image: torch.Tensor) -> Size:
    return image.shape[1], image.shape[2], image.shape[3]


def warped(image: torch.Tensor, warp: Warp) -> torch.Tensor:
    size = size_of(image)
    return warp_image(image, warp, size=size, grid=make_grid(warp, source=size, size=size, device=image.device))


def at(picture: torch.Tensor, places: Floats, *, order: Literal[0, 1] = 1) -> torch.Tensor:
    """SciPy's values (C, U, V) at places (2, U, V), zeros around the picture."""
    found = [ndimage.map_coordinates(one, places, order=order, mode="grid-constant") for one in picture.numpy()]
    return torch.from_numpy(np.stack(found))


def places(matrix: Floats) -> Floats:
    """Where each pixel comes from under a matrix about the centre."""
    lengths = PICTURE[1:]
    offsets = np.stack(np.meshgrid(*[np.arange(length) - (length - 1) / 2 for length in lengths], indexing="ij"))
    centre = np.array([(length - 1) / 2 for length in lengths])[:, None, None]
    moved: Floats = np.einsum("ij,juv->iuv", matrix, offsets) + centre
    return moved


@axes
def test_rotation_scale_and_flips_are_those_of_the_picture(picture: torch.Tensor, axis: int) -> None:
    angle, factors = 0.3, (1.3, 0.8)
    first, second = [other for other in range(3) if other != axis]
    radians, scale, flips = np.zeros(3), np.ones(3), [False] * 3
    radians[axis] = angle * (-1 if axis == 1 else 1)  # about y it turns from z to x
    scale[[first, second]] = factors
    flips[first] = True
    warp = Warp(tuple(flips), tuple(radians), tuple(scale))  # type: ignore[arg-type]
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    expected = at(picture, places(np.diag([-1, 1]) @ turn @ np.diag(1 / np.array(factors))))
    found = warped(picture.unsqueeze(axis + 1), warp).squeeze(axis + 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@axes
def test_displacement_is_that_of_the_picture_and_has_the_asked_size(picture: torch.Tensor, axis: int) -> None:
    image = picture.unsqueeze(axis + 1)
    elastic, squares = Elastic(probability=1, magnitude=(1.2, 1.2), spacing=(7.5, 7.5)), []
    first, second = [other for other in range(3) if other != axis]
    for seed in range(40):
        drawn = elastic.draw(np.random.default_rng(seed), size_of(image))
        bases = [drawn.basis(other, length) for other, length in enumerate(size_of(image))]
        field = np.einsum("cabd,xa,yb,zd->cxyz", drawn.points, *bases).squeeze(axis + 1)
        assert not field[axis].any()
        squares.append(np.square(field[[first, second]]).mean())
    expected = at(picture, places(np.eye(2)) + field[[first, second]])
    found = warped(image, Warp(displacement=drawn)).squeeze(axis + 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert np.sqrt(np.mean(squares)) == pytest.approx(1.2, rel=0.1)


@axes
def test_labels_move_as_those_of_the_picture(axis: int) -> None:
    label = torch.zeros(1, *PICTURE[1:], dtype=torch.uint8)
    label[:, 6:13, 5:16] = WHOLE
    radians = [0.0, 0.0, 0.0]
    radians[axis] = 0.4
    image, warp = label.unsqueeze(axis + 1), Warp(radians=tuple(radians))  # type: ignore[arg-type]
    size = size_of(image)
    grid = make_grid(warp, source=size, size=size, device=image.device)
    angle = 0.4 * (-1 if axis == 1 else 1)
    turn = places(np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]))
    found = warp_label(image, warp, size=size, grid=grid, interpolation="nearest")
    assert torch.equal(found.squeeze(axis + 1), at(label, turn, order=0).byte())
    soft = warp_label(image, warp, size=size, grid=grid, interpolation="soft")
    shares = at((label == WHOLE).float(), turn)
    assert torch.equal(soft.squeeze(axis + 1)[shares != 0.5], WHOLE * (shares > 0.5).byte()[shares != 0.5])


def low_resolution(image: torch.Tensor) -> torch.Tensor:
    transform = RandSimulateLowResolution(prob=1, upsample_mode="bilinear")
    transform.randomize()
    transform.zoom_factor = 0.6
    return torch.as_tensor(transform(image, randomize=False))


DEGREES = [degrees for degrees in np.ndindex(4, 4, 4) if sum(degrees) <= 3]
COEFFICIENTS = np.random.default_rng(3).uniform(-0.3, 0.3, 20)


@axes
def test_blur_low_resolution_and_bias_are_those_of_the_picture(picture: torch.Tensor, axis: int) -> None:
    def bias_field(image: torch.Tensor) -> torch.Tensor:
        lattice = np.zeros((4, 4, 4))
        lattice[tuple(np.transpose(DEGREES))] = COEFFICIENTS
        x, y = (np.linspace(-1, 1, length) for length in PICTURE[1:])
        field = np.polynomial.legendre.leggrid2d(x, y, lattice.take(0, axis=axis))
        return image * torch.from_numpy(np.exp(field)).float()

    sigma = np.insert([0.6, 1.4], axis, 1.0)
    steps: list[tuple[Intensity, Floats, Callable[[torch.Tensor], Any]]] = [
        (Blur(probability=1, sigma=(0.5, 2)), sigma, GaussianSmooth((0.6, 1.4))),
        (LowResolution(probability=1, factors=(0.5, 1)), np.array([0.6]), low_resolution),
        (BiasField(probability=1), COEFFICIENTS[None], bias_field),
    ]
    for step, drawn, expected in steps:
        found = step.apply(picture.unsqueeze(axis + 1).clone(), drawn).squeeze(axis + 1)
        torch.testing.assert_close(found, torch.as_tensor(expected(picture.clone())), rtol=1e-4, atol=2e-5)
        assert not torch.allclose(found, picture, atol=1e-2)


def within(axis: int, **changes: Any) -> FusedAugmentation:
    """All that moves or smooths, of slices across an axis."""
    radians = [0.0, 0.0, 0.0]
    radians[axis] = 0.3
    arguments: dict[str, Any] = {
        "flips": (0.5, 0.5, 0.5),
        "rotation": Rotation(probability=1, radians=(radians[0], radians[1], radians[2])),
        "scaling": Scaling(probability=1, factors=(0.9, 1.2), per_axis=True),
        "elastic": Elastic(probability=1, magnitude=(0.2, 1), spacing=(7, 9)),
        "blur": Blur(probability=1, sigma=(0.5, 1)),
        "low_resolution": LowResolution(probability=1, factors=(0.5, 1)),
    }
    return FusedAugmentation(**(arguments | changes))


def batch(axis: int, *, value: float | None = None) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, 4, 40, 44, generator=generator) if value is None else torch.full((3, 4, 40, 44), value)
    label = torch.randint(0, 4, (3, 1, 40, 44), generator=generator, dtype=torch.uint8)
    return {IMAGE: image.unsqueeze(axis + 2), LABEL: label.unsqueeze(axis + 2), SEED: [3, 1, 4]}


@axes
def test_a_constant_slice_stays_constant_away_from_the_border(axis: int) -> None:
    found = within(axis)(batch(axis, value=2.5))[IMAGE].squeeze(axis + 2)
    torch.testing.assert_close(found[:, :, 16:24, 18:26], torch.full((3, 4, 8, 8), 2.5), rtol=0, atol=1e-3)


@axes
def test_every_step_takes_a_slice_and_a_seed_replays_it(axis: int) -> None:
    augmentation = within(
        axis,
        bias_field=BiasField(probability=1, per_channel=True),
        brightness=Brightness(probability=1, factors=(-0.6, 0.6)),
        shift=Shift(probability=1, offsets=(-0.1, 0.1)),
        contrast=Contrast(probability=1, factors=(-0.6, 0.6), per_channel=True),
        saturation=Saturation(probability=1, factors=(-0.6, 0.6)),
        noise=Noise(probability=1, deviation=0.1),
        gamma=Gamma(probability=1, exponents=(0.7, 1.5), retain_stats=True),
        modality_dropout=ModalityDropout(probability=1),
        labels="soft",
    )
    given = batch(axis)
    found = augmentation(given)
    assert found[IMAGE].shape == given[IMAGE].shape
    assert found[LABEL].shape == given[LABEL].shape
    assert found[IMAGE].isfinite().all()
    assert torch.equal(found[IMAGE], augmentation(batch(axis))[IMAGE])
    for sample in augmentation.draw(given[SEED], channels=4, source=size_of(given[IMAGE][0])).samples:
        assert sample.warp.factors is not None
        assert sample.warp.factors[axis] == 1
        assert 1 not in [factor for other, factor in enumerate(sample.warp.factors) if other != axis]


@pytest.mark.parametrize(
    ("axis", "size", "wanted"),
    [
        (0, "1 × 40 × 44", r"\(0\.1, 0\.0, 0\.0\)"),
        (1, "40 × 1 × 44", r"\(0\.0, 0\.1, 0\.0\)"),
        (2, "40 × 44 × 1", r"\(0\.0, 0\.0, 0\.1\)"),
    ],
)
def test_a_rotation_out_of_the_plane_is_refused_and_names_the_setting(axis: int, size: str, wanted: str) -> None:
    everywhere = within(axis, rotation=Rotation(probability=0.1, radians=(0.1, 0.1, 0.1)))
    with pytest.raises(ConfigError, match=rf"Rotation: radians is .* of {size} voxels out of .*: expected {wanted}$"):
        everywhere(batch(axis))


def test_a_line_can_be_turned_about_itself_alone() -> None:
    line = {IMAGE: torch.randn(1, 2, 9, 1, 1), SEED: [0]}
    turned = FusedAugmentation(rotation=Rotation(probability=1, radians=(0.5, 0, 0)))(line)
    torch.testing.assert_close(turned[IMAGE], line[IMAGE])
    with pytest.raises(ConfigError, match=r"expected \(0\.0, 0\.0, 0\.0\)"):
        FusedAugmentation(rotation=Rotation(probability=1, radians=(0, 0, 0.5)))(line)


def test_a_slice_cut_out_of_a_volume_may_come_from_outside_its_plane() -> None:
    """The volume is there, so that the slice is the middle one of the volume that was turned and displaced."""
    image = torch.randn(1, 2, 14, 16, 9, generator=torch.Generator().manual_seed(0))
    arguments: dict[str, Any] = {"rotation": Rotation(probability=1, radians=(0.3, 0.2, 0.1))}
    arguments["scaling"] = Scaling(probability=1, factors=(0.8, 1.2), per_axis=True)
    whole = FusedAugmentation(**arguments)({IMAGE: image, SEED: [5]})[IMAGE]
    cut = FusedAugmentation(**arguments, size=(14, 16, 1))({IMAGE: image, SEED: [5]})[IMAGE]
    torch.testing.assert_close(cut, whole[..., 4:5], rtol=0, atol=1e-5)
    elastic = Elastic(probability=1, magnitude=(1, 1), spacing=(7, 7))
    assert elastic.draw(np.random.default_rng(0), (14, 16, 1), source=(14, 16, 9)).points[2].any()
