"""`brats check`: read every case of a folder and list all that is wrong, and what is odd but harmless."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from brats_lightning.data.case import Case
from brats_lightning.data.cases import Found, find_cases
from brats_lightning.data.reading import read_case
from brats_lightning.errors import BratsError, ConfigError, DatasetError, Problem
from brats_lightning.labels import MASK, MODALITIES, Modality
from brats_lightning.machine import usable_cores
from brats_lightning.parallel import in_parallel

PICTURED: Modality = "t1c"
"""What pictures are taken for where nobody says: figshare's are T1 with contrast agent."""
MOST_NAMED = 10
"""As many cases with the same oddities get a row each."""


@dataclass(frozen=True)
class Checked:
    """What reading a folder gave.

    Args:
        cases: All that were found by name, sorted by id.
        problems: Everything wrong, sorted by case.
        notes: Harmless oddities of each usable case.
    """

    cases: tuple[Case, ...]
    problems: tuple[Problem, ...]
    notes: dict[str, tuple[str, ...]]


def check(
    root: Path,
    *,
    modalities: tuple[Modality, ...] | None = None,
    edition: str | None = None,
    workers: int | None = None,
) -> None:
    """List everything that is wrong with the cases of a folder; exit code 1 if anything is.

    Args:
        root: Folder of BraTS cases, any editions, or of pictures of single slices.
        modalities: Those that every case must have; null takes all four, and one for a folder of nothing but pictures.
        edition: Edition whose label values hold for all cases, where names do not tell.
        workers: Processes that read; null takes the cores this process may use.
    """
    checked = check_cases(root, modalities=modalities, edition=edition, workers=workers)
    console = Console(markup=False, emoji=False)  # brackets in a file's name are no markup
    print_checked(checked, console)
    if checked.problems:
        cases = len({problem.case for problem in checked.problems})
        raise BratsError(f"{len(checked.problems)} problems in {cases} cases of {root}")


def check_cases(
    root: Path,
    *,
    modalities: tuple[Modality, ...] | None = None,
    edition: str | None = None,
    workers: int | None = None,
) -> Checked:
    """Find and read every case.

    Args:
        root: Folder of cases.
        modalities: Those that every case must have, None as for `check`.
        edition: Whose label values hold, None to recognise them.
        workers: Processes, None for all cores at hand.

    Raises:
        BratsError: The folder is not there or holds no case at all, or options without sense.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}: give 1 or more")
    found, modalities = _find(root, modalities, edition)
    problems = list(found.problems)
    notes: dict[str, tuple[str, ...]] = {}
    read = partial(_read, modalities=modalities)
    for case, result in in_parallel(read, found.cases, workers=workers or usable_cores(), doing="Reading cases"):
        if isinstance(result, DatasetError):
            problems += result.problems
        else:
            notes[case.id] = result
    return Checked(found.cases, tuple(sorted(problems, key=lambda problem: (problem.case, problem.file))), notes)


def _find(
    root: Path, modalities: tuple[Modality, ...] | None, edition: str | None
) -> tuple[Found, tuple[Modality, ...]]:
    if modalities is not None:
        return find_cases(root, modalities=modalities, edition=edition), modalities
    try:
        return find_cases(root, edition=edition), MODALITIES
    except DatasetError:  # nothing looks like a case of BraTS
        return find_cases(root, modalities=(PICTURED,), edition=edition), (PICTURED,)


def _read(case: Case, modalities: tuple[Modality, ...]) -> tuple[str, ...] | DatasetError:
    try:
        return read_case(case, modalities=modalities).notes
    except DatasetError as error:
        return error


def print_checked(checked: Checked, console: Console) -> None:
    """Print what there is, what is odd and what is wrong."""
    editions = Counter((case.edition, case.label is not None) for case in checked.cases)
    table = Table(title="Cases", title_justify="left")
    for column in ("edition", "labelled", "unlabelled"):
        table.add_column(column, justify="left" if column == "edition" else "right")
    for edition in sorted({edition for edition, _ in editions}):
        name = "pictures" if edition == MASK else f"BraTS {edition}"
        table.add_row(name, str(editions[edition, True]), str(editions[edition, False]))
    console.print(table)
    if odd := {case: grouped for case, notes in sorted(checked.notes.items()) if (grouped := _grouped(notes))}:
        table = Table("case", "read rightly, but odd", title="Harmless oddities", title_justify="left")
        for cases, note in _told_together(odd):
            table.add_row(cases, note)
        console.print(table)
    if checked.problems:
        table = Table("case", "file", "what", "cure", title="Problems", title_justify="left")
        for problem in checked.problems:
            table.add_row(problem.case, problem.file, problem.what, problem.cure)
        console.print(table)
    else:
        console.print(f"No problems in {len(checked.cases)} cases.")


def _told_together(odd: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Cases and what is odd about them, told once where it is the same of many: thousands of pictures may share it."""
    sharing: dict[str, list[str]] = {}
    for case, note in odd.items():
        sharing.setdefault(note, []).append(case)
    for note, cases in sharing.items():
        if len(cases) > MOST_NAMED:
            yield f"{cases[0]} and {len(cases) - 1} more", note
        else:
            yield from ((case, note) for case in cases)


def _grouped(notes: Iterable[str]) -> str:
    """Notes of a case, those that several files share told once with the number of files."""
    files: dict[str, list[str]] = {}
    for note in notes:
        match = re.match(r"^(\S+\.(?:nii|nii\.gz|mha|mat|png|jpe?g)(?: channel \d)?): (.*)$", note, re.IGNORECASE)
        files.setdefault(match[2] if match else note, []).append(match[1] if match else "")
    lines = []
    for what, names in files.items():
        where = "" if not names[0] else f"{names[0]}: " if len(names) == 1 else f"{len(names)} files: "
        lines.append(where + what)
    return "\n".join(lines)
