"""`metrics.csv`: a CSV that survives being continued."""

import contextlib
import csv
import io
import os
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers.logger import Logger

from brats_lightning.errors import BratsError
from brats_lightning.whole_files import flush, whole_file

_MOST_DIGITS = 19
"""Of a step: it is below 2⁶³."""


class MetricsCsv(Logger):
    """`metrics.csv` of a run: one row a step, a column a metric, on disk as soon as it is logged.

    A run that is continued goes on in the same file: rows of steps that will be done again are dropped.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._rows: list[dict[str, str]] | None = None
        self._columns = ["epoch", "step"]
        self._last_row_at = 0

    @property
    def name(self) -> str:
        """No folder of its own inside the run's."""
        return ""

    @property
    def version(self) -> str:
        """No folder of its own inside the run's."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """`config.yaml` has them."""

    @rank_zero_only
    def go_on_from(self, step: int) -> None:
        """Drop the rows from this step on: they will be done again."""
        with self._named():
            self._rows = self._earlier_rows(before=step)
            self._write_all()

    @rank_zero_only
    def flush(self) -> None:
        """Have what was logged on the disk before a checkpoint from which the run may be gone on with."""
        with self._named():
            if self.path.exists():
                flush(self.path)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """A full disk is told with the file's name; rows that are there stay."""
        try:
            yield
        except OSError as error:
            raise BratsError(
                f"{self.path} could not be written ({error.strerror}): make room, then go on with --ckpt_path auto"
            ) from error

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the row of a step."""
        number = 0 if step is None else step
        if self._rows is None:
            self.go_on_from(number)
        rows = self._rows = self._rows or []
        values = {"step": str(number), **{name: _shortest(value) for name, value in metrics.items()}}
        new_columns = [name for name in values if name not in self._columns]
        self._columns += new_columns
        if rows and rows[-1]["step"] == str(number):
            rows[-1].update(values)
            rewrites_row = True
        else:
            rows.append(values)
            rewrites_row = False
        with self._named():
            if new_columns:
                self._write_all()
            else:
                self._write_last(replaces=rewrites_row)

    def _earlier_rows(self, *, before: int) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]  # a run killed while it wrote leaves a torn last line
        reader = csv.DictReader(io.StringIO(whole.decode(errors="replace"), newline=""))
        rows: list[dict[str, str]] = []
        with contextlib.suppress(csv.Error):  # a quotation mark in what was damaged takes in all that follows
            self._columns = list(dict.fromkeys([*self._columns, *(reader.fieldnames or ())]))
            rows.extend(row for row in reader if None not in (*row, *row.values()) and _is_step(row.get("step", "")))
        return [{name: value for name, value in row.items() if value} for row in rows if int(row["step"]) < before]

    def _write_all(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path) as half, half.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            writer.writeheader()
            for row in self._rows or ():
                self._last_row_at = file.tell()
                writer.writerow(row)

    def _write_last(self, *, replaces: bool) -> None:
        with self.path.open("r+", encoding="utf-8", newline="") as file:
            self._last_row_at = file.seek(self._last_row_at) if replaces else file.seek(0, os.SEEK_END)
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow((self._rows or [{}])[-1])
            file.truncate()


def _is_step(cell: str) -> bool:
    return cell.isdecimal() and len(cell) < _MOST_DIGITS


def _shortest(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
