"""Intensity steps against MONAI's transforms with the same parameters."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.transforms import (
    AdjustContrast,
    GaussianSmooth,
    RandBiasField,
    RandSimulateLowResolution,
    ScaleIntensity,
    ScaleIntensityFixedMean,
    ShiftIntensity,
)

from brats_lightning.data.augmentation.artefacts import BiasField, ModalityDropout, Noise
from brats_lightning.data.augmentation.intensity import Brightness, Contrast, Gamma, Saturation, Shift
from brats_lightning.data.augmentation.sharpness import Blur, LowResolution
from brats_lightning.data.augmentation.step import Intensity
from brats_lightning.errors import ConfigError

SHAPE = (3, 12, 10, 11)
BIAS = np.random.default_rng(3).uniform(0, 0.1, 20)


def low_resolution(image: torch.Tensor) -> torch.Tensor:
    transform = RandSimulateLowResolution(prob=1)
    transform.randomize()
    transform.zoom_factor = 0.6
    return torch.as_tensor(transform(image, randomize=False))


def bias_field(image: torch.Tensor) -> torch.Tensor:
    transform = RandBiasField(prob=1)
    transform.randomize(image.shape[1:])
    transform._coeff = BIAS.tolist()
    return torch.as_tensor(transform(image, randomize=False))


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


SAME = [
    (Brightness(probability=1, factors=(-0.1, 0.1)), [0.07], ScaleIntensity(minv=None, maxv=None, factor=0.07)),
    (Shift(probability=1, offsets=(-0.1, 0.1)), [-0.09], ShiftIntensity(-0.09)),
    (Contrast(probability=1, factors=(-0.1, 0.1)), [0.3], ScaleIntensityFixedMean(factor=0.3)),
    (
        Contrast(probability=1, factors=(-0.1, 0.1), per_channel=True),
        [0.3, 0.3, 0.3],
        ScaleIntensityFixedMean(factor=0.3, channel_wise=True),
    ),
    (Gamma(probability=1, exponents=(0.7, 1.5)), [1.4], AdjustContrast(1.4)),
    (Gamma(probability=1, exponents=(0.7, 1.5), retain_stats=True), [0.7], AdjustContrast(0.7, retain_stats=True)),
    (BiasField(probability=1), [BIAS], bias_field),
    (Blur(probability=1, sigma=(0.5, 1)), [0.5, 1.0, 1.6], GaussianSmooth((0.5, 1.0, 1.6))),
    (LowResolution(probability=1, factors=(0.5, 1)), [0.6], low_resolution),
]


@pytest.mark.parametrize(("step", "drawn", "monai"), SAME, ids=[type(step).__name__ for step, _, _ in SAME])
def test_a_step_is_that_of_monai(
    step: Intensity, drawn: list[float], monai: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor
) -> None:
    expected = torch.as_tensor(monai(image.clone()))
    torch.testing.assert_close(step.apply(image.clone(), np.array(drawn)), expected, rtol=1e-4, atol=2e-5)
    assert not torch.allclose(expected, image, atol=1e-2)


@pytest.mark.parametrize(
    ("step", "drawn"),
    [
        (Brightness(probability=1, factors=(-0.5, 0.5), per_channel=True), np.array([0.1, -0.2, 0.3])),
        (Shift(probability=1, offsets=(-0.5, 0.5), per_channel=True), np.array([0.1, -0.2, 0.3])),
        (Contrast(probability=1, factors=(-0.5, 0.5), per_channel=True), np.array([0.1, -0.2, 0.3])),
        (Gamma(probability=1, exponents=(0.5, 2), per_channel=True, retain_stats=True), np.array([0.6, 1.2, 1.9])),
        (BiasField(probability=1, per_channel=True), np.random.default_rng(0).uniform(0, 0.1, (3, 20))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_for_each_channel_is_each_channel_by_itself(
    step: Intensity, drawn: np.ndarray, image: torch.Tensor
) -> None:
    together = step.apply(image.clone(), drawn)
    for channel in range(3):
        alone = step.apply(image[channel : channel + 1].clone(), drawn[channel : channel + 1])
        torch.testing.assert_close(together[channel : channel + 1], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("step", "low", "high", "values"),
    [
        (Brightness(probability=1, factors=(-0.1, 0.3)), -0.1, 0.3, 1),
        (Shift(probability=1, offsets=(0.2, 0.4), per_channel=True), 0.2, 0.4, 3),
        (Contrast(probability=1, factors=(-0.25, 0.25)), -0.25, 0.25, 1),
        (Saturation(probability=1, factors=(-0.6, 0.6)), -0.6, 0.6, 1),
        (Gamma(probability=1, exponents=(0.7, 1.5)), 0.7, 1.5, 1),
        (Blur(probability=1, sigma=(0.5, 1.5)), 0.5, 1.5, 3),
        (LowResolution(probability=1, factors=(0.5, 1)), 0.5, 1, 1),
        (BiasField(probability=1, coefficients=(0.0, 0.1)), 0, 0.1, 20),
    ],
    ids=lambda value: type(value).__name__,
)
def test_ranges_are_honoured(step: Intensity, low: float, high: float, values: int) -> None:
    generator = np.random.default_rng(0)
    drawn = np.array([step.draw(generator, 3).ravel() for _ in range(600)])
    assert drawn.shape == (600, values)
    assert low <= drawn.min() < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < drawn.max() <= high
    assert drawn.mean() == pytest.approx((low + high) / 2, abs=0.05 * (high - low))


@pytest.mark.parametrize("factor", [-1.0, -0.4, 0.0, 0.6])
def test_saturation_mixes_each_voxel_with_its_grey_as_in_pictures(factor: float, image: torch.Tensor) -> None:
    """As in torchvision's adjust_saturation, whose grey weighs colours unequally: s · picture + (1 − s) · grey."""
    step, grey = Saturation(probability=1, factors=(-1, 1)), image.numpy().mean(axis=0)
    image[:, 2:4] = 0
    grey[2:4] = 0
    found = step.apply(image.clone(), np.array([factor]))
    expected = (1 + factor) * image.numpy() - factor * grey
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert not found[:, 2:4].any()  # nothing in any modality stays nothing
    torch.testing.assert_close(found.mean(dim=0), image.mean(dim=0), rtol=0, atol=1e-5)
    alone = step.apply(image[:1].clone(), np.array([factor]))
    torch.testing.assert_close(alone, image[:1])


