"""Co-occurrence against loops over all voxels, and where it has no meaning."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.radiomics.glcm import NAMES, glcm_features
from brats_lightning.radiomics.grey_levels import discretise
from brats_lightning.radiomics.neighbours import DIRECTIONS, lines

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float64]


def features(image: Image, mask: Mask, width: float = 1) -> dict[str, float]:
    return glcm_features(discretise(image[mask], bin_width=width), lines(np.argwhere(mask)))


def slow_features(image: Image, mask: Mask) -> dict[str, float]:
    """From the definitions, voxel by voxel and cell by cell; levels are the whole numbers of the image."""
    highest = int(image[mask].max())
    inside = {tuple(voxel) for voxel in np.argwhere(mask).tolist()}
    found: list[dict[str, float]] = []
    for direction in DIRECTIONS:
        matrix = np.zeros((highest + 1, highest + 1))
        for voxel in inside:
            beside = tuple(np.add(voxel, direction).tolist())
            if beside in inside:
                one, other = int(image[voxel]), int(image[beside])
                matrix[one, other] += 1
                matrix[other, one] += 1
        cells = [(i, j, p) for (i, j), p in np.ndenumerate(matrix / matrix.sum()) if p]
        margin = matrix.sum(0) / matrix.sum()
        mean = sum(i * p for i, _, p in cells)
        # Haralick's Q, of which MCC is the root of the second-largest eigenvalue.
        used = np.flatnonzero(margin)
        p = (matrix / matrix.sum())[np.ix_(used, used)]
        q = np.einsum("ik,jk->ij", p / margin[used, None], p / margin[used])
        found.append(
            {
                "Contrast": sum((i - j) ** 2 * p for i, j, p in cells),
                "ClusterShade": sum((i + j - 2 * mean) ** 3 * p for i, j, p in cells),
                "JointEntropy": -sum(p * math.log2(p) for _, _, p in cells),
                "Idmn": sum(p / (1 + ((i - j) / highest) ** 2) for i, j, p in cells),
                "InverseVariance": sum(p / (i - j) ** 2 for i, j, p in cells if i != j),
                "MCC": math.sqrt(sorted(np.linalg.eigvals(q).real)[-2]),
            }
        )
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def test_features_are_those_of_their_definitions(scattered: Mask) -> None:
    image = np.random.default_rng(1).integers(1, 7, scattered.shape).astype(np.float64)
    image[tuple(np.argwhere(scattered)[0])] = 1
    found = features(image, scattered)
    assert tuple(found) == NAMES
    for name, value in slow_features(image, scattered).items():
        assert found[name] == pytest.approx(value), name


def test_a_chequerboard_in_a_line_worked_out_by_hand() -> None:
    image = np.array([1.0, 2, 1, 2]).reshape(4, 1, 1)
    found = features(image, np.ones(image.shape, np.bool_))
    expected = {"Contrast": 1, "Correlation": -1, "JointAverage": 1.5, "JointEnergy": 0.5, "JointEntropy": 1, "MCC": 1}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_flips_and_moves_change_nothing(blob: Mask) -> None:
    image = np.random.default_rng(2).normal(0, 60, blob.shape)
    expected = features(image, blob, width=25)
    for turn in (np.s_[::-1], np.s_[:, ::-1], np.s_[:, :, ::-1]):
        assert features(image[turn], blob[turn], width=25) == pytest.approx(expected)
    assert features(image.transpose(2, 0, 1), blob.transpose(2, 0, 1), width=25) == pytest.approx(expected)
    assert features(np.pad(image, 3), np.pad(blob, 3), width=25) == pytest.approx(expected)


def test_one_grey_level_has_no_correlation() -> None:
    found = features(np.full((3, 3, 3), 7.0), np.ones((3, 3, 3), np.bool_))
    assert {name for name, value in found.items() if math.isnan(value)} == {"Correlation", "Imc1", "MCC"}
    assert (found["Contrast"], found["JointEnergy"], found["JointEntropy"]) == (0, 1, 0)


@pytest.mark.parametrize("mask", [np.ones((1, 1, 1), np.bool_), np.eye(3, dtype=np.bool_)[:, :, None].repeat(1, 2)])
def test_without_neighbours_there_is_no_feature(mask: Mask) -> None:
    spread = np.zeros([2 * size for size in mask.shape], np.bool_)
    spread[::2, ::2, ::2] = mask
    assert all(
        math.isnan(value)
        for value in features(np.arange(spread.size, dtype=np.float64).reshape(spread.shape), spread).values()
    )
