"""Plots of a run's report: which are drawn, of what, and what they show in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brats_lightning.metrics.confusion import Counts
from brats_lightning.reports.figures.confusion_plot import draw_confusion
from brats_lightning.reports.figures.curves import draw_curves, draw_speed
from brats_lightning.reports.figures.score_plots import draw_dice_against_volume
from brats_lightning.reports.figures.score_plots import draw_scores as draw_cases
from brats_lightning.reports.run.history import History
from brats_lightning.reports.run.scores import VOLUME
from brats_lightning.reports.score_files import ScoreFile
from brats_lightning.reports.scores import SHOWN

PLOTTED = ("dice", "hd95_mm")


@dataclass(frozen=True)
class Drawn:
    """A picture with what it shows.

    Args:
        path: Of the picture.
        description: For those who cannot see it.
        caption: Stands below it.
        narrow: Whether it is one panel, which a phone shows whole.
    """

    path: Path
    description: str
    caption: str = ""
    narrow: bool = False


def draw_history(history: History, folder: Path, *, name: str) -> list[Drawn]:
    """Draw losses, validation scores, learning rate and speed.

    Args:
        history: With curves.
        folder: For the pictures.
        name: Of the run.
    """
    curves, speed = folder / "curves.png", folder / "speed.png"
    draw_curves({name: history}, path=curves, title=f"{name}: loss and validation")
    found = [Drawn(curves, "Loss and validation scores of each region over the epochs")]
    if history.starting_with("speed/") or history.starting_with("lr-"):
        draw_speed({name: history}, path=speed, title=f"{name}: learning rate and speed")
        found.append(Drawn(speed, "Learning rate and speed over the epochs"))
    return found


def draw_scores(file: ScoreFile, folder: Path, *, title: str) -> list[Drawn]:
    """Draw how scores spread over cases, and Dice against volume where the file has volumes.

    Args:
        file: The scores.
        folder: For the pictures, which are named after the file.
        title: Stands above them.
    """
    plotted = [name for name in PLOTTED if any(not math.isnan(v) for v in file.scores.get(name, {}).values())]
    if not plotted:
        return []
    spread, sizes = folder / f"{file.path.stem}.png", folder / f"{file.path.stem}_volume.png"
    draw_cases({title: file.scores}, path=spread, title=title, names=plotted, regions=file.regions)
    said = " and ".join(SHOWN[name] for name in plotted)
    found = [Drawn(spread, f"{said} of every case by region, with quartiles and means")]
    if "dice" in plotted and VOLUME in file.scores:
        volumes = file.scores[VOLUME]
        draw_dice_against_volume(file.scores["dice"], volumes, path=sizes, title=title, regions=file.regions)
        found.append(Drawn(sizes, "Dice of every case against the region's volume in the reference"))
    return found


def draw_classes(
    counts: Counts, names: Sequence[str], folder: Path, *, stem: str, title: str, cases: int | None
) -> Drawn:
    """Draw what became of the voxels of each class.

    Args:
        counts: Confusion matrix, from `class_tables.read_counts`.
        names: Of the classes but the background.
        folder: For the picture.
        stem: Its name.
        title: Stands above it.
        cases: That were pooled, where known.
    """
    path = folder / f"{stem}.png"
    draw_confusion(counts, names, path=path, title=title, cases=cases)
    said = "Of the voxels of each class in the reference, the share that was predicted as each class"
    return Drawn(path, said, narrow=True)
