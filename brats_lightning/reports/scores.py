"""Scores of cases as a file and as a table."""

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from brats_lightning.whole_files import whole_file

if TYPE_CHECKING:  # whoever scores files need not wait for PyTorch
    from brats_lightning.metrics.region_scores import RegionScores

SHOWN = {"dice": "Dice", "iou": "IoU", "hd95_mm": "HD95 mm"}
ABOUT = ("empty_masks", "distances", "rules", "grid", "checkpoint", "fold", "note")
"""Columns that say what a row's numbers are; every column besides these, `case` and `region` is a score."""


@dataclass(frozen=True)
class RegionRow:
    """Scores of one region of one case, a row of the file.

    Args:
        case: Its id.
        region: Name of the region.
        scores: By name; voxel `accuracy` is that of the whole case.
        about: Conventions and the like, any of `ABOUT`.
    """

    case: str
    region: str
    scores: Mapping[str, float]
    about: Mapping[str, str]


def write_rows(path: Path, rows: Sequence[RegionRow]) -> None:
    """Write one row a case and region, with the conventions and the grid of its numbers.

    Args:
        path: CSV file, replaced as a whole.
        rows: In the order of the file.
    """
    scores = dict.fromkeys(name for row in rows for name in row.scores)
    about = [name for name in ABOUT if any(name in row.about for row in rows)]
    write_table(
        path,
        ["case", "region", *scores, *about],
        [
            [
                row.case,
                row.region,
                *[row.scores.get(name, math.nan) for name in scores],
                *[row.about.get(name, "") for name in about],
            ]
            for row in rows
        ],
    )


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file that is whole or absent."""
    with whole_file(path) as half, half.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def write_scores(path: Path, scores: "RegionScores", *, grid: str, checkpoint: str) -> None:
    """Write the scores of an epoch.

    Args:
        path: CSV file.
        scores: After `compute`.
        grid: On which the scores were taken.
        checkpoint: Of the network.
    """
    about = {
        "empty_masks": scores.empty.name,
        "distances": scores.convention,
        "grid": grid,
        "checkpoint": checkpoint,
    }
    names = [name for name in scores.scores if name != "accuracy"]  # a region's own would take the column of the case's
    write_rows(
        path,
        [
            RegionRow(
                case,
                region,
                {**{name: row[f"{name}_{region}"] for name in names}, "accuracy": row["accuracy"]},
                about,
            )
            for case, row in scores.rows.items()
            for region in scores.regions
        ],
    )


def print_scores(scores: "RegionScores", *, title: str, of: str = "case", console: Console | None = None) -> None:
    """Print mean ± standard deviation over cases for each region, undefined scores left out.

    Args:
        scores: After `compute`.
        title: Above the table.
        of: What was scored, in the singular.
        console: Standard output where None.
    """
    rows = scores.rows
    cases = f"{len(rows)} {of}" if len(rows) == 1 else f"{len(rows)} {of}s"
    caption = f"{cases} · voxel accuracy {_spread(rows, 'accuracy')} · empty masks: {scores.empty.name} convention"
    table = Table(title=escape(title), caption=caption)
    table.add_column("region")
    shown = {name: heading for name, heading in SHOWN.items() if name in scores.scores}
    for heading in shown.values():
        table.add_column(heading, justify="right")
    for region in scores.regions:
        table.add_row(region, *[_spread(rows, f"{score}_{region}") for score in shown])
    (console or Console()).print(table)


def _spread(rows: Mapping[str, Mapping[str, float]], name: str) -> str:
    values = [row[name] for row in rows.values() if not math.isnan(row[name])]
    if not values:
        return "–"
    mean = f"{statistics.fmean(values):.3f}"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    left_out = f" ({len(values)} of {len(rows)})" if len(values) < len(rows) else ""
    return mean + spread + left_out
