import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brats_lightning.data.case import Case
from brats_lightning.data.splits import (
    PARTS,
    EveryCase,
    HoldOut,
    KFold,
    Listed,
    Parts,
    RepeatedHoldOut,
    Split,
    require_cases,
)
from brats_lightning.errors import ConfigError


def cases_of(scans: list[int]) -> list[Case]:
    """So many scans of each patient."""
    return [
        Case(f"{patient:03}-{scan}", f"{patient:03}", "2023", {}, Path("seg.nii.gz"))
        for patient, n in enumerate(scans)
        for scan in range(n)
    ]


def counts(parts: Parts) -> tuple[int, int, int]:
    return len(parts.train), len(parts.validation), len(parts.test)


def patients_in(parts: Parts, part: str) -> set[str]:
    return {case.partition("-")[0] for case in getattr(parts, part)}


SCANS = st.lists(st.integers(1, 4), min_size=12, max_size=30)
SEEDS = st.integers(0, 2**32 - 1)
SPLITS = st.one_of(
    st.builds(
        HoldOut, validation=st.sampled_from([0.01, 0.1, 0.3, 1, 5]), test=st.sampled_from([0, 0.1, 2]), seed=SEEDS
    ),
    st.builds(KFold, folds=st.just(4), fold=st.integers(0, 3), test=st.sampled_from([0, 0.2, 3]), seed=SEEDS),
    st.builds(
        RepeatedHoldOut, repeats=st.just(4), repeat=st.integers(0, 3), test=st.sampled_from([0, 0.1, 2]), seed=SEEDS
    ),
)


@given(SCANS, SPLITS)
def test_no_patient_is_in_two_parts_and_no_case_is_lost(scans: list[int], split: Split) -> None:
    cases = cases_of(scans)
    parts = split(cases)
    train, validation, test = (patients_in(parts, part) for part in PARTS)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert sorted([*parts.train, *parts.validation, *parts.test]) == [case.id for case in cases]
    assert parts.validation
    require_cases(parts, cases, source=Path("split.json"))


@given(SCANS, SPLITS, st.randoms(use_true_random=False))
def test_the_order_of_the_cases_does_not_matter(scans: list[int], split: Split, random: st.DataObject) -> None:
    cases = cases_of(scans)
    mixed = list(cases)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert split(cases) == split(mixed)


def test_a_seed_decides_the_draw() -> None:
    cases = cases_of([1] * 50)
    assert HoldOut(seed=1)(cases) == HoldOut(seed=1)(cases)
    assert HoldOut(seed=1)(cases) != HoldOut(seed=2)(cases)
    assert KFold(seed=1)(cases) != KFold(seed=2)(cases)
    # Written down once: another draw for the same seed would move every stored comparison.
    assert HoldOut(validation=5, seed=0)(cases).validation == ("001-0", "014-0", "028-0", "036-0", "043-0")


@given(SCANS, SEEDS, st.sampled_from([0, 0.2, 3]))
def test_folds_validate_every_case_once(scans: list[int], seed: int, test: float) -> None:
    cases = cases_of(scans)
    folds = [KFold(folds=4, fold=fold, test=test, seed=seed)(cases) for fold in range(4)]
    assert len({parts.test for parts in folds}) == 1
    validated = [case for parts in folds for case in parts.validation]
    assert sorted([*validated, *folds[0].test]) == [case.id for case in cases]
    sizes = [len(parts.validation) for parts in folds]
    assert max(sizes) - min(sizes) <= max(scans)


def test_each_repeat_is_a_draw_of_its_own() -> None:
    cases = cases_of([1] * 60)
    # Repeat 1 of a seed is repeat 0 of no other.
    draws = {RepeatedHoldOut(repeat=n, test=12, seed=seed)(cases).test for seed in range(3) for n in range(5)}
    assert len(draws) == 15
    assert RepeatedHoldOut(repeat=3, seed=1)(cases) == RepeatedHoldOut(repeats=9, repeat=3, seed=1)(cases)
    # Of 60 cases with 12 tested in each of 40 draws, each is tested eight times on average.
    tested = [case for n in range(40) for case in RepeatedHoldOut(repeats=40, repeat=n, test=12)(cases).test]
    times = [tested.count(case.id) for case in cases]
    assert 0 < min(times) < 8 < max(times) < 20


@pytest.mark.parametrize(
    ("split", "total", "expected"),
    [
        (HoldOut(train=25, validation=7, test=4), 36, (25, 7, 4)),
        (HoldOut(train=25, validation=7, test=4), 50, (25, 7, 4)),
        (HoldOut(train=250, validation=74, test=45), 369, (250, 74, 45)),
        (HoldOut(), 10, (8, 2, 0)),
        (HoldOut(validation=0.2, test=0.125), 369, (249, 74, 46)),
        (HoldOut(validation=0.01), 10, (9, 1, 0)),
        (HoldOut(validation=0, test=3), 10, (7, 0, 3)),
        (HoldOut(validation=1, test=1), 3, (1, 1, 1)),
        (KFold(folds=5, fold=4), 11, (9, 2, 0)),
        (RepeatedHoldOut(repeat=4, validation=2, test=3, train=4), 10, (4, 2, 3)),
        (KFold(folds=3, fold=0, test=0.1), 10, (6, 3, 1)),
    ],
)
def test_shares_and_numbers(split: Split, total: int, expected: tuple[int, int, int]) -> None:
    assert counts(split(cases_of([1] * total))) == expected


