"""A table of radiomics as CSV, as Parquet, and what has to be known of it as JSON."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from brats_lightning.errors import ConfigError, Problem
from brats_lightning.metrics import diameters
from brats_lightning.radiomics import first_order, glcm, glrlm, glszm, shape
from brats_lightning.radiomics.columns import Column
from brats_lightning.radiomics.measuring import Row
from brats_lightning.reports.scores import write_table
from brats_lightning.whole_files import whole_file

Format = Literal["csv", "parquet"]
FORMATS: tuple[Format, ...] = ("csv", "parquet")
INSTALL_PARQUET = "pip install -c constraints.txt -e '.[parquet]'"
_STEM = "radiomics"


def has_parquet() -> bool:
    """Whether the library that writes Parquet files is installed: an extra, it is larger than all that needs it."""
    return find_spec("pyarrow") is not None


def write_results(
    output: Path,
    rows: Sequence[Row],
    table: Sequence[Column],
    *,
    formats: Sequence[Format],
    about: Mapping[str, object],
    problems: Sequence[Problem],
) -> list[Path]:
    """Write the table in each format and `radiomics.json` beside it, each file as a whole.

    Args:
        output: Folder, made where it is not there.
        rows: In the order of the files.
        table: Its columns.
        formats: Of the files.
        about: Settings, in types that JSON has.
        problems: Why some cases are not among the rows.

    Returns:
        The files.

    Raises:
        ConfigError: The folder cannot be written.
    """
    content = {
        **about,
        "definitions": {
            name: " ".join((module.__doc__ or "").split())
            for name, module in (
                ("axial", diameters),
                ("shape", shape),
                ("firstorder", first_order),
                ("glcm", glcm),
                ("glrlm", glrlm),
                ("glszm", glszm),
            )
        },
        "units": {column.name: column.unit for column in table if column.unit},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("brats-lightning", "nibabel", "numpy", "scipy")},
        },
        "cases": len({row["case"] for row in rows}),
        "refused": [vars(problem) for problem in problems],
    }
    names = [column.name for column in table]
    written = [output / f"{_STEM}.{ending}" for ending in (*formats, "json")]
    try:
        output.mkdir(parents=True, exist_ok=True)
        for path in written:
            if path.suffix == ".csv":
                write_table(path, names, [[_cell(row, column) for column in table] for row in rows])
            elif path.suffix == ".parquet":
                _write_parquet(path, rows, table)
            else:
                with whole_file(path) as half:
                    half.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{output} cannot be written ({error.strerror}): give another --output") from error
    return written


def _cell(row: Row, column: Column) -> str | float | None:
    value = row.get(column.name)
    return int(value) if column.kind == "whole" and value is not None else value


def _write_parquet(path: Path, rows: Sequence[Row], table: Sequence[Column]) -> None:
    """Columns of text, int64 and float64, null where a cell is empty."""
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import parquet  # noqa: PLC0415

    types = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64()}
    arrays = {column.name: pa.array([_cell(row, column) for row in rows], types[column.kind]) for column in table}
    with whole_file(path) as half:
        parquet.write_table(pa.table(arrays), half)
