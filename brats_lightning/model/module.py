"""`SegmentationModule`: any network, loss, optimiser and schedule, scored per region."""

import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import torch
from monai.inferers import Inferer
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from pytorch_lightning.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler
from torch import nn

from brats_lightning.errors import CheckpointError, ConfigError
from brats_lightning.labels import CASE, IMAGE, LABEL, LABELS, SPACING
from brats_lightning.metrics.case_scores import REGION_SCORES
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.metrics.surface import Convention

Stage = Literal["train", "val", "test"]
Batch = dict[str, Any]


class ScoredCase(NamedTuple):
    """What the scores of a case are taken of.

    Args:
        case: Its id.
        image: Gives the preprocessed image (C, X, Y, Z), made when it is asked for.
        prediction: (X, Y, Z) uint8 labels.
        reference: (X, Y, Z) uint8 labels on the same grid.
        spacing_mm: Of that grid.
    """

    case: str
    image: Callable[[], torch.Tensor]
    prediction: torch.Tensor
    reference: torch.Tensor
    spacing_mm: Sequence[float]


class NativeGrid(Protocol):
    """From a network and a preprocessed image (C, X, Y, Z) to labels on the grid of the patient's files."""

    def __call__(self, network: nn.Module, image: torch.Tensor, case: str) -> ScoredCase:
        """Predict, and read the reference."""


