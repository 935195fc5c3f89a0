"""What several score files have in common, and whether their numbers may be compared at all."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from brats_lightning.comparison.paired import Floats
from brats_lightning.errors import BratsError
from brats_lightning.reports.score_files import ScoreFile
from brats_lightning.reports.score_kinds import MAIN, Better, concerns, is_no_score, score_kind

Race: TypeAlias = tuple[str, str]
"""A region and a score."""
WHOLE_CASE = "case"
"""Stands for the region of a score that a case has as a whole."""


class IncomparableError(BratsError):
    """Scores that were read, and whose numbers do not belong beside each other."""


def common_cases(files: Sequence[ScoreFile]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Cases that all files have in order, and those that not all have by a file that has them.

    Raises:
        BratsError: Fewer than two that all have.
    """
    common = sorted(set.intersection(*(set(file.cases) for file in files)))
    left_out = {file.name: tuple(case for case in file.cases if case not in set(common)) for file in files}
    if len(common) < 2:
        counts = ", ".join(f"{file.name} has {len(file.cases)} such as {file.cases[0]}" for file in files)
        raise IncomparableError(
            f"{len(common) or 'no'} case{'' if len(common) == 1 else 's'} in common: {counts}; "
            "a comparison needs at least 2 cases that all files have"
        )
    return common, {name: cases for name, cases in left_out.items() if cases}


def common_names(
    offered: Sequence[Sequence[str]], wanted: Sequence[str] | None, kind: str, files: Sequence[ScoreFile]
) -> list[str]:
    """Those of the wanted ones, or of all, that every file has; in the order of the wish or of the first file.

    Args:
        offered: What each file has.
        wanted: What the user asked for; None for all.
        kind: What they are, in one word.
        files: Named in the error.

    Raises:
        BratsError: A file without a wanted one, or none in common.
    """
    for file, own in zip(files, offered, strict=True):
        if missing := [name for name in wanted or () if name not in own]:
            raise BratsError(f"{file.path} has no {kind} {', '.join(missing)}: it has {', '.join(own) or 'none'}")
    chosen = [name for name in dict.fromkeys(wanted or offered[0]) if all(name in own for own in offered)]
    if not chosen:
        held = "; ".join(
            f"{file.name} has {', '.join(own) or 'none'}" for file, own in zip(files, offered, strict=True)
        )
        raise BratsError(f"no {kind} in common: {held}")
    return chosen


def directions(
    files: Sequence[ScoreFile], wanted: Sequence[str] | None, higher: Sequence[str], lower: Sequence[str]
) -> dict[str, Better]:
    """Which way is better for each score that is compared.

    Raises:
        BratsError: A score of which nobody said.
    """
    told: dict[str, Better] = {**dict.fromkeys(higher, "higher"), **dict.fromkeys(lower, "lower")}
    if both := sorted(set(higher) & set(lower)):
        raise BratsError(f"--higher and --lower both name {', '.join(both)}: one of them can be better")
    offered = [[c for c in file.scores if c in {*told, *(wanted or ())} or not is_no_score(c)] for file in files]
    chosen = common_names(offered, wanted, "score", files)
    if not wanted and set(MAIN) & set(chosen):
        chosen = [name for name in chosen if name in {*MAIN, *told}]
    if not wanted and (absent := [name for name in told if name not in chosen]):
        raise BratsError(f"not all files have the score {', '.join(absent)} that --higher or --lower names")
    found: dict[str, Better] = {}
    unknown = []
    for name in chosen:
        kind = score_kind(name)
        if name in told:
            found[name] = told[name]
        elif kind:
            found[name] = kind.better
        else:
            unknown.append(name)
    if unknown:
        known = ", ".join(found) or "…"
        raise BratsError(
            f"is a higher or a lower {' or '.join(unknown)} better? Say --higher '[{unknown[0]}]' or "
            f"--lower '[{unknown[0]}]', or leave it out by --scores '[{known}]'"
        )
    return found


def shared_conventions(
    files: Sequence[ScoreFile], cases: Sequence[str], regions: Sequence[str], scores: Iterable[str], *, mixed: bool
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """What the compared rows say of themselves, and a note where they differ and may.

    Raises:
        BratsError: They differ, and `mixed` does not allow it.
    """
    shared = set.intersection(*(set(file.rows) for file in files))
    rows = [(case, region) for case in cases for region in regions if (case, region) in shared]
    conventions: dict[str, tuple[str, ...]] = {}
    notes = []
    scores = list(scores)
    for column in dict.fromkeys(column for file in files for column in file.words):
        if not any(concerns(column, score) for score in scores):
            continue
        told = [[file.words.get(column, {}).get(row, "") or "not said" for row in rows] for file in files]
        conventions[column] = tuple(dict.fromkeys(value for own in told for value in own))
        if all(own == told[0] for own in told):
            continue
        each = "; ".join(f"{file.name}: {', '.join(dict.fromkeys(own))}" for file, own in zip(files, told, strict=True))
        if not mixed:
            raise IncomparableError(
                f"the files follow different conventions of {column} ({each}): their numbers cannot be compared. "
                "Score all of them alike, or insist by --mixed_conventions true"
            )
        notes.append(f"MIXED CONVENTIONS of {column} ({each}): differences may come from the scoring alone.")
    return conventions, notes


def aligned_values(
    files: Sequence[ScoreFile], cases: Sequence[str], regions: Sequence[str], better: Mapping[str, Better]
) -> Iterator[tuple[Race, Floats]]:
    """(methods, cases) numbers of each region and score; what is best at 0 by its size."""
    for score, way in better.items():
        if score == "accuracy" and all(file.is_case_wise(score) for file in files):
            # Repeated in each region: as many tests as regions would make Holm's correction too strict.
            table = [[next(v for r in file.regions if (v := file.scores[score].get((c, r))) is not None) for c in cases]
                     for file in files]  # fmt: skip
            yield (WHOLE_CASE, score), np.array(table)
            continue
        for region in regions:
            table = [[file.scores[score].get((case, region), math.nan) for case in cases] for file in files]
            yield (region, score), np.abs(table) if way == "nearer to 0" else np.array(table)
