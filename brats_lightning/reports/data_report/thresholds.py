"""What `brats check` looks for, with the numbers that decide, in words for the page."""

from collections.abc import Mapping

from brats_lightning.data.checking import images, outliers, segmentation, sides

LOOKED_FOR: Mapping[str, str] = {
    "Files": "Cannot be read, hold no image, or lie on another grid than their case: problems.",
    "Headers": """Two ways of saying one thing that differ, such as qform and sform, pixdim and affine; sizes that the
        file belies: remarks.""",
    "Twice": """One image in two cases, by a hash of its voxels in RAS order with the background at 0: a problem where
        both have a segmentation and their names do not tell that they are of one patient; with a split, where it has
        them in two parts. Else a remark, and for a segmentation alone. Two modalities with the same voxels: a problem.
        """,
    "Split": "Patients in two parts, cases listed twice, absent or without a segmentation: problems.",
    "Intensities": f"""Constant inside the brain: a problem. Up to {images.FEWEST_VALUES} different values,
        {images.CLIPPED:.1%} of the brain at the largest value, the ends of a 16-bit type reached, less than
        {images.LEAST_COVERED:.0%} of the brain shown: remarks.""",
    "Segmentations": f"""{segmentation.MOST_OUTSIDE:.0%} of the tumour where all images are background: a problem, from
        {segmentation.ODD_OUTSIDE:.0%} a remark. More than {segmentation.LARGEST_SHARE:.0%} of the brain, less than
        {segmentation.SMALLEST_ML} ml in all, more than {segmentation.LONE_ET_ML} ml of ET that touch no other tumour
        (not of meningiomas and metastases): remarks.""",
    "Left and right": f"""A modality whose edges agree better with those of the others when left and right are
        exchanged, by a correlation of {sides.LEAST_GAIN}; a tumour that is darker in T2-weighted images than the
        mirrored place, by {sides.LEAST_CONTRAST} deviations: remarks. A case mirrored as a whole cannot be told.""",
    "Outliers": f"""In editions of {outliers.LEAST_CASES} cases or more: volumes and intensities whose logarithm lies
        more than {outliers.FAR} robust deviations (median and median absolute deviation) from the median, and headers
        unlike those of {outliers.MAIN:.0%} of the cases: remarks.""",
}
