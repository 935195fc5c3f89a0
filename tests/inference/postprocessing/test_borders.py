import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.transforms import FillHoles as MonaiFillHoles
from scipy import ndimage

from brats_lightning.errors import ConfigError
from brats_lightning.inference.postprocessing.borders import Closing, FillHoles, Opening
from brats_lightning.inference.postprocessing.pieces import RemoveSmall
from brats_lightning.labels import LABELS, REGIONS, WHOLE

LabelMap = npt.NDArray[np.uint8]
MM = (1.0, 1.0, 1.0)
FACES = ndimage.generate_binary_structure(3, 1)
NCR, ED, ET, RC, CC = LABELS.values()


def masks() -> st.SearchStrategy[npt.NDArray[np.bool_]]:
    shapes = hypothesis.extra.numpy.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7)
    return hypothesis.extra.numpy.arrays(np.bool_, shapes, elements=st.sampled_from([False, True, True]))


def ball(radius: int, margin: int = 2) -> npt.NDArray[np.bool_]:
    axes = np.indices((2 * (radius + margin) + 1,) * 3) - (radius + margin)
    return np.asarray((axes**2).sum(axis=0) <= radius**2)


@hypothesis.given(masks())
@hypothesis.settings(deadline=None, max_examples=60)
def test_holes_are_those_of_monai(mask: npt.NDArray[np.bool_]) -> None:
    expected = MonaiFillHoles(connectivity=1)(torch.from_numpy(mask.astype(np.uint8)[None]))[0].numpy()
    filled = FillHoles("WT")(mask.astype(np.uint8) * np.uint8(ED), spacing_mm=MM)
    np.testing.assert_array_equal(filled > 0, np.asarray(expected) > 0)


@hypothesis.given(masks(), st.integers(1, 3))
@hypothesis.settings(deadline=None, max_examples=60)
def test_opening_and_closing_are_those_of_scipy_in_endless_background(mask: npt.NDArray[np.bool_], steps: int) -> None:
    labels = mask.astype(np.uint8) * np.uint8(ED)
    endless = np.pad(mask, 2 * steps + 1)
    inside = (slice(2 * steps + 1, -(2 * steps + 1)),) * 3
    opened = ndimage.binary_opening(endless, FACES, iterations=steps)[inside]
    closed = ndimage.binary_closing(endless, FACES, iterations=steps)[inside]
    np.testing.assert_array_equal(Opening("WT", steps)(labels, spacing_mm=MM) > 0, opened)
    np.testing.assert_array_equal(Closing("WT", steps)(labels, spacing_mm=MM) > 0, closed)


@pytest.mark.parametrize(
    ("region", "shell", "hole", "filled"),
    [
        ("WT", ED, 0, ED),
        ("WT", ET, 0, ED),
        ("WT", ED, RC, RC),
        ("TC", ET, 0, NCR),
        ("TC", ET, ED, NCR),
        ("TC", NCR, RC, RC),
        ("ET", ET, NCR, ET),
        ("NCR", NCR, ED, NCR),
        ("ED", ED, 0, ED),
        ("ED", ED, NCR, NCR),
        ("RC", RC, 0, RC),
        ("RC", RC, ED, ED),
    ],
)
def test_a_hole_gets_a_label_of_the_region_unless_it_is_tissue(region: str, shell: int, hole: int, filled: int) -> None:
    labels = ball(3).astype(np.uint8) * np.uint8(shell)
    labels[5, 5, 5] = hole
    result = FillHoles(region)(labels, spacing_mm=MM)
    assert result[5, 5, 5] == filled
    result[5, 5, 5] = hole
    np.testing.assert_array_equal(result, labels)


def test_a_hole_gets_the_label_asked_for() -> None:
    labels = ball(3).astype(np.uint8) * np.uint8(ET)
    labels[5, 5, 5] = 0
    assert FillHoles("WT", "ET")(labels, spacing_mm=MM)[5, 5, 5] == ET


