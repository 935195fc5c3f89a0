"""Scores of several runs side by side: the mean over cases in each run, and how these means spread."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from brats_lightning.errors import ConfigError
from brats_lightning.reports.score_files import ScoredPart, ScoreFile, read_score_file, short_names
from brats_lightning.reports.score_kinds import is_no_score

Of = Literal["cases", "classes", "slices"]
PARTS: tuple[ScoredPart, ...] = get_args(ScoredPart)
ALL_VOXELS = "all voxels"
"""Region of the accuracy, which is that of the whole case and stands in the row of each region."""


@dataclass(frozen=True)
class OverRuns:
    """One score of one region in each of several runs.

    Args:
        part: Of the cases.
        region: Or class.
        score: Its name.
        means: Of each run, the mean over its cases; NaN where none has the score.
        cases: Of each run, those that have the score.
    """

    part: ScoredPart
    region: str
    score: str
    means: tuple[float, ...]
    cases: tuple[int, ...]

    @property
    def defined(self) -> list[float]:
        """Means of the runs that have the score."""
        return [mean for mean in self.means if not math.isnan(mean)]

    @property
    def mean(self) -> float:
        """Of these runs, each counting once."""
        return statistics.fmean(self.defined) if self.defined else math.nan

    @property
    def std(self) -> float:
        """Standard deviation of a sample, n - 1 in the denominator; NaN of fewer than two runs."""
        return statistics.stdev(self.defined) if len(self.defined) > 1 else math.nan


def over_runs(runs: Sequence[Path], *, parts: Sequence[ScoredPart] | None = None, of: Of = "cases") -> list[OverRuns]:
    """Every score of every region and part in each run.

    Args:
        runs: Folders of the runs.
        parts: Which; those that any of the runs has scores of where None.
        of: What was scored.

    Raises:
        BratsError: Fewer than two runs or one twice, scores that are missing, broken or of different conventions.
    """
    _require_different(runs)
    chosen = list(
        dict.fromkeys(parts or [part for part in PARTS if any(_file(run, part, of).is_file() for run in runs)])
    )
    if not chosen:
        raise ConfigError(f"none of {len(runs)} runs has scores: {_how_to_score(runs[0], 'test', of)}")
    found: list[OverRuns] = []
    for part in chosen:
        for run in runs:
            if not _file(run, part, of).is_file():
                raise ConfigError(f"no {_file(run, part, of)}: {_how_to_score(run, part, of)}")
        files = [
            read_score_file(_file(run, part, of), name=name) for run, name in zip(runs, short_names(runs), strict=True)
        ]
        _require_one_kind(files)
        found += _of_part(part, files)
    return found


def _file(run: Path, part: ScoredPart, of: Of) -> Path:
    return run / (f"scores_{part}.csv" if of == "cases" else f"scores_{of}_{part}.csv")


def _how_to_score(run: Path, part: ScoredPart, of: Of) -> str:
    command = "test" if part == "test" else "validate"
    train = " --part train" if part == "train" else ""
    callback = {"cases": "", "classes": " with the callback ClassScores", "slices": " with the callback SliceScores"}
    return f"score the run first, by brats {command} --run {run}{train}{callback[of]}"


def _require_different(runs: Sequence[Path]) -> None:
    if len(runs) < 2:
        raise ConfigError(f"a spread needs two runs at least, found {len(runs)}: brats repeats RUN RUN …")
    if absent := [run for run in runs if not run.is_dir()]:
        raise ConfigError(f"no folder {absent[0]}: expected that of a run")
    resolved = [run.resolve() for run in runs]
    if twice := [run for run, path in zip(runs, resolved, strict=True) if resolved.count(path) > 1]:
        raise ConfigError(f"{twice[0]} is given more than once: name each run once")


def _require_one_kind(files: Sequence[ScoreFile]) -> None:
    """Refuse runs whose numbers do not belong together.

    Raises:
        ConfigError: They differ in regions, scores or conventions; the text names two runs.
    """
    first = files[0]
    for other in files[1:]:
        for what, one, another in (
            ("regions", set(first.regions), set(other.regions)),
            ("scores", _qualities(first), _qualities(other)),
            ("conventions", _conventions(first), _conventions(other)),
        ):
            if one != another:
                raise ConfigError(
                    f"{first.path} has the {what} {', '.join(sorted(one))}; {other.path} has "
                    f"{', '.join(sorted(another))}: score all runs alike"
                )


def _qualities(file: ScoreFile) -> set[str]:
    """Without volumes and counts, which not every version of the program has written."""
    return {column for column in file.scores if not is_no_score(column)}


def _conventions(file: ScoreFile) -> set[str]:
    return {f"{column}: {value}" for column, cells in file.words.items() for value in cells.values()}


def _of_part(part: ScoredPart, files: Sequence[ScoreFile]) -> list[OverRuns]:
    found: list[OverRuns] = []
    for region in [*files[0].regions, ALL_VOXELS]:
        for score in [score for score in files[0].scores if not is_no_score(score)]:
            if (score == "accuracy") is not (region == ALL_VOXELS):
                continue
            # Each case once: the accuracy stands in the row of each of its regions.
            own = [
                {case: value for (case, at), value in file.scores[score].items() if region in {at, ALL_VOXELS}}
                for file in files
            ]
            defined = [[value for value in values.values() if not math.isnan(value)] for values in own]
            means = tuple(math.fsum(values) / len(values) if values else math.nan for values in defined)
            found.append(OverRuns(part, region, score, means, tuple(map(len, defined))))
    return found
