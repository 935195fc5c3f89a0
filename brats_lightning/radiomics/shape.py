"""Shape of a region: surface and volume of its mesh, and the ellipsoid of its voxels, as pyradiomics names them.

Definitions: Zwanenburg et al., The Image Biomarker Standardization Initiative, Radiology 2020, and its reference
manual, section 3.1 (morphological features). As in pyradiomics and other than there, the axis lengths divide the
covariance by the number of voxels, not by one less, and the mesh of a ragged region has small holes; see `mesh_size`.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from brats_lightning.metrics.diameters import longest_diameter, longest_in_slices, outline
from brats_lightning.radiomics.mesh import mesh_size

UNITS: Mapping[str, str] = {
    "MeshVolume": "mm³",
    "VoxelVolume": "mm³",
    "SurfaceArea": "mm²",
    "SurfaceVolumeRatio": "1/mm",
    "Sphericity": "",
    "Maximum3DDiameter": "mm",
    "Maximum2DDiameterSlice": "mm",
    "Maximum2DDiameterColumn": "mm",
    "Maximum2DDiameterRow": "mm",
    "MajorAxisLength": "mm",
    "MinorAxisLength": "mm",
    "LeastAxisLength": "mm",
    "Elongation": "",
    "Flatness": "",
}


def shape_features(mask: npt.NDArray[np.bool_], *, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Shape of a region.

    Args:
        mask: (X, Y, Z) boolean with at least one voxel, axes growing left, posterior and superior; see `mesh_size`.
        spacing_mm: Voxel size along each axis.

    Returns:
        By the names of `UNITS`; NaN where the region is too small or too flat. Sphericity is 1 for a ball, elongation
        and flatness are the second and the third axis by the first: 1 for a ball, near 0 for a needle or a sheet.
    """
    voxels, points = np.argwhere(mask), outline(mask)
    area, volume = mesh_size(mask, spacing_mm=spacing_mm)
    diameters = longest_in_slices(points, spacing_mm=spacing_mm)
    major, minor, least = _axis_lengths(voxels.astype(np.float64) * spacing_mm)
    return {
        "MeshVolume": volume,
        "VoxelVolume": len(voxels) * math.prod(spacing_mm),
        "SurfaceArea": area,
        "SurfaceVolumeRatio": area / volume,
        "Sphericity": (36 * math.pi * volume**2) ** (1 / 3) / area,
        "Maximum3DDiameter": longest_diameter(points, spacing_mm=spacing_mm),
        "Maximum2DDiameterSlice": diameters[2],
        "Maximum2DDiameterColumn": diameters[1],
        "Maximum2DDiameterRow": diameters[0],
        "MajorAxisLength": major,
        "MinorAxisLength": minor,
        "LeastAxisLength": least,
        "Elongation": minor / major,
        "Flatness": least / major,
    }


def _axis_lengths(points_mm: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Axes of the ellipsoid with the variances of the voxel centres, longest first; NaN for those without extent."""
    centred = points_mm - points_mm.mean(0)
    variances = np.linalg.eigvalsh(centred.T @ centred / len(centred))[::-1]
    tiny = max(variances[0], 1.0) * 1e-12
    major, minor, least = (4 * math.sqrt(one) if one > tiny else math.nan for one in variances.tolist())
    return major, minor, least
