import numpy as np
import pytest

from brats_lightning.labels import LABELS, WHOLE
from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.rendering.scene import BRAIN, brain_mask, scene

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


def nested() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(24, 24, 14) boxes of oedema, enhancing tumour and necrosis, each in the one before."""
    label = np.zeros((24, 24, 14), np.uint8)
    for depth, name in enumerate(("ED", "ET", "NCR")):
        label[3 + 2 * depth : 17 - 2 * depth, 4 + 2 * depth : 18 - 2 * depth, 2 + depth : 12 - depth] = LABELS[name]
    return label


def test_every_tissue_that_is_there_is_a_part_with_its_colour_and_its_voxels_volume() -> None:
    label = nested()
    seen = scene(label, AFFINE, title="A", brain=np.ones(label.shape, np.bool_))
    assert [part.name for part in seen.parts] == [BRAIN, "ED", "ET", "NCR"]
    assert seen.remark == ""
    for part in seen.parts[1:]:
        voxels_ml = np.count_nonzero(label == LABELS[part.name]) * 2 / 1000
        assert part.volume_ml == pytest.approx(voxels_ml)
        assert part.surface.volume_mm3 / 1000 == pytest.approx(voxels_ml, rel=0.02)
        assert part.colour == REGION_COLOURS[part.name]
    low, high = seen.box_mm
    np.testing.assert_allclose(low, [-23.5, -23.5, -1], atol=1.5)
    np.testing.assert_allclose(high, [0.5, 0.5, 27], atol=1.5)


@pytest.mark.parametrize(("value", "name"), [(WHOLE, "WT"), (LABELS["RC"], "RC"), (LABELS["CC"], "CC")])
def test_other_labels_have_their_part_alone(value: int, name: str) -> None:
    label = np.where(nested() > 0, value, 0)
    assert [part.name for part in scene(label, AFFINE, title="A").parts] == [name]


def test_an_empty_label_map_is_told_and_leaves_the_brain() -> None:
    empty = np.zeros((20, 20, 20), np.uint8)
    brain = np.zeros(empty.shape, np.bool_)
    brain[4:16, 4:16, 4:16] = True
    seen = scene(empty, AFFINE, title="A", brain=brain)
    assert [part.name for part in seen.parts] == [BRAIN]
    assert "empty" in seen.remark
    assert scene(empty, AFFINE, title="A").parts == ()


def test_one_slice_has_no_third_dimension() -> None:
    seen = scene(np.ones((20, 20, 1), np.uint8), np.eye(4), title="A")
    assert seen.parts == ()
    assert "One slice" in seen.remark
    np.testing.assert_array_equal(seen.box_mm, 0)


def test_the_brain_is_the_largest_piece_without_its_holes() -> None:
    image = np.zeros((2, 20, 20, 20), np.float32)
    image[0, 3:15, 3:15, 3:15] = 1
    image[1, 3:15, 3:15, 3:16] = 2
    image[:, 7:9, 7:9, 7:9] = 0
    image[0, 18, 18, 18] = 1
    brain = brain_mask(image - 7)
    assert brain is not None
    expected = np.zeros(brain.shape, np.bool_)
    expected[3:15, 3:15, 3:16] = True
    np.testing.assert_array_equal(brain, expected)


def test_images_that_are_not_cut_to_the_brain_have_none() -> None:
    noise = np.random.default_rng(0).normal(size=(1, 12, 12, 12))
    assert brain_mask(noise) is None
    assert brain_mask(np.zeros((1, 12, 12, 12))) is None
