"""What post-processing is tuned on, and how a case is scored under many settings."""

import math
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from brats_lightning.errors import ConfigError
from brats_lightning.inference.postprocessing.postprocess import Decision, LabelStep, Step, with_decision
from brats_lightning.inference.postprocessing.steps import Labels
from brats_lightning.labels import CHALLENGE_REGIONS, REGIONS, TISSUES
from brats_lightning.metrics.bounding_box import joint_bounding_box
from brats_lightning.metrics.case_scores import SURFACE_DICE, score_case
from brats_lightning.metrics.empty import empty_policy

HIGHER_IS_BETTER = ("dice", "iou", "sensitivity", "precision")
LOWER_IS_BETTER = ("hd95_mm", "hd100_mm", "assd_mm", "absolute_volume_difference_ml")
SURELY_BACKGROUND = 0.8
"""No threshold that is tried makes tumour of a voxel whose background is more probable: 1 − 0.25, and rounding."""

Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class TuningCase:
    """A case that the network did not see in training.

    Args:
        case: Its id.
        fold: Cases of one fold are scored with settings that were searched on the other folds.
        probabilities: (K, X, Y, Z) float16 that sum to 1 over the channels, or a `.npy` file of them. Give files
            where there are several processes: each reads what it needs.
        reference: (X, Y, Z) uint8 labels as inside the program on the same grid, or a `.npy` file of them.
        spacing_mm: Distance between neighbouring voxels along each axis.
    """

    case: str
    fold: str
    probabilities: Path | npt.NDArray[np.float16]
    reference: Path | Labels
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Metric:
    """The score that is to become better, with empty masks as the challenge scored them up to 2022.

    Args:
        name: Such as `dice_mean_WT_TC_ET` or `hd95_mm_ET`.
        score: Such as `dice`.
        regions: Over which it is averaged in each case.
    """

    name: str
    score: str
    regions: tuple[str, ...]

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Which way."""
        return "lower" if self.score in LOWER_IS_BETTER else "higher"

    @property
    def tunable(self) -> tuple[str, ...]:
        """Regions of WT, TC and ET that it scores, or that a tissue it scores is bounded by."""
        scored = tuple(region for region in CHALLENGE_REGIONS if region in self.regions)
        return scored if set(self.regions) <= set(CHALLENGE_REGIONS) else CHALLENGE_REGIONS

    def of(self, labels: Labels, reference: Labels, spacing_mm: Sequence[float]) -> float:
        """Score of a case."""
        row = score_case(
            labels,
            reference,
            spacing_mm=spacing_mm,
            regions={region: REGIONS[region] for region in self.regions},
            empty=empty_policy("brats"),
            scores=[self.score],
        )
        return math.fsum(row[f"{self.score}_{region}"] for region in self.regions) / len(self.regions)


def metric_of(name: str) -> Metric:
    """Metric of that name.

    Raises:
        ConfigError: None that post-processing can be tuned for.
    """
    trios = {f"mean_{'_'.join(trio)}": trio for trio in (CHALLENGE_REGIONS, TISSUES)}
    groups = {**trios, **{region: (region,) for region in (*CHALLENGE_REGIONS, "NCR", "ED")}}
    for ending, regions in groups.items():
        score = name.removesuffix(f"_{ending}")
        known = score in (*HIGHER_IS_BETTER, *LOWER_IS_BETTER) or SURFACE_DICE.fullmatch(score)
        if score != name and known:
            return Metric(name, score, regions)
    scores = ", ".join((*HIGHER_IS_BETTER, "nsd_1mm", *LOWER_IS_BETTER))
    raise ConfigError(f"cannot tune for {name!r}: expected one of {scores}, followed by one of _{', _'.join(groups)}")


@dataclass(frozen=True, eq=False)
class Trial:
    """A case under several settings.

    Args:
        case: The case.
        box: Where it may have labels; see `box_of`.
        metric: The score.
        settings: Steps of each setting.
    """

    case: TuningCase
    box: Box
    metric: Metric
    settings: tuple[tuple[Step, ...], ...]


def scores_of(trial: Trial) -> list[float]:
    """Score of the case under each setting."""
    _one_thread()
    case = trial.case
    # Nothing but the box is read of a file, and scores do not change with the background around it.
    cropped = _array(case.probabilities)[(slice(None), *trial.box)]
    probabilities = torch.from_numpy(np.array(cropped, np.float32, order="C"))
    reference = np.ascontiguousarray(_array(case.reference)[trial.box], np.uint8)
    made: dict[tuple[Step, ...], Labels] = {}

    def labels_after(steps: tuple[Step, ...]) -> Labels:
        if steps not in made:
            *earlier, last = steps
            if isinstance(last, LabelStep):
                made[steps] = last(labels_after(tuple(earlier)), spacing_mm=case.spacing_mm)
            elif isinstance(last, Decision):
                made[steps] = last(probabilities).numpy()
        return made[steps]

    return [trial.metric.of(labels_after(with_decision(steps)), reference, case.spacing_mm) for steps in trial.settings]


def box_of(case: TuningCase) -> Box:
    """Smallest box outside which the reference and every setting's labels are background.

    Raises:
        ConfigError: Probabilities and reference that do not belong together.
    """
    _one_thread()
    probabilities, reference = _array(case.probabilities), _array(case.reference)
    if probabilities.ndim != 4 or probabilities.shape[1:] != reference.shape or not reference.size:
        raise ConfigError(
            f"{case.case}: expected probabilities (K, X, Y, Z) and labels of one grid, "
            f"found {probabilities.shape} and {reference.shape}"
        )
    background = torch.from_numpy(np.array(probabilities[0]))
    box = joint_bounding_box((background < SURELY_BACKGROUND).numpy(), reference)
    empty = any(side.start == side.stop for side in box)
    return (slice(0, 1),) * 3 if empty else box


def _array(source: Path | npt.NDArray[np.float16] | Labels) -> npt.NDArray[np.float16] | Labels:
    return np.load(source, mmap_mode="r") if isinstance(source, Path) else source


def _one_thread() -> None:
    """Several processes with several threads each would wait for one another."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)
