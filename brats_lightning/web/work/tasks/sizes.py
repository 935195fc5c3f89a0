"""How large the regions of a segmentation are, for the page."""

from collections.abc import Iterable, Sequence

from brats_lightning.reports.case import numbers as case_numbers
from brats_lightning.reports.predicted import Labels
from brats_lightning.web.records import Size

PIXELS = (1.0, 1.0, 1.0)


def sizes_of(
    labels: Labels, regions: Iterable[str], *, spacing_mm: Sequence[float], placed: bool
) -> dict[str, Size | None]:
    """As the case's report measures them: in mm, or in pixels where the case does not know its place.

    Args:
        labels: (X, Y, Z) as inside the program, in RAS order.
        regions: That the segmentation can tell.
        spacing_mm: Of the grid.
        placed: Whether directions and mm are those of the patient.
    """
    found = case_numbers.sizes(labels, regions, spacing_mm=spacing_mm if placed else PIXELS)
    return {
        region: None
        if size is None
        else Size(
            voxels=size.voxels,
            volume_ml=size.volume_ml,
            longest_mm=size.longest,
            axial_mm=size.axial,
            across_mm=size.across,
        )
        for region, size in found.items()
    }
