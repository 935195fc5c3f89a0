from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from brats_lightning.labels import LABELS, MODALITIES, WHOLE
from brats_lightning.model.scored_case import ScoredCase
from brats_lightning.reports.figures.colours import REGION_COLOURS
from brats_lightning.reports.validation.panel import MARGIN, SIDE, Panel, mosaic, panel_of
from brats_lightning.reports.validation.sheet import InBackground, draw_panel, painted, thumbnail
from brats_lightning.reports.wandb_media.images import media

ET, ED, NCR = LABELS["ET"], LABELS["ED"], LABELS["NCR"]
Bytes = npt.NDArray[np.uint8]


def case(
    *,
    shape: tuple[int, int, int] = (40, 48, 36),
    channels: int = 4,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    box: tuple[slice, ...] = (slice(28, 34), slice(34, 42), slice(24, 30)),
    value: int = ET,
) -> ScoredCase:
    """A ball of normalised noise with a tumour that both label maps have: right, in front and above."""
    axes = np.meshgrid(*[np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in shape], indexing="ij")
    ball = np.sum(np.square(axes), axis=0) < 1.2
    image = np.random.default_rng(0).normal(size=(channels, *shape)).astype(np.float32) * ball
    label = np.zeros(shape, np.uint8)
    label[box] = value
    volume = torch.from_numpy(image)
    return ScoredCase(
        "case", partial(torch.clone, volume), torch.from_numpy(label), torch.from_numpy(label), spacing_mm
    )


def cut(scored: ScoredCase, *, modalities: Sequence[str] = MODALITIES, plane: str | None = None) -> Panel:
    return panel_of(scored, modalities=modalities, dice={"ET": 0.5, "WT": float("nan")}, plane=plane)


def centre(mask: Bytes) -> tuple[float, float]:
    """Row and column of a mask's middle, from -1 at the top and the left to 1."""
    rows, columns = np.nonzero(mask)
    return float(2 * rows.mean() / len(mask) - 1), float(2 * columns.mean() / len(mask) - 1)


def test_tiles_show_the_tumour_where_it_lies_seen_as_radiologists_see_it() -> None:
    panel = cut(case())
    assert [tile.name for tile in panel.tiles] == [
        "T1", "T1 contrast", "T2", "FLAIR", "FLAIR, coronal", "FLAIR, sagittal",
    ]  # fmt: skip
    for tile in panel.tiles:
        assert set(np.unique(tile.prediction)) == {0, ET}
        np.testing.assert_array_equal(tile.prediction, tile.reference)
        row, column = centre(tile.prediction)
        assert row < -0.1  # in front of the middle in axial tiles, above it in the others
        assert column < -0.1  # on the patient's right, in sagittal tiles in front
    assert [tile.marks for tile in panel.tiles] == ["RLPA"] * 4 + ["RLIS", "APIS"]


def test_planes_of_an_oblique_grid_are_said_to_be_so() -> None:
    panel = panel_of(case(), modalities=MODALITIES, dice={"ET": 0.5}, tilt_degrees=20)
    assert panel.in_words == "Dice ET 0.50 · grid tilted by 20°: letters name the nearest direction"


def test_grey_values_are_bytes_that_use_the_range_on_a_black_ground() -> None:
    for tile in cut(case()).tiles:
        assert tile.grey.dtype == np.uint8
        assert tile.grey.shape == (SIDE, SIDE)
        assert tile.grey.max() > 230
        assert (tile.grey[:MARGIN] == 0).all()
        assert 60 < tile.grey[tile.grey > 0].mean() < 200


def test_millimetres_and_not_voxels_decide_the_size() -> None:
    axial, *_, sagittal = cut(case(shape=(40, 40, 10), spacing_mm=(1, 1, 6), box=(slice(0, 40),) * 3)).tiles
    rows, columns = (np.ptp(places) + 1 for places in np.nonzero(axial.prediction))
    assert rows == pytest.approx(columns, abs=1)
    rows, columns = (np.ptp(places) + 1 for places in np.nonzero(sagittal.prediction))
    assert rows / columns == pytest.approx(60 / 40, abs=0.03)
    assert rows == SIDE - 2 * MARGIN


def test_a_slice_has_no_other_planes_and_no_directions() -> None:
    scored = case(shape=(40, 30, 1), channels=1, box=(slice(2, 9), slice(3, 9), slice(0, 1)), value=WHOLE)
    panel = panel_of(scored, modalities=["t1c"], dice={}, tilt_degrees=20)
    assert panel.in_words == ""
    (tile,) = panel.tiles
    assert (tile.name, tile.marks, panel.pixels_per_mm) == ("T1 contrast", "", 0.0)
    assert panel.values == {WHOLE}
    assert centre(tile.reference)[1] > 0.2


@pytest.mark.parametrize(("plane", "marks"), [("coronal", "RLIS"), ("axial", "RLPA")])
def test_of_slices_put_together_only_their_plane_is_shown(plane: str, marks: str) -> None:
    panel = cut(case(channels=2), modalities=["t1c", "t2f"], plane=plane)
    assert [(tile.name, tile.marks) for tile in panel.tiles] == [("T1 contrast", marks), ("FLAIR", marks)]
    assert panel.best == 1


