"""Lines of a score file, and whether all of them are there."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from brats_lightning.errors import BratsError

Line: TypeAlias = tuple[int, list[str]]
"""A line's number in the file, and its cells."""


def read_lines(path: Path, *, incomplete: bool = False) -> tuple[list[str], list[Line], tuple[str, ...]]:
    """The header, each further line that is not empty, and in sentences what was left out.

    Args:
        path: CSV file with the columns `case` and `region`.
        incomplete: Of a file that was cut short leave out the line in which it ends, and its case where others have
            more regions; else refuse it. Where it ends with a whole line, a last case that only begins tells.

    Raises:
        BratsError: It cannot be read, is no file of scores, was cut short or is damaged.
    """
    content = _read(path)
    # The last number may have lost digits and still be one.
    cut = not content.endswith((b"\n", b"\r"))
    if cut and incomplete:
        content = content[: max(content.rfind(b"\n"), content.rfind(b"\r")) + 1]
    lines = _lines(content, path)
    if not lines:
        raise BratsError(f"{path} is empty: expected a header and one row a case and region")
    header = [cell.strip() for cell in lines[0][1]]
    _validate_header(header, path)
    if len(lines) == 1:
        lost = "was cut short in its first row" if cut and incomplete else "has a header and no rows"
        raise BratsError(f"{path} {lost}: nothing was scored")
    for number, line in lines[1:]:
        if len(line) != len(header):
            raise BratsError(
                f"{path} line {number} has {len(line)} cells instead of {len(header)}: "
                "the file was cut short or damaged, write it again"
            )
    if cut and not incomplete:
        raise BratsError(
            f"{path} ends in the middle of line {lines[-1][0]}: the file was cut short, write it again "
            "(or end the line, if it is whole)"
        )
    if cut:
        return (header, *_whole_cases(path, header, lines[1:]))
    return (header, *_without_begun_case(path, header, lines[1:])) if incomplete else (header, lines[1:], ())


def _lines(content: bytes, path: Path) -> list[Line]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BratsError(f"{path} is no text in UTF-8: expected a scores CSV") from error
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        return [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        raise BratsError(f"{path} line {reader.line_num} is no CSV ({error}): write the file again") from error


def _whole_cases(path: Path, header: Sequence[str], lines: list[Line]) -> tuple[list[Line], tuple[str, ...]]:
    """Without the last case where it lacks regions: a mean over those that are there would be another quantity."""
    others, last = _regions(header, lines)
    if set().union(*others) <= set(last):
        return lines, (f"{path.name} was cut short: the line in which it ends is left out.",)
    return _without_last_case(path, header, lines)


def _without_begun_case(path: Path, header: Sequence[str], lines: list[Line]) -> tuple[list[Line], tuple[str, ...]]:
    """Without the last case where it begins as every other one does and then ends: a file cut between two lines."""
    others, last = _regions(header, lines)
    begun = bool(others) and all(len(last) < len(each) and each[: len(last)] == last for each in others)
    return _without_last_case(path, header, lines) if begun else (lines, ())


def _without_last_case(path: Path, header: Sequence[str], lines: list[Line]) -> tuple[list[Line], tuple[str, ...]]:
    at = header.index("case")
    last = lines[-1][1][at]
    kept = [line for line in lines if line[1][at] != last]
    return kept, (f"{path.name} was cut short: {last}, in which it ends, is left out.",)


def _regions(header: Sequence[str], lines: Sequence[Line]) -> tuple[list[list[str]], list[str]]:
    """The regions of each case but the last one, and those of the last one, in the order of the file."""
    at, region = header.index("case"), header.index("region")
    found: dict[str, list[str]] = {}
    for _, line in lines:
        found.setdefault(line[at], []).append(line[region])
    last = found.pop(lines[-1][1][at])
    return list(found.values()), last


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BratsError(f"{path} cannot be read ({error.strerror}): expected a scores CSV") from error


def _validate_header(header: list[str], path: Path) -> None:
    if not {"case", "region"} <= set(header):
        shown = ", ".join(header[:8]) + (" …" if len(header) > 8 else "")
        raise BratsError(f"{path} has the columns {shown}: expected case, region and scores, divided by commas")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise BratsError(f"{path} has the column {', '.join(twice)} twice: remove one")
