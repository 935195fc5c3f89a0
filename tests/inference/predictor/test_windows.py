import itertools

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from brats_lightning.inference.predictor.intake import Size
from brats_lightning.inference.predictor.windows import gaussian, pad_evenly, windowed_logits, windows_along

CPU = torch.device("cpu")
volumes = st.tuples(st.integers(1, 13), st.integers(1, 13), st.integers(1, 13))
windows = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
overlaps = st.sampled_from([0, 0.25, 0.5, 0.7])


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Whose logits differ between windows, so that a wrong place or weight shows."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 3, padding=1)).eval()


def image_of(size: Size, seed: int = 0) -> Tensor:
    return torch.randn(2, *size, generator=torch.Generator().manual_seed(seed))


def bell(window: Size) -> Tensor:
    x, y, z = (gaussian(length).float() for length in window)
    return x[:, None, None] * y[:, None] * z


@hypothesis.given(volumes, windows, overlaps, st.integers(1, 5))
@hypothesis.settings(deadline=None, max_examples=60)
def test_windows_are_those_of_monai(network: nn.Module, volume: Size, window: Size, overlap: float, batch: int) -> None:
    image = image_of(volume)
    logits = windowed_logits(image, network, window=window, overlap=overlap, batch=batch)
    with torch.no_grad():
        expected = sliding_window_inference(
            image[None], window, 1, network, overlap=overlap, roi_weight_map=bell(window)
        )
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(logits, expected[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [(8, 5, 2), (32, 48, 16)])
def test_weights_are_those_of_monai_down_to_its_floor(window: Size) -> None:
    expected = compute_importance_map(window, mode="gaussian")
    torch.testing.assert_close(bell(window).clamp_min(1e-3), expected)
    assert bell(window).min() >= expected.min() / 1e9  # far from what a float cannot hold


@hypothesis.given(st.integers(1, 40), st.integers(1, 40), overlaps)
@hypothesis.settings(deadline=None)
def test_windows_cover_an_axis_with_weights_that_sum_to_one(voxels: int, length: int, overlap: float) -> None:
    length = min(length, voxels)
    covered = torch.zeros(voxels)
    found = windows_along(voxels, length, overlap=overlap, device=CPU)
    for place, weights in found:
        assert 0 <= place.start < place.stop <= voxels
        assert weights.shape == (length,)
        assert weights.min() > 0
        covered[place] += weights
    torch.testing.assert_close(covered, torch.ones(voxels))
    starts = [place.start for place, _ in found]
    assert starts == sorted(set(starts))
    assert all(behind - before <= max(1, length * (1 - overlap)) for before, behind in itertools.pairwise(starts))


def test_whatever_is_the_same_in_every_window_comes_out_as_it_is() -> None:
    image = image_of((21, 9, 30))
    logits = windowed_logits(image, lambda images: images * 2, window=(8, 16, 16), overlap=0.3, batch=3)
    torch.testing.assert_close(logits, image * 2)


def test_half_precision_is_added_up_in_single_precision(network: nn.Module) -> None:
    image = image_of((20, 20, 20))
    half = windowed_logits(image, lambda images: network(images).bfloat16(), window=(8, 8, 8), overlap=0.75)
    rounded_once = windowed_logits(
        image, lambda images: network(images).bfloat16().float(), window=(8, 8, 8), overlap=0.75
    )
    assert half.dtype is torch.float32
    assert torch.equal(half, rounded_once)


def test_a_16_bit_image_reaches_the_network_as_it_is() -> None:
    seen: list[torch.dtype] = []

    def network(images: Tensor) -> Tensor:
        seen.append(images.dtype)
        return images.float()

    assert windowed_logits(image_of((9, 9, 9)).half(), network, window=(8, 8, 8)).dtype is torch.float32
    assert set(seen) == {torch.float16}


@hypothesis.given(volumes, st.integers(0, 4), st.integers(0, 4))
@hypothesis.settings(max_examples=30, deadline=None)
def test_padding_surrounds_the_image_with_zeros(volume: Size, before: int, behind: int) -> None:
    image = image_of(volume)
    padded, inside = pad_evenly(image, (volume[0] + before, volume[1] + behind, volume[2]))
    assert padded.shape[1:] == (volume[0] + before, volume[1] + behind, volume[2])
    assert torch.equal(padded[(slice(None), *inside)], image)
    assert padded.count_nonzero() == image.count_nonzero()
    assert [place.start for place in inside] == [before // 2, behind // 2, 0]
