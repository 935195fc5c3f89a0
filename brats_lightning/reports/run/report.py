"""A report of a run: one HTML file that needs nothing beside it, and its pictures for other uses."""

from datetime import datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from brats_lightning.errors import BratsError
from brats_lightning.reports.html.page import Section, page
from brats_lightning.reports.html.written import remove_files_of, write_page
from brats_lightning.reports.run.classes import classes_of
from brats_lightning.reports.run.figures import draw_history, draw_scores
from brats_lightning.reports.run.folder import RunFolder, open_run
from brats_lightning.reports.run.origin_section import made_with
from brats_lightning.reports.run.pictures import Album
from brats_lightning.reports.run.record import (
    SHOWN_DIGITS,
    digest_of_data,
    digest_of_file,
    digest_of_settings,
    digest_of_split,
    machine_of_run,
    versions_here,
    versions_of_run,
)
from brats_lightning.reports.run.score_section import scores
from brats_lightning.reports.run.sections import configuration, data, glance, title_of
from brats_lightning.reports.run.settings import value_of
from brats_lightning.reports.run.training_section import training
from brats_lightning.runs import CHECKPOINTS

FOLDER, NAME = "report", "report.html"


def run_report(run: Path, *, output: Path | None = None) -> Path:
    """Write the report of a run.

    Args:
        run: Its folder.
        output: HTML file, whose pictures go into a folder of its name beside it; None for `report/report.html` in the
            run's folder, with the pictures beside it.

    Returns:
        The HTML file.

    Raises:
        BratsError: It is no folder of a run, or the report cannot be written.
    """
    opened = open_run(run)
    path = output or run / FOLDER / NAME
    if path.is_dir() or path.suffix.lower() not in {".html", ".htm"}:
        raise BratsError(f"{path} is no name of an HTML file: give --output such as {path / 'report.html'}")
    folder = path.parent if output is None else path.with_suffix("")
    if folder.resolve() == run.resolve():  # of runs/unet3d.html
        folder = folder / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".plots-", dir=folder) as fresh:
            sections = _sections(opened, Path(fresh))
            plots = sorted(Path(fresh).iterdir())
            remove_files_of(path, folder=folder)
            for plot in plots:
                plot.replace(folder / plot.name)
        beside = [plot.name for plot in plots]
        write_page(path, page(f"Run {opened.name}", sections, subtitle=_subtitle(), beside=beside))
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        raise BratsError(f"the report {path} cannot be written ({error.strerror}): give another --output") from error
    return path


def _subtitle() -> str:
    today = datetime.now().astimezone().date()
    return (
        f"Brain-tumour segmentation, report of a run · brats {metadata.version('brats-lightning')}, {today.isoformat()}"
    )


def _sections(run: RunFolder, folder: Path) -> list[Section]:
    album = Album()
    curves = [] if run.history is None else draw_history(run.history, folder, name=run.name)
    found = []
    for file in run.scores:  # their pictures are what people look for: they find room first
        title = f"{run.name}, {title_of(file)}"
        plots, classes = draw_scores(file, folder, title=title), classes_of(file, folder, title=title)
        found.append(scores(file, plots, classes=classes, album=album))
    machine = machine_of_run(run.path)
    digests = _digests(run, logged=machine.pop("data", ""))
    machine.pop("split", None)  # of the file itself, which is there
    record = made_with(
        starts=run.starts,
        versions=versions_of_run(run.path),
        versions_here=versions_here(),
        machine=machine,
        digests=digests,
    )
    return [glance(run), data(run), training(run, curves, album=album), *found, record, configuration(run)]


def _digests(run: RunFolder, *, logged: str) -> dict[str, str]:
    """What tells whether two runs had the same, shortened to what suffices for that.

    Args:
        run: As its folder has it.
        logged: Digest of the data as it was noted when the run began; the cache is asked where it was not.
    """
    settings = run.settings
    found = {
        "configuration": digest_of_settings(settings),
        "split": "" if run.parts is None else digest_of_split(run.parts),
        "best checkpoint": digest_of_file(run.path / CHECKPOINTS / "best.ckpt"),
    }
    found["data"] = logged
    if not logged and run.parts is not None and isinstance(cache := value_of(settings, "data.cache_dir"), str):
        cases = [*run.parts.train, *run.parts.validation, *run.parts.test]
        found["data"] = digest_of_data(cases, Path(cache))
    return {name: digest[:SHOWN_DIGITS] for name, digest in found.items() if digest}
