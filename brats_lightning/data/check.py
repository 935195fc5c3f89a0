"""Check a folder of cases: all that is wrong with them, what is odd, and their numbers.

Cases are read one at a time in each process, and nothing is kept of them but numbers, so that memory does not grow with
their count. `reports.data_report` has the command.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from brats_lightning.data.case import Case
from brats_lightning.data.cases import Found, find_cases
from brats_lightning.data.checking.duplicates import find_duplicates, judge_parts
from brats_lightning.data.checking.findings import CaseNumbers, Remark
from brats_lightning.data.checking.headers import check_headers
from brats_lightning.data.checking.one_case import check_case
from brats_lightning.data.checking.outliers import find_outliers
from brats_lightning.data.splits import Parts
from brats_lightning.errors import ConfigError, DatasetError, Problem
from brats_lightning.labels import MASK, MODALITIES, Modality
from brats_lightning.machine import usable_cores
from brats_lightning.parallel import in_parallel
from brats_lightning.runs import SPLIT

PICTURED: Modality = "t1c"
"""What pictures are taken for where nobody says: figshare's are T1 with contrast agent."""
MOST_NAMED = 10
"""As many cases with the same oddities get a row each."""
MOST_REMARKS = 40
"""Rows of remarks on a screen; a report has all of them."""


@dataclass(frozen=True)
class Checked:
    """What reading a folder gave.

    Args:
        cases: All that were found by name, sorted by id.
        problems: Everything wrong, sorted by case.
        notes: Harmless oddities of each usable case.
        remarks: What else is odd, of cases by themselves and beside others, sorted by case.
        numbers: What was measured of each case, refused ones included.
        modalities: That were read.
        parts: The split that was judged, None where none was given.
    """

    cases: tuple[Case, ...]
    problems: tuple[Problem, ...]
    notes: dict[str, tuple[str, ...]]
    remarks: tuple[Remark, ...] = ()
    numbers: Mapping[str, CaseNumbers] = field(default_factory=dict)
    modalities: tuple[Modality, ...] = MODALITIES
    parts: Parts | None = None


def check_cases(
    root: Path,
    *,
    modalities: tuple[Modality, ...] | None = None,
    edition: str | None = None,
    headers: bool = False,
    split: Path | None = None,
    workers: int | None = None,
) -> Checked:
    """Find and read every case.

    Args:
        root: Folder of cases.
        modalities: Those that every case must have, None for all four, or one in a folder of nothing but pictures.
        edition: Whose label values hold, None to recognise them.
        headers: Read the headers of the files alone.
        split: Folder of a run, or a file as its `split.json`, to judge too.
        workers: Processes, None for all cores at hand.

    Raises:
        BratsError: The folder is not there or holds no case at all, or options without sense.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}: give 1 or more")
    parts = None if split is None else Parts.read(split / SPLIT if split.is_dir() else split)
    found, modalities = _find(root, modalities, edition)
    problems = list(found.problems)
    notes: dict[str, tuple[str, ...]] = {}
    remarks: list[Remark] = []
    numbers: dict[str, CaseNumbers] = {}
    read = partial(check_headers if headers else check_case, modalities=modalities)
    doing = "Reading headers" if headers else "Reading cases"
    for case, result in in_parallel(read, found.cases, workers=workers or usable_cores(), doing=doing):
        problems += result.problems
        remarks += result.remarks
        numbers[case.id] = result.numbers
        if not result.problems:
            notes[case.id] = result.notes
    numbers = dict(sorted(numbers.items()))
    torn, shared = find_duplicates(found.cases, numbers, parts=parts)
    remarks += [*shared, *find_outliers(found.cases, numbers)]
    problems += torn
    if parts is not None and split is not None:
        problems += judge_parts(parts, found.cases, source=split.name)
    return Checked(
        found.cases,
        tuple(sorted(problems, key=lambda problem: (problem.case, problem.file))),
        notes,
        tuple(sorted(remarks, key=lambda remark: (remark.case, remark.about, remark.file))),
        numbers,
        modalities,
        parts,
    )


def _find(
    root: Path, modalities: tuple[Modality, ...] | None, edition: str | None
) -> tuple[Found, tuple[Modality, ...]]:
    if modalities is not None:
        return find_cases(root, modalities=modalities, edition=edition), modalities
    try:
        return find_cases(root, edition=edition), MODALITIES
    except DatasetError:  # nothing looks like a case of BraTS
        return find_cases(root, modalities=(PICTURED,), edition=edition), (PICTURED,)


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
    _print_remarks(checked.remarks, console)
    if checked.problems:
        table = Table("case", "file", "what", "cure", title="Problems", title_justify="left")
        for problem in checked.problems:
            table.add_row(problem.case, problem.file, problem.what, problem.cure)
        console.print(table)
    else:
        console.print(f"No problems in {len(checked.cases)} cases.")


def _print_remarks(remarks: Iterable[Remark], console: Console) -> None:
    told = [(remark.case, str(remark)) for remark in remarks]
    if not told:
        return
    table = Table("case", "worth a look", title="Remarks", title_justify="left")
    for case, what in told[:MOST_REMARKS]:
        table.add_row(case, what)
    console.print(table)
    if len(told) > MOST_REMARKS:
        console.print(f"… and {len(told) - MOST_REMARKS} more remarks: --output check.html writes all of them")


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
