"""Scores of classes, pooled over cases, as a file and as a table."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from brats_lightning.metrics.confusion import (
    AVERAGES,
    BACKGROUND,
    CLASS,
    MEASURES,
    Counts,
    accuracy_of,
    class_rows,
    class_scores,
)
from brats_lightning.reports.score_files import ScoreFile
from brats_lightning.reports.scores import RegionRow, write_rows

POOLED = "all cases"
"""Stands in the column of cases."""
HEADINGS = {"precision": "prec.", "sensitivity": "sens.", "specificity": "spec.", "iou": "IoU", "dice": "Dice"}
"""Short, so that the table fits into 80 columns."""


def write_class_scores(path: Path, counts: Counts, names: Sequence[str], *, grid: str, checkpoint: str) -> None:
    """Write a row a class and average, in the form of a score file, with the confusion matrix in columns of its own.

    `reference_ED_voxels` in the row `class_NCR` counts voxels that are ED in the reference and were predicted as NCR.

    Args:
        path: CSV file.
        counts: Confusion matrix of all cases, from `metrics.confusion`.
        names: Of the classes but the background.
        grid: On which the voxels were counted.
        checkpoint: Of the network.
    """
    about = {"grid": grid, "checkpoint": checkpoint}
    voxels = dict(zip(class_rows(names), _pairs(counts, names), strict=False))
    rows = [
        RegionRow(POOLED, row, {**scores, "accuracy": accuracy_of(counts), **voxels.get(row, {})}, about)
        for row, scores in class_scores(counts, names).items()
    ]
    write_rows(path, rows)


def read_counts(file: ScoreFile) -> tuple[Counts, list[str]] | None:
    """The confusion matrix that `write_class_scores` wrote, and the names of its classes but the background.

    Args:
        file: As it was read.

    Returns:
        None where the file has none, as those of earlier versions, or not all of one.
    """
    names = [region.removeprefix(f"{CLASS}_") for _, region in file.rows if region.startswith(f"{CLASS}_")]
    cells = [
        file.scores.get(_column(expected), {}).get((POOLED, f"{CLASS}_{predicted}"), math.nan)
        for predicted in names
        for expected in names
    ]
    if names[:1] != [BACKGROUND] or any(map(math.isnan, cells)):
        return None
    return np.array(cells).astype(np.int64).reshape(len(names), len(names)), names[1:]


def print_class_scores(
    counts: Counts, names: Sequence[str], *, cases: int, title: str, console: Console | None = None
) -> None:
    """Print a row a class and average, each class with its share of the reference's voxels.

    Args:
        counts: Confusion matrix of all cases.
        names: Of the classes but the background.
        cases: That it is of.
        title: Above the table.
        console: Standard output where None.
    """
    many = "1 case" if cases == 1 else f"{cases} cases"
    caption = f"voxels of {many} pooled · accuracy of all voxels {accuracy_of(counts):.4f}"
    table = Table(title=escape(title), caption=caption)
    table.add_column("class", no_wrap=True)
    for heading in ("voxels", *(HEADINGS[measure] for measure in MEASURES)):
        table.add_column(heading, justify="right")
    total = max(int(counts.sum()), 1)
    shares = [f"{voxels['reference_voxels'] / total:.2%}" for voxels in _voxels(counts)]
    for number, (row, scores) in enumerate(class_scores(counts, names).items()):
        if row == AVERAGES[0]:
            table.add_section()
        share = shares[number] if number < len(shares) else ""
        cells = ["–" if math.isnan(value) else f"{value:.4f}" for value in scores.values()]
        table.add_row(row.removeprefix("class_").replace("_", " "), share, *cells)
    (console or Console()).print(table)


def _voxels(counts: Counts) -> list[dict[str, float]]:
    """Of each class, in the order of the matrix."""
    sides = zip(counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist(), strict=True)
    return [{"predicted_voxels": predicted, "reference_voxels": expected} for predicted, expected in sides]


def _pairs(counts: Counts, names: Sequence[str]) -> list[dict[str, float]]:
    """The same, and of how many of its predicted voxels the reference says what."""
    columns = [_column(name) for name in (BACKGROUND, *names)]
    return [
        {**sides, **dict(zip(columns, row, strict=True))}
        for sides, row in zip(_voxels(counts), counts.tolist(), strict=True)
    ]


def _column(name: str) -> str:
    return f"reference_{name}_voxels"
