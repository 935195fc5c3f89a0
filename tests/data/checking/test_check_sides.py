from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from brats_lightning.data.checking.sides import coarse, label_contrast, mirrored_modalities
from brats_lightning.labels import MODALITIES

Images = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def images() -> Images:
    """Four images of one lopsided body with the same structures, dark in two of them where bright in the others."""
    generator = np.random.default_rng(0)
    structure = ndimage.gaussian_filter(generator.standard_normal((40, 44, 36)), 2)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, size) for size in structure.shape], indexing="ij")
    body = (x + 0.2 * y) ** 2 + y**2 + z**2 < 0.8
    noise = generator.standard_normal((4, *structure.shape)) * 0.2
    signs = np.array([1, 1, -1, -1]).reshape(4, 1, 1, 1)
    found: Images = ((30 + 100 * signs * structure + noise) * body).astype(np.float32)
    return found


@pytest.mark.parametrize("flips", list(product((False, True), repeat=4)))
def test_the_smaller_group_of_mirrored_images_is_named(images: Images, flips: tuple[bool, ...]) -> None:
    turned = np.stack([image[::-1] if flip else image for image, flip in zip(images, flips, strict=True)])
    found = set(mirrored_modalities(turned, MODALITIES))
    flipped = {name for name, flip in zip(MODALITIES, flips, strict=True) if flip}
    rest = set(MODALITIES) - flipped
    expected = [flipped, rest] if len(flipped) == 2 else [min(flipped, rest, key=len)]
    assert found in expected


def test_symmetric_and_single_images_tell_nothing(images: Images) -> None:
    assert mirrored_modalities(images + images[:, ::-1], MODALITIES) == ()
    assert mirrored_modalities(images[:1], MODALITIES[:1]) == ()


def test_of_two_images_the_later_is_named(images: Images) -> None:
    assert mirrored_modalities(np.stack([images[0], images[1][::-1]]), MODALITIES[:2]) == ("t1c",)


@pytest.mark.parametrize("size", [(64, 64, 64), (130, 120, 90), (240, 240, 155), (200, 180, 1), (97, 20, 20)])
def test_coarse_blocks_keep_means_and_mirroring(size: tuple[int, int, int]) -> None:
    array = np.random.default_rng(1).random(size, dtype=np.float32)
    small = coarse(array)
    assert max(small.shape) <= 64
    assert small.mean() == pytest.approx(array.mean(), abs=0.02)
    step = -(-max(size) // 64)
    if (size[0] % step) % 2 == 0:
        np.testing.assert_allclose(coarse(array[::-1]), small[::-1], rtol=1e-5)


def test_contrast_turns_its_sign_with_the_label() -> None:
    image = np.zeros((4, 30, 30, 30), np.float32)
    image[:, 3:27, 3:27, 3:27] = 10 + np.random.default_rng(2).random((4, 24, 24, 24))
    label = np.zeros((30, 30, 30), np.uint8)
    label[5:12, 10:20, 10:20] = 2
    image[2:, label == 2] += 5
    right = label_contrast(image, label, MODALITIES)
    assert right is not None
    assert right > 1
    assert label_contrast(image, label[::-1], MODALITIES) == pytest.approx(-right)
    assert label_contrast(image[:2], label, MODALITIES[:2]) is None
    assert label_contrast(image, label * 0, MODALITIES) is None
    assert label_contrast(image, np.maximum(label, label[::-1]), MODALITIES) is None