def test_noise_has_its_deviation_and_its_seed() -> None:
    noise, nothing = Noise(probability=1, deviation=0.4), torch.zeros(2, 30, 30, 30)
    found = noise.apply(nothing.clone(), np.array([0.3, 4_294_967_295]))
    assert float(found.std()) == pytest.approx(0.3, rel=0.02)
    assert float(found.mean()) == pytest.approx(0, abs=0.01)
    assert torch.equal(found, noise.apply(nothing.clone(), np.array([0.3, 4_294_967_295])))
    assert not torch.equal(found, noise.apply(nothing.clone(), np.array([0.3, 4_294_967_294])))
    drawn = np.array([noise.draw(np.random.default_rng(seed), 2) for seed in range(300)])
    assert 0 <= drawn[:, 0].min() < 0.01
    assert 0.39 < drawn[:, 0].max() <= 0.4
    assert len(set(drawn[:, 1])) == 300


def test_dropout_leaves_a_channel() -> None:
    step, counts = ModalityDropout(probability=1, most=5), []
    for seed in range(200):
        drawn = step.draw(np.random.default_rng(seed), 3)
        image = step.apply(torch.ones(SHAPE), drawn)
        empty = [channel for channel in range(3) if not image[channel].any()]
        assert sorted(empty) == sorted(drawn)
        counts.append(len(empty))
    assert set(counts) == {1, 2}
    assert not len(step.draw(np.random.default_rng(0), 1))


def test_a_constant_image_stays_finite() -> None:
    found = Gamma(probability=1, exponents=(0.5, 2), retain_stats=True).apply(torch.full(SHAPE, 2.0), np.array([0.5]))
    torch.testing.assert_close(found, torch.full(SHAPE, 2.0))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Brightness(probability=1.1, factors=(-0.1, 0.1)), "probability is 1.1"),
        (lambda: Brightness(probability=0.5, factors=(0.1, -0.1)), "the smaller first"),
        (lambda: Brightness(probability=0.5, factors=(-1.0, 0.1)), "above -1"),
        (lambda: Shift(probability=0.5, offsets=(0.1,)), "two numbers"),  # type: ignore[arg-type]
        (lambda: Saturation(probability=0.5, factors=(-1.1, 0.1)), r"Saturation: factors is .* from -1 on"),
        (lambda: Gamma(probability=0.5, exponents=(0, 1)), "above 0"),
        (lambda: Noise(probability=0.5, deviation=-1), "deviation is -1"),
        (lambda: Blur(probability=0.5, sigma=(0, 1)), "above 0"),
        (lambda: LowResolution(probability=0.5, factors=(0.5, 2)), "up to 1"),
        (lambda: BiasField(probability=0.5, degree=0), "degree is 0"),
        (lambda: ModalityDropout(probability=0.5, most=0), "most is 0"),
    ],
)
def test_values_that_cannot_be_are_refused(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build()
