import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brats_lightning.data.batches import Batch
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.dataset import CaseDataset
from brats_lightning.data.feeding.loader import ResidentLoader, WorkerLoader
from brats_lightning.data.feeding.patches import Patches
from brats_lightning.data.feeding.resident import load_cases
from brats_lightning.data.homes import MemoryHome
from brats_lightning.data.order import Draw, ShuffledDraws
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.slices import Place, Slices, slice_name, slice_of, spacing_of
from brats_lightning.errors import ConfigError, DatasetError
from brats_lightning.labels import CASE, IMAGE, LABEL, SPACING, Plane
from brats_lightning.model.slice_wise import SliceWise
from tests.conftest import WriteCase

CPU = torch.device("cpu")
SHAPE = 20, 22, 18
PLAIN = Preprocessing(size=None, crop=False)


@pytest.fixture
def cases(write_case: WriteCase) -> list[Case]:
    """Two cases of 20×22×18 voxels."""
    for seed in range(2):
        write_case(f"BraTS2021_0000{seed}", seed=seed)
    folder = write_case("BraTS2021_00000").parent
    return list(find_cases(folder).cases)


@pytest.fixture
def cache() -> CaseCache:
    return CaseCache(PLAIN, MemoryHome())


@given(st.integers(0, 2), st.integers(0, 17))
def test_a_slice_is_a_view_with_its_axis_last(axis: int, index: int) -> None:
    volume = torch.arange(4 * 20 * 22 * 18).view(4, *SHAPE)
    place = Place(axis, index)
    found = slice_of(volume, place)
    rest = [length for dim, length in enumerate(SHAPE) if dim != axis]
    assert found.shape == (4, *rest, 1)
    assert torch.equal(found[..., 0], volume.select(axis + 1, index))
    assert found.untyped_storage().data_ptr() == volume.untyped_storage().data_ptr()


def test_the_spacing_follows_its_axes() -> None:
    assert spacing_of(torch.tensor([1.0, 2.0, 3.0]), Place(1, 0)).tolist() == [1, 3, 2]
    assert slice_name("a", Place(0, 4)) == "a sagittal 4"


def test_every_slice_of_every_plane_comes_once() -> None:
    label = torch.zeros(1, *SHAPE, dtype=torch.uint8)
    places = Slices(planes=("axial", "coronal", "sagittal")).of(label, case="a")
    assert sorted(places) == [Place(axis, index) for axis in range(3) for index in range(SHAPE[axis])]


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        (Slices(first=3, last=5), [3, 4, 5]),
        (Slices(first=15), [15, 16, 17]),
        (Slices(last=1), [0, 1]),
        (Slices(indices=(9, 2)), [2, 9]),
        (Slices(tumour=True), [6, 7]),
        (Slices(tumour=True, first=7), [7]),
    ],
)
def test_slices_are_chosen_by_range_by_index_and_by_tumour(slices: Slices, expected: list[int]) -> None:
    label = torch.zeros(1, *SHAPE, dtype=torch.uint8)
    label[0, 5, 5, 6:8] = 2
    assert [place.index for place in slices.of(label, case="a")] == expected


@pytest.mark.parametrize("slices", [Slices(indices=(18,)), Slices(first=3, last=18), Slices(first=30)])
def test_slices_outside_a_volume_are_refused_by_its_name(slices: Slices, cases: list[Case], cache: CaseCache) -> None:
    with pytest.raises(DatasetError, match=r"BraTS2021_00000: axial slices .* has 18 \(0 to 17\); change data.slices"):
        load_cases(cache, cases, device=CPU, slices=slices, show=False)
    with pytest.raises(DatasetError, match="BraTS2021_00000"):
        _ = CaseDataset(cache, cases, slices=slices).samples


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"planes": ("diagonal",)}, "planes must be some of"),
        ({"planes": ()}, "planes must be some of"),
        ({"first": 1, "indices": (2,)}, "either indices or a range"),
        ({"indices": ()}, "at least one"),
        ({"indices": (1, 1)}, "distinct"),
        ({"first": -1}, "count from 0"),
        ({"first": 4, "last": 3}, "not be below first"),
        ({"validation": "none"}, "volumes or slices"),
        ({"validation": "slices", "planes": ("axial", "coronal")}, "make no volume"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Slices(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("planes", "patches"),  # slices of two planes differ in size where nothing makes them equal
    [(("axial",), None), (("axial", "coronal"), Patches((16, 12, 1), foreground=0.5))],
)
def test_both_feeds_give_the_same_batches_of_slices(
    patches: Patches | None, planes: tuple[str, ...], cases: list[Case], cache: CaseCache
) -> None:
    slices = Slices(planes=planes, tumour=True)  # type: ignore[arg-type]
    dataset = CaseDataset(cache, cases, slices=slices, patches=patches)
    resident = load_cases(cache, cases, device=CPU, slices=slices, patches=patches, show=False)
    assert dataset.samples == len(resident) > 10
    orders = [ShuffledDraws(len(resident), seed=3) for _ in range(2)]
    read = WorkerLoader(dataset, order=orders[0], batch_size=4, workers=0)
    held = ResidentLoader(resident, sampler=orders[1], batch_size=4, device=CPU, patches=patches)
    for one, other in zip(read, held, strict=True):
        assert one[CASE] == other[CASE]
        for key in (IMAGE, LABEL, SPACING):
            assert torch.equal(one[key], other[key])


def test_a_drawn_slice_is_that_of_the_volume(cases: list[Case], cache: CaseCache) -> None:
    slices = Slices(planes=("coronal",), first=4, last=5)
    dataset = CaseDataset(cache, cases, slices=slices)
    item: Batch = dataset[Draw(3, seed=0)]
    sample = cache.get(cases[1])
    assert item[CASE] == f"{cases[1].id} coronal 5"
    assert torch.equal(item[IMAGE][..., 0], sample.image[:, :, 5].float())
    assert sample.label is not None
    assert torch.equal(item[LABEL][..., 0], sample.label[:, :, 5])
    item[IMAGE].zero_()  # as augmentation in place might
    assert cache.get(cases[1]).image.any()


@torch.no_grad()
@pytest.mark.parametrize(("plane", "axis"), [("sagittal", 1), ("coronal", 2), ("axial", 3)])
def test_a_network_finds_in_the_chosen_slices_what_it_finds_in_the_volume(plane: Plane, axis: int) -> None:
    network = SliceWise(torch.nn.Conv2d(4, 2, 3, padding=1), planes=(plane,))
    volume = torch.randn(4, *SHAPE)
    chosen = Slices(planes=(plane,), first=3, last=6, validation="slices").stacked(volume, case="a")
    torch.testing.assert_close(network(chosen[None])[0], network(volume[None])[0].narrow(axis, 3, 4))


def test_what_is_not_drawn_is_the_chosen_slices_as_one_volume(cases: list[Case], cache: CaseCache) -> None:
    item: Batch = CaseDataset(cache, cases, slices=Slices(indices=(7, 3), planes=("sagittal",)))[0]
    sample = cache.get(cases[0])
    assert item[CASE] == cases[0].id
    assert torch.equal(item[IMAGE], sample.image.float()[:, [3, 7]])  # axes stay: SliceWise cuts it in its own plane
    assert item[LABEL].shape == (1, 2, *sample.image.shape[2:])
    assert item[SPACING].tolist() == pytest.approx(sample.grid.spacing_mm)
