"""A comparison as files: a page for people, tables for programs, pictures for either."""

import csv
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from brats_lightning.comparison.compared import Compared
from brats_lightning.comparison.comparison_page import CURVES, PICTURE, SPEED, comparison_page
from brats_lightning.comparison.paired_tests import PairedTest
from brats_lightning.comparison.results import Comparison
from brats_lightning.comparison.run_rows import run_rows, setting_rows
from brats_lightning.errors import BratsError
from brats_lightning.reports.html.written import write_page

TABLE, RESULTS, PAGE = "comparison.csv", "comparison.json", "comparison.html"
Row = dict[str, str | int | float | bool]


def write_comparison(found: Compared, folder: Path, *, seed: int) -> None:
    """Write a page, all results, and where there are any paired statistics and curves, a table and pictures of them.

    Args:
        found: What was found out.
        folder: Made where it is not there; files of an earlier comparison are replaced or removed.
        seed: That was used.

    Raises:
        BratsError: The folder cannot be written.
    """
    rows = [] if found.scores is None else [_row(test, found.scores.alpha) for test in found.scores.tests]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (TABLE, PICTURE, CURVES, SPEED):
            (folder / name).unlink(missing_ok=True)
        if rows:
            with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        text = json.dumps(_results(found, rows, seed), indent=2, allow_nan=False, ensure_ascii=False)
        (folder / RESULTS).write_text(text + "\n", encoding="utf-8")
        _draw(found, folder)
        write_page(folder / PAGE, comparison_page(found, folder))
    except OSError as error:
        raise BratsError(f"{folder} cannot be written ({error.strerror}): give another --output") from error


def _draw(found: Compared, folder: Path) -> None:
    from brats_lightning.comparison.plot import draw_comparison  # noqa: PLC0415 (a second, and not always)
    from brats_lightning.reports.figures.curves import draw_curves, draw_speed  # noqa: PLC0415

    histories = {member.name: member.history for member in found.members}
    if any(history.curves for history in histories.values()):
        draw_curves(histories, path=folder / CURVES, title="Loss and validation scores")
    if any(name.startswith(("lr-", "speed/")) for history in histories.values() for name in history.curves):
        draw_speed(histories, path=folder / SPEED, title="Learning rate and speed")
    if found.scores is not None:
        draw_comparison(found.scores, folder / PICTURE)


def _row(test: PairedTest, alpha: float) -> Row:
    return {
        "first": test.first, "second": test.second, "region": test.region, "score": test.score, "better": test.better,
        "cases": len(test.differences), "undefined": test.undefined,
        "mean_first": test.means[0], "mean_second": test.means[1],
        "mean_difference": test.difference, "interval_low": test.interval[0], "interval_high": test.interval[1],
        "won": test.won, "tied": test.tied, "lost": test.lost, "rank_biserial": test.balance,
        "p": test.p, "p_holm": test.p_holm, "exact": test.exact,
        "smallest_p": test.smallest_p, "smallest_p_holm": test.smallest_p_holm, "shown_better": test.verdict(alpha),
    }  # fmt: skip


def _results(found: Compared, rows: Sequence[Row], seed: int) -> dict[str, object]:
    written: dict[str, object] = {
        "version": metadata.version("brats-lightning"),
        "methods": {name: str(path) for name, path in zip(found.names, found.paths, strict=True)},
        "notes": [*found.all_notes, *(() if found.scores is None else found.scores.notes)],
    }
    if found.members:
        written["runs"] = [member.name for member in found.members]
        written["table"] = {row.name: list(row.cells) for row in run_rows(found.members)}
        written["settings"] = {row.name: list(row.cells) for row in setting_rows(found.members)}
    return written if found.scores is None else {**written, **_statistics(found.scores, rows), "seed": seed}


def _statistics(comparison: Comparison, rows: Sequence[Row]) -> dict[str, object]:
    return {
        "alpha": comparison.alpha,
        "mixed_conventions": comparison.mixed,
        "conventions": {column: list(values) for column, values in comparison.conventions.items()},
        "cases": list(comparison.cases),
        "left_out": {name: list(cases) for name, cases in comparison.left_out.items()},
        "tests": [dict(row) for row in rows],
        "ranking": {
            "races": [f"{region} {score}" for region, score in comparison.ranked_on],
            "standings": [
                {"place": s.place, "method": s.name, "rank": s.rank, "p_next": s.p_next} for s in comparison.standings
            ],
        },
    }
