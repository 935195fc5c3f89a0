"""Colours must be told apart by every eye; simulated after Machado, Oliveira and Fernandes, IEEE TVCG 2009."""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb

from brats_lightning.labels import LABELS, REGIONS, WHOLE
from brats_lightning.reports.figures.colours import (
    OTHER_COLOURS,
    OUTSIDE_IN,
    REGION_COLOURS,
    REGION_TITLES,
    region_colours,
)
from brats_lightning.reports.figures.difference import ERROR_COLOURS

EYES = {
    "usual": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> npt.NDArray[np.float64]:
    value = np.array(to_rgb(colour))
    return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)


def lab(colour: str, eye: str) -> npt.NDArray[np.float64]:
    """CIELAB of a colour as an eye sees it."""
    seen = np.clip(np.array(EYES[eye]) @ linear(colour), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ seen / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def least_difference(colours: list[str], eye: str) -> float:
    return min(float(np.linalg.norm(lab(one, eye) - lab(other, eye))) for one, other in combinations(colours, 2))


@pytest.mark.parametrize("eye", EYES)
def test_every_eye_tells_regions_and_errors_apart(eye: str) -> None:
    assert least_difference([REGION_COLOURS[name] for name in ("ET", "ED", "NCR")], eye) > 30
    assert least_difference(list(REGION_COLOURS.values()), eye) > 7
    assert least_difference(list(ERROR_COLOURS.values()), eye) > 25


def test_errors_are_told_apart_in_grey() -> None:
    lightness = sorted(lab(colour, "usual")[0] for colour in ERROR_COLOURS.values())
    assert min(np.diff(lightness)) > 15


def test_no_other_colour_is_a_regions() -> None:
    others = [*OTHER_COLOURS, *ERROR_COLOURS.values()]
    pairs = [(one, other) for one in others for other in REGION_COLOURS.values()]
    assert min(float(np.linalg.norm(lab(one, "usual") - lab(other, "usual"))) for one, other in pairs) > 12


def test_every_region_has_a_colour_and_a_title() -> None:
    assert set(REGION_COLOURS) == set(REGION_TITLES) == set(REGIONS)
    assert set(OUTSIDE_IN.values()) == {*LABELS.values(), WHOLE}
    own = [f"own {number}" for number in range(20)]
    colours = region_colours(["ET", *own])
    assert list(colours) == ["ET", *own]
    assert colours["ET"] == REGION_COLOURS["ET"]
    assert not set(list(colours.values())[1:]) & set(REGION_COLOURS.values())
