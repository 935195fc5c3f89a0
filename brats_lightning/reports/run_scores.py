"""What the scores of a run's cases come to: mean, spread, median and quartiles by region, and which cases are worst."""

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from brats_lightning.labels import CHALLENGE_REGIONS
from brats_lightning.reports.score_files import ScoreFile
from brats_lightning.reports.score_kinds import is_no_score

VOLUME = "reference_volume_ml"
WHOLE_CASE = "whole case"
_PARTS = {"test": 0, "validation": 1, "train": 2}


@dataclass(frozen=True)
class Spread:
    """One score of one region over cases.

    Args:
        region: Name of the region.
        score: Column of the file.
        values: By case, undefined ones left out.
        undefined: Cases of which it is undefined.
    """

    region: str
    score: str
    values: Mapping[str, float]
    undefined: int

    @property
    def mean(self) -> float:
        """Over cases, NaN of none."""
        return statistics.fmean(self.values.values()) if self.values else math.nan

    @property
    def std(self) -> float:
        """Of a sample, n - 1 in the denominator; NaN of fewer than two."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else math.nan

    @property
    def median(self) -> float:
        """NaN of none."""
        return statistics.median(self.values.values()) if self.values else math.nan

    @property
    def quartiles(self) -> tuple[float, float]:
        """The lower and the upper one, interpolated between cases as NumPy does it; NaN of none."""
        if len(self.values) < 2:
            return self.median, self.median
        lower, _, upper = statistics.quantiles(self.values.values(), n=4, method="inclusive")
        return lower, upper


def spreads(file: ScoreFile) -> list[Spread]:
    """Every score of every region, in the order of the file; the accuracy once, as it is that of the whole case."""
    found = []
    for score in [column for column in file.scores if not is_no_score(column)]:
        if score == "accuracy" and (len(file.regions) == 1 or file.is_case_wise(score)):
            found.append(_spread(WHOLE_CASE, score, _by_case(file, score)))
            continue
        for region in file.regions:
            values = {case: value for (case, own), value in file.scores[score].items() if own == region}
            found.append(_spread(region, score, values))
    return found


def _by_case(file: ScoreFile, score: str) -> dict[str, float]:
    """A score that stands in the row of each region."""
    values: dict[str, float] = {}
    for (case, _), value in file.scores[score].items():
        values.setdefault(case, value)
    return values


def _spread(region: str, score: str, values: Mapping[str, float]) -> Spread:
    defined = {case: value for case, value in values.items() if not math.isnan(value)}
    return Spread(region, score, defined, len(values) - len(defined))


def ranked_cases(file: ScoreFile) -> tuple[list[tuple[str, float]], tuple[str, ...]]:
    """Cases with their mean Dice from the worst to the best, and the regions that the mean is over.

    The mean is over the challenge's regions where the file has them, else over all. Cases of which no region's Dice is
    defined are in no order, and left out; so are all where the file has no Dice.
    """
    regions = CHALLENGE_REGIONS if set(CHALLENGE_REGIONS) <= set(file.regions) else tuple(file.regions)
    dice = file.scores.get("dice", {})
    means = []
    for case in file.cases:
        values = [dice.get((case, region), math.nan) for region in regions]
        if defined := [value for value in values if not math.isnan(value)]:
            means.append((case, statistics.fmean(defined)))
    return sorted(means, key=lambda pair: (pair[1], pair[0])), tuple(regions)


def volumes(file: ScoreFile, region: str) -> tuple[list[float], list[float]]:
    """Volumes of a region in the reference in ml, and its Dice, of the cases that have both."""
    pairs = [
        (volume, file.scores["dice"].get((case, own), math.nan))
        for (case, own), volume in file.scores.get(VOLUME, {}).items()
        if own == region and "dice" in file.scores
    ]
    kept = [pair for pair in pairs if not any(map(math.isnan, pair))]
    return [volume for volume, _ in kept], [dice for _, dice in kept]


def conventions(file: ScoreFile) -> dict[str, str]:
    """What the file says of its numbers, each convention with all values that occur."""
    return {column: ", ".join(dict.fromkeys(cells.values())) for column, cells in file.words.items()}


def empties(file: ScoreFile) -> dict[str, tuple[int, int]]:
    """By region, cases whose reference, and whose prediction, does not have it; of files that hold volumes only."""
    both = [file.scores.get(f"{side}_volume_ml") for side in ("reference", "predicted")]
    if any(column is None for column in both):
        return {}
    return {
        region: (counts[0], counts[1])
        for region in file.regions
        if (counts := [sum(v == 0 for (_, own), v in (column or {}).items() if own == region) for column in both])
    }


def score_files_in(run: Path) -> list[Path]:
    """Files with scores of cases in a run's folder: test, validation, train, then others by name."""
    found = [path for path in run.glob("scores*.csv") if not path.stem.startswith(("scores_classes", "scores_slices"))]
    return sorted(found, key=lambda path: (_PARTS.get(part_of(path), len(_PARTS)), path.name))


def part_of(path: Path) -> str:
    """Which cases a file of scores is of: `test` of `scores_test.csv`; empty where its name does not say."""
    return path.stem.removeprefix("scores").removeprefix("_")


def named_checkpoints(path: Path) -> Sequence[str]:
    """Checkpoints that the rows of a score file name, without their folders."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = dict.fromkeys((row.get("checkpoint") or "").strip() for row in csv.DictReader(file))
    return [Path(name).name for name in names if name]
