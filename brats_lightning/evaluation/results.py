"""What an evaluation leaves behind: `scores.csv` case by case and `summary.json`."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from brats_lightning.errors import ConfigError, Problem
from brats_lightning.evaluation.conventions import Sides, Way, write_conventions
from brats_lightning.evaluation.summary import Summary, as_json
from brats_lightning.reports.scores import RegionRow, write_rows
from brats_lightning.whole_files import whole_file

SCORES_FILE, SUMMARY_FILE, CONVENTIONS_FILE = "scores.csv", "summary.json", "conventions.csv"


def write_results(
    output: Path,
    rows: Sequence[RegionRow],
    summary: Summary,
    *,
    about: Mapping[str, object],
    problems: Sequence[Problem] = (),
    tried: Mapping[str, Mapping[Way, Sides]] | None = None,
) -> None:
    """Write scores and summary, each file as a whole.

    Args:
        output: Folder, made where it is not there.
        rows: Of all cases.
        summary: Of these rows.
        about: Conventions and whatever else a reader has to know, in types that JSON has.
        problems: Why some cases are not among the rows.
        tried: Scores by case, convention and region, for `conventions.csv`.

    Raises:
        ConfigError: The folder cannot be written.
    """
    content = {
        **about,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("brats-lightning", "nibabel", "numpy", "scipy")},
        },
        "cases": len({row.case for row in rows}),
        "refused": [vars(problem) for problem in problems],
        "summary": as_json(summary),
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_rows(output / SCORES_FILE, rows)
        with whole_file(output / SUMMARY_FILE) as half:
            half.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        if tried:
            write_conventions(output / CONVENTIONS_FILE, tried)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written ({error.strerror}): give another --output") from error
