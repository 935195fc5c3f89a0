"""What a picture of the brain has to say beside what it shows: above all what is missing."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from brats_lightning.labels import LABELS, TISSUES, WHOLE
from brats_lightning.reports.figures.planes import Array

STRAIGHT_DEGREES = 5.0
"""A grid that is tilted less is as good as the patient's own axes."""
REFERENCE, PREDICTION = "reference", "prediction"


def remarks(
    segmentations: Mapping[str, Array | None],
    *,
    spacing_mm: Sequence[float],
    tilt_degrees: float = 0.0,
    placed: bool = True,
) -> list[str]:
    """Sentences that stand below a picture's title.

    Args:
        segmentations: Label maps as inside the program by name; None for one that does not exist.
        spacing_mm: Of the voxels.
        tilt_degrees: Of the grid against the patient's axes.
        placed: Whether directions and spacing are those of the patient.
    """
    said = [f"voxels {' × '.join(f'{step:.3g}' for step in spacing_mm)} mm"] if placed else ["place unknown: no scale"]
    if placed:
        said += tilt_in_words(tilt_degrees)
    for name, labels in segmentations.items():
        if labels is None:
            said.append(f"no {name}")
            continue
        values = set(np.unique(labels).tolist())
        absent = [tissue for tissue in TISSUES if LABELS[tissue] not in values]
        if not values - {0}:
            said.append(f"{name} without tumour")
        elif absent and WHOLE not in values:
            said.append(f"{name} without {', '.join(absent)}")
    return said


def tilt_in_words(degrees: float) -> list[str]:
    """What is to be said of planes that are those of the grid and not of the patient.

    Example:
        >>> tilt_in_words(2.0), tilt_in_words(20.0)
        ([], ['grid tilted by 20°: letters name the nearest direction'])
    """
    return [f"grid tilted by {degrees:.0f}°: letters name the nearest direction"] if degrees > STRAIGHT_DEGREES else []


def dice_in_words(dice: Mapping[str, float]) -> list[str]:
    """Dice of each region that was scored.

    Example:
        >>> dice_in_words({"ET": 0.5, "WT": float("nan")}), dice_in_words({})
        (['Dice ET 0.50, WT –'], [])
    """
    named = (f"{name} {'–' if math.isnan(value) else f'{value:.2f}'}" for name, value in dice.items())
    return [f"Dice {', '.join(named)}"] if dice else []
