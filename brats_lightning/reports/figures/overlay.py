"""A picture of a case: its modalities and segmentations in three planes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brats_lightning.labels import MODALITIES
from brats_lightning.reports.figures.canvas import (
    TITLES,
    canvas,
    draw_labels,
    draw_plane,
    mark,
    region_key,
    scale_bar,
)
from brats_lightning.reports.figures.colours import FAINT, TEXT
from brats_lightning.reports.figures.planes import Array, foreground_box, fullest, views_of, windowed
from brats_lightning.reports.figures.remarks import PREDICTION, REFERENCE, remarks
from brats_lightning.reports.figures.style import save

BEST = "t2f"
"""The whole tumour is bright on FLAIR."""


def overlay(
    image: Array,
    label: Array | None,
    *,
    spacing_mm: Sequence[float],
    path: Path,
    title: str,
    prediction: Array | None = None,
    modalities: Sequence[str] = MODALITIES,
    tilt_degrees: float = 0.0,
    placed: bool = True,
) -> None:
    """Draw a case: a row of bare images, and one with the reference and one with the prediction where there are such.

    Every modality is shown in its axial plane, one of them in the two others; a volume of one slice has one plane.

    Args:
        image: (C, X, Y, Z), axes growing right, anterior and superior.
        label: (X, Y, Z) integers as inside the program, None without a reference; the planes are those with most of
            its tumour, else of the prediction's, else the middle ones.
        spacing_mm: Distance between voxels along each axis, in mm.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything: the case and the run.
        prediction: (X, Y, Z) integers to compare with the reference.
        modalities: Names of the image's channels in their order.
        tilt_degrees: Of the grid against the patient's axes, from `planes.tilt_degrees`.
        placed: Whether directions and spacing are those of the patient, and may be marked.
    """
    box = foreground_box(image, spacing_mm)
    grey = np.stack([windowed(channel, box) for channel in image])
    segmentations = {
        name: labels[box] for name, labels in ((REFERENCE, label), (PREDICTION, prediction)) if labels is not None
    }
    centre = fullest(segmentations.values(), grey.shape[1:])
    main, *others = views_of(grey.shape[1:])
    names = [TITLES.get(name, name) for name in modalities]
    best = list(modalities).index(BEST) if BEST in modalities else 0
    panels = [(main, channel, name) for channel, name in enumerate(names)]
    panels += [(view, best, f"{names[best]}, {view.name}") for view in others]
    extents = [view.extent_mm(grey.shape[1:], spacing_mm) for view, _, _ in panels]
    expected = {REFERENCE: label, **({} if prediction is None else {PREDICTION: prediction})}

    figure, cells = canvas(
        extents,
        rows=1 + len(segmentations),
        title=title,
        notes=remarks(expected, spacing_mm=spacing_mm, tilt_degrees=tilt_degrees, placed=placed),
        key=region_key({value for labels in segmentations.values() for value in np.unique(labels).tolist()}),
    )
    for column, (view, channel, name) in enumerate(panels):
        for row, labels in zip(cells, [None, *segmentations.values()], strict=True):
            draw_plane(row[column], view.cut(grey[channel], centre[view.axis]), extents[column])
            if labels is not None:
                draw_labels(row[column], view.cut(labels, centre[view.axis]), extents[column])
        cells[0][column].set_title(name, color=TEXT, fontsize=12, pad=7)
        if placed:
            mark(cells[0][column], view)
    for row, name in zip(cells, ["image", *segmentations], strict=True):
        row[0].set_ylabel(name, color=FAINT, fontsize=11)
    if placed:
        scale_bar(cells[0][len(image) - 1])
    save(figure, path)
