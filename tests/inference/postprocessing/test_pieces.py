import itertools

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from brats_lightning.errors import ConfigError
from brats_lightning.inference.postprocessing.pieces import KeepLargest, RelabelSmall, RemoveSmall
from brats_lightning.inference.postprocessing.steps import LabelStep
from brats_lightning.labels import LABELS, REGIONS

LabelMap = npt.NDArray[np.uint8]
MM = (1.0, 1.0, 1.0)
NCR, ED, ET, RC, CC = LABELS.values()


def blobs(seed: int) -> LabelMap:
    """Labels 0 to 5 in ragged pieces of many sizes."""
    generator = np.random.default_rng(seed)
    noise = np.stack([ndimage.gaussian_filter(generator.standard_normal((20, 18, 16)), 1.0) for _ in range(6)])
    noise[0] += 1.5 * noise.std()
    labels: LabelMap = noise.argmax(axis=0).astype(np.uint8)
    return labels


def row(*values: int) -> LabelMap:
    return np.array(values, np.uint8).reshape(1, 1, -1)


def listed(labels: LabelMap) -> list[int]:
    values: list[int] = labels.ravel().tolist()
    return values


def pieces(mask: npt.NDArray[np.bool_]) -> list[list[tuple[int, ...]]]:
    """Voxels of each 26-connected piece, by going from neighbour to neighbour."""
    left = {tuple(voxel) for voxel in np.argwhere(mask).tolist()}
    found = []
    while left:
        piece, ahead = [], [left.pop()]
        while ahead:
            voxel = ahead.pop()
            piece.append(voxel)
            near = {tuple(np.add(voxel, step).tolist()) for step in itertools.product((-1, 0, 1), repeat=3)} & left
            left -= near
            ahead += near
        found.append(piece)
    return found


