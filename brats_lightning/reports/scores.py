"""Scores of cases as a file and as a table."""

import csv
import math
import statistics
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from brats_lightning.metrics.region_scores import RegionScores

SHOWN = {"dice": "Dice", "iou": "IoU", "hd95_mm": "HD95 mm"}


def write_scores(path: Path, scores: RegionScores, *, grid: str) -> None:
    """Write one row a case and region, with the convention and the grid of each number.

    Args:
        path: CSV file.
        scores: After `compute`.
        grid: On which the scores were taken.
    """
    temporary = path.with_suffix(".part")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "region", *SHOWN, "accuracy", "empty_masks", "grid"])
        for case, row in scores.rows.items():
            for region in scores.regions:
                values = [row[f"{score}_{region}"] for score in SHOWN]
                writer.writerow([case, region, *values, row["accuracy"], scores.empty.name, grid])
    temporary.replace(path)


def print_scores(scores: RegionScores, *, title: str, console: Console | None = None) -> None:
    """Print mean ± standard deviation over cases for each region, undefined scores left out.

    Args:
        scores: After `compute`.
        title: Above the table.
        console: Standard output where None.
    """
    rows = scores.rows
    cases = f"{len(rows)} case" if len(rows) == 1 else f"{len(rows)} cases"
    caption = f"{cases} · voxel accuracy {_spread(rows, 'accuracy')} · empty masks: {scores.empty.name} convention"
    table = Table(title=escape(title), caption=caption)
    table.add_column("region")
    for heading in SHOWN.values():
        table.add_column(heading, justify="right")
    for region in scores.regions:
        table.add_row(region, *[_spread(rows, f"{score}_{region}") for score in SHOWN])
    (console or Console()).print(table)


def _spread(rows: Mapping[str, Mapping[str, float]], name: str) -> str:
    values = [row[name] for row in rows.values() if not math.isnan(row[name])]
    if not values:
        return "–"
    mean = f"{statistics.fmean(values):.3f}"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    left_out = f" ({len(values)} of {len(rows)})" if len(values) < len(rows) else ""
    return mean + spread + left_out
