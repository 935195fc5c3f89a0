"""The viewer in a browser: it draws the tumour where it is, its switches work, and it asks nobody for anything."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from brats_lightning.nifti import Grid
from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.html.page import page
from brats_lightning.reports.viewer.section import viewer_section

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHAPE, SPACING_MM = (64, 80, 40), (1.0, 1.0, 1.5)
BRAIN = (slice(6, 58), slice(5, 75), slice(4, 36))
# The patient's right is where x is large.
ENHANCING = (slice(42, 54), slice(46, 66), slice(8, 20))
OEDEMA = (slice(12, 26), slice(14, 32), slice(8, 20))
EDGE = 4
"""Pixels where the page shines through: the stage has round corners, and begins between two pixels."""
OpenPage: TypeAlias = "Callable[..., Page]"
Pixels = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A brain of one grey, of another in the second image; the prediction has but enhancement, the reference oedema."""
    image = np.zeros((2, *SHAPE), np.float32)
    for channel, value in zip(image, (100, 200), strict=True):
        channel[BRAIN] = value
        channel[BRAIN][::4, ::4, ::4], channel[BRAIN][2::4, 2::4, 2::4] = 1, 300  # the window of grey values
    prediction, reference = np.zeros((2, *SHAPE), np.uint8)
    prediction[ENHANCING], reference[OEDEMA] = 3, 2
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = (-30, -40, 10)
    segmentations = {"prediction": prediction, "reference": reference}
    section = viewer_section(image, segmentations, grid=Grid(SHAPE, affine), modalities=("t1n", "t2f"))
    path = tmp_path_factory.mktemp("page") / "case.html"
    path.write_text(page("case", [section]), encoding="utf-8")
    return path


def stage_of(page: "Page") -> Pixels:
    page.wait_for_timeout(250)
    picture = Image.open(io.BytesIO(page.locator("#viewer-stage").screenshot()))
    return np.asarray(picture.convert("RGB"), float)[EDGE:-EDGE, EDGE:-EDGE]


def like(pixels: Pixels, name: str) -> npt.NDArray[np.bool_]:
    """Pixels of a region's colour."""
    alike: npt.NDArray[np.bool_] = np.abs(pixels - 255 * np.array(to_rgb(REGION_COLOURS[name]))).max(-1) < 40
    return alike


def grey(pixels: Pixels) -> npt.NDArray[np.bool_]:
    """Pixels of the brain; letters are brighter, the crosshair is bluish."""
    found: npt.NDArray[np.bool_] = (np.ptp(pixels, axis=-1) < 8) & (pixels.mean(-1) > 30)
    return found


def box_of(mask: npt.NDArray[np.bool_]) -> Box:
    """Left, right, top and bottom of where a mask is: letters are smaller."""
    columns, rows = (np.flatnonzero(mask.sum(axis) > 30) for axis in (0, 1))
    return float(columns[0]), float(columns[-1] + 1), float(rows[0]), float(rows[-1] + 1)


def expected(box: tuple[slice, ...], brain: Box, *, across: int, down: int) -> Box:
    """Where a box of voxels is drawn, by where the brain is; both axes of a radiologist's picture run backwards."""
    found: list[float] = []
    for axis, low, high in ((across, *brain[:2]), (down, *brain[2:])):
        scale = (high - low) / (BRAIN[axis].stop - BRAIN[axis].start)
        found += [low + (BRAIN[axis].stop - end) * scale for end in (box[axis].stop, box[axis].start)]
    return found[0], found[1], found[2], found[3]


@pytest.mark.slow
def test_the_tumour_is_drawn_where_it_is(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file, height=1000)
    page.wait_for_selector('#viewer-form[data-state="ready"]')
    place = page.locator("#viewer-place")
    assert "prediction: ET · reference: none" in place.inner_text()
    x, y, z = ((part.start + part.stop - 1) // 2 for part in ENHANCING)
    assert place.inner_text().startswith(f"voxel {x}, {y}, {z} · {x - 30}, {y - 40}, {1.5 * z + 10:.0f} mm")

    def choose(name: str, value: str) -> None:
        page.locator(f'[name="{name}"][value="{value}"]').click()

    page.locator('[name="opacity"]').fill("100")
    choose("reference", "filled")
    for plane, across, down in (("axial", 0, 1), ("coronal", 0, 2), ("sagittal", 1, 2)):
        choose("plane", plane)
        choose("prediction", "off")
        choose("reference", "off")
        without = stage_of(page)
        brain = box_of(grey(without))
        assert not like(without, "ET").any()
        assert not like(without, "ED").any()
        choose("prediction", "filled")
        choose("reference", "filled")
        drawn = stage_of(page)
        voxel = (brain[1] - brain[0]) / (BRAIN[across].stop - BRAIN[across].start)
        assert voxel > 3
        wanted = expected(ENHANCING, brain, across=across, down=down)
        assert box_of(like(drawn, "ET")) == pytest.approx(wanted, abs=voxel)
        if plane == "axial":  # the other planes go through the enhancing part alone
            wanted = expected(OEDEMA, brain, across=across, down=down)
            assert box_of(like(drawn, "ED")) == pytest.approx(wanted, abs=voxel)
            assert np.nonzero(like(drawn, "ET"))[1].mean() < drawn.shape[1] / 2  # the patient's right is on the left

    choose("plane", "axial")
    full = like(stage_of(page), "ED").sum()
    choose("reference", "outline")
    assert 0.1 * full < like(stage_of(page), "ED").sum() < 0.6 * full
    choose("tissue", "2")
    assert not like(stage_of(page), "ED").any()
    assert like(stage_of(page), "ET").any()
    bright = stage_of(page)
    choose("image", "t1n")
    dark = stage_of(page)
    assert np.median(dark[grey(dark)]) < 0.7 * np.median(bright[grey(bright)])
    page.locator('[name="slice"]').fill("30")
    assert not like(stage_of(page), "ET").any()
    assert "prediction: none" in place.inner_text()


@pytest.mark.slow
def test_without_webgl2_the_page_says_so(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file, webgl2=False)
    page.wait_for_selector('#viewer-form[data-state="missing"]', state="attached")
    assert not page.locator("#viewer").is_visible()
    assert "no WebGL2" in page.locator("#viewer-missing").inner_text()