def mask_of(chosen: list[list[tuple[int, ...]]], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    for piece in chosen:
        mask[tuple(np.transpose(piece))] = True
    return mask


@pytest.mark.parametrize("region", REGIONS)
def test_small_pieces_go_and_the_largest_stays(region: str) -> None:
    labels = blobs(1)
    mask = np.isin(labels, REGIONS[region])
    found = pieces(mask)
    sizes = sorted(map(len, found))
    limit = sizes[-1]
    assert len(sizes) > 1
    assert sizes[-2] < limit
    for step in (RemoveSmall(region, voxels=limit), KeepLargest(region)):
        cleaned = step(labels, spacing_mm=MM)
        kept = mask_of([piece for piece in found if len(piece) >= limit], mask.shape)
        np.testing.assert_array_equal(np.isin(cleaned, REGIONS[region]), kept)
        np.testing.assert_array_equal(cleaned[kept | ~mask], labels[kept | ~mask])
    some = RemoveSmall(region, voxels=sizes[len(sizes) // 2])(labels, spacing_mm=MM)
    kept = mask_of([piece for piece in found if len(piece) >= sizes[len(sizes) // 2]], mask.shape)
    np.testing.assert_array_equal(np.isin(some, REGIONS[region]), kept)


@pytest.mark.slow
def test_itk_finds_the_same_pieces() -> None:
    import itk  # noqa: PLC0415 - takes seconds

    labels = blobs(2)
    for region, values in REGIONS.items():
        mask = np.isin(labels, values)
        image = itk.image_from_array(mask.astype(np.uint8))
        components = itk.connected_component_image_filter(
            image, fully_connected=True, ttype=[type(image), itk.Image[itk.UL, 3]]
        )
        for voxels in (2, 6, 40):
            expected = itk.array_from_image(itk.relabel_component_image_filter(components, minimum_object_size=voxels))
            cleaned = RemoveSmall(region, voxels=voxels)(labels, spacing_mm=MM)
            np.testing.assert_array_equal(np.isin(cleaned, values), expected > 0)
        largest = KeepLargest(region)(labels, spacing_mm=MM)
        expected = itk.array_from_image(itk.relabel_component_image_filter(components))
        np.testing.assert_array_equal(np.isin(largest, values), expected == 1)


@pytest.mark.parametrize(
    ("region", "before", "after"),
    [
        ("ET", (2, 3, 2), (2, NCR, 2)),
        ("ET", (0, 3, 0), (0, NCR, 0)),
        ("TC", (2, 1, 3, 2), (2, ED, ED, 2)),
        ("WT", (4, 2, 1, 4), (4, 0, 0, 4)),
        ("NCR", (3, 1, 3), (3, ET, 3)),
        ("NCR", (2, 1, 2), (2, ED, 2)),
        ("ED", (1, 2, 1), (1, NCR, 1)),
        ("RC", (2, 4, 2), (2, ED, 2)),
        ("CC", (3, 5, 3), (3, ET, 3)),
    ],
)
def test_what_is_removed_becomes_what_surrounds_it(
    region: str, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    labels = np.full((5, 5, len(before) + 2), before[0], np.uint8)
    labels[2, 2, 1:-1] = before
    cleaned = RemoveSmall(region, voxels=5)(labels, spacing_mm=MM)
    assert cleaned[2, 2, 1:-1].tolist() == list(after)


def test_most_face_neighbours_decide_and_beyond_the_array_is_background() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1, 1, 1] = ED
    labels[0, 1, 1] = labels[2, 1, 1] = labels[1, 0, 1] = labels[1, 2, 1] = NCR
    assert RemoveSmall("ED", voxels=2)(labels, spacing_mm=MM)[1, 1, 1] == NCR
    labels[1, 2, 1] = labels[1, 0, 1] = ET  # two of each, and of background: the lowest number
    assert RemoveSmall("ED", voxels=2)(labels, spacing_mm=MM)[1, 1, 1] == 0
    corner = row(ED, NCR)
    assert listed(RemoveSmall("ED", voxels=2)(corner, spacing_mm=MM)) == [0, NCR]


def test_each_piece_has_its_own_surroundings() -> None:
    labels = np.zeros((5, 5, 13), np.uint8)
    labels[..., :6], labels[..., 6:] = NCR, ET
    labels[2, 2, 2] = labels[2, 2, 10] = ED
    cleaned = RemoveSmall("ED", voxels=2)(labels, spacing_mm=MM)
    assert (cleaned[2, 2, 2], cleaned[2, 2, 10]) == (NCR, ET)


def test_a_new_label_can_be_asked_for() -> None:
    labels = row(0, ET, 0, ET, ET, 0)
    assert listed(RemoveSmall("ET", voxels=2, becomes="ED")(labels, spacing_mm=MM)) == [0, ED, 0, ET, ET, 0]
    assert listed(KeepLargest("ET", becomes="background")(labels, spacing_mm=MM)) == [0, 0, 0, ET, ET, 0]
    assert listed(RelabelSmall("ET", voxels=4, becomes="background")(labels, spacing_mm=MM)) == [0] * 6


def test_a_piece_of_just_the_volume_stays() -> None:
    labels = row(ED, ED, ED, 0, ED, ED)
    assert listed(RemoveSmall("WT", voxels=3)(labels, spacing_mm=MM)) == [ED, ED, ED, 0, 0, 0]
    # Three voxels of 0.7 mm cubed are 1.029 mm³, whichever way that is rounded.
    for spacing in (0.7, float(np.float32(0.7))):
        assert listed(RemoveSmall("WT", mm3=1.029)(labels, spacing_mm=(spacing,) * 3)) == [ED, ED, ED, 0, 0, 0]


@pytest.mark.parametrize("step", [RemoveSmall("WT", mm3=5), RelabelSmall("WT", mm3=5, becomes="background")])
def test_volumes_in_mm3_follow_the_spacing(step: LabelStep) -> None:
    labels = row(0, ED, ED, 0)
    assert step(labels, spacing_mm=(1, 1, 2.5)).any()
    assert not step(labels, spacing_mm=(1, 1, 2.4)).any()


def test_a_region_is_relabelled_as_a_whole() -> None:
    labels = row(ET, 0, ET, 2, ET)
    assert listed(RelabelSmall(voxels=3)(labels, spacing_mm=MM)) == listed(labels)
    assert listed(RelabelSmall(voxels=4)(labels, spacing_mm=MM)) == [NCR, 0, NCR, 2, NCR]


def test_of_two_equally_large_the_first_is_kept() -> None:
    assert listed(KeepLargest("WT")(row(ED, ED, 0, ED, ED), spacing_mm=MM)) == [ED, ED, 0, 0, 0]


def test_pieces_touching_at_a_corner_are_one() -> None:
    labels = np.zeros((2, 2, 2), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = ET
    np.testing.assert_array_equal(RemoveSmall("ET", voxels=2)(labels, spacing_mm=MM), labels)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RemoveSmall("tumour", voxels=3), "RemoveSmall: region is 'tumour': expected one of NCR, ED"),
        (lambda: RemoveSmall("ET"), "voxels is None: expected either voxels or mm3, mm3 is None"),
        (lambda: RemoveSmall("ET", voxels=3, mm3=3.0), "voxels is 3: expected either voxels or mm3, mm3 is 3.0"),
        (lambda: RemoveSmall("ET", voxels=0), "voxels is 0: expected a whole number above 0"),
        (lambda: RemoveSmall("ET", voxels=True), "voxels is True: expected a whole number above 0"),
        (lambda: RemoveSmall("ET", voxels=2.5), "voxels is 2.5: expected a whole number above 0"),  # type: ignore[arg-type]
        (lambda: RemoveSmall("ET", mm3=float("inf")), "mm3 is inf: expected a volume above 0"),
        (lambda: RemoveSmall("TC", voxels=3, becomes="NCR"), "becomes is 'NCR': expected one of background, ED, RC"),
        (lambda: KeepLargest("WT", becomes="air"), "KeepLargest: becomes is 'air': expected one of background, RC"),
        (lambda: RelabelSmall(voxels=3, becomes="ET"), "becomes is 'ET'"),
        (lambda: RelabelSmall(voxels=3, becomes=None), "becomes is None"),  # type: ignore[arg-type]
        (RelabelSmall, "either voxels or mm3"),
    ],
)
def test_settings_are_checked(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=message):
        make()
