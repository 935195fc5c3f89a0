"""Callbacks that score in further ways what a module scores case by case: by classes, and slice by slice."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from brats_lightning.errors import ConfigError
from brats_lightning.labels import PLANES, WHOLE, Plane, region_labels
from brats_lightning.metrics.confusion import Counts, class_score_names, confusion, flat, require_classes
from brats_lightning.metrics.overlap import joint_histogram
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.model.agreement import gathered
from brats_lightning.model.scored_case import ScoredCase


class ScoreCallback(Callback, ABC):
    """Scores every `ScoredCase` of an epoch and logs what comes of it, `val/…` in validation and `test/…` in a test."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """What is logged, without `val/`."""

    @abstractmethod
    def update(self, scored: ScoredCase) -> None:
        """Score a case; one that was seen before is scored anew."""

    @abstractmethod
    def compute(self) -> Mapping[str, float]:
        """Scores over all cases of all processes, by the names of `names`; every process must call this."""

    @abstractmethod
    def reset(self) -> None:
        """Forget all cases."""

    @property
    def logged_names(self) -> list[str]:
        """What checkpoints and schedules can monitor during training."""
        return [f"val/{name}" for name in self.names]

    @property
    @abstractmethod
    def regions(self) -> Mapping[str, tuple[int, ...]]:
        """Label values of what is scored."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Refuse what would be logged and mean nothing.

        Raises:
            ConfigError: A second callback of the kind, whose mean with the first Lightning would log under one name; or
                tissues to be scored of a network that tells tumour alone, where nobody would find any.
        """
        foreign = [name for name, values in self.regions.items() if WHOLE not in values]
        if getattr(pl_module, "outputs", None) == "tumour" and foreign:
            kind, found = type(self).__name__, ", ".join(foreign)
            raise ConfigError(f"outputs: tumour tells no tissues apart: have {kind} score [WT], found {found}")
        callbacks: list[Callback] = vars(trainer)["callbacks"]  # which Lightning does not declare
        if sum(type(callback) is type(self) for callback in callbacks) > 1:
            raise ConfigError(f"trainer.callbacks has {type(self).__name__} twice: keep one, their names are the same")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Scores are those of one pass: they stay readable until the next."""
        self.reset()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Scores are those of one pass: they stay readable until the next."""
        self.reset()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        """Take what the module has scored."""
        for scored in outputs["scored"]:
            self.update(scored)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        """Take what the module has scored."""
        for scored in outputs["scored"]:
            self.update(scored)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Log the scores over all cases of all processes."""
        pl_module.log_dict({f"val/{name}": value for name, value in self.compute().items()})

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Log the scores over all cases of all processes."""
        pl_module.log_dict({f"test/{name}": value for name, value in self.compute().items()})


class ClassScores(ScoreCallback):
    """Precision, sensitivity, specificity, IoU and Dice of each class and averaged, of voxels pooled over all cases.

    It logs `val/precision_class_ET` and so on, `val/precision_micro_with_background` and the other averages, and
    `val/accuracy_all_voxels`; `metrics.confusion` defines them. `brats validate` and `brats test` print the table and
    write `scores_classes_<part>.csv`, with the confusion matrix. Voxels are counted as integers and by case, so that
    the scores do not depend on the number of processes.

    Args:
        classes: Regions of `labels.REGIONS` that exclude each other, or own names with their labels. All other labels
            belong to the background. `[WT]` makes two classes of masks, and of label maps too.

    Raises:
        ConfigError: A name that is unknown, or classes that overlap.
    """

    def __init__(self, *, classes: Sequence[str] | Mapping[str, Sequence[int]] = ("NCR", "ED", "ET")) -> None:
        try:
            self.classes = region_labels(classes)
            require_classes(self.classes)
        except ValueError as error:
            raise ConfigError(f"ClassScores.classes: {error}") from error
        self._of_cases: dict[str, Counts] = {}
        self.counts = self._none
        """Confusion matrix of the last pass, from `compute` on."""
        self.cases = 0
        """That it is of."""

    @property
    def names(self) -> list[str]:
        """What is logged, without `val/`."""
        return class_score_names(list(self.classes))

    @property
    def regions(self) -> Mapping[str, tuple[int, ...]]:
        """Label values of each class."""
        return self.classes

    @property
    def _none(self) -> Counts:
        return np.zeros((len(self.classes) + 1,) * 2, np.int64)

    def reset(self) -> None:
        """Forget all cases."""
        self._of_cases = {}
        self.counts, self.cases = self._none, 0

    def update(self, scored: ScoredCase) -> None:
        """Count the pairs of classes of a case; one that was seen before is counted anew."""
        reference = scored.reference.to(scored.prediction.device)
        self._of_cases[scored.case] = confusion(joint_histogram(scored.prediction, reference), self.classes)

    def compute(self) -> Mapping[str, float]:
        """Scores over the voxels of all cases of all processes; every process must call this."""
        known: dict[str, Counts] = {}
        for part in cast("list[dict[str, Counts]]", gathered(self._of_cases)):
            known |= part
        self.counts, self.cases = sum(known.values(), self._none), len(known)
        return flat(self.counts, list(self.classes))


class SliceScores(ScoreCallback):
    """Dice and IoU of regions, each slice of a volume scored as a case of its own, as papers on 2-D networks do.

    It logs `val/slice_dice_ET` and so on: means over the slices of all cases; `val/slice_accuracy`; and
    `val/slice_count`, the number of slices. `brats validate` and `brats test` print the table and write a row a slice
    and region into `scores_slices_<part>.csv`.

    Most slices of a brain show no tumour, and `empty` decides what that is worth: under `brats` each such slice that
    was left empty counts as 1, and the mean says more about them than about tumours; `exclude` takes the mean over
    the slices whose reference has the region.

    Args:
        plane: Of the slices, of volumes in RAS order.
        regions: Scored regions: names of `labels.REGIONS`, or own names with their labels.
        empty: Convention for regions that are empty in the reference or the prediction, as in the module.
        scores: Of each region: names of `metrics.case_scores.ALL_SCORES`.

    Raises:
        ConfigError: A plane, region, convention or score that is unknown.
    """

    def __init__(
        self,
        *,
        plane: Plane = "axial",
        regions: Sequence[str] | Mapping[str, Sequence[int]] = ("ET", "ED", "NCR", "WT", "TC"),
        empty: str = "brats",
        scores: Sequence[str] = ("dice", "iou"),
    ) -> None:
        if plane not in PLANES:
            raise ConfigError(f"SliceScores.plane {plane!r}: expected one of {', '.join(PLANES)}")
        try:
            self.scores = RegionScores(regions, empty=empty, scores=scores)
        except ValueError as error:
            raise ConfigError(f"SliceScores.regions, empty or scores: {error}") from error
        self.plane = plane

    @property
    def names(self) -> list[str]:
        """What is logged, without `val/`."""
        return [*(f"slice_{name}" for name in self.scores.names), "slice_count"]

    @property
    def regions(self) -> Mapping[str, tuple[int, ...]]:
        """Label values of each region."""
        return self.scores.regions

    def reset(self) -> None:
        """Forget all slices."""
        self.scores.reset()

    def update(self, scored: ScoredCase) -> None:
        """Score the slices of a case, on the host: there are too many to wait for a GPU at each."""
        axis = PLANES[self.plane]
        prediction, reference = (
            labels.cpu().movedim(axis, 0).unsqueeze(-1) for labels in (scored.prediction, scored.reference)
        )
        spacing_mm = [step for other, step in enumerate(scored.spacing_mm) if other != axis]
        spacing_mm.append(scored.spacing_mm[axis])
        self.scores.update(
            prediction,
            reference,
            spacing_mm=torch.tensor([spacing_mm]).expand(len(prediction), 3),
            cases=[f"{scored.case} {self.plane} {index:03}" for index in range(len(prediction))],
        )

    def compute(self) -> Mapping[str, float]:
        """Means over the slices of all cases of all processes; every process must call this."""
        means = self.scores.compute()
        return {f"slice_{name}": value for name, value in means.items()} | {"slice_count": float(len(self.scores.rows))}
