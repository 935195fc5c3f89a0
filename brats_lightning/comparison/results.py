"""Which of several methods is better, over the cases that all of them have, and whether the cases suffice to say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from brats_lightning.comparison.comparable import (
    IncomparableError,
    Race,
    aligned_values,
    common_cases,
    common_names,
    directions,
    shared_conventions,
)
from brats_lightning.comparison.paired import Floats
from brats_lightning.comparison.paired_tests import PairedTest, paired_tests
from brats_lightning.comparison.ranking import Standing, cumulative_ranks, standings
from brats_lightning.comparison.remarks import (
    left_out_notes,
    power_notes,
    ranking_notes,
    undefined_notes,
    unshared_notes,
)
from brats_lightning.errors import BratsError
from brats_lightning.labels import CHALLENGE_REGIONS
from brats_lightning.reports.score_files import ScoreFile

RANKED = ("dice", "hd95_mm")
"""Scores that the challenge ranks by."""


@dataclass(frozen=True)
class Comparison:
    """Everything found out about several methods.

    Args:
        names: Of the methods.
        cases: Those that all have.
        left_out: Cases that not all have, by a method that has them.
        conventions: What holds for all numbers, such as `empty_masks`.
        mixed: Whether the methods differ in one of them.
        tests: Of every pair, region and score.
        ranked_on: Races of the ranking as region and score.
        standings: From the best to the worst.
        notes: What else one has to know, in sentences.
        alpha: Level of significance.
    """

    names: tuple[str, ...]
    cases: tuple[str, ...]
    left_out: Mapping[str, tuple[str, ...]]
    conventions: Mapping[str, tuple[str, ...]]
    mixed: bool
    tests: tuple[PairedTest, ...]
    ranked_on: tuple[Race, ...]
    standings: tuple[Standing, ...]
    notes: tuple[str, ...]
    alpha: float


def compare_scores(
    files: Sequence[ScoreFile],
    *,
    regions: Sequence[str] | None = None,
    scores: Sequence[str] | None = None,
    higher: Sequence[str] = (),
    lower: Sequence[str] = (),
    rank_by: Sequence[str] | None = None,
    against_first: bool = False,
    mixed_conventions: bool = False,
    alpha: float = 0.05,
    seed: int = 0,
) -> Comparison:
    """Compare methods over the cases that all of them have.

    Args:
        files: At least two.
        regions: Which ones; all that the files share where None.
        scores: Which ones; `MAIN` as far as the files share them, else all that they share, where None.
        higher: Further scores of which higher is better.
        lower: Further scores of which lower is better.
        rank_by: Scores to rank by; `RANKED`, or all scores without these, where None.
        against_first: Test only the first method against each other one, not all pairs.
        mixed_conventions: Compare numbers of different conventions, and note it.
        alpha: Level of significance.
        seed: For the bootstrap and the permutation tests.

    Raises:
        BratsError: Files that have nothing in common, or numbers that cannot be compared.
    """
    if len(files) < 2:
        raise BratsError("one file has nothing to be compared with: give two or more")
    if not 0 < alpha < 1:
        raise BratsError(f"alpha is {alpha}: give a level between 0 and 1, such as 0.05")
    if seed < 0:
        raise BratsError(f"seed is {seed}: give 0 or more")
    cases, left_out = common_cases(files)
    regions = common_names([file.regions for file in files], regions, "region", files)
    better = directions(files, scores, higher, lower)
    conventions, mixed = shared_conventions(files, cases, regions, better, mixed=mixed_conventions)
    values = dict(aligned_values(files, cases, regions, better))
    pairs = [pair for pair in combinations(range(len(files)), 2) if not (against_first and pair[0])]
    tests, skipped = paired_tests(files, cases, values, better=better, pairs=pairs, seed=seed)
    if not tests:
        raise IncomparableError(f"nothing can be tested: in fewer than 2 cases all files define {', '.join(skipped)}")
    races = _races(values, rank_by)
    quality = np.stack([values[race] * (1 if better[race[1]] == "higher" else -1) for race in races], axis=2)
    notes = [
        *mixed,
        *unshared_notes(files, regions, list(better)),
        *left_out_notes(left_out),
        *undefined_notes(tests, skipped),
        *power_notes(tests, cases, alpha),
        *ranking_notes(quality),
    ]
    names = tuple(file.name for file in files)
    ranked = standings(names, cumulative_ranks(quality), seed=seed)
    return Comparison(
        names, tuple(cases), left_out, conventions, bool(mixed), tuple(tests), tuple(races), tuple(ranked),
        tuple(notes), alpha,
    )  # fmt: skip


def _races(values: Mapping[Race, Floats], rank_by: Sequence[str] | None) -> list[Race]:
    """Regions and scores to rank by: the challenge's where it has them."""
    regions, scores = {region for region, _ in values}, {score for _, score in values}
    if missing := [score for score in rank_by or () if score not in scores]:
        raise BratsError(f"--rank_by names {', '.join(missing)}, compared are {', '.join(sorted(scores))}")
    by = set(rank_by or [score for score in RANKED if score in scores] or scores)
    among = regions & set(CHALLENGE_REGIONS) if regions.issuperset(CHALLENGE_REGIONS) else regions
    races = [race for race in values if race[1] in by and race[0] in among]
    return races or [race for race in values if race[1] in by]
