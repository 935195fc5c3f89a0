"""Score files as `brats test` and `brats evaluate` write them, read back: one row a case and region."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from brats_lightning.errors import BratsError
from brats_lightning.reports.score_kinds import CONVENTIONS, DESCRIPTIONS, score_kind
from brats_lightning.reports.score_lines import read_lines

Part = Literal["test", "validation"]
ScoredPart = Literal["train", "validation", "test"]
Row: TypeAlias = tuple[str, str]
"""A case and a region."""


@dataclass(frozen=True)
class ScoreFile:
    """Scores of one method.

    Args:
        name: Of the method.
        path: Where it was read.
        scores: By column, then by case and region; NaN where undefined.
        words: Columns of words, by column, then by case and region: the conventions.
        rows: Cases and regions in the order of the file.
        about: Columns of words that are no conventions, such as the checkpoint, by column, then by case and region.
        notes: What is missing of a file that was cut short, in sentences.
    """

    name: str
    path: Path
    scores: Mapping[str, Mapping[Row, float]]
    words: Mapping[str, Mapping[Row, str]]
    rows: tuple[Row, ...]
    about: Mapping[str, Mapping[Row, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def cases(self) -> list[str]:
        """In alphabetical order."""
        return sorted({case for case, _ in self.rows})

    @property
    def regions(self) -> list[str]:
        """In the order of the file."""
        return list(dict.fromkeys(region for _, region in self.rows))

    def is_case_wise(self, column: str) -> bool:
        """Whether a score is the case's own, repeated in the row of each of its regions."""
        values: dict[str, list[str]] = {}
        for (case, _), value in self.scores[column].items():
            values.setdefault(case, []).append(repr(value))
        return any(len(found) > 1 for found in values.values()) and all(len(set(v)) == 1 for v in values.values())


def read_score_files(paths: Sequence[Path], *, part: Part | None = None, incomplete: bool = False) -> list[ScoreFile]:
    """Read score files, or those of run folders.

    Args:
        paths: CSV files, or folders with `scores_test.csv`, `scores_validation.csv` or `scores.csv`.
        part: Which one of a folder; the first that is there where None.
        incomplete: Read what is whole of a file that was cut short.

    Raises:
        BratsError: A file that is missing, broken or of another form, or folders of which different parts were found.
    """
    found = [_scores_in(path, part) for path in paths]
    parts = {file.name: path for path, file in zip(paths, found, strict=True) if path.is_dir()}
    if {"scores_test.csv", "scores_validation.csv"} <= parts.keys():
        test, validation = parts["scores_test.csv"], parts["scores_validation.csv"]
        raise BratsError(
            f"{test} has scores of test cases, {validation} of validation cases only: "
            "choose by --part validation, or run `brats test` on both"
        )
    names = short_names(paths)
    return [read_score_file(file, name=name, incomplete=incomplete) for file, name in zip(found, names, strict=True)]


def _scores_in(path: Path, part: Part | None) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise BratsError(f"no file or folder {path}: expected a scores CSV, or the folder of a run")
    names = [f"scores_{part}.csv"] if part else ["scores_test.csv", "scores_validation.csv", "scores.csv"]
    for name in names:
        if (path / name).is_file():
            return path / name
    command = "validate" if part == "validation" else "test"
    raise BratsError(f"{path} has no {' or '.join(names)}: write one by `brats {command} --run {path}`")


def short_names(paths: Sequence[Path]) -> list[str]:
    """A short name for each: of its file or folder, with as many folders above as tell them apart; then numbers."""
    parts = [path.absolute().parts[1:] if path.is_dir() else _without_stock_name(path) for path in paths]
    depths = range(1, max(map(len, parts)) + 1)
    # The least depth that tells the most apart: a file may be given twice.
    chosen = max((["/".join(own[-depth:]) for own in parts] for depth in depths), key=lambda names: len(set(names)))
    numbers = [chosen[: place + 1].count(name) for place, name in enumerate(chosen)]
    return [name if number == 1 else f"{name} ({number})" for name, number in zip(chosen, numbers, strict=True)]


def _without_stock_name(path: Path) -> tuple[str, ...]:
    """`scores_test.csv` says nothing: its folder does."""
    folders = path.absolute().parent.parts[1:]
    stock = path.stem in {"scores", "scores_test", "scores_validation"}
    return folders if stock and folders else (*folders, path.stem)


def read_score_file(path: Path, *, name: str | None = None, incomplete: bool = False) -> ScoreFile:
    """Read one score file; every column of numbers is a score, every other a convention or a description.

    Args:
        path: CSV file with the columns `case` and `region`.
        name: Of the method; the file's own where None.
        incomplete: Of a file that was cut short read what is whole, and say in its notes what is missing.

    Raises:
        BratsError: It cannot be read, was cut short, has a row twice or a value that its score cannot have.
    """
    header, lines, notes = read_lines(path, incomplete=incomplete)
    rows: dict[Row, int] = {}
    columns: dict[str, dict[Row, str]] = {column: {} for column in header if column not in {"case", "region"}}
    for number, line in lines:
        cells = {column: cell.strip() for column, cell in zip(header, line, strict=True)}
        row = (cells["case"], cells["region"])
        if not all(row):
            raise BratsError(f"{path} line {number} names no {'region' if row[0] else 'case'}: complete it")
        if row in rows:
            raise BratsError(f"{path} has {row[0]} {row[1]} twice (lines {rows[row]} and {number}): remove one")
        rows[row] = number
        for column, cells_of_column in columns.items():
            cells_of_column[row] = cells[column]
    scores = {
        column: {row: _number(cell, path, rows[row], column) for row, cell in cells.items()}
        for column, cells in columns.items()
        if _holds_numbers(column, cells)
    }
    words = {column: cells for column, cells in columns.items() if column not in scores}
    return ScoreFile(
        name or path.stem,
        path,
        scores,
        {column: cells for column, cells in words.items() if column not in DESCRIPTIONS},
        tuple(rows),
        {column: cells for column, cells in words.items() if column in DESCRIPTIONS},
        notes,
    )


def _holds_numbers(column: str, cells: Mapping[Row, str]) -> bool:
    """Words such as the convention `nan` are not numbers, though Python reads them."""
    if column in {*CONVENTIONS, *DESCRIPTIONS}:
        return False
    if score_kind(column) is not None:
        return True
    try:
        return any(not math.isnan(float(cell)) for cell in cells.values() if cell)
    except ValueError:
        return False


def _number(cell: str, path: Path, line: int, column: str) -> float:
    """A cell as a number; an empty one is undefined."""
    try:
        value = float(cell) if cell else math.nan
    except ValueError as error:
        raise BratsError(f"{path} line {line}: {column} is {cell!r}, expected a number") from error
    kind = score_kind(column)
    if math.isinf(value):
        raise BratsError(f"{path} line {line}: {column} is infinite: score empty masks by a named convention first")
    if kind and not math.isnan(value) and not kind.lowest <= value <= kind.highest:
        allowed = f"{kind.lowest:g} or more" if math.isinf(kind.highest) else f"{kind.lowest:g} to {kind.highest:g}"
        raise BratsError(f"{path} line {line}: {column} is {value:g}, expected {allowed}")
    return value
