"""`SegmentationModule`: any network, loss, optimiser and schedule, scored per region."""

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from monai.inferers import Inferer
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn

from brats_lightning.errors import ConfigError
from brats_lightning.labels import CASE, IMAGE, LABEL, SPACING
from brats_lightning.metrics.case_scores import REGION_SCORES
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.metrics.surface import Convention
from brats_lightning.model.compiled import Compile, LossOf, as_settings, require_grid
from brats_lightning.model.encoder_weights import check_encoder, load_encoder
from brats_lightning.model.epoch_loss import EpochLoss
from brats_lightning.model.outputs import (
    Outputs,
    decided,
    foreign_label,
    reference_for,
    refusal,
    require_regions,
    targets,
)
from brats_lightning.model.schedules import Interval, LearningRateScaling, ScheduledModule
from brats_lightning.model.scored_case import NativeGrid, ScoredCase
from brats_lightning.model.supervision import heads_of
from brats_lightning.model.watch import Watch, require_finite
from brats_lightning.model.weights import as_network, channels_last_, other_network, plain_order

Stage = Literal["val", "test"]
Batch = dict[str, Any]
UNREAD = 50
"""Steps without a look at the loss, at most; each `trainer.log_every_n_steps` where that is less."""
log = logging.getLogger("brats_lightning")


