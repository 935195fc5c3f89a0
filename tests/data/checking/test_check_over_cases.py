from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from brats_lightning.data.case import Case
from brats_lightning.data.checking.duplicates import find_duplicates, judge_parts
from brats_lightning.data.checking.findings import CaseNumbers, HeaderFacts, ImageNumbers, LabelNumbers
from brats_lightning.data.checking.needs import needs
from brats_lightning.data.checking.outliers import FAR, LEAST_CASES, find_outliers, robust_deviations
from brats_lightning.data.splits import Parts


def a_case(name: str, *, patient: str = "", edition: str = "2021", labelled: bool = True) -> Case:
    folder = Path(edition) / name
    return Case(name, patient or name, edition, {"t1n": folder / "t1"}, folder / "seg" if labelled else None)


def shared(*names: str) -> dict[str, CaseNumbers]:
    return {name: CaseNumbers(digests={"t1n": "same", "t2w": name}) for name in names}


def test_one_image_in_two_labelled_cases_is_a_problem() -> None:
    cases = [a_case("A"), a_case("B", edition="2020"), a_case("C")]
    problems, remarks = find_duplicates(cases, {**shared("A", "B"), "C": CaseNumbers(digests={"t1n": "own"})})
    assert remarks == []
    (problem,) = problems
    assert problem.case == "B"
    assert problem.what == "the same voxels as A in t1n (2021 and 2020), in 2021/A and 2020/B"


@pytest.mark.parametrize("other", [a_case("B", labelled=False), a_case("B", patient="A")])
def test_where_no_split_can_tear_them_apart_it_is_a_remark(other: Case) -> None:
    problems, remarks = find_duplicates([a_case("A"), other], shared("A", "B"))
    assert problems == []
    assert [(remark.case, remark.about) for remark in remarks] == [("B", "duplicate")]


@pytest.mark.parametrize(
    ("parts", "torn"),
    [
        (Parts(("B",), ("C",)), 1),
        (Parts(("A", "B"), ("C",)), 1),
        (Parts(("A", "B", "C"), ()), 0),
        (Parts(("A",), ("D",)), 0),
    ],
)
def test_a_split_decides_whichever_of_three_it_has(parts: Parts, torn: int) -> None:
    problems, remarks = find_duplicates([a_case(name) for name in "ABC"], shared("A", "B", "C"), parts=parts)
    assert (len(problems), len(remarks)) == (torn, 2 - torn)


def test_an_unlabelled_twin_hides_no_pair_of_labelled_ones() -> None:
    cases = [a_case("A", labelled=False), a_case("B"), a_case("C")]
    problems, remarks = find_duplicates(cases, shared("A", "B", "C"))
    assert (len(problems), len(remarks)) == (1, 1)


def test_an_image_that_is_another_modality_elsewhere_is_found() -> None:
    numbers = {"A": CaseNumbers(digests={"t1n": "same"}), "B": CaseNumbers(digests={"t1c": "same"})}
    (problem,), _ = find_duplicates([a_case("A"), a_case("B")], numbers)
    assert "t1c (there t1n)" in problem.what


@pytest.mark.parametrize(("voxels", "said"), [(0, 0), (99, 0), (100, 1)])
def test_segmentations_of_a_few_voxels_may_be_alike(voxels: int, said: int) -> None:
    label = LabelNumbers("same", {"WT": voxels}, 1, 0, 0, None)
    numbers = {name: CaseNumbers(digests={"label": "same"}, label=label) for name in "AB"}
    problems, remarks = find_duplicates([a_case("A"), a_case("B")], numbers)
    assert problems == []
    assert len(remarks) == said


def test_all_that_is_wrong_with_a_split_is_told() -> None:
    cases = [a_case("P-0", patient="P"), a_case("P-1", patient="P"), a_case("Q"), a_case("R", labelled=False)]
    parts = Parts(("P-0", "Q", "Q"), ("P-1", "R"), ("gone",))
    told = {problem.case: problem.what for problem in judge_parts(parts, cases, source="split.json")}
    assert set(told) == {"P", "Q", "R", "gone"}
    assert "train (P-0) and validation (P-1)" in told["P"]
    assert "more than once in train" in told["Q"]
    assert "without a segmentation" in told["R"]
    assert "not in this folder" in told["gone"]
    assert judge_parts(Parts(("P-0", "P-1"), ("Q",)), cases, source="split.json") == []


