import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.labels import LABELS
from brats_lightning.reports.rendering.rasteriser import BELOW, FRONT, LEFT, Side, extent_mm, first_hit, render
from brats_lightning.reports.rendering.scene import Part, Scene, scene
from brats_lightning.reports.rendering.surface import surface

RED, GREEN = "#FF0000", "#00FF00"


def ball(centre: tuple[float, float, float], radius: float, colour: str, opacity: float = 1.0) -> Part:
    """A ball with its centre in RAS mm."""
    points = np.moveaxis(np.indices((41, 41, 41)), 0, -1) - 20
    mask = np.linalg.norm(points - np.array(centre), axis=-1) <= radius
    affine = np.eye(4)
    affine[:3, 3] = -20
    return Part("ET", "ball", colour, opacity, 1.0, surface(mask, affine))


def drawn(*parts: Part, side: Side = FRONT) -> npt.NDArray[np.float64]:
    return render(Scene("A", parts), side, pixels_per_mm=2, margin_mm=3, ground="#000000")


@pytest.mark.parametrize("side", [BELOW, FRONT, LEFT], ids=lambda side: side.name)
def test_depth_and_normals_are_those_of_a_ball(side: Side) -> None:
    found = ball((4, -5, 6), 10, RED)
    first, (width, height) = extent_mm(Scene("A", (found,)), side, margin_mm=5)
    depth, normals = first_hit(found.surface, side, first, 2.0, (int(2 * height), int(2 * width)))
    right, up, towards = side.axes() @ [4, -5, 6]
    rows, columns = np.indices(depth.shape)
    x, y = (columns + 0.5) / 2 + first[0] - right, (rows + 0.5) / 2 + first[1] - up
    inner, outer = np.hypot(x, y) < 8, np.hypot(x, y) > 11
    expected = np.sqrt(np.maximum(0, 100 - x**2 - y**2))
    np.testing.assert_allclose(depth[inner], (towards + expected)[inner], atol=0.5)
    assert np.isneginf(depth[outer]).all()
    outwards = np.stack([x, y, expected], axis=-1) / 10
    assert (normals * outwards).sum(-1)[inner].min() > 0.9


def test_a_picture_shows_the_nearer_of_two() -> None:
    behind, before = ball((0, -9, 0), 8, RED), ball((3, 9, 0), 4, GREEN)
    for picture in (drawn(behind, before), drawn(before, behind)):  # whatever their order
        red, green = picture[..., 0] > 0.3, picture[..., 1] > 0.3
        assert green.sum() == pytest.approx(np.pi * 16 * 4, rel=0.15)
        assert red.sum() == pytest.approx(np.pi * (64 - 16) * 4, rel=0.15)
    through = drawn(behind, ball((3, 9, 0), 4, GREEN, opacity=0.4))
    assert ((through[..., 0] > 0.25) & (through[..., 1] > 0.25)).sum() > 100


@pytest.mark.parametrize("lps", [True, False])
def test_each_side_shows_the_patient_where_its_letters_say(lps: bool) -> None:
    """A small tumour at the right, front and top of a large one, stored in either axis order."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) if lps else np.eye(4)
    label = np.zeros((40, 40, 40), np.uint8)
    label[18:22, 18:22, 18:22] = LABELS["NCR"]
    at = (slice(4, 8), slice(4, 8), slice(32, 36)) if lps else (slice(32, 36),) * 3
    label[at] = LABELS["RC"]
    seen = scene(label, affine, title="A")
    where = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    for side in (BELOW, FRONT, LEFT):
        picture = render(seen, side, pixels_per_mm=2, margin_mm=2, ground="#000000")
        rows, columns = np.nonzero(picture[..., 1] > picture[..., 0] + 0.1)  # green: the cavity
        share = np.array([columns.mean() / picture.shape[1], rows.mean() / picture.shape[0]])
        left, right, bottom, top = list(side.view.marks)
        for towards, away, place in ((right, left, share[0]), (top, bottom, share[1])):
            assert where[towards] == tuple(-value for value in where[away])
            assert (place > 0.5) == (sum(where[towards]) > 0)  # it lies at the positive end of each axis


def test_an_empty_scene_is_its_ground() -> None:
    picture = render(Scene("A", ()), FRONT, pixels_per_mm=2, margin_mm=5, ground="#FFFFFF")
    assert picture.shape == (20, 20, 3)
    np.testing.assert_array_equal(picture, 1)
