"""`brats validate|test`: a run scored on its own cases, or on others that it has not seen."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import Namespace
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.cli import LightningArgumentParser

from brats_lightning.cluster.signals import stop_if_asked
from brats_lightning.data.splits import EveryCase
from brats_lightning.errors import ConfigError
from brats_lightning.experiment.training import BratsCLI, sound_checkpoint
from brats_lightning.inference.models.checkpoints import POSTPROCESSING, TRAINED_ON, read_checkpoint
from brats_lightning.inference.native import NativeLabels
from brats_lightning.inference.postprocessing.postprocess import steps_of
from brats_lightning.inference.predictor.predictor import Precision, PredictorOptions
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.reports.score_files import ScoredPart
from brats_lightning.reports.scored_run import report_scores
from brats_lightning.runs import CONFIG, SPLIT, run_of_checkpoint

VOLUMES = ("reference_volume_ml", "predicted_volume_ml")
"""Of each region, as `brats evaluate` writes them: what Dice is drawn against, and what tells an empty mask."""
Scored = Literal["native", "preprocessed"]
Validated = Literal["validation", "train"]
log = logging.getLogger("brats_lightning")


class StopIfAsked(Callback):
    """Look between cases whether a signal asks to stop: scoring begins anew when the job comes back."""

    def on_validation_batch_start(self, *_: Any, **__: Any) -> None:
        """Before a case."""
        stop_if_asked()

    on_test_batch_start = on_validation_batch_start


class ScoringCLI(BratsCLI):
    """Reads a configuration as `fit` does, takes a checkpoint's weights, and scores what they predict."""

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand != "fit":
            parser.add_argument("--grid", type=Scored, default="native", help="Where scores are taken.")
            parser.add_class_arguments(PredictorOptions, "inference")
            parser.add_argument(
                "--postprocessing",
                type=list[Any] | None,
                default=None,
                help="Steps from probabilities to labels; null takes those tuned for the checkpoint, [] none.",
            )
        if subcommand == "validate":
            what = "Which of the run's cases: those that chose the checkpoint, or those it was trained on."
            parser.add_argument("--part", type=Validated, default="validation", help=what)
        return parser

    def before_instantiate_classes(self) -> None:
        """See `BratsCLI`; scoring keeps nothing and draws nothing."""
        super().before_instantiate_classes()
        self.trainer_defaults["callbacks"] = [StopIfAsked(), *self.trainer_defaults["callbacks"]]

    @property
    def _part(self) -> ScoredPart:
        """Of the run's split, whose cases are scored."""
        part: ScoredPart = "test" if self.config.subcommand == "test" else self._chosen.part
        return part

    def _settle(self, chosen: Namespace) -> None:
        """A run's own data are scored by its split; other data, and those of a lone checkpoint, as a whole."""
        if chosen.ckpt_path is None and chosen.run is None:
            raise ConfigError(f"`brats {self.config.subcommand}` needs a --run or a --ckpt_path")
        path = sound_checkpoint(chosen.ckpt_path or "best", chosen.run)
        chosen.ckpt_path = str(path)
        own = chosen.run or run_of_checkpoint(path)
        self.run = own or path.parent
        chosen.trainer.logger = False  # the table and the CSV of scores are the result
        if own is not None and (own / SPLIT).is_file() and _same_data(own, chosen.data.root):
            chosen.data.split_file = own / SPLIT
            return
        if self._part == "train":
            raise ConfigError(
                f"--part train scores the cases that a run was trained on, as its {SPLIT} lists them: give --run alone"
            )
        chosen.data.split_file = None
        chosen_split = chosen.data.split.class_path if chosen.data.split is not None else ""
        if not chosen_split.endswith((".Listed", ".EveryCase")):
            seen = own / SPLIT if own is not None and (own / SPLIT).is_file() else None
            arguments = Namespace(part=self._part, unseen_by=seen)
            chosen.data.split = Namespace(class_path=f"{EveryCase.__module__}.EveryCase", init_args=arguments)
            unknown = "" if seen else "; which cases it was trained on is not known here"
            log.warning("scoring all labelled cases of %s%s", chosen.data.root, unknown)

    def before_validate(self) -> None:
        """Score where the patients' files lie, unless the grid of the network's input is asked for.

        Raises:
            BratsError: The checkpoint cannot be read.
        """
        chosen = self._chosen
        self.model.scores = with_volumes(self.model.scores)
        self.datamodule.validation_part = "validation" if self._part == "test" else self._part
        options: PredictorOptions = self._get(self.config_init, "inference")
        if chosen.grid == "preprocessed":
            if chosen.postprocessing or options != PredictorOptions():
                raise ConfigError("inference and postprocessing are for --grid native, as `brats predict` works")
            return
        self.datamodule.whole_volumes = True
        checkpoint = read_checkpoint(Path(chosen.ckpt_path))
        stored = checkpoint.get(POSTPROCESSING, [])
        steps = steps_of(stored if chosen.postprocessing is None else chosen.postprocessing)
        if options.precision == "auto":
            options = replace(options, precision=_precision_of(self.trainer))
        self.model.native = NativeLabels(
            partial(self.datamodule.cases_of, self._part),
            self.datamodule.cache,
            options=options,
            postprocessing=steps,
            trained_on=checkpoint.get(TRAINED_ON),
        )

    before_test = before_validate

    def after_validate(self) -> None:
        """Scores case by case."""
        self._report()

    def after_test(self) -> None:
        """Scores case by case."""
        self._report()

    def _report(self) -> None:
        if not self.trainer.is_global_zero or self.run is None:
            return
        checkpoint, grid = Path(self._chosen.ckpt_path), str(self._chosen.grid)
        # The best checkpoint of a run on its own cases is what one looks for; anything else says what it is.
        others = "" if checkpoint.stem == "best" else f"_{checkpoint.stem}"
        others += "" if self.datamodule.split_file else f"_{self.datamodule.root.name}"
        others += "" if grid == "native" else f"_{grid}"
        report_scores(
            self.model.scores,
            vars(self.trainer)["callbacks"],  # which Lightning does not declare
            folder=self.run,
            part=f"{self._part}{others}",
            title=f"{self._part} cases on the {grid} grid, {checkpoint}",
            grid=grid,
            checkpoint=str(checkpoint),
        )


def with_volumes(scores: RegionScores) -> RegionScores:
    """The same scores, and the volumes of each region, which cost nothing: what is counted for Dice tells them."""
    names = [*scores.scores, *(name for name in VOLUMES if name not in scores.scores)]
    return RegionScores(scores.regions, empty=scores.empty.name, scores=names, convention=scores.convention)


def _precision_of(trainer: Trainer) -> Precision:
    """The predictor computes as the trainer would."""
    precision = str(trainer.precision)
    return "bf16" if precision.startswith("bf16") else "16" if precision.startswith("16") else "32"


def _same_data(run: Path, root: Path) -> bool:
    """Whether a run was trained on a folder; a run without a readable configuration is taken to be."""
    try:
        stored = yaml.safe_load((run / CONFIG).read_text())["data"]["root"]
    except (OSError, LookupError, TypeError, ValueError, RecursionError, yaml.YAMLError):
        return True
    return Path(stored).resolve() == root.resolve()
