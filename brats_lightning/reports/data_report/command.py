"""`brats check`: list all that is wrong with a folder of cases, and report what is in it."""

from pathlib import Path

from rich.console import Console

from brats_lightning.data.check import check_cases, print_checked
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.labels import Modality


def check(
    root: Path,
    *,
    modalities: tuple[Modality, ...] | None = None,
    edition: str | None = None,
    headers: bool = False,
    split: Path | None = None,
    output: Path | None = None,
    workers: int | None = None,
) -> None:
    """List everything that is wrong with the cases of a folder; exit code 1 if anything is.

    Args:
        root: Folder of BraTS cases, any editions, or of pictures of single slices.
        modalities: Those that every case must have; null takes all four, and one for a folder of nothing but pictures.
        edition: Edition whose label values hold for all cases, where names do not tell.
        headers: Read no more than the files' headers, a minute for a thousand cases.
        split: Folder of a run, or a file as its split.json: look for patients and images in two of its parts.
        output: HTML file for a report of all that was found; JSON of the same name is written beside it.
        workers: Processes that read; null takes the cores this process may use.
    """
    if output is not None and (output.is_dir() or output.suffix.lower() not in {".html", ".htm"}):
        raise ConfigError(f"{output} is no name of an HTML file: give --output such as {output / 'check.html'}")
    checked = check_cases(root, modalities=modalities, edition=edition, headers=headers, split=split, workers=workers)
    console = Console(markup=False, emoji=False)  # brackets in a file's name are no markup
    print_checked(checked, console)
    if output is not None:
        from brats_lightning.reports.data_report.written import write_report  # noqa: PLC0415 - seconds, for PyTorch

        written = write_report(checked, output, root=root, headers=headers, run=split)
        console.print(f"report: {', '.join(map(str, written))}", soft_wrap=True, highlight=False)
    if checked.problems:
        cases = len({problem.case for problem in checked.problems})
        raise BratsError(f"{len(checked.problems)} problems in {cases} cases of {root}")
