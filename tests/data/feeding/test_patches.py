import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from brats_lightning.data.feeding.patches import MOST_VOXELS, Patches, Shape, cut
from brats_lightning.errors import ConfigError
from brats_lightning.labels import LABELS, TISSUES

SHAPE = (20, 18, 16)
EDGES = st.tuples(*[st.integers(1, 12)] * 3)
CORNERS = st.tuples(*[st.integers(-14, 14)] * 3)
SEEDS = st.integers(0, 2**32 - 1)


def label_with(**places: tuple[int, int, int]) -> torch.Tensor:
    """(1, X, Y, Z) with one voxel of each label named."""
    label = torch.zeros(1, *SHAPE, dtype=torch.uint8)
    for name, place in places.items():
        label[(0, *place)] = LABELS[name]
    return label


@given(EDGES, EDGES, CORNERS)
@pytest.mark.slow
def test_a_cut_is_the_padded_volume_seen_through_a_box(shape: Shape, edges: Shape, corner: Shape) -> None:
    """Against padding on all sides by more than any box reaches, then plain slicing."""
    sides = zip(corner, edges, shape, strict=True)
    assume(all(first < length and first + edge > 0 for first, edge, length in sides))
    volume = torch.arange(1, 2 * math.prod(shape) + 1).reshape(2, *shape)
    reach = 30
    padded = torch.nn.functional.pad(volume, [reach] * 6)
    box = tuple(slice(reach + first, reach + first + edge) for first, edge in zip(corner, edges, strict=True))
    into = torch.full((2, *edges), -1)
    cut(volume, corner, into=into)
    assert torch.equal(into, padded[(slice(None), *box)])


@given(EDGES, EDGES, SEEDS)
def test_a_patch_lies_inside_or_has_the_case_in_its_middle(shape: Shape, size: Shape, seed: int) -> None:
    for first, edge, length in zip(Patches(size).corner(shape, {}, seed), size, shape, strict=True):
        if edge <= length:
            assert 0 <= first <= length - edge
        else:
            before, after = -first, first + edge - length
            assert after - before in {0, 1}


@given(EDGES, SEEDS, st.floats(0, 1))
def test_a_margin_adds_to_both_sides_and_moves_nothing(size: Shape, seed: int, margin: float) -> None:
    plain, wide = Patches(size), Patches(size, margin=margin)
    sides = [(larger - edge) / 2 for larger, edge in zip(wide.cut_size, size, strict=True)]
    assert all(side == int(side) >= edge * margin / 2 for side, edge in zip(sides, size, strict=True) if edge > 1)
    assert all(side == 0 for side, edge in zip(sides, size, strict=True) if edge == 1)  # a slice has no neighbours
    inner = [first + side for first, side in zip(wide.corner(SHAPE, {}, seed), sides, strict=True)]
    assert inner == list(plain.corner(SHAPE, {}, seed))


def test_each_tissue_is_as_often_the_centre() -> None:
    """However many voxels it has: ED fills half of the case, ET and NCR are single voxels."""
    label = label_with(ET=(9, 9, 9), NCR=(3, 4, 5))
    label[0, :, :, 10:] = LABELS["ED"]
    patches = Patches((1, 1, 1), foreground=1)
    table = patches.foreground_of(label, "a")
    found = [int(label[(0, *patches.corner(SHAPE, table, seed))]) for seed in range(600)]
    shares = [found.count(LABELS[name]) / len(found) for name in TISSUES]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.07)


def test_the_share_of_centred_patches_is_kept() -> None:
    patches = Patches((1, 1, 1), foreground=0.25)
    label = label_with(ED=(9, 9, 9))
    table = patches.foreground_of(label, "a")
    hits = sum(patches.corner(SHAPE, table, seed) == (9, 9, 9) for seed in range(800))
    assert hits / 800 == pytest.approx(0.25, abs=0.06)


def test_the_voxel_is_in_the_middle_unless_the_border_is_near() -> None:
    patches = Patches((4, 4, 4), foreground=1, regions=("ET",))
    table = patches.foreground_of(label_with(ET=(10, 0, 15)), "a")
    assert patches.corner(SHAPE, table, 7) == (8, 0, 12)


def test_an_absent_tissue_gives_way_to_any_other_and_then_to_anywhere() -> None:
    patches = Patches((1, 1, 1), foreground=1)
    cavity = patches.foreground_of(label_with(RC=(2, 3, 4)), "a")
    assert {patches.corner(SHAPE, cavity, seed) for seed in range(20)} == {(2, 3, 4)}
    nothing = patches.foreground_of(label_with(), "a")
    assert len({patches.corner(SHAPE, nothing, seed) for seed in range(20)}) > 15


def test_the_table_is_a_seeded_choice_of_right_voxels() -> None:
    label = torch.zeros(1, 32, 32, 32, dtype=torch.uint8)
    label[0, :, :, 16:] = LABELS["ED"]
    patches = Patches((8, 8, 8))
    table, again, other = (patches.foreground_of(label, case)["ED"] for case in ("a", "a", "b"))
    assert len(np.unique(table, axis=0)) == MOST_VOXELS < label.sum()
    assert (label[0].numpy()[tuple(table.T)] == LABELS["ED"]).all()
    assert np.array_equal(table, again)
    assert not np.array_equal(table, other)
    assert patches.foreground_of(label_with(), "a") == {}


def test_nothing_is_looked_for_where_nothing_is_centred() -> None:
    assert Patches((4, 4, 4), foreground=0).foreground_of(label_with(ET=(1, 1, 1)), "a") == {}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": (0, 4, 4)}, "size must be three positive numbers of voxels, found \\[0, 4, 4\\]"),
        ({"size": (4, 4)}, "size must be three"),
        ({"size": (4, 4, 4), "foreground": 1.5}, "share from 0 to 1, found 1.5"),
        ({"size": (4, 4, 4), "margin": -0.1}, "margin must not be negative"),
        ({"size": (4, 4, 4), "regions": ("ET", "XX")}, "regions must be some of .*WT, found XX"),
        ({"size": (4, 4, 4), "regions": ()}, "found none"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Patches(**settings)  # type: ignore[arg-type]
