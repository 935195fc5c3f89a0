"""The viewer in a browser: what it draws, and that it asks nobody for anything."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from brats_lightning.labels import LABELS
from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.rendering.scene import scene
from brats_lightning.reports.rendering.viewer import write_scene

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage: TypeAlias = "Callable[..., Page]"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Oedema at the patient's right, necrosis at the left, in a brain."""
    label = np.zeros((60, 50, 40), np.uint8)
    label[36:54, 16:34, 12:30] = LABELS["ED"]
    label[6:24, 16:34, 12:30] = LABELS["NCR"]
    path = tmp_path_factory.mktemp("page") / "case.html"
    brain = np.zeros(label.shape, np.bool_)
    brain[2:-2, 2:-2, 2:-2] = True
    write_scene(scene(label, np.eye(4), title="BraTS2021_00001", brain=brain), path=path)
    return path


def like(pixels: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.bool_]:
    """Which pixels have about the hue of a region."""
    wanted = np.array(to_rgb(REGION_COLOURS[name]))
    lengths = np.maximum(1, np.linalg.norm(pixels, axis=-1))
    alike: npt.NDArray[np.bool_] = (pixels @ wanted) / lengths / np.linalg.norm(wanted) > 0.96
    alike &= pixels.max(-1) > 60
    return alike


@pytest.mark.slow
def test_the_viewer_draws_turns_and_hides_the_parts(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file)
    stage = page.locator(".mesh-stage")

    def seen(name: str) -> npt.NDArray[np.bool_]:
        page.wait_for_timeout(250)
        return like(np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB"), float), name)

    def side(name: str) -> float:
        shown = seen(name)
        assert shown.sum() > 500
        return float(np.nonzero(shown)[1].mean() / shown.shape[1])

    page.get_by_role("button", name="front").click()
    assert side("ED") < 0.5 < side("NCR")  # the patient's right is on the left
    page.get_by_role("button", name="back").click()
    assert side("NCR") < 0.5 < side("ED")
    page.get_by_role("checkbox", name="NCR").uncheck()
    assert seen("NCR").sum() == 0
    assert seen("ED").sum() > 500
    page.get_by_role("checkbox", name="NCR").check()
    small = seen("NCR").sum()
    stage.locator("canvas").focus()
    page.keyboard.press("+")
    assert seen("NCR").sum() > 1.1 * small
    box = stage.bounding_box()
    assert box is not None
    before = side("NCR")
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 300 + 377, box["y"] + 200)  # half a turn
    page.mouse.up()
    assert (side("NCR") < 0.5) != (before < 0.5)
    page.get_by_label("Opacity of brain").fill("1")
    assert seen("NCR").sum() == 0


@pytest.mark.slow
def test_without_webgl2_the_still_picture_stays(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file, webgl2=False)
    assert page.locator(".mesh-stage").count() == 0
    assert page.locator("figure img").is_visible()
    assert "WebGL2" in page.locator("figcaption").inner_text()