def test_a_part_asked_for_is_never_empty() -> None:
    """Patients of four scans do not fit into one case, but without any there would be no validation."""
    assert counts(HoldOut(validation=1, test=1)(cases_of([4] * 5))) == (12, 4, 4)


@pytest.mark.parametrize(
    ("split", "total", "sentence"),
    [
        (HoldOut(train=25, validation=7, test=4), 35, r"25 \+ 7 \+ 4 cases asked for, 35 found"),
        (HoldOut(validation=5, test=5), 10, "no case is left to train on"),
        (HoldOut(validation=20), 10, "no case is left to train on"),
        (KFold(folds=5), 4, "5 folds need as many patients, found 4"),
        (KFold(folds=5, test=3), 7, "5 folds need as many patients, found 4"),
    ],
)
def test_too_few_cases_are_refused(split: Split, total: int, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        split(cases_of([1] * total))


def test_numbers_that_make_no_sense_are_refused() -> None:
    for options in ({"validation": -0.1}, {"test": -1}, {"train": 0}):
        with pytest.raises(ConfigError, match="must not be negative"):
            HoldOut(**options)
    for folds, fold in ((1, 0), (5, 5), (5, -1)):
        with pytest.raises(ConfigError, match=f"found {fold} of {folds}"):
            KFold(folds=folds, fold=fold)
    for repeats, repeat in ((5, 5), (5, -1), (0, 0)):
        with pytest.raises(ConfigError, match=f"found {repeat} of {repeats}"):
            RepeatedHoldOut(repeats=repeats, repeat=repeat)


def test_what_is_stored_is_read_again(tmp_path: Path) -> None:
    parts = Parts(("a", "b"), ("c",), ("d",), left_out={"e": "a file is gone"})
    path = tmp_path / "run" / "split.json"
    parts.write(path)
    parts.write(path)
    assert Parts.read(path) == parts
    assert [entry.name for entry in path.parent.iterdir()] == ["split.json"]


def test_a_list_written_by_hand_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"train": ["002-0", "000-0"], "validation": ["001-0"]}))
    assert Listed(path)(cases_of([1] * 5)) == Parts(("002-0", "000-0"), ("001-0",))


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ({"train": ["000-0", "009-0"], "validation": ["001-0"]}, "lists 1 cases that are not in the data: 009-0"),
        (
            {"train": [f"{n}" for n in range(12)]},
            "lists 12 cases that are not in the data: 0, 1, 10, 11, 2, 3, 4, 5, 6, 7 …",
        ),
        ({"train": ["000-0"], "validation": ["000-1"]}, "has patient 000 in both train and validation"),
        ({"train": ["000-0"], "test": ["000-0"]}, "000-0 more than once"),
        ({"train": ["000-0", "000-0"]}, "000-0 more than once"),
        ([], "is no list of cases"),
        ({"train": 5}, "is no list of cases"),
        ({"left_out": [1]}, "is no list of cases"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path: Path, stored: object, sentence: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(stored))
    with pytest.raises(ConfigError, match=sentence):
        require_cases(Listed(path)([]), cases_of([2] * 3), source=path)


def test_a_list_that_cannot_be_stored_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(ConfigError, match=r"split\.json cannot be written \(.+\): make room, or give another --run"):
        Parts(("a",), ("b",)).write(tmp_path / "run" / "split.json")


def test_a_list_that_nobody_can_have_meant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="is no list of cases"):
        Parts.read(tmp_path / "split.json")


def test_a_list_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "image.json").write_bytes(b"\xff\xd8\xff")
    for name in ("absent.json", "broken.json", "image.json", "."):
        with pytest.raises(ConfigError, match="is no list of cases"):
            Listed(tmp_path / name)(cases_of([1]))


def test_a_listed_case_must_have_a_segmentation() -> None:
    cases = [replace(case, label=None) if case.id == "001-0" else case for case in cases_of([1] * 3)]
    parts = Parts(("000-0",), ("001-0",), ("009-0",))
    with pytest.raises(ConfigError, match="mine lists 1 cases without segmentation: 001-0"):
        require_cases(parts, cases, source="mine", needed=("validation",))
    require_cases(parts, cases, source="mine", needed=("train",))  # scoring asks for its own part only


@pytest.mark.parametrize("part", ["validation", "test"])
def test_every_case_is_in_the_part_that_is_scored(part: Literal["validation", "test"]) -> None:
    parts = EveryCase(part=part)(cases_of([2, 1]))
    assert getattr(parts, part) == ("000-0", "000-1", "001-0")
    assert parts.train == ()


def test_a_network_is_not_scored_on_what_it_has_seen(tmp_path: Path) -> None:
    Parts(("000-0",), ("001-0",), ("002-0",)).write(tmp_path / "split.json")
    unseen = EveryCase(unseen_by=tmp_path / "split.json")
    assert unseen(cases_of([1] * 4)[2:]).test == ("002-0", "003-0")
    with pytest.raises(ConfigError, match="000-0, 001-0: trained on or validated on by the run"):
        unseen(cases_of([1] * 4))
