import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from brats_lightning.labels import EDITIONS, LABELS, REGIONS, label_values, region_labels


@pytest.mark.parametrize("name", [name for name in EDITIONS if name != "2015"])
def test_encoding_undoes_decoding(name: str) -> None:
    edition = EDITIONS[name]
    stored = np.array([0, *edition.values], np.int32).reshape(1, -1)
    assert np.array_equal(edition.encode(edition.decode(stored)), stored)


def test_2015_joins_necrosis_and_non_enhancing_tumour() -> None:
    decoded = EDITIONS["2015"].decode(np.array([0, 1, 2, 3, 4]))
    assert decoded.tolist() == [0, LABELS["NCR"], LABELS["ED"], LABELS["NCR"], LABELS["ET"]]
    assert EDITIONS["2015"].encode(decoded).tolist() == [0, 1, 2, 1, 4]


@pytest.mark.parametrize(
    ("edition", "whole", "core", "enhancing"),
    [
        ("2020", {1, 2, 4}, {1, 4}, {4}),
        ("2023", {1, 2, 3}, {1, 3}, {3}),
        ("2024-GLI", {1, 2, 3}, {1, 3}, {3}),  # a resection cavity (4) is in no tumour region
        ("2024-PED", {1, 2, 3, 4}, {1, 2, 3}, {1}),
        ("MSD", {1, 2, 3}, {2, 3}, {3}),
        ("2015", {1, 2, 3, 4}, {1, 3, 4}, {4}),
    ],
)
def test_regions_hold_what_each_edition_defines(
    edition: str, whole: set[int], core: set[int], enhancing: set[int]
) -> None:
    values = EDITIONS[edition].values
    for region, expected in (("WT", whole), ("TC", core), ("ET", enhancing)):
        assert {stored for stored, inside in values.items() if inside in REGIONS[region]} == expected


def test_a_foreign_value_is_refused_with_the_editions_it_would_fit() -> None:
    with pytest.raises(
        ValueError, match=r"label 3 found, BraTS 2021 has 0 1 2 4 \(they would fit 2015, 2023, 2024-GLI"
    ):
        EDITIONS["2021"].decode(np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="label -1 found"):
        EDITIONS["2021"].decode(np.array([0, -1]))


def test_an_edition_cannot_express_every_label() -> None:
    with pytest.raises(ValueError, match="BraTS 2021 has no label for RC"):
        EDITIONS["2021"].encode(np.array([0, LABELS["RC"]]))


def test_unknown_regions_are_named() -> None:
    assert region_labels({"mine": [1, 3]}) == {"mine": (1, 3)}
    with pytest.raises(ValueError, match="unknown region XY: expected one of NCR"):
        region_labels(["ET", "XY"])


@pytest.mark.parametrize(("least", "largest"), [(0, 4), (0, 15), (0, 16), (0, 255), (-1, 4), (0, 300), (250, 300)])
@given(data=st.data())
@pytest.mark.slow
def test_label_values_are_the_distinct_ones(data: st.DataObject, least: int, largest: int) -> None:
    labels = data.draw(npst.arrays(np.int32, (5, 4), elements=st.integers(least, largest)))
    assert label_values(labels) == set(np.unique(labels).tolist())
