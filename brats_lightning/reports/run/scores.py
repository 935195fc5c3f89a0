"""What the scores of a run's cases come to: mean, spread, median and quartiles by region, and which cases are worst."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from brats_lightning.reports.ranking import mean_dice
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


def means_of_cases(file: ScoreFile) -> dict[str, float]:
    """What cases are ranked by: their mean Dice, NaN of those without a defined one; empty where no Dice was scored."""
    dice = file.scores.get("dice")
    if dice is None:
        return {}
    return {case: mean_dice({each: dice.get((case, each), math.nan) for each in file.regions}) for case in file.cases}


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


def named_checkpoints(file: ScoreFile) -> Sequence[str]:
    """Checkpoints that the rows of a score file name, without their folders."""
    names = dict.fromkeys(file.about.get("checkpoint", {}).values())
    return [Path(name).name for name in names if name]