@pytest.mark.parametrize("fill", [0.0, 3.0])
def test_an_image_without_contrast_and_without_tumour_is_drawn(tmp_path: Path, fill: float) -> None:
    empty = torch.zeros(8, 8, 8, dtype=torch.uint8)
    scored = ScoredCase("case", partial(torch.full, (1, 8, 8, 8), fill), empty, empty, (1, 1, 1))
    panel = panel_of(scored, modalities=["t1n"], dice={})
    assert not any(tile.prediction.any() for tile in panel.tiles)
    draw_panel(panel, tmp_path / "a.png", title="case")


def test_a_mosaic_holds_every_tile_once() -> None:
    for count in range(1, 8):
        tiles = [np.full((3, 3), number + 1, np.uint8) for number in range(count)]
        picture = mosaic(tiles)
        assert np.bincount(picture.ravel(), minlength=count + 1)[1:].tolist() == [9] * count
        assert picture.shape[1] >= picture.shape[0]


def test_labels_are_filled_and_outlined_in_their_colour() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[5:15, 5:15] = ED
    picture = painted(np.full((20, 20), 100, np.uint8), labels)
    colour = np.round(255 * np.array(to_rgb(REGION_COLOURS["ED"])))
    assert (picture[0, 0] == 100).all()
    np.testing.assert_array_equal(picture[5, 10], colour)
    share = (picture[10, 10] - 100.0) / (colour - 100)  # of the colour in what is filled
    assert share == pytest.approx(share.mean(), abs=0.06)
    assert 0.1 < share.mean() < 0.6


def test_a_picture_has_a_row_for_reference_and_prediction(tmp_path: Path) -> None:
    scored = case()
    panel = cut(scored._replace(prediction=torch.zeros_like(scored.prediction)))
    draw_panel(panel, tmp_path / "a.png", title="case · run · epoch 3")
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    yellow = (np.abs(picture.astype(int) - (255 * np.array(to_rgb(REGION_COLOURS["ET"])))) < 2).all(axis=-1)
    rows = np.flatnonzero(yellow[:, 300:].any(axis=1))  # right of the legend
    assert rows.size
    third = (picture.shape[0] - 60) / 3
    assert third < rows.min() < rows.max() < 2 * third + 60  # the tumour stands in the middle row alone
    assert thumbnail(panel).shape == (SIDE, 2 * SIDE, 3)


def test_of_one_tile_image_reference_and_prediction_stand_beside_each_other(tmp_path: Path) -> None:
    scored = case(shape=(40, 30, 1), channels=1, box=(slice(2, 9), slice(3, 9), slice(0, 1)), value=WHOLE)
    panel = cut(scored._replace(prediction=torch.zeros_like(scored.prediction)), modalities=["t1c"])
    draw_panel(panel, tmp_path / "a.png", title="case")
    picture = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    blue = (np.abs(picture - (255 * np.array(to_rgb(REGION_COLOURS["WT"])))) < 2).all(axis=-1)
    rows, columns = np.nonzero(blue[: picture.shape[0] - 60])  # above the legend
    assert rows.size
    assert panel.side < columns.min() < columns.max() < 2 * panel.side + 60


def test_what_cannot_be_written_is_said_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    drawing = InBackground()
    drawing.begin(partial(draw_panel, cut(case()), tmp_path / "nowhere" / "a.png", title="case"))
    drawing.begin(partial(draw_panel, cut(case()), tmp_path / "a.png", title="case"))
    drawing.wait()
    assert "a picture cannot be written: [Errno 2]" in caplog.text
    assert (tmp_path / "a.png").is_file()


def masks_of(image: Any) -> dict[str, Bytes]:
    return {name: np.asarray(Image.open(mask._path)) for name, mask in image._masks.items()}


def test_w_and_b_gets_bytes_masks_with_names_and_a_row_a_case() -> None:
    panel = cut(case())
    logged = media([panel], epoch=3)
    (image,) = logged["pictures/validation"]
    stored = np.asarray(Image.open(image._path))
    assert stored.shape[:2] == (2 * SIDE, 3 * SIDE)
    assert stored.max() > 230
    assert {name: set(np.unique(mask)) for name, mask in masks_of(image).items()} == {
        "prediction": {0, ET}, "ground_truth": {0, ET},
    }  # fmt: skip
    assert image._caption == "case · epoch 3 · Dice ET 0.50, WT –"
    table = logged["pictures/cases"]
    assert table.columns == ["epoch", "case", "reference | prediction", "dice_ET", "dice_WT"]
    ((epoch, name, _, *dice),) = table.data
    assert (epoch, name, dice) == (3, "case", [0.5, None])


@pytest.mark.parametrize(
    ("value", "named"),
    [(ET, {NCR: "NCR", ED: "ED", ET: "ET"}), (WHOLE, {WHOLE: "WT"}), (4, {NCR: "NCR", ED: "ED", ET: "ET", 4: "RC"})],
)
def test_masks_name_the_classes_that_there_can_be(value: int, named: dict[int, str]) -> None:
    (image,) = media([cut(case(value=value))], epoch=0)["pictures/validation"]
    for mask in image._masks.values():
        labels = mask._val["class_labels"]
        assert {key: name for key, name in labels.items() if not name.startswith("class_")} == named
