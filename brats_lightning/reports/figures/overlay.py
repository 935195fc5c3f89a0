"""A picture of a case: its modalities and segmentations in three planes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brats_lightning.labels import MODALITIES, label_values
from brats_lightning.reports.figures.canvas import TITLES
from brats_lightning.reports.figures.case_picture import CasePicture, Plane, as_grey, draw_case
from brats_lightning.reports.figures.planes import Array, foreground_box, fullest, views_of, windowed
from brats_lightning.reports.figures.remarks import PREDICTION, REFERENCE, remarks

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

    Args:
        image: (C, X, Y, Z), axes growing right, anterior and superior.
        label: (X, Y, Z) integers as inside the program, None without a reference.
        spacing_mm: Distance between voxels along each axis, in mm.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything: the case and the run.
        prediction: (X, Y, Z) integers to compare with the reference.
        modalities: Names of the image's channels in their order.
        tilt_degrees: Of the grid against the patient's axes.
        placed: Whether directions and spacing are those of the patient.
    """
    picture = planes_of_case(
        image,
        label,
        spacing_mm=spacing_mm,
        prediction=prediction,
        modalities=modalities,
        tilt_degrees=tilt_degrees,
        placed=placed,
    )
    draw_case(picture, path=path, title=title)


def planes_of_case(
    image: Array,
    label: Array | None,
    *,
    spacing_mm: Sequence[float],
    prediction: Array | None = None,
    modalities: Sequence[str] = MODALITIES,
    tilt_degrees: float = 0.0,
    placed: bool = True,
) -> CasePicture:
    """Cut the planes out of a case that are drawn of it.

    Every modality is shown in its axial plane, one of them in the two others; a volume of one slice has one plane.

    Args:
        image: (C, X, Y, Z), axes growing right, anterior and superior.
        label: (X, Y, Z) integers as inside the program, None without a reference; the planes are those with most of
            its tumour, else of the prediction's, else the middle ones.
        spacing_mm: Distance between voxels along each axis, in mm.
        prediction: (X, Y, Z) integers to compare with the reference.
        modalities: Names of the image's channels in their order.
        tilt_degrees: Of the grid against the patient's axes, from `planes.tilt_degrees`.
        placed: Whether directions and spacing are those of the patient, and may be marked.
    """
    box = foreground_box(image, spacing_mm)
    grey = [windowed(channel, box) for channel in image]
    shape = grey[0].shape
    given = {REFERENCE: label, **({} if prediction is None else {PREDICTION: prediction})}
    segmentations = {name: labels[box] for name, labels in given.items() if labels is not None}
    centre = fullest(segmentations.values(), shape)
    main, *others = views_of(shape)
    best = list(modalities).index(BEST) if BEST in modalities else 0
    shown = [(main, channel, TITLES.get(name, name)) for channel, name in enumerate(modalities)]
    shown += [(view, best, f"{shown[best][2]}, {view.name}") for view in others]
    cuts = [(as_grey(view.cut(grey[channel], centre[view.axis])), view) for view, channel, _ in shown]
    return CasePicture(
        rows=[
            [Plane(cut, marked_as=view if placed else None) for cut, view in cuts],
            *(
                [Plane(cut, view.cut(labels, centre[view.axis]).astype(np.uint8)) for cut, view in cuts]
                for labels in segmentations.values()
            ),
        ],
        extents_mm=[view.extent_mm(shape, spacing_mm) for view, _, _ in shown],
        headings=[name for _, _, name in shown],
        row_names=["image", *segmentations],
        notes=remarks(given, spacing_mm=spacing_mm, tilt_degrees=tilt_degrees, placed=placed),
        values=frozenset().union(*map(label_values, segmentations.values())),
        scaled=len(image) - 1 if placed else None,
    )
