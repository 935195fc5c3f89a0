"""All that is measured of one region."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from brats_lightning.labels import Modality
from brats_lightning.metrics.diameters import axial_diameters
from brats_lightning.nifti import Grid
from brats_lightning.radiomics.first_order import first_order_features
from brats_lightning.radiomics.glcm import glcm_features
from brats_lightning.radiomics.glrlm import glrlm_features
from brats_lightning.radiomics.glszm import glszm_features
from brats_lightning.radiomics.grey_levels import TooManyLevelsError, discretise
from brats_lightning.radiomics.neighbours import Lines, lines
from brats_lightning.radiomics.position import position
from brats_lightning.radiomics.shape import shape_features


def measure_region(
    mask: npt.NDArray[np.bool_],
    image: npt.NDArray[np.float32],
    *,
    modalities: Sequence[Modality],
    grid: Grid,
    native: Grid,
    bin_width: float,
) -> dict[str, float]:
    """Place, size, shape, intensities and texture of a region.

    Args:
        mask: (X, Y, Z) boolean in RAS order.
        image: (C, X, Y, Z) in the same order.
        modalities: Of the channels.
        grid: Of these arrays.
        native: The same voxels as the file has them.
        bin_width: Of the grey levels.

    Returns:
        By the names of `columns`; of an empty region its volume alone, which is 0.

    Raises:
        TooManyLevelsError: The bins are too narrow for a modality, which its text names.
    """
    voxels = np.argwhere(mask)
    voxel_mm3 = math.prod(grid.spacing_mm)
    row: dict[str, float] = {"voxels": len(voxels), "volume_ml": len(voxels) * voxel_mm3 / 1000}
    if not len(voxels):
        return row
    row |= position(voxels, grid=grid, native=native)
    low, high = voxels.min(0), voxels.max(0) + 1
    cropped = mask[tuple(slice(begin, end) for begin, end in zip(low, high, strict=True))]
    row |= _axial(cropped, int(low[2]), grid, native)
    to_lps = cropped[::-1, ::-1]
    row |= {f"shape_{name}": value for name, value in shape_features(to_lps, spacing_mm=grid.spacing_mm).items()}
    neighbours = lines(voxels)
    for modality, channel in zip(modalities, image, strict=True):
        try:
            features = _intensity(channel[mask], neighbours, bin_width=bin_width, voxel_mm3=voxel_mm3)
        except TooManyLevelsError as error:
            raise TooManyLevelsError(f"{modality} would have {error}") from error
        row |= {f"{modality}_{name}": value for name, value in features.items()}
    return row


def _axial(mask: npt.NDArray[np.bool_], first_slice: int, grid: Grid, native: Grid) -> dict[str, float]:
    longest, across, at = axial_diameters(mask, spacing_mm=grid.spacing_mm)
    to_native = np.linalg.solve(native.affine, grid.affine)
    axis = int(np.abs(to_native[:3, 2]).argmax())  # of the file, from slice to slice
    return {
        "axial_diameter_mm": longest,
        "axial_perpendicular_mm": across,
        "axial_product_mm2": longest * across,
        "axial_slice": float(np.rint(to_native[axis, 2] * (first_slice + at) + to_native[axis, 3])),
    }


def _intensity(
    values: npt.NDArray[np.float32], neighbours: Sequence[Lines], *, bin_width: float, voxel_mm3: float
) -> dict[str, float]:
    levels = discretise(values, bin_width=bin_width)
    families = {
        "firstorder": first_order_features(values, levels, voxel_mm3=voxel_mm3),
        "glcm": glcm_features(levels, neighbours),
        "glrlm": glrlm_features(levels, neighbours),
        "glszm": glszm_features(levels, neighbours),
    }
    named = {f"{family}_{name}": value for family, found in families.items() for name, value in found.items()}
    return {"grey_levels": len(levels.values), **named}
