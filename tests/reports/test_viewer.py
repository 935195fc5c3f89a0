"""What the viewer is given, and the library that it is made of."""

import base64
import gzip
import hashlib
import json
from typing import Any, cast

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.nifti import Grid
from brats_lightning.reports.html.page import can_stand_in_a_page
from brats_lightning.reports.viewer.section import BRIGHTEST, NIIVUE, RECORD, niivue_version, viewer_section
from brats_lightning.reports.viewer.volumes import tumour_centre

SHAPE = (30, 34, 26)


def brain() -> npt.NDArray[np.float32]:
    """Two modalities (2, X, Y, Z) of a brain that does not reach the borders."""
    image = np.zeros((2, *SHAPE), np.float32)
    image[:, 12:20, 12:24, 10:18] = np.random.default_rng(0).uniform(100, 900, (2, 8, 12, 8))
    return image


def held(text: str) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def scene_of(image: npt.NDArray[Any], segmentations: dict[str, npt.NDArray[Any]], **given: Any) -> dict[str, Any]:
    affine = np.array([[0, 0, 2.0, 5], [1.0, 0, 0, -7], [0, 1.5, 0, 3], [0, 0, 0, 1]])
    modalities = ("t1c", "t2f")[: len(image)]
    section = viewer_section(image, segmentations, grid=Grid(image.shape[1:], affine), modalities=modalities, **given)
    assert section.data is not None
    return cast("dict[str, Any]", section.data["viewer-scene"]) | {"body": section.body}


def test_volumes_are_cropped_to_the_brain_and_put_back_in_place() -> None:
    image, label = brain(), np.zeros(SHAPE, np.uint8)
    label[14:17, 15:19, 12:14] = 3
    scene = scene_of(image, {"prediction": label})
    assert [each["name"] for each in scene["images"]] == ["t1c", "t2f"]
    box = tuple(slice(first, first + size) for first, size in zip(scene["first"], scene["shape"], strict=True))
    for each, channel in zip(scene["images"], image, strict=True):
        stored = held(each["volume"])
        assert stored.get_data_dtype() == np.uint8
        assert stored.header.get_zooms() == pytest.approx((1, 1.5, 2))
        grey = np.asarray(stored.dataobj)
        assert ((grey > 0) <= (channel[box] > 0)).all()
        assert grey.max() == BRIGHTEST
        inside = (channel[box] > 120) & (channel[box] < 880)
        assert np.corrcoef(grey[inside], channel[box][inside])[0, 1] > 0.999
    np.testing.assert_array_equal(np.asarray(held(scene["segmentations"][0]["volume"]).dataobj), label[box])
    assert np.prod(scene["shape"]) < np.prod(SHAPE)
    x, y, z = (at + first for at, first in zip(scene["centre"], scene["first"], strict=True))
    assert label[x, y, z] == 3


def test_a_prediction_outside_the_brain_is_not_cut_off() -> None:
    label = np.zeros(SHAPE, np.uint8)
    label[1:3, 32:34, 24:26] = 2
    scene = scene_of(brain(), {"prediction": label})
    assert np.count_nonzero(held(scene["segmentations"][0]["volume"]).dataobj) == np.count_nonzero(label)


def test_only_tissues_that_are_there_can_be_chosen() -> None:
    prediction, reference = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    prediction[15, 15, 15], reference[16, 16, 16] = 1, 4
    scene = scene_of(brain(), {"prediction": prediction, "reference": reference})
    assert {tissue["name"] for tissue in scene["tissues"]} == {"NCR", "RC"}
    empty = scene_of(brain(), {"prediction": np.zeros(SHAPE, np.uint8)})
    assert empty["tissues"] == []
    assert 'name="tissue"' not in empty["body"]
    assert empty["centre"] == [size // 2 for size in empty["shape"]]


@pytest.mark.parametrize(("flat", "plane"), [(2, "axial"), (1, "coronal"), (0, "sagittal")])
def test_one_slice_has_one_plane(flat: int, plane: str) -> None:
    image = np.take(brain(), [15], axis=flat + 1)
    scene = scene_of(image, {"prediction": np.zeros(image.shape[1:], np.uint8)}, placed=False)
    assert scene["shape"][flat] == 1
    assert [name for name in ("all", "axial", "coronal", "sagittal") if f'value="{name}"' in scene["body"]] == [plane]
    assert "right" not in scene["body"]
    placed = scene_of(image, {"prediction": np.zeros(image.shape[1:], np.uint8)})
    assert ("right is on the left" in placed["body"]) is (plane != "sagittal")  # of a sagittal slice neither side is


def test_the_centre_is_in_the_tumour_even_if_its_middle_is_not() -> None:
    ring = np.zeros((21, 21, 3), np.uint8)
    x, y = np.ogrid[-10:11, -10:11]
    ring[..., 1] = (x**2 + y**2 <= 100) & (x**2 + y**2 >= 64)
    assert ring[tumour_centre([ring], ring.shape)]
    assert tumour_centre([np.zeros_like(ring), ring], ring.shape) == tumour_centre([ring], ring.shape)


def test_the_library_is_the_one_that_was_recorded() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert hashlib.sha256(NIIVUE.read_bytes()).hexdigest() == record["sha256"]
    assert niivue_version() == record["version"]
    assert can_stand_in_a_page(NIIVUE.read_text(encoding="utf-8"))
