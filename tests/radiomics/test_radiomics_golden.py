"""pyradiomics 3.0.1 on its own reference case, and on it after normalisation: 1e-6 is asked for, 1e-10 is kept."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.radiomics.first_order import first_order_features
from brats_lightning.radiomics.glcm import glcm_features
from brats_lightning.radiomics.glrlm import glrlm_features
from brats_lightning.radiomics.glszm import glszm_features
from brats_lightning.radiomics.grey_levels import discretise
from brats_lightning.radiomics.neighbours import lines
from brats_lightning.radiomics.shape import shape_features

SPACING_MM = (0.78125, 0.78125, 6.5)
SHIFT = 2000.0
"""pyradiomics' voxelArrayShift of that case, which is added to the intensities for three features."""


def read_nrrd(path: Path) -> npt.NDArray[np.int32]:
    header, _, content = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in header.decode().splitlines() if ": " in line)
    assert (fields["endian"], fields["encoding"]) == ("little", "gzip")
    kind = {"int": "<i4", "short": "<i2"}[fields["type"]]
    shape = [int(size) for size in fields["sizes"].split()]
    return np.frombuffer(gzip.decompress(content), kind).reshape(shape, order="F").astype(np.int32)


@pytest.fixture
def golden(shared: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((shared / "golden/radiomics/pyradiomics_baseline.json").read_text())
    return content


@pytest.fixture
def brain1(shared: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    folder = shared / "golden/radiomics"
    image, label = (read_nrrd(folder / f"brain1_{kind}.nrrd") for kind in ("image", "label"))
    return image.astype(np.float64), label == 1


def compare(found: dict[str, float], expected: dict[str, float]) -> None:
    expected = {name.rpartition("_")[2]: value for name, value in expected.items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-10), name


def measured(image: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_], width: float) -> dict[str, dict[str, float]]:
    levels, neighbours = discretise(image[mask], bin_width=width), lines(np.argwhere(mask))
    return {
        "firstorder": first_order_features(image[mask], levels, voxel_mm3=float(np.prod(SPACING_MM))),
        "glcm": glcm_features(levels, neighbours),
        "glrlm": glrlm_features(levels, neighbours),
        "glszm": glszm_features(levels, neighbours),
    }


def test_the_reference_case(
    golden: dict[str, Any], brain1: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]
) -> None:
    image, mask = brain1
    expected = golden["recomputed_with_pyradiomics_3_0_1"]["values"]
    found = measured(image, mask, 25)
    shifted = measured(image + SHIFT, mask, 25)["firstorder"]
    found["firstorder"] |= {name: shifted[name] for name in ("Energy", "TotalEnergy", "RootMeanSquared")}
    for family, features in found.items():
        compare(features, expected[family])
    compare(shape_features(mask, spacing_mm=SPACING_MM), expected["shape"])


def test_the_reference_case_normalised(
    golden: dict[str, Any], brain1: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]
) -> None:
    image, mask = brain1
    normalised = (image - image.mean()) / image.std(ddof=1) * 100
    for family, features in measured(normalised, mask, 5).items():
        compare(features, golden["cases"]["brain1_normalization"][family]["features"])


def test_the_digital_phantom(
    shared: Path, digital_phantom: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]
) -> None:
    stored = json.loads((shared / "golden/radiomics/ibsi_digital_phantom.json").read_text())
    image, mask = digital_phantom
    np.testing.assert_array_equal(image, stored["image"])
    np.testing.assert_array_equal(mask, stored["mask"])
    expected = {name: value for name, value in stored["pyradiomics_3_0_1"].items() if "_shape_" in name}
    compare(shape_features(mask, spacing_mm=(2, 2, 2)), expected)
