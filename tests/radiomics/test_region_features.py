import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.nifti import Grid
from brats_lightning.radiomics.grey_levels import TooManyLevelsError
from brats_lightning.radiomics.region_features import measure_region
from brats_lightning.radiomics.shape import shape_features

Mask = npt.NDArray[np.bool_]
RAS = np.diag([1.0, 1.0, 2.0, 1.0])


def measure(mask: Mask, image: npt.NDArray[np.float32], native: npt.NDArray[np.float64] = RAS) -> dict[str, float]:
    x, y, z = mask.shape
    there = Grid((x, y, z), native)
    return measure_region(mask, image, modalities=["t1c"], grid=Grid((x, y, z), RAS), native=there, bin_width=25)


def test_the_mesh_is_measured_on_axes_as_brats_stores_them(scattered: Mask) -> None:
    row = measure(scattered, np.zeros((1, *scattered.shape), np.float32))
    stored = shape_features(scattered[::-1, ::-1], spacing_mm=(1, 1, 2))
    turned = shape_features(scattered, spacing_mm=(1, 1, 2))
    assert row["shape_MeshVolume"] == stored["MeshVolume"] != turned["MeshVolume"]
    assert row["shape_SurfaceArea"] == stored["SurfaceArea"]


def test_the_axial_slice_is_that_of_the_file() -> None:
    mask = np.zeros((9, 9, 8), np.bool_)
    mask[3:6, 4, 2:6] = mask[1:8, 4, 5] = True
    image = np.zeros((1, *mask.shape), np.float32)
    upside_down = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -2, 14], [0, 0, 0, 1]])
    assert measure(mask, image)["axial_slice"] == 5
    assert measure(mask, image, upside_down)["axial_slice"] == 2
    assert measure(mask, image)["axial_product_mm2"] == pytest.approx(7 * 1)


def test_the_modality_with_too_many_grey_levels_is_named() -> None:
    mask = np.ones((2, 2, 2), np.bool_)
    image = np.linspace(0, 1e6, 8, dtype=np.float32).reshape(1, 2, 2, 2)
    with pytest.raises(TooManyLevelsError, match="t1c would have 40001 grey levels of width 25"):
        measure(mask, image)