class SegmentationModule(ScheduledModule):
    """A network that gives every voxel one label, trained and scored.

    It logs `train/loss_step` and `train/loss_epoch`; for validation and test the loss and `val/dice_ET`,
    `val/iou_ET`, `val/hd95_mm_ET` and so on for each region, their means, and the voxel accuracy. Scores are taken on
    the grid of the preprocessed cases, distances in its millimetres, unless `native` is set to what takes predictions
    back to the patients' own grids.

    A network that gives several heads while it trains, or losses of its own, is trained on all of them (see
    `supervision`). A loss that is not finite ends training before anything is stored.

    Args:
        network: From images (B, C, X, Y, Z) to logits (B, K, X, Y, Z).
        loss: Of logits and target: the label (B, 1, X, Y, Z), or masks (B, K, X, Y, Z).
        outputs: Of the network: `labels`, channel 0 the background, through softmax; `regions` WT, TC, ET, and RC
            where cases have a resection cavity, through sigmoid; or `tumour`, the one channel WT, through sigmoid.
        encoder_weights: File with weights that the network's ResNet encoder begins with, a state dict in torchvision's
            format (see `encoder_weights`). It is read when a fit begins afresh, and never needed again.
        auxiliary_weight: Of losses that the network works out by itself while it trains, such as the reconstruction
            and the prior of SegResNetVAE, each of which Myronenko (BrainLes 2018) weighs by 0.1.
        compile: Network and loss in training by `torch.compile`; `auto`: on a GPU.
        optimizer: Makes an optimiser from the parameters.
        scheduler: Makes a learning-rate schedule from the optimiser.
        scheduler_interval: When the schedule moves on.
        learning_rate_scaling: By the number of processes: `none`, `linear` or `sqrt`.
        regions: Scored regions: names of `labels.REGIONS`, or own names with their labels.
        empty: Convention for regions that are empty in the reference or the prediction.
        scores: Of each region: names of `metrics.case_scores.ALL_SCORES`, `nsd_2mm` at any tolerance.
        distances: Convention of surface distances: `directed`, `pooled`, `averaged` or `surfel`.
        inferer: Covers volumes larger than the training patch, such as a sliding window; null gives the network
            whole volumes.

    Raises:
        ConfigError: Regions, conventions or scores that do not exist, regions that the outputs cannot give, or a weight
            that is no number from 0 on.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        outputs: Outputs = "labels",
        encoder_weights: Path | None = None,
        auxiliary_weight: float = 0.1,
        compile: Compile = "auto",  # noqa: A002 - as PyTorch and Lightning call it
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Interval = "epoch",
        learning_rate_scaling: LearningRateScaling = "none",
        regions: Sequence[str] | Mapping[str, Sequence[int]] = ("ET", "ED", "NCR", "WT", "TC"),
        empty: str = "brats",
        scores: Sequence[str] = REGION_SCORES,
        distances: Convention = "directed",
        inferer: Inferer | None = None,
    ) -> None:
        super().__init__(
            optimizer,
            scheduler,
            scheduler_interval=scheduler_interval,
            learning_rate_scaling=learning_rate_scaling,
        )
        self._keep_plain_hyperparameters()
        self.network = network
        self.loss = loss
        self.outputs = outputs
        self.inferer: Callable[[torch.Tensor, nn.Module], torch.Tensor] | None = inferer
        self.native: NativeGrid | None = None
        if not (math.isfinite(auxiliary_weight) and auxiliary_weight >= 0):
            raise ConfigError(f"model.auxiliary_weight is {auxiliary_weight}: expected a number from 0 on")
        self._encoder_weights = None if encoder_weights is None else Path(encoder_weights)
        self._loss_of = LossOf(network, loss, outputs=outputs, auxiliary_weight=auxiliary_weight, compiled=compile)
        self._watch = Watch(outputs)
        self._epoch_loss = EpochLoss()
        self._scored_loss = EpochLoss()
        self._smallest: tuple[int, ...] | None = None
        self._largest: tuple[int, ...] | None = None
        try:
            self.scores = RegionScores(regions, empty=empty, scores=scores, convention=distances)
        except ValueError as error:
            raise ConfigError(f"model.regions, empty, scores or distances: {error}") from error
        require_regions(self.scores.regions, outputs)

    def _keep_plain_hyperparameters(self) -> None:
        """The command line's settings go into checkpoints; objects that Python code hands over would be code there."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Attribute '\w+' is an instance of `nn.Module`")
            self.save_hyperparameters(ignore=["inferer", "compile"], logger=False)
        for name, value in list(self.hparams.items()):
            if callable(value):
                del self.hparams[name]
            elif isinstance(value, Path):
                self.hparams[name] = str(value)

    def require_encoder_weights(self) -> None:
        """Look at the file of encoder weights, where one is given, before anything takes long.

        Raises:
            ConfigError: It is absent, damaged, or does not fit the network.
        """
        if self._encoder_weights is not None:
            check_encoder(self.network, self._encoder_weights)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and its schedule, as configured.

        It is asked for once a fit, when the weights of a checkpoint have been taken over, if there is one, and before
        any callback averages or keeps them: here a fresh run's encoder gets its weights, on each process from the file.
        """
        if self._encoder_weights is not None and self.trainer.ckpt_path is None:
            said = load_encoder(self.network, self._encoder_weights)
            if self.trainer.is_global_zero:
                log.info("%s", said)
        self._encoder_weights = None  # a second fit of this module goes on from the first
        return super().configure_optimizers()

    def setup(self, stage: str) -> None:  # noqa: ARG002
        """Order the weights before they go to their device: optimisers and replicas copy that order."""
        if self.trainer.strategy.root_device.type == "cuda":
            channels_last_(self.network)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, X, Y, Z) of images (B, C, X, Y, Z)."""
        return heads_of(self.network(image))[0]

    def _log_training_loss(self, loss: torch.Tensor, batch_size: int) -> None:
        self._epoch_loss.add(loss, batch_size)
        # To show a number is to wait for it: on a GPU a progress bar would hold up every step.
        self.log("train/loss_step", loss, batch_size=batch_size, prog_bar=not loss.is_cuda)

    def _score(self, batch: Batch) -> list[ScoredCase]:
        """Score a batch where that is asked for: on the grid of the images, or on the patients' own."""
        if self.native is not None:
            scored = [
                self.native(self.network, image, case, outputs=self.outputs)
                for image, case in zip(batch[IMAGE], batch[CASE], strict=True)
            ]
        else:
            prediction = decided(self._scored_logits(batch), self.outputs)
            spacings = batch[SPACING].tolist()
            scored = [
                ScoredCase(
                    case,
                    partial(batch[IMAGE].__getitem__, index),
                    prediction[index],
                    reference_for(batch[LABEL][index, 0], self.outputs),
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

    def _scored_logits(self, batch: Batch) -> torch.Tensor:
        """Logits of a batch, whose loss is noted."""
        image, label = as_network(batch[IMAGE]), batch[LABEL]
        with as_settings(image.shape, first=not self.global_step):
            logits = self(image) if self.inferer is None else self.inferer(image, self)
        require_grid(logits, label)
        channels = logits.shape[1]
        loss: torch.Tensor = self.loss(logits, targets(label, self.outputs, channels=channels))
        if foreign := int(foreign_label(label, self.outputs, channels=channels)):
            raise refusal(foreign, batch[CASE], self.outputs, channels=channels)
        self._scored_loss.add(loss, len(image))
        return logits

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take weights over.

        Raises:
            CheckpointError: They are another network's.
        """
        try:
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
        except RuntimeError as error:
            raise other_network(error, self.network) from error

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse what is not finite; prediction chooses whole volumes or windows by the images that were seen.

        Raises:
            BratsError: Losses since the last look, or weights, that are not finite.
        """
        super().on_save_checkpoint(checkpoint)
        self._watch.read()
        require_finite(self.network, step=self.global_step)
        checkpoint["state_dict"] = plain_order(checkpoint["state_dict"])
        checkpoint["train_loss"] = self._epoch_loss.state()
        if self._smallest and self._largest:
            checkpoint["trained_on"] = {"smallest": list(self._smallest), "largest": list(self._largest)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from what an earlier part of the run has seen."""
        super().on_load_checkpoint(checkpoint)
        first_process = self._trainer is None or self.trainer.is_global_zero
        self._epoch_loss.go_on(checkpoint.get("train_loss"), first_process=first_process)
        if seen := checkpoint.get("trained_on"):
            self._smallest, self._largest = tuple(seen["smallest"]), tuple(seen["largest"])

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        """Loss of one batch; nothing here waits for a GPU, but for every `log_every_n_steps`, when Lightning does."""
        image = as_network(batch[IMAGE])
        size = tuple(image.shape[2:])
        self._smallest = tuple(map(min, self._smallest or size, size))
        self._largest = tuple(map(max, self._largest or size, size))
        with as_settings(image.shape, first=not self.global_step):
            found = self._loss_of(image, batch[LABEL])
        self._watch.add(found, batch[CASE], step=self.global_step)
        if len(self._watch) >= self._unread or self._looks_at_each(image, batch_index):
            self._watch.read()
        self._log_training_loss(found.value, len(image))
        return found.value

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, list[ScoredCase]]:  # noqa: ARG002
        """Score one batch; callbacks get what was scored under `scored`."""
        return {"scored": self._score(batch)}

    def test_step(self, batch: Batch, batch_index: int) -> dict[str, list[ScoredCase]]:  # noqa: ARG002
        """Score one batch; callbacks get what was scored under `scored`."""
        return {"scored": self._score(batch)}

    def on_validation_epoch_start(self) -> None:
        """Scores are those of one pass: they stay readable until the next."""
        self._watch.read()
        self.scores.reset()
        self._scored_loss.reset()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        """Log the scores over all cases of all processes."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores over all cases of all processes."""
        self._log_scores("test")

    def _looks_at_each(self, image: torch.Tensor, batch_index: int) -> bool:
        """Whether a look costs nothing, or is worth it: the first batch of a run tells whether settings fit."""
        return not image.is_cuda or self.global_step == batch_index == 0

    @property
    def _unread(self) -> int:
        """Steps after which losses are looked at: when Lightning reads them anyway."""
        return min(getattr(self.trainer, "log_every_n_steps", 0) or UNREAD, UNREAD)

    @property
    def last_loss(self) -> float | None:
        """The last training loss that was looked at."""
        return self._watch.loss

    @property
    def logged_names(self) -> list[str]:
        """What callbacks and schedules can monitor during training."""
        return ["train/loss_step", "train/loss_epoch", "val/loss", *(f"val/{name}" for name in self.scores.names)]

    def _log_scores(self, stage: Stage) -> None:
        if self.native is None:
            # Lightning's own mean is wrong where processes have scored different numbers of cases.
            self.log(f"{stage}/loss", self._scored_loss.mean(), prog_bar=True)
        self.log_dict({f"{stage}/{name}": value for name, value in self.scores.compute().items()})

    def on_train_epoch_start(self) -> None:
        """Begin a mean; an epoch that goes on does not begin."""
        self._epoch_loss.reset()

    def on_train_epoch_end(self) -> None:
        """Look at the last losses, log their mean over all processes, and move plateau schedules on."""
        self._watch.read()
        self.log("train/loss_epoch", self._epoch_loss.mean())
        super().on_train_epoch_end()
