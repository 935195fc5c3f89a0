import numpy as np
import pytest

from brats_lightning.reports.figures.planes import AXIAL, CORONAL, SAGITTAL, fullest, tilt_degrees, views_of
from brats_lightning.reports.figures.remarks import remarks


def test_a_plane_is_turned_as_radiologists_read_it() -> None:
    volume = np.zeros((4, 5, 6), int)
    volume[3, 4, 5] = 1  # right, anterior and superior
    for view, index, corner in ((AXIAL, 5, (4, 0)), (CORONAL, 4, (5, 0)), (SAGITTAL, 3, (5, 0))):
        plane = view.cut(volume, index)
        assert plane[corner] == 1  # last row: the top; first column: right, or the face
        width, height = view.extent_mm(volume.shape, (1, 1, 1))
        assert plane.shape == (height, width)
    assert AXIAL.extent_mm((4, 5, 6), (2, 3, 7)) == (8, 15)


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((8, 8, 8), ["axial", "coronal", "sagittal"]),
        ((8, 8, 1), ["axial"]),
        ((8, 1, 8), ["coronal"]),
        ((1, 8, 8), ["sagittal"]),
        ((1, 1, 8), ["axial"]),
    ],
)
def test_one_slice_has_one_plane(shape: tuple[int, int, int], names: list[str]) -> None:
    assert [view.name for view in views_of(shape)] == names


def test_the_fullest_plane_of_the_first_that_has_any() -> None:
    empty, full = np.zeros((2, 9, 9, 9), bool)
    full[2, 3:6, 4] = True
    full[1:4, 3, 5] = True
    assert fullest([empty, full], full.shape) == (2, 3, 4)
    assert fullest([empty], empty.shape) == (4, 4, 4)


@pytest.mark.parametrize("degrees", [0, 3, 20, 44])
def test_the_tilt_of_a_grid(degrees: float) -> None:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.diag([-1.0, 2.0, 5.0, 1.0])
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ affine[:3, :3]
    assert tilt_degrees(affine) == pytest.approx(degrees, abs=0.1)
    assert tilt_degrees(affine[:, [1, 2, 0, 3]]) == pytest.approx(degrees, abs=0.1)  # axes in another order


def test_what_is_missing_is_said() -> None:
    labels = np.zeros((2, 2, 2), int)
    labels[0, 0, 0], labels[1, 1, 1] = 2, 3
    given = {"reference": None, "prediction": labels, "other": labels * 0}
    said = remarks(given, spacing_mm=(1, 1, 2.5), tilt_degrees=17.4)
    assert said == [
        "voxels 1 × 1 × 2.5 mm",
        "grid tilted by 17°: letters name the nearest direction",
        "no reference",
        "prediction without NCR",
        "other without tumour",
    ]
    mask = remarks({"prediction": (labels > 0) * 6}, spacing_mm=(1, 1, 1), tilt_degrees=2, placed=False)
    assert mask == ["place unknown: no scale"]
