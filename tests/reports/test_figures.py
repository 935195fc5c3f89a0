from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from brats_lightning.labels import EDITIONS, LABELS
from brats_lightning.nifti import read_labels, read_volume
from brats_lightning.reports.figures.canvas import BOTTOM
from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.figures.overlay import overlay

SIDE = 60
DPI = 130
SHOWN = ("t1n", "t2f")
Array = npt.NDArray[Any]


@pytest.fixture
def brain() -> Array:
    """A grey cube that fills the volume but for the corner, (C, X, Y, Z)."""
    image = np.random.default_rng(0).integers(400, 600, (len(SHOWN), SIDE, SIDE, SIDE)).astype(np.int16)
    image[:, 0, 0, 0] = 0
    return image


def empty() -> npt.NDArray[np.uint8]:
    return np.zeros((SIDE, SIDE, SIDE), np.uint8)


def outline(path: Path, region: str) -> npt.NDArray[np.bool_]:
    """Pixels of a region's colour above the legend."""
    picture = imread(path)[: -round(BOTTOM * DPI), :, :3]
    near: npt.NDArray[np.bool_] = np.abs(picture - to_rgb(REGION_COLOURS[region])).max(axis=2) < 0.15
    return near


def panels(figure: Figure, picture: Array) -> list[Array]:
    """Each panel's part of a picture, row by row."""
    height, width = picture.shape[:2]
    parts = []
    for axes in figure.axes:
        box = axes.get_position()
        rows = slice(round((1 - box.y1) * height), round((1 - box.y0) * height))
        parts.append(picture[rows, round(box.x0 * width) : round(box.x1 * width)])
    return parts


def test_right_is_left_anterior_and_superior_are_up(tmp_path: Path, brain: Array, saved_figures: list[Figure]) -> None:
    label = empty()
    label[40:55, 40:55, 40:55] = LABELS["ET"]  # right, anterior, superior
    overlay(brain, label, spacing_mm=(1, 1, 1), path=tmp_path / "case.png", title="case", modalities=SHOWN)
    picture = imread(tmp_path / "case.png")[..., :3]
    columns = len(SHOWN) + 2
    for part in panels(saved_figures[0], picture)[columns:]:  # the second row is the reference
        found = np.abs(part - to_rgb(REGION_COLOURS["ET"])).max(axis=2) < 0.15
        filled = part.max(axis=2) - part.min(axis=2) > 0.09  # the fill is where the outline is
        assert filled.sum() > 3 * found.sum()
        for axis, size in enumerate(part.shape[:2]):
            across, covered = (np.flatnonzero(pixels.any(axis=1 - axis)) for pixels in (found, filled))
            # 5 to 20 of 60 from the top, and from the left: right in the first ones, anterior in the third
            assert (across.min() / size, across.max() / size) == pytest.approx((5 / 60, 20 / 60), abs=0.02)
            assert abs(covered.min() - across.min()) <= 3
            assert abs(covered.max() - across.max()) <= 3


def test_a_prediction_adds_a_row(tmp_path: Path, brain: Array, saved_figures: list[Figure]) -> None:
    label, prediction = empty(), empty()
    label[20:30, 20:30, 20:30] = LABELS["ED"]
    prediction[20:30, 20:30, 20:30] = LABELS["NCR"]
    shared: dict[str, Any] = {"spacing_mm": (1, 1, 1), "path": tmp_path / "case.png", "title": "case"}
    overlay(brain, label, modalities=SHOWN, **shared)
    overlay(brain, label, modalities=SHOWN, prediction=prediction, **shared)
    rows = [[axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] for figure in saved_figures]
    assert rows == [["image", "reference"], ["image", "reference", "prediction"]]
    blue, orange = (np.flatnonzero(outline(tmp_path / "case.png", name).any(axis=1)) for name in ("ED", "NCR"))
    assert blue.max() < orange.min()


def test_a_missing_reference_is_said(tmp_path: Path, brain: Array, saved_figures: list[Figure]) -> None:
    overlay(
        brain, None, spacing_mm=(1, 1, 1), path=tmp_path / "a.png", title="case", prediction=empty(),
        modalities=SHOWN, tilt_degrees=20,
    )  # fmt: skip
    (figure,) = saved_figures
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["image", "prediction"]
    said = figure.texts[1].get_text().replace("\n", " ")
    assert said.endswith("letters name the nearest direction · no reference · prediction without tumour")


@pytest.mark.parametrize(("axis", "marks"), [(0, "APIS"), (1, "RLIS"), (2, "RLPA")])
def test_one_slice_is_drawn_in_its_plane(
    axis: int, marks: str, tmp_path: Path, brain: Array, saved_figures: list[Figure]
) -> None:
    label = np.full((SIDE,) * 3, LABELS["NCR"], np.uint8).take([30], axis)
    image = brain.take([0], axis + 1)
    overlay(image, label, spacing_mm=(1, 1, 1), path=tmp_path / "a.png", title="case", modalities=SHOWN)
    (figure,) = saved_figures
    assert len(figure.axes) == 2 * len(SHOWN)
    assert [text.get_text() for text in figure.axes[0].texts] == list(marks)
    lengths = {"50 mm", "20 mm"} & {text.get_text() for text in figure.axes[1].texts}
    assert lengths == {"20 mm"}  # no longer than half a panel of 60 mm


def test_the_bar_is_as_long_as_it_says(tmp_path: Path, brain: Array, saved_figures: list[Figure]) -> None:
    overlay(brain, empty(), spacing_mm=(3, 3, 3), path=tmp_path / "a.png", title="case", modalities=SHOWN)
    axes = saved_figures[0].axes[len(SHOWN) - 1]
    (bar,) = axes.lines
    assert np.ptp(np.asarray(bar.get_xdata())) == pytest.approx(50)
    assert axes.get_xlim() == (0, 3 * SIDE)  # the panel is in mm
    assert "50 mm" in {text.get_text() for text in axes.texts}


def test_no_tumour_leaves_no_colour(tmp_path: Path, brain: Array) -> None:
    overlay(
        brain,
        empty(),
        spacing_mm=(1, 1, 1),
        path=tmp_path / "case.png",
        title="case",
        prediction=empty(),
        modalities=SHOWN,
    )
    assert not any(outline(tmp_path / "case.png", name).any() for name in LABELS)


def test_only_the_prediction_has_a_tumour(tmp_path: Path, brain: Array) -> None:
    prediction = empty()
    prediction[5:9, 5:9, 5:9] = LABELS["ET"]
    overlay(
        brain,
        empty(),
        spacing_mm=(1, 1, 1),
        path=tmp_path / "case.png",
        title="case",
        prediction=prediction,
        modalities=SHOWN,
    )
    assert outline(tmp_path / "case.png", "ET").any()


def test_tumour_everywhere_is_outlined(tmp_path: Path, brain: Array) -> None:
    overlay(
        brain, empty() + LABELS["RC"], spacing_mm=(1, 1, 1), path=tmp_path / "case.png", title="case", modalities=SHOWN
    )
    assert outline(tmp_path / "case.png", "RC").any()


def test_thick_slices_are_drawn_in_proportion(tmp_path: Path, brain: Array) -> None:
    thick = brain[..., ::3]
    for name, image, spacing_mm in (("thin", brain, (1, 1, 1)), ("thick", thick, (1, 1, 3))):
        label = np.zeros(image.shape[1:], np.uint8)
        overlay(image, label, spacing_mm=spacing_mm, path=tmp_path / f"{name}.png", title="case", modalities=SHOWN)
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
