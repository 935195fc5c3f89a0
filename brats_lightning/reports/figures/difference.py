"""A picture of where a prediction errs: what it missed, what it found falsely, and what it hit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Patch

from brats_lightning.labels import CHALLENGE_REGIONS, WHOLE, region_labels
from brats_lightning.metrics.overlap import JointHistogram, Overlap, joint_histogram
from brats_lightning.reports.figures.canvas import TITLES, canvas, draw_plane, mark, outline, paint, scale_bar
from brats_lightning.reports.figures.colours import FAINT, REGION_TITLES, TEXT
from brats_lightning.reports.figures.planes import Array, Extent, View, foreground_box, fullest, views_of, windowed
from brats_lightning.reports.figures.remarks import PREDICTION, REFERENCE, remarks
from brats_lightning.reports.figures.style import save

HIT, MISSED, FALSE = "hit", "missed", "false"
ERROR_COLOURS: Mapping[str, str] = {HIT: "#FFFFFF", MISSED: "#E5308C", FALSE: "#22C7F0"}
"""None of them a region's; apart for every eye, and in grey as white, dark and middle."""
OPACITY: Mapping[str, float] = {HIT: 0.3, MISSED: 0.85, FALSE: 0.85}
HATCH: Mapping[str, str] = {HIT: "", MISSED: "////", FALSE: "...."}
DIMMED = 0.75
ROW_GAP = 0.34
"""Inches, for a heading of each row."""


def draw_difference(
    image: Array,
    reference: Array,
    prediction: Array,
    *,
    spacing_mm: Sequence[float],
    path: Path,
    title: str,
    modality: str = "t2f",
    regions: Sequence[str] | Mapping[str, Sequence[int]] | None = None,
    tilt_degrees: float = 0.0,
    placed: bool = True,
) -> None:
    """Draw a row a region in up to three planes, those with the most of it in either segmentation.

    Args:
        image: (X, Y, Z) of one modality, axes growing right, anterior and superior.
        reference: (X, Y, Z) integers as inside the program.
        prediction: The same.
        spacing_mm: Distance between voxels along each axis, in mm.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything: the case and the run.
        modality: Name of the image's.
        regions: Names of `labels.REGIONS`, or own names with their label values; the whole tumour, its core and the
            enhancing tumour where None, and the whole tumour alone of masks.
        tilt_degrees: Of the grid against the patient's axes, from `planes.tilt_degrees`.
        placed: Whether directions and spacing are those of the patient, and may be marked.
    """
    wanted = _wanted(regions, reference, prediction)
    box = foreground_box(image[None], spacing_mm)
    grey = windowed(image, box) * DIMMED
    sides = {REFERENCE: reference[box], PREDICTION: prediction[box]}
    views = views_of(grey.shape)
    extents = [view.extent_mm(grey.shape, spacing_mm) for view in views]
    headings = _headings(wanted, joint_histogram(prediction, reference), spacing_mm=spacing_mm if placed else None)
    notes = remarks(sides, spacing_mm=spacing_mm, tilt_degrees=tilt_degrees, placed=placed)
    notes.insert(0, TITLES.get(modality, modality))
    beside = len(views) == 1  # regions of one slice stand side by side
    columns, rows = (extents * len(wanted), 1) if beside else (extents, len(wanted))
    lines = max(map(len, headings.values())) if beside else 1
    figure, cells = canvas(columns, rows=rows, title=title, notes=notes, key=_key(), gap=ROW_GAP, headings=lines)
    for row, (region, values) in zip([[axes] for axes in cells[0]] if beside else cells, wanted.items(), strict=True):
        _draw_region(row, views, grey, [np.isin(labels, values) for labels in sides.values()], spacing_mm=spacing_mm)
        _head(row[0], headings[region], beside=beside)
    if placed:
        _place(cells[0], views)
    save(figure, path)


def _wanted(
    regions: Sequence[str] | Mapping[str, Sequence[int]] | None, reference: Array, prediction: Array
) -> dict[str, tuple[int, ...]]:
    """Label values of the regions that were asked for, or of those that the label maps can have."""
    is_mask = WHOLE in {int(reference.max()), int(prediction.max())}
    return region_labels(regions or (["WT"] if is_mask else CHALLENGE_REGIONS))


