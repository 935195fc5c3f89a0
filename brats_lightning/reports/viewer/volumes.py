"""Volumes as a page holds them, compressed NIfTI in base64, and where the tumour in them is."""

import base64
import gzip
from collections.abc import Sequence

import nibabel
import numpy as np
from scipy import ndimage

from brats_lightning.reports.figures.planes import Array


def volume_text(volume: Array, *, spacing_mm: Sequence[float]) -> str:
    """A volume as `.nii.gz` in base64.

    Args:
        volume: (X, Y, Z), whole numbers up to 255, axes growing right, anterior and superior.
        spacing_mm: Distance between voxels along each axis, in mm.
    """
    image = nibabel.Nifti1Image(np.asarray(volume, np.uint8), np.diag([*spacing_mm, 1.0]))
    return base64.b64encode(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)).decode()


def tumour_centre(segmentations: Sequence[Array], shape: Sequence[int]) -> tuple[int, int, int]:
    """The voxel of the largest lesion that lies next to its centre of mass; the middle where there is no tumour.

    Args:
        segmentations: Each (X, Y, Z) integers; the first that has a tumour counts.
        shape: Of the volume.

    Example:
        >>> mask = np.zeros((9, 9, 9), np.uint8)
        >>> mask[2:5, 3:6, 4:7], mask[8, 8, 8] = 1, 1
        >>> tumour_centre([mask], mask.shape)
        (3, 4, 5)
    """
    for segmentation in segmentations:
        lesions, count = ndimage.label(segmentation != 0, np.ones((3, 3, 3)))
        if count:
            places = np.argwhere(lesions == 1 + np.argmax(np.bincount(lesions.ravel())[1:]))
            x, y, z = places[np.square(places - places.mean(axis=0)).sum(axis=1).argmin()].tolist()
            return x, y, z
    x, y, z = (size // 2 for size in shape)
    return x, y, z
