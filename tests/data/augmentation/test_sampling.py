"""Sampling on a CPU against PyTorch's own."""

import pytest
import torch

from brats_lightning.data.augmentation import sampling
from brats_lightning.data.augmentation.sampling import linear, nearest


def points_around(size: tuple[int, int, int], shape: tuple[int, int, int]) -> torch.Tensor:
    """Coordinates inside a volume, on its edge and far beyond it."""
    generator = torch.Generator().manual_seed(1)
    extent = torch.tensor(size, dtype=torch.float32)[:, None, None, None]
    return torch.rand(3, *shape, generator=generator) * (extent + 10) - 5


@pytest.mark.parametrize(
    ("channels", "size"),
    [(4, (7, 9, 11)), (1, (12, 5, 1)), (3, (1, 1, 6)), (2, (8, 1, 9)), (2, (1, 7, 8)), (1, (1, 1, 1))],
)
def test_linear_is_that_of_grid_sample(channels: int, size: tuple[int, int, int]) -> None:
    volume = torch.randn(channels, *size, generator=torch.Generator().manual_seed(0))
    points = points_around(size, (8, 10, 6))
    expected = sampling._grid_sample(volume, points, "bilinear")
    torch.testing.assert_close(linear(volume, points), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(linear(volume.half(), points), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("size", [(7, 9, 11), (12, 5, 1), (8, 1, 9), (1, 7, 8), (1, 6, 1)])
def test_nearest_is_that_of_grid_sample(size: tuple[int, int, int]) -> None:
    label = torch.randint(0, 5, (1, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    points = points_around(size, (8, 10, 6))
    found = nearest(label, points)
    assert found.dtype == torch.uint8
    assert torch.equal(found, sampling._grid_sample(label.float(), points, "nearest").to(torch.uint8))


def test_blocks_are_joined_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = torch.randn(2, 6, 6, 6, generator=torch.Generator().manual_seed(0))
    points = points_around((6, 6, 6), (5, 7, 3))
    whole = linear(volume, points), nearest(volume[:1], points)
    monkeypatch.setattr(sampling, "_BLOCK", 16)
    assert torch.equal(linear(volume, points), whole[0])
    assert torch.equal(nearest(volume[:1], points), whole[1])


@pytest.mark.parametrize("size", [(5, 6, 7), (5, 6, 1), (1, 6, 5)])
def test_a_voxels_own_place_gives_its_own_value(size: tuple[int, int, int]) -> None:
    volume = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    places = torch.stack(torch.meshgrid(*[torch.arange(float(length)) for length in size], indexing="ij"))
    torch.testing.assert_close(linear(volume, places), volume, rtol=0, atol=1e-6 if 1 in size else 0)
    assert torch.equal(nearest(volume[:1], places), volume[:1])
