"""A report of a run: one HTML file that needs nothing beside it, and its pictures for other uses."""

from datetime import datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from brats_lightning.errors import BratsError
from brats_lightning.reports.html.page import Section, page
from brats_lightning.reports.run_figures import draw_history, draw_scores
from brats_lightning.reports.run_folder import RunFolder, open_run
from brats_lightning.reports.run_record import (
    SHOWN_DIGITS,
    digest_of_data,
    digest_of_file,
    digest_of_split,
    machine_of_run,
    versions_here,
    versions_of_run,
)
from brats_lightning.reports.run_score_section import scores, worst_and_best
from brats_lightning.reports.run_sections import configuration, data, glance, made_with, title_of, training
from brats_lightning.reports.run_settings import value_of
from brats_lightning.reports.score_files import ScoreFile
from brats_lightning.runs import CHECKPOINTS, CONFIG

FOLDER, NAME = "report", "report.html"
WIDEST_PIXELS = 1400
"""Of a case's picture on the page; the original stays where it is."""
QUALITY = 88


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
        text = page(f"Run {opened.name}", _sections(opened, folder), subtitle=_subtitle())
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
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
    curves = [] if run.history is None else draw_history(run.history, folder, name=run.name)
    found = [glance(run), data(run), training(run, curves)]
    above: set[str] = set()
    with TemporaryDirectory() as temporary:
        for file in run.scores:
            plots = draw_scores(file, folder, title=f"{run.name}, {title_of(file)}")
            pictures = _pictures(run, file, Path(temporary))
            found.append(scores(file, plots, pictures=pictures, above=above))
            above |= pictures.keys()
    machine = machine_of_run(run.path)
    digests = _digests(run, logged=machine.pop("data", ""))
    machine.pop("split", None)  # of the file itself, which is there
    versions = versions_of_run(run.path)
    record = made_with(versions=versions, versions_here=versions_here(), machine=machine, digests=digests)
    return [*found, record, configuration(run)]


def _pictures(run: RunFolder, file: ScoreFile, folder: Path) -> dict[str, Path]:
    """Pictures of the worst and the best cases that were drawn, made small in a folder."""
    found = {}
    for case, _ in (end for ends in worst_and_best(file) for end in ends):
        original, small = run.picture(case), folder / f"{case}.jpg"
        if original is None:
            continue
        try:
            with Image.open(original) as picture:
                height = round(picture.height * WIDEST_PIXELS / picture.width)
                shrunk = picture.convert("RGB")
                if picture.width > WIDEST_PIXELS:
                    shrunk = shrunk.resize((WIDEST_PIXELS, height), Image.Resampling.LANCZOS)
                shrunk.save(small, quality=QUALITY)
        except OSError:  # Pillow's word for a picture that was cut short, too
            continue
        found[case] = small
    return found


def _digests(run: RunFolder, *, logged: str) -> dict[str, str]:
    """What tells whether two runs had the same, shortened to what suffices for that.

    Args:
        run: As its folder has it.
        logged: Digest of the data as it was noted when the run began; the cache is asked where it was not.
    """
    settings = run.settings
    found = {
        "configuration": digest_of_file(run.path / CONFIG),
        "split": "" if run.parts is None else digest_of_split(run.parts),
        "best checkpoint": digest_of_file(run.path / CHECKPOINTS / "best.ckpt"),
    }
    found["data"] = logged
    if not logged and run.parts is not None and isinstance(cache := value_of(settings, "data.cache_dir"), str):
        cases = [*run.parts.train, *run.parts.validation, *run.parts.test]
        found["data"] = digest_of_data(cases, Path(cache))
    return {name: digest[:SHOWN_DIGITS] for name, digest in found.items() if digest}
