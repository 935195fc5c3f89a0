"""From preprocessed samples of a case to labels on the grid of its files: networks, way back, decision."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.inference.models.checkpoints import Model
from brats_lightning.inference.models.spec import require_agreement, with_own_decision
from brats_lightning.inference.postprocessing.postprocess import Step, postprocess
from brats_lightning.inference.predictor.predictor import Predictor, PredictorOptions
from brats_lightning.inference.predictor.windows import Progress, part_of, untold
from brats_lightning.inference.restore import Placement
from brats_lightning.labels import MASK
from brats_lightning.model.outputs import TUMOUR, Outputs


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What the networks say of a case.

    Args:
        labels: Of `placement.box`, uint8 with the labels of `labels.LABELS`.
        probabilities: (K, X, Y, Z) of the same box, float32 on the device that predicted; their labels are those of
            `model.outputs.channel_labels`.
        placement: To the grid of the case's files; what lies outside the box is background.
        seconds: Spent in the network and on the way back.
    """

    labels: npt.NDArray[np.uint8]
    probabilities: torch.Tensor
    placement: Placement
    seconds: dict[str, float] = field(default_factory=dict)


class Segmenter:
    """Trained networks that decide together: each sees what it was trained on, and they meet on the patient's grid.

    Args:
        models: One or several; networks and preprocessing may differ, what they speak of may not.
        options: How volumes are covered.
        device: That computes.
        postprocessing: From probabilities to labels; None takes the steps tuned for the first model, where all agree.
            Without a decision among them it is the most probable label or, where a network gives regions or tumour,
            each region from 0.5 on.

    Raises:
        CheckpointError: Models that do not agree in modalities, labels or regions.
        ConfigError: Steps for parts of the tumour, of networks that tell no tissues apart.
    """

    def __init__(
        self,
        models: Sequence[Model],
        *,
        options: PredictorOptions,
        device: torch.device,
        postprocessing: Sequence[Step] | None = None,
    ) -> None:
        specs = [model.spec for model in models]
        require_agreement(specs, [str(model.path) for model in models])
        self.channels = specs[0].channels
        self.regions = specs[0].regions
        self.modalities = specs[0].preprocessing.modalities
        self.edition = MASK if TUMOUR in self.channels else None
        """Whose values label maps get unless others are asked for; None: those of the case's edition."""
        alike: dict[str, list[Model]] = {}
        for model in models:
            alike.setdefault(model.spec.preprocessing.fingerprint, []).append(model)
        self.preprocessings: tuple[Preprocessing, ...] = tuple(group[0].spec.preprocessing for group in alike.values())
        self._predictors = [
            Predictor(
                [model.member for model in group],
                options,
                device=device,
                outputs=[model.spec.outputs for model in group],
            )
            for group in alike.values()
        ]
        self._shares = [len(group) / len(models) for group in alike.values()]
        self._device = device
        if postprocessing is None:
            # Steps that were fitted to one network say nothing about its mean with others.
            agreed = all(spec.postprocessing == specs[0].postprocessing for spec in specs)
            postprocessing = specs[0].postprocessing if agreed else ()
        # Where one of them thinks in regions, so do they all: their probabilities have the same channels.
        outputs: Outputs = next((spec.outputs for spec in specs if spec.outputs != "labels"), "labels")
        self.postprocessing = with_own_decision(postprocessing, outputs)

    def __call__(self, samples: Sequence[Sample], *, progress: Progress = untold) -> Segmentation:
        """Segment a case.

        Args:
            samples: One for each of `preprocessings`.
            progress: Of the networks.
        """
        started = time.perf_counter()
        native = samples[0].native
        placement = Placement.between(samples[0].grid, native)
        if len(samples) == 1:
            predicted = self._predictors[0](samples[0].image, progress=progress)
            network = self._clock() - started
            probabilities = placement.resample(predicted)
        else:
            placement, probabilities = self._mean(samples, progress)
            network = self._clock() - started
        labels = postprocess(probabilities, self.postprocessing, spacing_mm=native.ras().spacing_mm)
        seconds = {"network": network, "restore": time.perf_counter() - started - network}
        return Segmentation(labels, probabilities, placement, seconds)

    def _mean(self, samples: Sequence[Sample], progress: Progress) -> tuple[Placement, torch.Tensor]:
        """Differently preprocessed images of one case meet in the box that holds them all."""
        native = samples[0].native
        places = [Placement.between(sample.grid, sample.native) for sample in samples]
        starts = [min(place.box[axis].start for place in places) for axis in range(3)]
        stops = [max(place.box[axis].stop for place in places) for axis in range(3)]
        around = Placement((starts[0], starts[1], starts[2]), (stops[0], stops[1], stops[2]), native)
        mean = torch.zeros((len(self.channels), *around.box_shape), device=self._device)
        together = zip(self._predictors, places, samples, self._shares, strict=True)
        for number, (predictor, place, sample, share) in enumerate(together):
            own = part_of(progress, number=number, parts=len(samples))
            x, y, z = (slice(own.start - a, own.stop - a) for own, a in zip(place.box, starts, strict=True))
            mean[0] += share  # outside its image a network has seen background
            mean[0, x, y, z] -= share
            mean[:, x, y, z] += share * place.resample(predictor(sample.image, progress=own))
        return around, mean

    def _clock(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
