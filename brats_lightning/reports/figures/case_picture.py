"""Planes of a case laid out in rows: all that a picture needs, a few hundred kB, and the drawing of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from brats_lightning.reports.figures.canvas import canvas, draw_labels, draw_plane, mark, region_key, scale_bar
from brats_lightning.reports.figures.colours import FAINT, TEXT
from brats_lightning.reports.figures.planes import Array, Extent, View
from brats_lightning.reports.figures.style import save

WHITE = 255


@dataclass(frozen=True, eq=False)
class Plane:
    """One panel.

    Args:
        grey: (rows, columns) from black to `WHITE`, the first row at the bottom.
        labels: (rows, columns) as inside the program, None of a bare image.
        marked_as: View whose directions are named at the edges, None for none.
    """

    grey: npt.NDArray[np.uint8]
    labels: Array | None = None
    marked_as: View | None = None


@dataclass(frozen=True, eq=False)
class CasePicture:
    """What a picture of a case shows; the case itself is not needed any more.

    Args:
        rows: Of panels, each as long as the others.
        extents_mm: Width and height of each column's panels.
        headings: Of the columns.
        row_names: Stand at the left.
        notes: Sentences below the title.
        values: Labels that the case has, for the legend.
        scaled: Column of the first row that has a scale bar, None where the scale is not known.
    """

    rows: Sequence[Sequence[Plane]]
    extents_mm: Sequence[Extent]
    headings: Sequence[str]
    row_names: Sequence[str]
    notes: Sequence[str]
    values: frozenset[int]
    scaled: int | None


def as_grey(plane: Array) -> npt.NDArray[np.uint8]:
    """Values from 0 to 1 in the steps that a screen has, a quarter of their size."""
    grey: npt.NDArray[np.uint8] = np.rint(plane * WHITE).astype(np.uint8)
    return grey


def draw_case(picture: CasePicture, *, path: Path, title: str) -> None:
    """Draw a picture of a case.

    Args:
        picture: What it shows.
        path: Of the file, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything: the case and the run.
    """
    figure, cells = canvas(
        picture.extents_mm,
        rows=len(picture.rows),
        title=title,
        notes=picture.notes,
        key=region_key(picture.values),
    )
    for panels, planes, name in zip(cells, picture.rows, picture.row_names, strict=True):
        for axes, plane, extent in zip(panels, planes, picture.extents_mm, strict=True):
            draw_plane(axes, plane.grey / WHITE, extent)
            if plane.labels is not None:
                draw_labels(axes, plane.labels, extent)
            if plane.marked_as is not None:
                mark(axes, plane.marked_as)
        panels[0].set_ylabel(name, color=FAINT, fontsize=11)
    for axes, heading in zip(cells[0], picture.headings, strict=True):
        axes.set_title(heading, color=TEXT, fontsize=12, pad=7)
    if picture.scaled is not None:
        scale_bar(cells[0][picture.scaled])
    save(figure, path)