class SegmentationModule(LightningModule):
    """A network that gives every voxel one label, trained and scored.

    It logs `train/loss_step` and `train/loss_epoch`; for validation and test the loss and `val/dice_ET`,
    `val/iou_ET`, `val/hd95_mm_ET` and so on for each region, their means, and the voxel accuracy. Scores are taken on
    the grid of the preprocessed cases, distances in its millimetres, unless `native` is set to what takes predictions
    back to the patients' own grids.

    Args:
        network: From images (B, C, X, Y, Z) to logits (B, 1 + labels, X, Y, Z), channel 0 the background.
        loss: Of logits and label (B, 1, X, Y, Z).
        optimizer: Makes an optimiser from the parameters.
        scheduler: Makes a learning-rate schedule from the optimiser.
        scheduler_interval: When the schedule moves on.
        regions: Scored regions: names of `labels.REGIONS`, or own names with their labels.
        empty: Convention for regions that are empty in the reference or the prediction.
        scores: Of each region: names of `metrics.case_scores.ALL_SCORES`, `nsd_2mm` at any tolerance.
        distances: Convention of surface distances: `directed`, `pooled`, `averaged` or `surfel`.
        inferer: Covers volumes larger than the training patch, such as a sliding window; null gives the network
            whole volumes.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        regions: Sequence[str] | Mapping[str, Sequence[int]] = ("ET", "ED", "NCR", "WT", "TC"),
        empty: str = "brats",
        scores: Sequence[str] = REGION_SCORES,
        distances: Convention = "directed",
        inferer: Inferer | None = None,
    ) -> None:
        super().__init__()
        self._keep_plain_hyperparameters()
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.inferer: Callable[[torch.Tensor, nn.Module], torch.Tensor] | None = inferer
        self.native: NativeGrid | None = None
        self._smallest: tuple[int, ...] | None = None
        self._largest: tuple[int, ...] | None = None
        try:
            self.scores = RegionScores(regions, empty=empty, scores=scores, convention=distances)
        except ValueError as error:
            raise ConfigError(f"model.regions, empty, scores or distances: {error}") from error

    def _keep_plain_hyperparameters(self) -> None:
        """The command line's settings go into checkpoints; objects that Python code hands over would be code there."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Attribute '\w+' is an instance of `nn.Module`")
            self.save_hyperparameters(ignore=["inferer"], logger=False)
        for name in [name for name, value in self.hparams.items() if callable(value)]:
            del self.hparams[name]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + labels, X, Y, Z) of images (B, C, X, Y, Z)."""
        logits: torch.Tensor = self.network(image)
        return logits

    def _step(self, batch: Batch, stage: Stage) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, 1 + labels, X, Y, Z) and loss of a batch, logged and scored."""
        image, label = batch[IMAGE], batch[LABEL]
        logits = self._logits(image, whole=stage == "train")
        if self.current_epoch == 0:
            _require_fit(logits, label, batch[CASE])
        loss: torch.Tensor = self.loss(logits, label.long())
        self.log(
            f"{stage}/loss",
            loss,
            batch_size=len(image),
            on_step=stage == "train",
            on_epoch=True,
            prog_bar=True,
            sync_dist=stage != "train",
        )
        return logits, loss

    def _score(self, batch: Batch, stage: Stage) -> list[ScoredCase]:
        """Score a batch where that is asked for: on the grid of the images, or on the patients' own."""
        if self.native is not None:
            scored = [
                self.native(self.network, image, case) for image, case in zip(batch[IMAGE], batch[CASE], strict=True)
            ]
        else:
            logits, _ = self._step(batch, stage)
            prediction = logits.argmax(dim=1).to(torch.uint8)
            spacings = batch[SPACING].tolist()
            scored = [
                ScoredCase(
                    case,
                    partial(batch[IMAGE].__getitem__, index),
                    prediction[index],
                    batch[LABEL][index, 0],
                    spacings[index],
                )
                for index, case in enumerate(batch[CASE])
            ]
        for found in scored:
            self.scores.update(
                found.prediction[None],
                found.reference[None],
                spacing_mm=torch.tensor([found.spacing_mm]),
                cases=[found.case],
            )
        return scored

    def _logits(self, image: torch.Tensor, *, whole: bool) -> torch.Tensor:
        try:
            return self(image) if whole or self.inferer is None else self.inferer(image, self.network)
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"a batch of {list(image.shape)} does not fit into the GPU's memory: lower data.batch_size, "
                "data.preprocessing.size or the network's channels"
            ) from error
        except (RuntimeError, ValueError) as error:
            if self.global_step:
                raise  # it did fit before: this is no matter of settings
            raise ConfigError(
                f"the network does not take images of shape {list(image.shape)}: {str(error).splitlines()[0]}"
            ) from error

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take weights over.

        Raises:
            CheckpointError: They are another network's.
        """
        try:
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
        except RuntimeError as error:
            first, *others = [line.strip().rstrip(".") for line in str(error).splitlines()[1:]] or [str(error)]
            raise CheckpointError(
                f"the checkpoint's weights are not those of the configured {type(self.network).__name__}: "
                f"{textwrap.shorten(first, 250)}{f', and {len(others)} more' if others else ''}"
            ) from error

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Prediction chooses whole volumes or windows by the images that the network has seen."""
        if self._smallest and self._largest:
            checkpoint["trained_on"] = {"smallest": list(self._smallest), "largest": list(self._largest)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from what an earlier part of the run has seen."""
        if seen := checkpoint.get("trained_on"):
            self._smallest, self._largest = tuple(seen["smallest"]), tuple(seen["largest"])

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:  # noqa: ARG002
        """Loss of one batch."""
        size = tuple(batch[IMAGE].shape[2:])
        self._smallest = tuple(map(min, self._smallest or size, size))
        self._largest = tuple(map(max, self._largest or size, size))
        return self._step(batch, "train")[1]

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, list[ScoredCase]]:  # noqa: ARG002
        """Score one batch; callbacks get what was scored under `scored`."""
        return {"scored": self._score(batch, "val")}

    def test_step(self, batch: Batch, batch_index: int) -> dict[str, list[ScoredCase]]:  # noqa: ARG002
        """Score one batch; callbacks get what was scored under `scored`."""
        return {"scored": self._score(batch, "test")}

    def on_validation_epoch_start(self) -> None:
        """Scores are those of one pass: they stay readable until the next."""
        self.scores.reset()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        """Log the scores over all cases of all processes."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores over all cases of all processes."""
        self._log_scores("test")

    @property
    def logged_names(self) -> list[str]:
        """What callbacks and schedules can monitor during training."""
        return ["train/loss_step", "train/loss_epoch", "val/loss", *(f"val/{name}" for name in self.scores.names)]

    def _log_scores(self, stage: Stage) -> None:
        self.log_dict({f"{stage}/{name}": value for name, value in self.scores.compute().items()})

    def on_train_epoch_end(self) -> None:
        """Move plateau schedules on before the epoch's checkpoint is written.

        Lightning would do it afterwards, and never for a run that goes on from that checkpoint.
        """
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau) and self.scheduler_interval == "epoch":
            value = self.trainer.callback_metrics.get(scheduler.monitor)
            if value is not None:  # Lightning raises where it is missing
                scheduler.step(value)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Leave out what `on_train_epoch_end` has done."""
        if not (isinstance(scheduler, ReduceLROnPlateau) and self.scheduler_interval == "epoch"):
            super().lr_scheduler_step(scheduler, metric)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and its schedule, as configured."""
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        schedule: LRSchedulerConfigType = {"scheduler": scheduler, "interval": self.scheduler_interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            schedule["monitor"] = scheduler.monitor
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def _require_fit(logits: torch.Tensor, label: torch.Tensor, cases: Sequence[str]) -> None:
    """Compare the network's channels with the labels at hand (a device synchronisation: first epoch only).

    Raises:
        ConfigError: Logits on another grid than the label, or too few channels.
    """
    if logits.shape[2:] != label.shape[2:]:
        raise ConfigError(
            f"the network turned images of {list(label.shape[2:])} voxels into logits of {list(logits.shape[2:])}: "
            "choose a preprocessing size that its strides divide"
        )
    if (highest := int(label.max())) >= logits.shape[1]:
        name = next((name for name, value in LABELS.items() if value == highest), highest)
        raise ConfigError(
            f"{', '.join(cases)}: the label {name} needs a network with {highest + 1} output channels, "
            f"found {logits.shape[1]}"
        )
