"""Regions to measure."""

import numpy as np
import numpy.typing as npt
import pytest

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float64]


@pytest.fixture
def blob() -> Mask:
    """(24, 22, 20) a lumpy region with a hole: three balls that overlap, without one in the middle."""
    x, y, z = np.ogrid[:24, :22, :20]
    balls = [((9, 9, 9), 6), ((14, 12, 8), 5), ((8, 13, 13), 4)]
    mask = np.zeros((24, 22, 20), np.bool_)
    for (a, b, c), radius in balls:
        mask |= (x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 <= radius**2
    mask &= (x - 10) ** 2 + (y - 10) ** 2 + (z - 9) ** 2 > 4
    return mask


@pytest.fixture
def scattered() -> Mask:
    """(9, 8, 7) random voxels: every kind of cube and of contact."""
    return np.random.default_rng(0).random((9, 8, 7)) < 0.4


@pytest.fixture
def digital_phantom() -> tuple[Image, Mask]:
    """The IBSI's digital phantom (5, 4, 4) of 2 mm and its region of 74 voxels, from its reference manual.

    Zwanenburg, Leger, Vallières and Löck, Image biomarker standardisation initiative, arXiv 1612.07003 (CC BY 4.0).
    """
    columns = (
        "1111 1111 4111 4411",
        "4444 4111 1111 4411",
        "4444 6611 6391 6666",
        "1111 1111 4111 4111",
        "1111 1111 1111 1111",
    )
    image = np.array([[[float(level) for level in row] for row in plane.split()] for plane in columns])
    mask = np.ones(image.shape, np.bool_)
    for outside in ((0, 2, 1), (2, 2, 2), (3, 0, 2), (3, 0, 3), (4, 0, 2), (4, 0, 3)):
        mask[outside] = False
    return image, mask
