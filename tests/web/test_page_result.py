"""The page with a real server: what it shows is what the commands compute, and where it is."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from brats_lightning.evaluation.evaluate import evaluate
from brats_lightning.inference.predict import predict
from brats_lightning.reports.figures.colours import REGION_COLOURS
from tests.conftest import SHARED
from tests.web.conftest import OpenWindow, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
REAL = SHARED / "data" / "brats" / "BraTS2021_00006"
TITLES = {"Enhancing tumour": "ET", "Tumour core": "TC", "Whole tumour": "WT"}
Pixels: TypeAlias = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def phantom_case(phantoms: Path) -> Path:
    """Folder of a small synthetic case."""
    return next(path for path in sorted(phantoms.iterdir()) if path.is_dir())


def segment(page: "Page", folder: Path) -> None:
    """From the files to the result in view."""
    page.set_input_files("#choose-files", [path for path in folder.glob("*.nii.gz") if is_image(path)])
    page.locator("#start:not(:disabled)").click()
    page.wait_for_selector("#look:not([hidden])", timeout=300_000)


def is_image(path: Path) -> bool:
    return not path.name.endswith(("_seg.nii.gz", "_bias.nii.gz"))


def seg_of(folder: Path) -> Path:
    return next(folder.glob("*_seg.nii.gz"))


def ready(page: "Page") -> None:
    page.wait_for_selector('#stage[data-state="ready"]', timeout=120_000)


def download(page: "Page", name: str, folder: Path) -> Path:
    with page.expect_download() as saved:
        page.get_by_role("link", name=name, exact=True).click()
    path = folder / saved.value.suggested_filename
    saved.value.save_as(path)
    return path


def scores_shown(page: "Page") -> dict[str, str]:
    rows = page.locator("#scores tbody tr").all()
    cells = [row.locator("th, td").all_inner_texts() for row in rows]
    return {TITLES[row[0]]: row[1] for row in cells if row[0] in TITLES}


def stage_of(page: "Page") -> Pixels:
    page.wait_for_timeout(300)
    return np.asarray(Image.open(io.BytesIO(page.locator("#stage").screenshot())).convert("RGB"), float)


def like(pixels: Pixels, name: str) -> int:
    """Number of pixels of a region's colour."""
    alike: npt.NDArray[np.bool_] = np.abs(pixels - 255 * np.array(to_rgb(REGION_COLOURS[name]))).max(-1) < 40
    return int(alike.sum())


def choose(page: "Page", name: str, value: str) -> None:
    page.locator(f'#controls [name="{name}"][value="{value}"]').click()


def reading(page: "Page") -> dict[str, str]:
    terms, values = (page.locator(f"#reading {each}").all_inner_texts() for each in ("dt", "dd"))
    return dict(zip(terms, values, strict=True))


def test_what_is_drawn_and_read_is_what_is_there(
    server: Server, open_window: OpenWindow, phantom_case: Path, tmp_path: Path
) -> None:
    page = open_window(server.url)
    segment(page, phantom_case)
    ready(page)
    choose(page, "plane", "axial")
    page.locator('[name="opacity"]').fill("1")
    filled = stage_of(page)
    assert like(filled, "ET") > 200
    choose(page, "drawn", "outline")
    outlines = stage_of(page)
    assert 20 < like(outlines, "ED") < 0.9 * like(filled, "ED")
    choose(page, "drawn", "filled")
    choose(page, "tissues", "3")
    hidden = stage_of(page)
    assert like(hidden, "ET") == 0
    assert like(hidden, "ED") > 200
    choose(page, "overlay", "none")
    assert like(stage_of(page), "ED") == 0

    mask = nibabel.as_closest_canonical(nibabel.load(download(page, "Segmentation", tmp_path)))
    labels = np.asarray(mask.dataobj)
    flair = nibabel.as_closest_canonical(nibabel.load(next(phantom_case.glob("*_flair.nii.gz"))))
    page.locator("#stage canvas").focus()
    seen = []
    for _ in range(3):
        before = page.locator('label[for="slider-slice"]').inner_text()
        facts = reading(page)
        number = int(before.split()[1]) - 1
        mm = [float(each) * (-1 if letter in "LPI" else 1) for letter, each in _pairs(facts["Place"])]
        voxel = np.rint(np.linalg.solve(flair.affine, [*mm, 1])[:3]).astype(int)
        assert voxel[2] == number
        assert float(facts["FLAIR"]) == pytest.approx(float(flair.get_fdata()[tuple(voxel)]), abs=0.51)
        assert facts["Result"] == {0: "–", 2: "ED", 4: "ET"}[int(labels[tuple(voxel)])]
        seen.append(number)
        page.keyboard.press("ArrowUp")
        page.wait_for_function(f"document.querySelector('label[for=slider-slice]').innerText !== {before!r}")
    assert seen == [seen[0], seen[0] + 1, seen[0] + 2]
    page.mouse.move(*_middle(page))
    page.mouse.wheel(0, 100)
    page.get_by_text(f"Slice {seen[0] + 3} of").wait_for()
    choose(page, "overlay", "entropy")
    page.locator("#stage canvas").focus()
    for shown in ("none", "prediction"):  # off, and back to the segmentation that was shown last
        page.keyboard.press("h")
        assert page.locator(f'[name="overlay"][value="{shown}"]').is_checked()
    page.keyboard.press("c")
    assert page.locator('[name="plane"][value="coronal"]').is_checked()
    choose(page, "plane", "3-D")
    assert stage_of(page).mean() > 5