def test_a_pit_at_the_border_of_the_array_is_no_hole() -> None:
    labels = np.full((3, 3, 3), ED, np.uint8)
    labels[1, 1, 1] = labels[1, 1, 2] = 0
    np.testing.assert_array_equal(FillHoles("WT")(labels, spacing_mm=MM), labels)


@pytest.mark.parametrize(("region", "label", "left"), [("WT", ED, 0), ("TC", NCR, ED), ("ET", ET, NCR)])
def test_a_spike_goes_to_what_surrounds_the_region(region: str, label: int, left: int) -> None:
    labels = np.full((11, 11, 11), left, np.uint8)
    labels[2:6, 2:6, 2:6] = label
    labels[3, 3, 6:9] = label
    opened = Opening(region)(labels, spacing_mm=MM)
    # The cross of faces fits into the spike's foot.
    assert opened[3, 3, 4:9].tolist() == [label, label, label, left, left]
    assert set(opened.ravel().tolist()) == {label, left}


def test_an_opened_tissue_leaves_what_most_neighbours_are() -> None:
    labels = np.full((11, 11, 11), ET, np.uint8)
    labels[2:6, 2:6, 2:6] = NCR
    labels[3, 3, 6:9] = NCR
    assert set(Opening("NCR")(labels, spacing_mm=MM)[3, 3, 7:9].tolist()) == {ET}


@pytest.mark.parametrize(
    ("region", "label", "gap", "closed"),
    [
        ("WT", ET, 0, ED),
        ("WT", ED, RC, RC),
        ("TC", ET, ED, NCR),
        ("TC", ET, 0, 0),
        ("ET", ET, NCR, ET),
        ("ET", ET, ED, ED),
        ("NCR", NCR, ET, NCR),
        ("ED", ED, NCR, NCR),
        ("ED", ED, 0, ED),
        ("RC", RC, ED, ED),
    ],
)
def test_a_gap_is_closed_where_no_outer_region_changes(region: str, label: int, gap: int, closed: int) -> None:
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[2:7, 2:7, 2:7] = label
    labels[4, 2:7, 2:7] = gap
    result = Closing(region)(labels, spacing_mm=MM)
    assert set(result[4, 3:6, 3:6].ravel().tolist()) == {closed}
    unchanged = np.isin(labels, REGIONS[region]) | (labels == 0) & (gap != 0)
    np.testing.assert_array_equal(result[unchanged], labels[unchanged])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FillHoles("all"), "FillHoles: region is 'all'"),
        (lambda: FillHoles("TC", "ED"), "FillHoles: label is 'ED': expected one of NCR, ET, CC"),
        (lambda: Opening("WT", 0), "Opening: voxels is 0: expected a whole number above 0"),
        (lambda: Closing("WT", 1.5), "Closing: voxels is 1.5"),  # type: ignore[arg-type]
    ],
)
def test_settings_are_checked(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=message):
        make()


@hypothesis.given(masks())
@hypothesis.settings(deadline=None, max_examples=30)
def test_a_mask_is_mended_as_tumour_of_one_tissue_is_and_stays_a_mask(mask: npt.NDArray[np.bool_]) -> None:
    for step in (FillHoles("WT"), Closing("WT"), Opening("WT"), RemoveSmall("WT", voxels=3)):
        found = step(mask.astype(np.uint8) * np.uint8(WHOLE), spacing_mm=MM)
        of_oedema = step(mask.astype(np.uint8) * np.uint8(ED), spacing_mm=MM)
        np.testing.assert_array_equal(found, (of_oedema > 0) * np.uint8(WHOLE))


def test_whole_tumour_around_a_piece_has_a_vote_of_its_own() -> None:
    labels = np.full((5, 5, 5), WHOLE, np.uint8)
    labels[2, 2, 2] = RC
    assert (RemoveSmall("RC", voxels=2)(labels, spacing_mm=MM) == WHOLE).all()
