from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from brats_lightning.labels import LABELS
from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.rendering.rasteriser import FRONT
from brats_lightning.reports.rendering.scene import Scene, scene
from brats_lightning.reports.rendering.still import still


def tumour(shape: tuple[int, int, int] = (30, 30, 30)) -> Scene:
    label = np.zeros(shape, np.uint8)
    label[8:20, 8:20, 8:20] = LABELS["NCR"]
    brain = np.ones(shape, np.bool_)
    return scene(label, np.eye(4), title="BraTS2021_00001", brain=brain)


def near(path: Path, colour: str) -> int:
    """Pixels of about that hue."""
    pixels = np.asarray(Image.open(path).convert("RGB"), float)
    direction = pixels / np.maximum(1, np.linalg.norm(pixels, axis=-1, keepdims=True))
    wanted = np.array(to_rgb(colour))
    bright = pixels.max(-1) > 80
    return int(((direction @ (wanted / np.linalg.norm(wanted)) > 0.93) & bright).sum())


def test_the_picture_holds_the_tumour_from_every_side(tmp_path: Path) -> None:
    still(tumour(), path=tmp_path / "three.png")
    still(tumour(), path=tmp_path / "one.png", sides=[FRONT])
    three, one = (near(tmp_path / name, REGION_COLOURS["NCR"]) for name in ("three.png", "one.png"))
    assert one > 400
    assert three > 1.5 * one
    assert near(tmp_path / "three.png", REGION_COLOURS["RC"]) == 0


@pytest.mark.parametrize("shape", [(20, 20, 1), (20, 20, 20)])
def test_nothing_to_see_is_told_in_the_picture(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    empty = scene(np.zeros(shape, np.uint8), np.eye(4), title="BraTS2021_00001")
    assert empty.remark
    still(empty, path=tmp_path / "with.png")
    still(Scene(empty.title, ()), path=tmp_path / "without.png")
    told, bare = (np.asarray(Image.open(tmp_path / name).convert("L")) for name in ("with.png", "without.png"))
    assert (told > 60).sum() > (bare > 60).sum() + 200