def _pairs(place: str) -> list[tuple[str, str]]:
    words = place.removesuffix(" mm").split()
    return list(zip(words[::2], words[1::2], strict=True))


def _middle(page: "Page") -> tuple[float, float]:
    box: Any = page.locator("#stage").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_without_webgl2_there_are_still_pictures(server: Server, open_window: OpenWindow, phantom_case: Path) -> None:
    page = open_window(server.url, webgl2=False)
    segment(page, phantom_case)
    page.get_by_text("This browser has no WebGL2").wait_for()
    assert not page.locator("#stage").is_visible()
    picture = page.locator("#still-pictures img").first
    picture.wait_for(timeout=120_000)
    page.wait_for_function("document.querySelector('#still-pictures img').naturalWidth > 200")


def test_a_phone_has_room_for_every_state(server: Server, open_window: OpenWindow, phantom_case: Path) -> None:
    page = open_window(server.url, phone=True)

    def fits() -> bool:
        return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    assert fits()
    segment(page, phantom_case)
    ready(page)
    assert fits()
    before, (x, y) = reading(page)["Place"], _middle(page)
    page.touchscreen.tap(x + 40, y + 30)
    page.wait_for_function(f"() => document.querySelector('#reading dd').innerText !== {before!r}")
    page.set_input_files("#reference-file", seg_of(phantom_case))
    page.wait_for_selector("#scores table", timeout=120_000)
    assert fits()
    small = page.evaluate(
        """[...document.querySelectorAll("button, .button, select, .segments span")]
            .filter((each) => each.offsetParent && each.getBoundingClientRect().height < 24)
            .map((each) => each.innerText)"""
    )
    assert small in ([], ["Mouse and keys"]), "targets for a finger"


def test_from_the_drop_to_the_downloaded_mask(
    server: Server, open_window: OpenWindow, phantom_case: Path, tmp_path: Path
) -> None:
    """With a real case where there is one."""
    folder = REAL if REAL.is_dir() else phantom_case
    page = open_window(server.url)
    segment(page, folder)
    predict(folder, checkpoint=(server.checkpoint,), output=tmp_path / "predicted", device="cpu")
    (theirs,) = (tmp_path / "predicted").glob("*.nii.gz")
    own, expected = nibabel.load(download(page, "Segmentation", tmp_path)), nibabel.load(theirs)
    assert np.array_equal(np.asarray(own.dataobj), np.asarray(expected.dataobj))
    assert np.array_equal(own.affine, expected.affine)
    assert np.asarray(own.dataobj).any()

    page.set_input_files("#reference-file", seg_of(folder))
    page.wait_for_selector("#scores table", timeout=300_000)
    evaluate(predictions=tmp_path / "predicted", references=folder.parent, output=tmp_path / "scores", workers=1)
    with (tmp_path / "scores" / "scores.csv").open(encoding="utf-8", newline="") as file:
        dice = {row["region"]: float(row["dice"]) for row in csv.DictReader(file) if row["case"] == folder.name}
    shown = scores_shown(page)
    assert set(shown) == set(TITLES.values())
    assert shown == {name: f"{dice[name]:.4f}" for name in shown}
    ready(page)
    assert page.locator('[name="overlay"][value="both"]').is_checked()
    boxes = page.locator('#controls [name="tissues"]')
    assert boxes.count() == 3, "necrosis is in the reference alone"
    assert all(box.is_checked() for box in boxes.all())
    choose(page, "overlay", "difference")
    page.get_by_text("Only in the reference").wait_for()
    page.get_by_role("button", name="Erase this case").click()
    page.get_by_role("button", name="Erase", exact=True).click()
