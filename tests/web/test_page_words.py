"""Numbers and times as the page writes them: its modules are asked in a window, without a case."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import OpenWindow
from tests.web.pretended import Served, serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
SIZE = {"voxels": 12, "volume_ml": 0.5, "longest_mm": None, "axial_mm": 4, "across_mm": 3}
SCORES = {"dice": 1, "iou": 1, "sensitivity": 1, "hd95_mm": 0}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "served") as served:
        yield served


def ask(page: "Page", module: str, name: str, asked: object) -> str:
    answer: str = page.evaluate(
        """async ([module, name, asked]) => {
            const made = (await import(`./static/${module}.js`))[name](asked);
            return [made].flat().map((each) => each.textContent ?? String(each)).join(" ");
        }""",
        [module, name, asked],
    )
    return answer


def record(*, flat: bool, placed: bool, predicted: object = SIZE, reference: object = SIZE) -> dict[str, object]:
    return {
        "sizes": {"prediction": {"WT": predicted}, "reference": {"WT": reference}},
        "scores": {"WT": SCORES},
        "files": [{"kind": "seg"}],
        "view": {"shape": [5, 5, 1 if flat else 5], "placed": placed},
    }


def test_a_picture_is_measured_in_pixels_and_a_patient_in_mm(served: Served, open_window: OpenWindow) -> None:
    page = open_window(served.url)
    picture, volume = record(flat=True, placed=False), record(flat=False, placed=True)
    for name in ("sizeTables", "scoreTable", "sizeWords"):
        assert "mm" not in ask(page, "numbers", name, picture)
        assert "ixels" not in ask(page, "numbers", name, volume)
    assert "Volume (ml)Longest (mm)Axial slice (mm)" in ask(page, "numbers", "sizeTables", volume)
    assert "PixelsDiameters (pixels)Whole tumour124.0 × 3.0" in ask(page, "numbers", "sizeTables", picture)
    slice_in_place = ask(page, "numbers", "sizeTables", record(flat=True, placed=True))
    assert "Volume (ml)Diameters (mm)Whole tumour0.504.0 × 3.0" in slice_in_place


def test_what_a_missing_region_counts_as_is_told(served: Served, open_window: OpenWindow) -> None:
    page = open_window(served.url)
    words = [
        ask(page, "numbers", "scoreWords", record(flat=False, placed=True, predicted=one, reference=other))
        for one, other in [(SIZE, SIZE), (SIZE, None), ({**SIZE, "voxels": 0}, SIZE), (None, None)]
    ]
    assert [each.partition(":")[0] for each in words] == [
        "",
        "In one of the two only",
        "In one of the two only",
        "In neither of the two",
    ]


def test_times_name_their_day(served: Served, open_window: OpenWindow) -> None:
    page = open_window(served.url)
    noon = page.evaluate("new Date().setHours(12, 0, 0, 0) / 1000")
    said = [ask(page, "words", "timeText", noon + 86400 * days) for days in (-1, 0, 1, 3)]
    assert said[0].endswith(" yesterday")
    assert said[2].endswith(" tomorrow")
    assert " on " in said[3]
    assert len(said[1]) < len(said[2])
