"""A synthetic patient in the scanner: four contrasts with texture, a bias field and noise, on the grid of BraTS."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from brats_lightning.labels import MODALITIES, Modality
from brats_lightning.nifti import Grid
from brats_lightning.phantom.anatomy import Floats, Tissues, brain_depth, make_tissues, smooth_field
from brats_lightning.phantom.tumour import Tumour, displace, draw_plan, grow

FIELD_OF_VIEW_MM = (240.0, 240.0, 155.0)
"""Of the volumes of BraTS 2012 to 2023."""
BRAIN_CENTRE_MM = (0.0, 8.0, -3.0)
"""Middle of the brain from the middle of the field of view; axes grow left, posterior and superior."""
BRAIN_REACH_MM = (80.0, 100.0, 84.0)
BIAS_WAVELENGTH_MM = 170.0

SIGNALS: Mapping[str, tuple[float, float, float, float]] = {
    "white": (1.0, 1.0, 1.0, 1.0),
    "cortex": (0.78, 0.80, 1.40, 1.17),
    "nuclei": (0.86, 0.87, 1.15, 1.10),
    "csf": (0.38, 0.36, 3.10, 0.42),
    "ncr": (0.62, 0.55, 2.60, 1.35),
    "et": (0.84, 1.75, 1.95, 1.50),
    "ed": (0.82, 0.78, 2.05, 1.75),
}
"""Signal of each tissue relative to white matter, in the order of `MODALITIES`: near those of BraTS 2021."""
SPREAD: Mapping[str, tuple[float, float]] = {
    "white": (0.0, 0.02),
    "cortex": (0.02, 0.025),
    "nuclei": (0.02, 0.02),
    "csf": (0.08, 0.05),
    "ncr": (0.14, 0.13),
    "et": (0.10, 0.13),
    "ed": (0.06, 0.08),
}
"""Standard deviation of a tissue's relative signal from case to case, and from place to place."""
WHITE_MATTER: Mapping[Modality, tuple[float, float]] = {
    "t1n": (500, 1400),
    "t1c": (500, 1500),
    "t2w": (300, 800),
    "t2f": (400, 1000),
}
"""Range of the white matter's stored value."""
VESSELS: Mapping[Modality, float] = {"t1n": 0.0, "t1c": 0.9, "t2w": -0.5, "t2f": 0.0}
PERIVENTRICULAR_FLAIR, PERIVENTRICULAR_MM = 0.25, 2.5
"""White matter is brighter on FLAIR along the ventricles."""


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic case.

    Args:
        images: (4, X, Y, Z) in the order of `MODALITIES`, 0 outside the brain.
        label: (X, Y, Z) labels as inside the program.
        bias: (X, Y, Z) field that multiplied all four images: mean 1 over the brain, 1 outside.
        grid: LPS, as in BraTS files.
        foci: Tumours that do not touch each other's core.
    """

    images: npt.NDArray[np.int16]
    label: npt.NDArray[np.uint8]
    bias: npt.NDArray[np.float32]
    grid: Grid
    foci: int


def make_phantom(
    seed: int,
    *,
    index: int = 0,
    size: tuple[int, int, int] = (240, 240, 155),
    spacing_mm: float | None = None,
    noise: float = 0.03,
    bias: float = 0.3,
) -> Phantom:
    """Make one case; it depends on nothing but the arguments.

    Args:
        seed: Of the whole set.
        index: Of the case in the set.
        size: Voxels along each axis.
        spacing_mm: Voxel size; None spreads 240, 240 and 155 mm over the axes.
        noise: Standard deviation relative to white matter.
        bias: Largest relative departure of the bias field from its middle.
    """
    generator = np.random.default_rng([seed, index])
    grid, axes = _layout(size, spacing_mm)
    x_box, y_box, z_box = (
        slice(*np.searchsorted(axis, (-reach, reach)).tolist())
        for axis, reach in zip(axes, BRAIN_REACH_MM, strict=True)
    )
    box = (x_box, y_box, z_box)
    near = [axis[part] for axis, part in zip(axes, box, strict=True)]

    def field(wavelength_mm: float) -> Floats:
        return smooth_field(generator, near, wavelength_mm=wavelength_mm)

    mesh = np.meshgrid(*near, indexing="ij", sparse=True)
    stretch = generator.normal(1, 0.03, 3).tolist()
    left, back, up = (m * s + 1.8 * field(90) + 0.8 * field(26) for m, s in zip(mesh, stretch, strict=True))
    depth = brain_depth((left, back, up))
    brain = depth > 0
    depth = depth[brain]
    x, y, z = (np.broadcast_to(axis, brain.shape)[brain] for axis in mesh)

    plan = draw_plan(generator, (x, y, z), depth)
    pushed = displace((x, y, z), plan)
    left, back, up = (
        b[brain] + source - place for b, source, place in zip((left, back, up), pushed, (x, y, z), strict=True)
    )
    coarse, middle, fine = (field(wavelength_mm)[brain] for wavelength_mm in (70, 28, 11))
    age = float(generator.random())
    tissues = make_tissues(generator, (left, back, up), depth=depth, variation=middle, age=age)
    voxel_ml = math.prod(grid.spacing_mm) / 1000
    tumour = grow((x, y, z), tissues, plan, fields=(coarse, middle, fine), voxel_ml=voxel_ml)

    bias_values = _bias(field(BIAS_WAVELENGTH_MM)[brain], strength=bias)
    texture = (fine + field(40)[brain]) / math.sqrt(2)
    values = scan(generator, tissues, tumour, texture=texture, bias=bias_values, noise=noise)
    images = np.zeros((len(MODALITIES), *size), np.int16)
    images[:, *box][:, brain] = values
    label, bias_field = np.zeros(size, np.uint8), np.ones(size, np.float32)
    label[box][brain], bias_field[box][brain] = tumour.label, bias_values
    return Phantom(images, label, bias_field, grid, len(plan.centres))


def scan(
    generator: np.random.Generator,
    tissues: Tissues,
    tumour: Tumour,
    *,
    texture: Floats,
    bias: Floats,
    noise: float,
) -> npt.NDArray[np.int16]:
    """Images of brain voxels, (4, voxels) in the order of `MODALITIES`, every value at least 1.

    Args:
        generator: Draws scales, contrasts and noise.
        tissues: Healthy tissue.
        tumour: Takes the place of healthy tissue.
        texture: Random field of standard deviation 1.
        bias: Multiplies all modalities.
        noise: Standard deviation of each of the two components of Rician noise, relative to white matter.
    """
    fractions = _fractions(tissues, tumour)
    images = np.empty((len(MODALITIES), bias.size), np.int16)
    for channel, modality in enumerate(MODALITIES):
        sign = 1 if modality in {"t1n", "t1c"} else -1  # where T1 is longer, T2 is longer too
        signal = VESSELS[modality] * tissues.vessels * (1 - tumour.et)
        for name, fraction in fractions.items():
            between_cases, between_places = SPREAD[name]
            level = SIGNALS[name][channel] * (1 + between_cases * float(np.clip(generator.normal(), -2, 2)))
            signal += fraction * (level * (1 + sign * between_places * texture))
        if modality == "t2f":
            rim = np.exp(-np.maximum(tissues.ventricle_mm, 0) / PERIVENTRICULAR_MM)
            signal += PERIVENTRICULAR_FLAIR * rim * (1 - tissues.csf)
        real, imaginary = generator.standard_normal((2, bias.size), dtype=np.float32) * noise
        magnitude = np.hypot(signal * bias + real, imaginary) * float(generator.uniform(*WHITE_MATTER[modality]))
        images[channel] = np.clip(np.rint(magnitude), 1, np.iinfo(np.int16).max)
    return images


def _fractions(tissues: Tissues, tumour: Tumour) -> dict[str, Floats]:
    """Share of each tissue in each voxel; together 1."""
    solid = 1 - tissues.csf
    sick = {"ncr": tumour.ncr * solid, "et": tumour.et * solid, "ed": tumour.ed * solid}
    healthy = 1 - tumour.ncr - tumour.et - tumour.ed
    grey = {"cortex": tissues.cortex * healthy, "nuclei": tissues.nuclei * healthy}
    white = (solid - tissues.cortex - tissues.nuclei) * healthy
    return {"csf": tissues.csf, "white": white, **grey, **sick}


def _bias(field: Floats, *, strength: float) -> Floats:
    """A multiplicative field of mean 1, in steps of 1/4096: a float of few digits compresses well."""
    centred = field - field.mean()
    bias = np.exp(centred * (math.log1p(strength) / float(np.abs(centred).max())))
    rounded: Floats = np.rint(bias / bias.mean() * 4096) / 4096
    return rounded


def _layout(size: tuple[int, int, int], spacing_mm: float | None) -> tuple[Grid, list[Floats]]:
    """The grid of a case, and the voxels' places along each axis from the middle of the brain, in mm."""
    spacing = [spacing_mm or view / count for view, count in zip(FIELD_OF_VIEW_MM, size, strict=True)]
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[1, 3] = (size[1] - 1) * spacing[1]
    axes: list[Floats] = [
        ((np.arange(count) - (count - 1) / 2) * step - centre).astype(np.float32)
        for count, step, centre in zip(size, spacing, BRAIN_CENTRE_MM, strict=True)
    ]
    return Grid(size, affine), axes
