"""One image in two cases: under another name, in another folder, of another edition.

A split keeps a patient's cases together by their names. Cases of two names with one image are torn apart by it: the
network is validated on what it was trained on.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from brats_lightning.data.case import Case
from brats_lightning.data.checking.findings import CaseNumbers, Remark
from brats_lightning.data.splits import PARTS, Parts
from brats_lightning.errors import Problem

LEAST_LABELLED = 100
"""Voxels of tumour that make it worth a remark that two segmentations are the same."""
CURE = "leave one of the two out, or list both in one part of the split"


def find_duplicates(
    cases: Sequence[Case], measured: Mapping[str, CaseNumbers], *, parts: Parts | None = None
) -> tuple[list[Problem], list[Remark]]:
    """Cases that share images or a segmentation.

    It is a problem where a split may put, or has put, the two into different parts: where both have a segmentation and
    their names do not tell that they are of one patient, or where the given split does so.

    Args:
        cases: All that were found.
        measured: Numbers of those that were read, by id.
        parts: A split to judge by, None for any.
    """
    by_id = {case.id: case for case in cases}
    part_of = {case: part for part in PARTS for case in getattr(parts, part)} if parts else {}
    # Each is compared with the first of its like alone: first come those that a split is about.
    order = sorted(measured, key=lambda name: (name not in part_of, by_id[name].label is None, name))
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pair, kind in _pairs({name: measured[name] for name in order}):
        shared[pair].append(kind)
    together = Path(os.path.commonpath([case.files[0].parent.parent for case in cases] or [Path()]))
    problems, remarks = [], []
    for (first, second), kinds in sorted(shared.items()):
        one, other = by_id[first], by_id[second]
        images = [kind for kind in kinds if kind != "label"]
        where = " and ".join(_below(case.files[0].parent, together) for case in (one, other))
        editions = "" if one.edition == other.edition else f" ({one.edition} and {other.edition})"
        what = f"the same voxels as {first} in {', '.join(kinds)}{editions}, in {where}"
        if images and _tears_apart(one, other, part_of, given=parts is not None):
            parts_of = [part_of[name] for name in (first, second) if name in part_of]
            problems.append(Problem(second, "", what + (f", in {' and '.join(parts_of)}" if parts_of else ""), CURE))
        else:
            remarks.append(Remark(second, "duplicate", what))
    return problems, remarks


def _below(folder: Path, together: Path) -> str:
    return folder.relative_to(together).as_posix()


def _pairs(measured: Mapping[str, CaseNumbers]) -> list[tuple[tuple[str, str], str]]:
    """Pairs of cases with the kind of image that they share; of many with one image, each with the first."""
    holders: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for case, numbers in measured.items():
        for kind, digest in numbers.digests.items():
            tumour = numbers.label.voxels if numbers.label else {}
            if kind != "label" or sum(tumour.get(name, 0) for name in ("WT", "RC")) >= LEAST_LABELLED:
                holders[digest].append((case, kind))
    found = []
    for (first, kind), *others in holders.values():
        for case, its_kind in others:
            if case != first:
                found.append(((first, case), kind if kind == its_kind else f"{its_kind} (there {kind})"))
    return found


def _tears_apart(one: Case, other: Case, part_of: Mapping[str, str], *, given: bool) -> bool:
    if given:
        return one.id in part_of and other.id in part_of and part_of[one.id] != part_of[other.id]
    return one.label is not None and other.label is not None and one.patient != other.patient


def judge_parts(parts: Parts, cases: Sequence[Case], *, source: str) -> list[Problem]:
    """What is wrong with a split: patients in two parts, cases listed twice, absent or without segmentation.

    Args:
        parts: The split.
        cases: All that were found.
        source: Its file, named in the problems.
    """
    found = {case.id: case for case in cases}
    listed = [(case, part) for part in PARTS for case in getattr(parts, part)]
    places: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case, part in listed:
        places[found[case].patient if case in found else case][part].append(case)
    problems = []
    for patient, by_part in sorted(places.items()):
        told = [f"{part} ({', '.join(sorted(set(names)))})" for part, names in by_part.items()]
        if len(by_part) > 1:
            what = f"in {' and '.join(told)}: scores of one part are not independent of the other"
            problems.append(Problem(patient, source, what, "keep all cases of a patient in one part"))
    for name, part in sorted(place for place, count in Counter(listed).items() if count > 1):
        problems.append(Problem(name, source, f"listed more than once in {part}", "list it once"))
    for name, part in sorted(set(listed)):
        if name not in found:
            problems.append(Problem(name, source, f"in {part}, and not in this folder", "add the case, or unlist it"))
        elif found[name].label is None:
            problems.append(Problem(name, source, f"in {part}, without a segmentation", "add it, or unlist the case"))
    return problems
