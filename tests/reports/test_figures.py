from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from brats_lightning.labels import EDITIONS, LABELS, REGIONS
from brats_lightning.nifti import read_labels, read_volume
from brats_lightning.reports.figures import BOTTOM, LEFT, MM_PER_INCH, REGION_COLOURS, TOP, overlay

SIDE = 60
DPI = 130
Array = npt.NDArray[Any]


@pytest.fixture
def brain() -> Array:
    """A grey cube that fills the volume but for the corner, (4, X, Y, Z)."""
    image = np.random.default_rng(0).integers(400, 600, (4, SIDE, SIDE, SIDE)).astype(np.int16)
    image[:, 0, 0, 0] = 0
    return image


def empty() -> npt.NDArray[np.uint8]:
    return np.zeros((SIDE, SIDE, SIDE), np.uint8)


def outline(path: Path, region: str) -> npt.NDArray[np.bool_]:
    """Pixels of a region's colour above the legend."""
    picture = imread(path)[: -round(BOTTOM * DPI), :, :3]
    near: npt.NDArray[np.bool_] = np.abs(picture - to_rgb(REGION_COLOURS[region])).max(axis=2) < 0.15
    return near


def test_every_region_has_a_colour_of_its_own() -> None:
    assert set(REGION_COLOURS) == set(REGIONS)
    colours = np.array([to_rgb(colour) for colour in REGION_COLOURS.values()])
    apart = np.abs(colours[:, None] - colours).max(axis=2)
    assert apart[~np.eye(len(colours), dtype=bool)].min() > 0.15


def test_right_is_left_anterior_and_superior_are_up(tmp_path: Path, brain: Array) -> None:
    label = empty()
    label[40:55, 40:55, 40:55] = LABELS["ET"]  # right, anterior, superior
    overlay(brain, label, spacing_mm=(1, 1, 1), path=tmp_path / "case.png", title="case")
    found = outline(tmp_path / "case.png", "ET")
    panel = SIDE / MM_PER_INCH * DPI
    columns = np.flatnonzero(found.any(axis=0)) - LEFT * DPI
    rows = np.flatnonzero(found.any(axis=1)) - TOP * DPI - panel  # the second row is the reference
    assert set((columns // panel).astype(int)) <= set(range(6))
    first, coronal, sagittal = (columns[columns // (panel * 1.03) == n] % (panel * 1.03) for n in (0, 4, 5))
    for part in (first, coronal, sagittal):  # right is left in the first two, anterior is left in the third
        assert part.size
        assert part.max() < panel / 2
    assert 0 < rows.min() < rows.max() < panel / 2
    picture = imread(tmp_path / "case.png")[: -round(BOTTOM * DPI), :, :3]
    filled = picture.max(axis=2) - picture.min(axis=2) > 0.12  # the fill is where the outline is
    assert filled.sum() > 3 * found.sum()
    for axis in (0, 1):
        covered, outlined = (np.flatnonzero(pixels.any(axis=axis)) for pixels in (filled, found))
        assert abs(covered.min() - outlined.min()) <= 3
        assert abs(covered.max() - outlined.max()) <= 3


def test_a_prediction_adds_a_row(tmp_path: Path, brain: Array) -> None:
    label, prediction = empty(), empty()
    label[20:30, 20:30, 20:30] = LABELS["ED"]
    prediction[20:30, 20:30, 20:30] = LABELS["NCR"]
    overlay(brain, label, spacing_mm=(1, 1, 1), path=tmp_path / "one.png", title="case")
    overlay(brain, label, spacing_mm=(1, 1, 1), path=tmp_path / "two.png", title="case", prediction=prediction)
    (one, width, _), (two, same_width, _) = (imread(tmp_path / name).shape for name in ("one.png", "two.png"))
    assert same_width == width
    assert two - one == pytest.approx(SIDE / MM_PER_INCH * DPI, abs=0.05 * DPI)
    blue, orange = (np.flatnonzero(outline(tmp_path / "two.png", name).any(axis=1)) for name in ("ED", "NCR"))
    assert blue.max() < orange.min()


def test_no_tumour_leaves_no_colour(tmp_path: Path, brain: Array) -> None:
    overlay(brain, empty(), spacing_mm=(1, 1, 1), path=tmp_path / "case.png", title="case", prediction=empty())
    assert not any(outline(tmp_path / "case.png", name).any() for name in LABELS)


def test_only_the_prediction_has_a_tumour(tmp_path: Path, brain: Array) -> None:
    prediction = empty()
    prediction[5:9, 5:9, 5:9] = LABELS["ET"]
    overlay(brain, empty(), spacing_mm=(1, 1, 1), path=tmp_path / "case.png", title="case", prediction=prediction)
    assert outline(tmp_path / "case.png", "ET").any()


def test_tumour_everywhere_is_outlined(tmp_path: Path, brain: Array) -> None:
    overlay(brain, empty() + LABELS["RC"], spacing_mm=(1, 1, 1), path=tmp_path / "case.png", title="case")
    assert outline(tmp_path / "case.png", "RC").any()


def test_thick_slices_are_drawn_in_proportion(tmp_path: Path, brain: Array) -> None:
    thick = brain[..., ::3]
    for name, image, spacing_mm in (("thin", brain, (1, 1, 1)), ("thick", thick, (1, 1, 3))):
        label = np.zeros(image.shape[1:], np.uint8)
        overlay(image, label, spacing_mm=spacing_mm, path=tmp_path / f"{name}.png", title="case")
    assert imread(tmp_path / "thin.png").shape == imread(tmp_path / "thick.png").shape


def test_a_black_image_is_drawn(tmp_path: Path) -> None:
    image = np.zeros((4, 20, 20, 20), np.float32)
    overlay(image, image[0].astype(np.uint8), spacing_mm=(1, 1, 1), path=tmp_path / "case.png", title="case")
    assert (tmp_path / "case.png").stat().st_size > 0


@pytest.mark.slow
def test_a_real_case_shows_its_three_tissues(tmp_path: Path, shared: Path) -> None:
    case = shared / "data" / "brats" / "BraTS2021_01659"
    volumes = [read_volume(case / f"{case.name}_{kind}.nii.gz").ras() for kind in ("t1", "t1ce", "t2", "flair")]
    label = EDITIONS["2021"].decode(read_labels(case / f"{case.name}_seg.nii.gz").ras().array)
    image = np.stack([volume.array for volume in volumes])
    overlay(image, label, spacing_mm=volumes[0].grid.spacing_mm, path=tmp_path / "case.png", title=case.name)
    assert all(outline(tmp_path / "case.png", name).any() for name in ("ET", "ED", "NCR"))
