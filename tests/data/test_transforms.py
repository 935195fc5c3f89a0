from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Resized

from brats_lightning.data.transforms import (
    BRAIN,
    Normalisation,
    NormaliseBraind,
    Resampled,
    resample_labels,
    resample_linear,
)
from brats_lightning.labels import IMAGE, LABEL

AFFINE = torch.tensor([[1.0, 0.2, 0, -90], [-0.2, 1.1, 0, 20], [0, 0, 2.5, 7], [0, 0, 0, 1]], dtype=torch.float64)
SIZES = st.tuples(*[st.integers(5, 24)] * 3)


def smooth(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return resample_linear(torch.randn(2, 4, 4, 4, generator=generator), shape)  # type: ignore[arg-type]


def ball(shape: tuple[int, int, int], radius: float, value: int = 3) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.linspace(-1, 1, size) for size in shape], indexing="ij")
    return ((sum(axis**2 for axis in axes) < radius**2) * value).to(torch.uint8)[None]  # type: ignore[union-attr]


def centre_mm(mask: MetaTensor) -> torch.Tensor:
    indices = torch.nonzero(mask.as_tensor()[0]).double().mean(dim=0)
    centre: torch.Tensor = mask.affine[:3, :3] @ indices + mask.affine[:3, 3]
    return centre


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES)
def test_images_are_resampled_as_monai_does(old: tuple[int, int, int], new: tuple[int, int, int]) -> None:
    image = MetaTensor(smooth(old), affine=AFFINE)
    ours = Resampled(IMAGE, size=new)({IMAGE: image})[IMAGE]
    theirs = Resized(IMAGE, spatial_size=new, mode="trilinear")({IMAGE: image})[IMAGE]
    assert torch.allclose(ours.as_tensor(), theirs.as_tensor(), atol=1e-5)
    assert torch.allclose(ours.affine, theirs.affine, atol=1e-9)


@given(SIZES, SIZES)
@settings(max_examples=25, deadline=None)
def test_the_volume_lies_edge_to_edge(old: tuple[int, int, int], new: tuple[int, int, int]) -> None:
    after = Resampled(IMAGE, size=new)({IMAGE: MetaTensor(torch.zeros(1, *old), affine=AFFINE)})[IMAGE]
    for corner in ((0, 0, 0), (1, 1, 1), (1, 0, 1)):
        edges = [torch.tensor([*(c * n - 0.5 for c, n in zip(corner, s, strict=True)), 1]).double() for s in (old, new)]
        assert torch.allclose(AFFINE @ edges[0], after.affine @ edges[1], atol=1e-9)