def of_an_edition(count: int) -> tuple[list[Case], dict[str, CaseNumbers]]:
    generator = np.random.default_rng(0)
    cases = [a_case(f"{number:03}") for number in range(count)]
    numbers = {}
    for case in cases:
        median = float(np.exp(generator.normal(6, 0.1)))
        image = ImageNumbers(case.id, 0, 3 * median, median, 2 * median, 0, 1, 100)
        label = LabelNumbers(case.id, dict.fromkeys(("TC", "NCR", "ED", "ET", "RC", "CC"), 0), 1, 0, 0, None)
        whole = int(np.exp(generator.normal(11, 0.3)))
        header = HeaderFacts(case.id, (9, 9, 9), (1, 1, 1), "LPS", "int16", None, 1)
        numbers[case.id] = CaseNumbers(
            headers={"t1n": header},
            images={"t1n": image},
            label=replace(label, voxels={**label.voxels, "WT": whole}),
            shape=(9, 9, 9),
            brain_voxels=10**6,
        )
    return cases, numbers


def with_an_outlier(numbers: dict[str, CaseNumbers]) -> dict[str, CaseNumbers]:
    odd = numbers["000"]
    image, label, header = odd.images["t1n"], odd.label, odd.headers["t1n"]
    assert label is not None
    return {
        **numbers,
        "000": replace(
            odd,
            images={"t1n": replace(image, median=image.median * 50)},
            label=replace(label, voxels={**label.voxels, "WT": 12}),
            headers={"t1n": replace(header, orientation="RAS")},
        ),
    }


def test_a_case_unlike_the_others_is_named_and_no_other() -> None:
    cases, numbers = of_an_edition(LEAST_CASES)
    assert find_outliers(cases, numbers) == []
    remarks = find_outliers(cases, with_an_outlier(numbers))
    assert {remark.case for remark in remarks} == {"000"}
    told = " | ".join(remark.what for remark in remarks)
    for what in ("volume of WT 0.012 ml, -", "median of t1n", "orientation of t1n RAS, 19 of 20 cases have LPS"):
        assert what in told


def test_few_cases_have_no_outlier() -> None:
    cases, numbers = of_an_edition(LEAST_CASES - 1)
    assert find_outliers(cases, with_an_outlier(numbers)) == []


def test_robust_deviations_are_those_of_a_normal_distribution() -> None:
    """And nine outliers in a hundred do not hide each other."""
    values = np.random.default_rng(0).normal(5, 2, 5000)
    far = np.asarray(robust_deviations(values.tolist()))
    np.testing.assert_allclose(far, (values - 5) / 2, atol=0.15)
    hidden = [*values[:910].tolist(), *[60.0] * 90]
    assert min(robust_deviations(hidden)[-90:]) > FAR
    assert robust_deviations([1.0, 1.0, 1.0, 9.0]) == [0.0] * 4


def sized(shape: Sequence[int], *, box: tuple[int, ...] = ()) -> CaseNumbers:
    header = HeaderFacts("a", tuple(shape), (1, 1, 1), "LPS", "int16", None, 1000)
    headers = {"t1n": header, "t1c": replace(header, file="b"), "label": replace(header, file="c")}
    return CaseNumbers(headers=headers, shape=tuple(shape), brain_box=box)


def test_needs_follow_from_sizes() -> None:
    needed = needs({"A": sized((10, 10, 10), box=(5, 5, 5)), "B": sized((20, 10, 10))}, channels=2, size=(8, 8, 8))
    assert needed.cases == 2
    assert needed.files_bytes == 6000
    assert needed.resampled_bytes == 2 * 512 * 5
    assert needed.native_bytes == (125 + 2000) * 5
    assert not needed.cropped
    assert needed.reading_bytes == 2000 * (3 * 2 + 2 * 4 + 2)
    assert needs({}, channels=4, size=(8, 8, 8)).reading_bytes == 0
