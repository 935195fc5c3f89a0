from pathlib import Path

import numpy as np
import pytest

from brats_lightning.errors import ConfigError, Problem
from brats_lightning.evaluation.label_files import LabelFile, LabelMap
from brats_lightning.evaluation.label_meaning import recognise_editions
from brats_lightning.nifti import Grid

SHAPE_2023, SHAPE_2024 = (240, 240, 155), (182, 218, 182)


def maps(family: str, *values: set[int], shape: tuple[int, int, int] = SHAPE_2023, first: int = 1) -> list[LabelMap]:
    names = [f"{family}-{number}" for number in range(first, first + len(values))]
    files = [LabelFile(name, Path("folder") / f"{name}.nii.gz", family) for name in names]
    return [LabelMap(file, Grid(shape, np.eye(4)), frozenset(own)) for file, own in zip(files, values, strict=True)]


def recognised(
    given: list[LabelMap], *, told: str | None = None, otherwise: str | None = None
) -> tuple[set[str], list[Problem]]:
    """Editions of all maps, and problems."""
    problems: list[Problem] = []
    editions = recognise_editions(given, told=told, option="--edition", problems=problems, otherwise=otherwise)
    assert editions.keys() <= {one.file.case.lower() for one in given}
    return set(editions.values()), problems


@pytest.mark.parametrize(
    ("given", "edition"),
    [
        (maps("2018", {1, 2, 4}, {2}), "2018"),
        (maps("2021", {2}, set()), "2021"),
        (maps("2015", {1, 2, 3, 4}), "2015"),
        (maps("2023", {1, 2, 3}), "2023"),
        (maps("MSD", {1, 2, 3}), "MSD"),
        (maps("GLI", {1, 2, 3}), "2023"),
        (maps("GLI", {1, 2}, shape=SHAPE_2024), "2024-GLI"),
        (maps("GLI", {1, 2, 3, 4}, shape=(91, 109, 91)), "2024-GLI"),
        (maps("PED", {1, 2, 3}, {1, 4}), "2024-PED"),
        (maps("", {1, 2, 3}, {1, 2, 3, 4}, shape=SHAPE_2024), None),
        (maps("", set()), "2015"),
        (maps("2021", {1}, {1}), "2021"),
        (maps("GLI", {1}), "2023"),
        (maps("MSD", {1}), "MSD"),
        (maps("", {1}), None),
    ],
)
def test_names_and_values_tell_the_edition(given: list[LabelMap], edition: str | None) -> None:
    editions, problems = recognised(given)
    assert editions == ({edition} if edition else set())
    assert bool(problems) == (edition is None)


def test_editions_of_a_mixed_folder_are_told_apart() -> None:
    given = [*maps("2021", {1, 2, 4}), *maps("GLI", {1, 2, 3}), *maps("MSD", {1, 2, 3})]
    assert recognised(given) == ({"2021", "2023", "MSD"}, [])


def test_what_is_told_holds_for_all() -> None:
    assert recognised(maps("2021", {1, 2, 3}), told="2023") == ({"2023"}, [])
    assert recognised(maps("", {1, 2, 3}), told="MSD") == ({"MSD"}, [])
    assert recognised(maps("2021", {1}, set()), told="mask") == ({"mask"}, [])
    (problem,) = recognised(maps("2021", {1, 2}), told="mask")[1]
    assert "label 2 found, a mask has 0 1" in problem.what
    editions, (problem,) = recognised(maps("2021", {1, 2, 3}, {1, 2, 4}), told="2023")
    assert editions == {"2023"}
    assert str(problem).startswith("2021-2, 2021-2.nii.gz: label 4 found, BraTS 2023 has 0 1 2 3")


@pytest.mark.parametrize("edition", ["2022", "GLI"])
def test_an_edition_that_is_none_is_refused(edition: str) -> None:
    with pytest.raises(ConfigError, match=f"edition '{edition}' is unknown: expected one of 2015"):
        recognised(maps("2021", {1}), told=edition)


def test_own_names_leave_several_meanings() -> None:
    editions, (problem,) = recognised(maps("", {1, 2}, {3}))
    assert editions == set()
    assert problem.case == "folder"
    assert "the labels 1 2 3 of 2 files, -1.nii.gz to -2.nii.gz, have several meanings" in problem.what
    assert "2023: 1 NCR, 2 ED, 3 ET" in problem.what
    assert "MSD: 1 ED, 2 NCR, 3 ET" in problem.what
    assert "2024-PED: 1 ET, 2 NCR, 3 CC" in problem.what
    assert problem.cure == "say which with --edition"


def test_own_names_take_the_edition_of_the_other_side() -> None:
    assert recognised(maps("", {1, 2, 3}), otherwise="2023") == ({"2023"}, [])
    # A name that tells is believed before it.
    assert recognised(maps("2021", {1, 2, 4}), otherwise="2023") == ({"2021"}, [])


def test_values_of_no_edition_are_refused() -> None:
    editions, (problem,) = recognised(maps("", {1, 7}))
    assert editions == set()
    assert "the labels 1 7 of 1 files, -1.nii.gz, are of no edition" in problem.what


def test_pediatric_cases_without_a_four_could_be_of_two_years() -> None:
    editions, (problem,) = recognised(maps("PED", {1, 2, 3}, {1}))
    assert editions == set()
    assert "2023: 1 NCR, 2 ED, 3 ET; 2024-PED: 1 ET, 2 NCR, 3 CC" in problem.what


def test_a_folder_whose_values_contradict_its_names_is_refused_as_a_whole() -> None:
    """Predictions of another scheme: those without ET would fit by chance."""
    editions, (problem,) = recognised(maps("2021", {1, 2, 3}, {1, 2}, {2}))
    assert editions == set()
    assert problem.what == (
        "3 files, 2021-1.nii.gz to 2021-3.nii.gz, are named as BraTS 2021, which has the labels 1 2 4, but hold 1 2 3 "
        "(they would fit 2015, 2023, 2024-GLI, 2024-PED, MSD)"
    )
    assert problem.cure == "say with --edition which labels they hold"


def test_a_stray_value_among_files_that_show_the_whole_scheme_is_that_files() -> None:
    editions, (problem,) = recognised(maps("2021", {1, 2, 4}, {1, 2, 3, 4}, {2}))
    assert editions == {"2021"}
    assert problem.case == "2021-2"
    assert "label 3 found, BraTS 2021 has 0 1 2 4" in problem.what


def test_a_stray_value_of_no_edition_is_that_files() -> None:
    editions, (problem,) = recognised(maps("2021", {1, 9}, {2}))
    assert editions == {"2021"}
    assert problem.case == "2021-1"
    assert "label 9 found" in problem.what
    editions, problems = recognised(maps("PED", {1, 2, 3, 4}, {5}))
    assert editions == {"2024-PED"}
    assert [problem.case for problem in problems] == ["PED-2"]


def test_both_years_of_pediatric_cases_are_told_apart_by_their_folders() -> None:
    given = [
        LabelMap(
            LabelFile(f"{year}-{number}", Path(year) / f"case-{number}" / "seg.nii.gz", "PED"),
            Grid(SHAPE_2023, np.eye(4)),
            frozenset(values),
        )
        for year, maps_of in (("a", ({1, 2}, {3, 4})), ("b", ({1, 2}, {3})))
        for number, values in enumerate(maps_of)
    ]
    problems: list[Problem] = []
    editions = recognise_editions(given, told=None, option="--edition", problems=problems)
    assert editions == {"a-0": "2024-PED", "a-1": "2024-PED"}
    assert len(problems) == 1
    assert "the labels 1 2 3 of 2 files" in problems[0].what