def test_the_size_that_is_there_is_kept_without_a_copy() -> None:
    image = MetaTensor(smooth((6, 7, 8)), affine=AFFINE)
    label = MetaTensor(ball((6, 7, 8), 0.5), affine=AFFINE)
    after = Resampled(IMAGE, label_keys=(LABEL,), size=(6, 7, 8))({IMAGE: image, LABEL: label})
    assert after[IMAGE] is image
    assert after[LABEL] is label


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.integers(0, 9))
def test_no_label_is_invented(old: tuple[int, int, int], new: tuple[int, int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor([0, 2, 5], dtype=torch.uint8)
    labels = values[torch.randint(3, (1, *old), generator=generator)]
    after = resample_labels(labels, new)
    assert after.dtype == torch.uint8
    assert after.shape == (1, *new)
    assert set(after.unique().tolist()) <= {0, 2, 5}


@pytest.mark.parametrize("size", [(64, 64, 64), (40, 55, 70), (90, 90, 60)])
def test_labels_keep_their_volume_and_place(size: tuple[int, int, int]) -> None:
    shape = (60, 72, 62)
    labels = MetaTensor(torch.maximum(ball(shape, 0.7, 2), ball(shape, 0.4, 3)), affine=torch.eye(4).double())
    after = Resampled(IMAGE, label_keys=(LABEL,), size=size)({IMAGE: labels.float(), LABEL: labels})[LABEL]
    voxel_ml = abs(torch.linalg.det(after.affine[:3, :3]))
    for value in (2, 3):
        assert (after.as_tensor() == value).sum() * voxel_ml == pytest.approx(
            float((labels.as_tensor() == value).sum()), rel=0.03
        )
    assert torch.allclose(centre_mm(after), centre_mm(labels), atol=0.1)


def test_a_spacing_is_reached_as_nearly_as_whole_voxels_allow() -> None:
    after = Resampled(IMAGE, spacing_mm=2.0)({IMAGE: MetaTensor(torch.zeros(1, 21, 30, 9), affine=AFFINE)})[IMAGE]
    spacing = after.affine[:3, :3].norm(dim=0)
    assert after.shape[1:] == (
        round(21 * float(AFFINE[:3, 0].norm()) / 2),
        round(30 * float(AFFINE[:3, 1].norm()) / 2),
        11,
    )
    assert np.allclose(spacing, 2, atol=0.1)
    flat = Resampled(IMAGE, spacing_mm=50.0)({IMAGE: MetaTensor(torch.zeros(1, 21, 30, 9), affine=AFFINE)})[IMAGE]
    assert flat.shape[1:] == (1, 1, 1)


def test_size_and_spacing_exclude_each_other() -> None:
    for wrong in ({}, {"size": (1, 1, 1), "spacing_mm": 1.0}):
        with pytest.raises(ValueError, match="either size or spacing_mm"):
            Resampled(IMAGE, **wrong)  # type: ignore[arg-type]


def test_an_unlabelled_sample_is_resampled_too() -> None:
    after = Resampled(IMAGE, label_keys=(LABEL,), size=(4, 4, 4))({IMAGE: MetaTensor(torch.zeros(1, 6, 6, 6))})
    assert set(after) == {IMAGE}


def normalised(image: torch.Tensor, brain: torch.Tensor, method: Normalisation) -> torch.Tensor:
    data: dict[str, Any] = {IMAGE: MetaTensor(image, affine=AFFINE), BRAIN: MetaTensor(brain)}
    after = NormaliseBraind(IMAGE, method=method)(data)[IMAGE]
    assert torch.equal(after.affine, AFFINE)
    values: torch.Tensor = after.as_tensor()
    return values


@pytest.mark.parametrize("method", ["zscore", "minmax", "percentile"])
def test_each_channel_is_normalised_inside_the_brain_alone(method: Normalisation) -> None:
    brain = ball((20, 22, 24), 0.8, 1)
    image = (smooth((20, 22, 24)) * torch.tensor([1.0, 300.0])[:, None, None, None] + 50) * brain
    after = normalised(image, brain, method)
    assert (after[:, brain[0] == 0] == 0).all()
    inside = after[:, brain[0] == 1].double()
    expected = {"zscore": (inside.mean(dim=1), inside.std(dim=1, correction=0))}
    low, high = expected.get(method, (inside.amin(dim=1), inside.amax(dim=1)))
    assert np.allclose(low, 0, atol=1e-5)
    assert np.allclose(high, 1, atol=1e-5)
    if method == "percentile":
        for channel, values in zip(image, inside, strict=True):
            before = channel[brain[0] == 1]
            assert (values < 1e-6).double().mean() == pytest.approx(0.005, abs=0.001)
            assert (values > 1 - 1e-6).double().mean() == pytest.approx(0.005, abs=0.001)
            middle = (values > 1e-6) & (values < 1 - 1e-6)
            assert np.corrcoef(before[middle], values[middle])[0, 1] > 0.99999


def test_voxels_without_signal_have_no_say_in_a_channels_statistics() -> None:
    """The brains of the modalities differ by a few voxels."""
    brain = torch.ones(1, 4, 4, 4, dtype=torch.uint8)
    brain[..., 3] = 0
    image = (torch.arange(64.0).reshape(1, 4, 4, 4) + 100) * brain
    image[0, 0] = 0
    after = normalised(image, brain, "zscore")
    assert (after[0, 0] == 0).all()
    assert after[0, 1:, :, :3].mean() == pytest.approx(0, abs=1e-5)
    assert after[0, 1:, :, :3].std(correction=0) == pytest.approx(1, abs=1e-5)


def test_in_a_picture_without_background_0_is_a_grey_value() -> None:
    """And in a modality with one, beside a modality without, it is none."""
    brain = torch.ones(1, 8, 8, 1, dtype=torch.uint8)
    image = torch.arange(128.0).reshape(2, 8, 8, 1) % 16
    image[1, :5] = 0
    after = normalised(image, brain, "zscore")
    assert (after[0][image[0] == 0] < -1).all()
    assert after[0].mean() == pytest.approx(0, abs=1e-5)
    assert (after[1][image[1] == 0] == 0).all()
    assert after[1][image[1] != 0].mean() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("method", ["zscore", "minmax", "percentile"])
def test_a_channel_without_contrast_or_signal_stays_finite(method: Normalisation) -> None:
    brain = ball((6, 6, 6), 0.8, 1)
    image = torch.cat([brain * 7.0, brain * 0.0])
    assert (normalised(image, brain, method) == 0).all()