def _headings(
    regions: Mapping[str, Sequence[int]], histogram: JointHistogram, *, spacing_mm: Sequence[float] | None
) -> dict[str, list[str]]:
    """Name and amounts of each region; spacing is None where it is not known."""
    voxel_ml = None if spacing_mm is None else float(np.prod(spacing_mm)) / 1000
    return {
        region: [REGION_TITLES.get(region, region), *amounts_in_words(histogram.overlap(values), voxel_ml)]
        for region, values in regions.items()
    }


def _head(axes: Axes, words: Sequence[str], *, beside: bool) -> None:
    text = ("\n" if beside else "   ").join(words)
    axes.set_title(text, color=TEXT, fontsize=10 if beside else 11, loc="left", pad=5)


def _place(row: Sequence[Axes], views: Sequence[View]) -> None:
    """Say of the first row where in the patient its planes lie."""
    for axes, view in zip(row, views, strict=False):
        mark(axes, view)
        axes.text(0.03, 0.97, view.name, transform=axes.transAxes, color=FAINT, fontsize=9, va="top")
    scale_bar(row[0])


def errors_of(reference: Array, prediction: Array) -> dict[str, Array]:
    """Masks of what was hit, missed and found falsely, from two masks of one shape."""
    return {HIT: reference & prediction, MISSED: reference & ~prediction, FALSE: prediction & ~reference}


def _key() -> list[Artist]:
    said = {HIT: "in both", MISSED: "missed by the prediction", FALSE: "in the prediction only"}
    return [
        Patch(facecolor=to_rgba(colour, OPACITY[name]), edgecolor=colour, hatch=HATCH[name], label=said[name])
        for name, colour in ERROR_COLOURS.items()
    ]


def _draw_region(
    row: Sequence[Axes], views: Sequence[View], grey: Array, masks: Sequence[Array], *, spacing_mm: Sequence[float]
) -> None:
    """Fill a row with the planes that have most of a region, from its masks in reference and prediction."""
    centre = fullest([masks[0] | masks[1]], grey.shape)
    for axes, view in zip(row, views, strict=True):
        extent = view.extent_mm(grey.shape, spacing_mm)
        draw_plane(axes, view.cut(grey, centre[view.axis]), extent)
        reference, prediction = (view.cut(mask, centre[view.axis]) for mask in masks)
        _draw_errors(axes, reference, prediction, extent)


def _draw_errors(axes: Axes, reference: Array, prediction: Array, extent_mm: Extent) -> None:
    colours = np.zeros((*reference.shape, 4))
    width, height = extent_mm
    for name, mask in errors_of(reference, prediction).items():
        colours[mask] = to_rgba(ERROR_COLOURS[name], OPACITY[name])
        if mask.any() and HATCH[name]:
            rows, columns = ((np.arange(-1, size + 1) + 0.5) / size for size in mask.shape)
            filled = axes.contourf(
                columns * width, rows * height, np.pad(mask, 1).astype(float), [0.5, 1.5], colors="none",
                hatches=[HATCH[name]],
            )  # fmt: skip
            filled.set(edgecolor="#00000066", linewidth=0)
    paint(axes, colours, extent_mm)
    if reference.any():
        outline(axes, reference, extent_mm, colour=TEXT)


def amounts_in_words(overlap: Overlap, voxel_ml: float | None) -> list[str]:
    """Dice, and how much was hit, missed and found falsely; in voxels where their volume is not known."""
    if not overlap.prediction and not overlap.reference:
        return ["in neither"]
    unit, scale = ("ml", voxel_ml) if voxel_ml is not None else ("voxels", 1.0)
    amounts = {
        HIT: overlap.both, MISSED: overlap.reference - overlap.both, FALSE: overlap.prediction - overlap.both
    }  # fmt: skip
    said = [f"{name} {amount * scale:.3g} {unit}" for name, amount in amounts.items()]
    absent = [] if overlap.prediction and overlap.reference else [
        "not in the reference" if overlap.prediction else "not predicted"
    ]  # fmt: skip
    return [f"Dice {2 * overlap.both / (overlap.prediction + overlap.reference):.3f}", *said, *absent]
