"""`brats fit|validate|test|cache`: one YAML file is one experiment, and a run's folder holds all of it."""

import logging
import warnings
from argparse import ArgumentParser
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
import yaml
from jsonargparse import ArgumentError, Namespace
from jsonargparse import ArgumentParser as JsonArgumentParser
from jsonargparse.typing import register_type
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from brats_lightning.data.datamodule import BratsDataModule
from brats_lightning.data.splits import EveryCase
from brats_lightning.errors import BratsError, CheckpointError, ConfigError
from brats_lightning.inference.models.checkpoints import POSTPROCESSING, TRAINED_ON, read_checkpoint
from brats_lightning.inference.native import NativeLabels
from brats_lightning.inference.postprocessing.postprocess import steps_of
from brats_lightning.inference.predictor.predictor import Precision, PredictorOptions
from brats_lightning.loggers.metrics_csv import MetricsCsv
from brats_lightning.loggers.wandb_run import WandbRun
from brats_lightning.model.callbacks import ProgressBar, RandomState
from brats_lightning.model.module import SegmentationModule
from brats_lightning.reports.scores import print_scores, write_scores
from brats_lightning.runs import (
    CHECKPOINTS,
    CONFIG,
    SPLIT,
    claim_run,
    discard_if_empty,
    find_checkpoint,
    run_of_checkpoint,
)

PART_SCORED = {"validate": "validation", "test": "test"}
Scored = Literal["native", "preprocessed"]
log = logging.getLogger("brats_lightning")

# MONAI annotates the keys of its transforms as Hashable, which jsonargparse could read but not write back.
register_type(Hashable, serializer=lambda key: key, deserializer=lambda key: key)


class SaveRunConfig(SaveConfigCallback):
    """Write the resolved configuration into the run's folder when training starts, and make the loggers ready."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Only a training run defines its folder's configuration."""
        if stage == "fit" and trainer.is_global_zero:
            path = Path(trainer.default_root_dir) / CONFIG
            self.parser.save(self.config, path, skip_none=False, overwrite=True)
            for logger in trainer.loggers:
                logger.log_hyperparams(self.config.as_dict())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Only now is it known from which step a continued run goes on."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCsv):
                logger.go_on_from(trainer.global_step)


class BratsCLI(LightningCLI):
    """LightningCLI with run folders, named checkpoints, and the configuration as the only truth."""

    config: Namespace
    datamodule: BratsDataModule
    model: SegmentationModule

    def __init__(self, args: Sequence[str]) -> None:
        quiet = {"exit_on_error": False, "allow_abbrev": False}
        self.run: Path | None = None
        try:
            super().__init__(
                SegmentationModule,
                BratsDataModule,
                save_config_callback=SaveRunConfig,
                trainer_defaults={
                    "use_distributed_sampler": False,  # the data module's samplers know the ranks
                    "callbacks": [RandomState(), ProgressBar()],
                    "logger": {"class_path": f"{WandbRun.__module__}.WandbRun"},
                },
                seed_everything_default=0,
                auto_configure_optimizers=False,
                parser_kwargs={**quiet, **{name: dict(quiet) for name in self.subcommands()}},
                args=list(args),
            )
        finally:
            if self.run is not None:
                discard_if_empty(self.run)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Trainer methods, with the arguments that are none of the user's."""
        loaders = {"model", "dataloaders", "datamodule"}
        return {
            "fit": {*loaders, "train_dataloaders", "val_dataloaders"},
            "validate": loaders,
            "test": loaders,
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The run's folder; checkpoints are loaded without unpickling code; tables are ours."""
        parser.add_argument(
            "--run",
            type=Path | None,
            default=None,
            help="Folder of the run; null names one after the configuration, below runs/.",
        )

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.set_defaults({"weights_only": True} | ({} if subcommand == "fit" else {"verbose": False}))
        if subcommand != "fit":
            parser.add_argument("--grid", type=Scored, default="native", help="Where scores are taken.")
            parser.add_class_arguments(PredictorOptions, "inference")
            parser.add_argument(
                "--postprocessing",
                type=list[Any] | None,
                default=None,
                help="Steps from probabilities to labels; null takes those tuned for the checkpoint, [] none.",
            )
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse what `brats` hands over (Lightning would warn that it did not read it from the shell)."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """A checkpoint gives weights: Lightning would also put its stored settings over the user's."""

    @property
    def _chosen(self) -> Namespace:
        chosen: Namespace = self.config[self.config.subcommand]
        return chosen

    def before_instantiate_classes(self) -> None:
        """Settle the run's folder, the checkpoint's file, the precision: what the rest depends on.

        Raises:
            BratsError: A folder or checkpoint that does not fit.
        """
        chosen = self._chosen
        # A run is gone on with from any working folder.
        chosen.data.root = chosen.data.root.absolute()
        chosen.data.cache_dir = chosen.data.cache_dir.absolute()
        if self.config.subcommand == "fit":
            self._settle_training(chosen)
        else:
            self._settle_scoring(chosen)
        chosen.run = self.run
        chosen.trainer.default_root_dir = str(self.run)
        if chosen.trainer.precision is None:
            chosen.trainer.precision = automatic_precision(chosen.trainer.accelerator)
        if chosen.trainer.enable_progress_bar is False:
            self.trainer_defaults["callbacks"] = [RandomState()]

    def _settle_training(self, chosen: Namespace) -> None:
        wanted = chosen.ckpt_path
        if wanted is not None:
            chosen.ckpt_path = str(find_checkpoint(wanted, chosen.run))
        self.run = run = claim_run(_name_of(chosen), given=chosen.run, continues=wanted is not None)
        chosen.data.split_file = run / SPLIT
        for logger in _as_list(chosen.trainer.logger):
            if isinstance(logger, Namespace) and "save_dir" in logger.get("init_args", {}):
                logger.init_args.save_dir = run

    def _settle_scoring(self, chosen: Namespace) -> None:
        """A run's own data are scored by its split; other data, and those of a lone checkpoint, as a whole."""
        if chosen.ckpt_path is None and chosen.run is None:
            raise ConfigError(f"`brats {self.config.subcommand}` needs a --run or a --ckpt_path")
        path = find_checkpoint(chosen.ckpt_path or "best", chosen.run)
        chosen.ckpt_path = str(path)
        own = chosen.run or run_of_checkpoint(path)
        self.run = own or path.parent
        chosen.trainer.logger = False  # the table and the CSV of scores are the result
        if own is not None and (own / SPLIT).is_file() and _same_data(own, chosen.data.root):
            chosen.data.split_file = own / SPLIT
            return
        chosen.data.split_file = None
        chosen_split = chosen.data.split.class_path if chosen.data.split is not None else ""
        if not chosen_split.endswith((".Listed", ".EveryCase")):
            seen = own / SPLIT if own is not None and (own / SPLIT).is_file() else None
            arguments = Namespace(part=PART_SCORED[self.config.subcommand], unseen_by=seen)
            chosen.data.split = Namespace(class_path=f"{EveryCase.__module__}.EveryCase", init_args=arguments)
            unknown = "" if seen else "; which cases it was trained on is not known here"
            log.warning("scoring all labelled cases of %s%s", chosen.data.root, unknown)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer with a CSV beside every other logger."""
        trainer = super().instantiate_trainer(**kwargs)
        if self.subcommand == "fit":
            trainer.loggers = [MetricsCsv(Path(trainer.default_root_dir)), *trainer.loggers]
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except SystemExit:  # Lightning's answer to Ctrl-C
            if self.run is not None and (self.run / CHECKPOINTS / "last.ckpt").exists():
                log.info("stopped; go on with: brats fit --run %s --ckpt_path last", self.run)
            raise

    def before_fit(self) -> None:
        """Look for what would end a run only after its first epoch.

        Raises:
            ConfigError: Something is monitored that is never logged.
        """
        callbacks = _as_list(self._get(self.config_init, "trainer").get("callbacks") or [])
        watching = {type(callback).__name__: getattr(callback, "monitor", None) for callback in callbacks}
        if (scheduler := self._chosen.model.scheduler) is not None:
            watching[scheduler.class_path.rpartition(".")[2]] = scheduler.get("init_args", Namespace()).get("monitor")
        for name, monitor in watching.items():
            if monitor is not None and monitor not in self.model.logged_names:
                logged = ", ".join(self.model.logged_names)
                raise ConfigError(f"{name} monitors {monitor!r}, which is not logged: expected one of {logged}")

    def before_validate(self) -> None:
        """Score where the patients' files lie, unless the grid of the network's input is asked for.

        Raises:
            BratsError: The checkpoint cannot be read.
        """
        chosen = self._chosen
        options: PredictorOptions = self._get(self.config_init, "inference")
        if chosen.grid == "preprocessed":
            if chosen.postprocessing or options != PredictorOptions():
                raise ConfigError("inference and postprocessing are for --grid native, as `brats predict` works")
            return
        checkpoint = read_checkpoint(Path(chosen.ckpt_path))
        stored = checkpoint.get(POSTPROCESSING, [])
        steps = steps_of(stored if chosen.postprocessing is None else chosen.postprocessing)
        if options.precision == "auto":
            options = replace(options, precision=_precision_of(self.trainer))
        self.model.native = NativeLabels(
            partial(self.datamodule.cases_of, PART_SCORED[str(self.subcommand)]),
            self.datamodule.cache,
            options=options,
            postprocessing=steps,
            trained_on=checkpoint.get(TRAINED_ON),
        )

    before_test = before_validate

    def after_fit(self) -> None:
        """Say where everything lies."""
        if self.trainer.is_global_zero:
            log.info("run folder: %s", self._chosen.run)

    def after_validate(self) -> None:
        """Scores case by case."""
        self._report()

    def after_test(self) -> None:
        """Scores case by case."""
        self._report()

    def _report(self) -> None:
        if not self.trainer.is_global_zero or self.run is None:
            return
        part, checkpoint = PART_SCORED[str(self.subcommand)], Path(self._chosen.ckpt_path)
        # The best checkpoint of a run on its own cases is what one looks for; anything else says what it is.
        others = "" if checkpoint.stem == "best" else f"_{checkpoint.stem}"
        others += "" if self.datamodule.split_file else f"_{self.datamodule.root.name}"
        others += "" if self._chosen.grid == "native" else f"_{self._chosen.grid}"
        path = self.run / f"scores_{part}{others}.csv"
        print_scores(self.model.scores, title=f"{part} cases on the {self._chosen.grid} grid, {checkpoint}")
        try:
            write_scores(path, self.model.scores, grid=self._chosen.grid, checkpoint=str(checkpoint))
        except OSError as error:
            raise BratsError(f"the scores above could not be written to {path} ({error.strerror})") from error
        log.info("scores of each case: %s", path)


class CacheCLI(BratsCLI):
    """Reads a configuration as `fit` does and only fills the cache."""

    def before_instantiate_classes(self) -> None:
        """No run: nothing is written but the cache."""

    def instantiate_classes(self) -> None:
        """Only the data."""
        if self._chosen.data.cache != "disk":
            raise ConfigError(f"`brats cache` fills the disk cache, found data.cache: {self._chosen.data.cache}")
        parser = JsonArgumentParser()
        parser.add_class_arguments(BratsDataModule, "data")
        self.datamodule = parser.instantiate(Namespace(data=self._chosen.data)).data

    def _run_subcommand(self, subcommand: str) -> None:  # noqa: ARG002
        self.datamodule.prepare_data()
        self.datamodule.predict_dataloader()  # unlabelled cases too


def automatic_precision(accelerator: Any) -> str:
    """16-bit mixed precision on a GPU (bfloat16 where it has it), 32 bits elsewhere."""
    if accelerator not in {"auto", "gpu", "cuda"} or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


def _precision_of(trainer: Trainer) -> Precision:
    """The predictor computes as the trainer would."""
    precision = str(trainer.precision)
    return "bf16" if precision.startswith("bf16") else "16" if precision.startswith("16") else "32"


def _name_of(chosen: Namespace) -> str:
    """A run is named after its first configuration file."""
    files = chosen.get("config") or []
    return Path(str(files[0])).stem if files else "run"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def fit(arguments: Sequence[str]) -> None:
    """Train a network."""
    _run(BratsCLI, "fit", arguments)


def validate(arguments: Sequence[str]) -> None:
    """Score a checkpoint on the validation cases."""
    _run(BratsCLI, "validate", arguments)


def test(arguments: Sequence[str]) -> None:
    """Score a checkpoint on the test cases."""
    _run(BratsCLI, "test", arguments)


def cache(arguments: Sequence[str]) -> None:
    """Fill the cache as `fit` would."""
    _run(CacheCLI, "fit", arguments)


def _run(cli: type[BratsCLI], subcommand: str, arguments: Sequence[str]) -> None:
    _quieten()
    try:
        cli([subcommand, *_with_config_of_run(subcommand, arguments)])
    except ArgumentError as error:
        raise ConfigError(" ".join(str(error).split())) from error
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split())) from error
    except UnpicklingError as error:
        raise CheckpointError("the checkpoint holds more than tensors and plain data: it is not loaded") from error
    except ValueError as error:
        # jsonargparse tells what a constructor raised in a text of its own; the original is its cause.
        if isinstance(error.__cause__, BratsError):
            raise error.__cause__ from error
        raise


def _quieten() -> None:
    """Say what this program does; leave out advertisements and notes to developers of libraries."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(
        lambda record: not any(word in record.getMessage() for word in ("litlogger", "TPU", "LeafSpec"))
    )
    for message in (
        r".*LeafSpec.*",
        r".*smaller than the logging interval.*",
        r".*does not have many workers.*",
        r".*exists and is not empty.*",
    ):
        warnings.filterwarnings("ignore", message)


def _with_config_of_run(subcommand: str, arguments: Sequence[str]) -> list[str]:
    """A run goes on from its folder alone: its own configuration is read where no other is given.

    Raises:
        ConfigError: No configuration is given and the run has none.
    """
    options = ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--config", "--run", "--ckpt_path"):
        options.add_argument(name)
    options.add_argument("-c", dest="config")
    options.add_argument("-h", "--help", "--print_config", dest="asks", nargs="?", const=True)
    known, _ = options.parse_known_args(list(arguments))
    if known.config or known.asks or known.run is None:
        return list(arguments)
    config = Path(known.run) / CONFIG
    if not config.is_file():
        raise ConfigError(f"no run in {known.run}: expected {config}; a new run needs a --config")
    # What a run was last continued from is no part of the next command, nor how much of the data training looked at.
    if subcommand == "fit":
        return ["--config", str(config), "--ckpt_path", "null", *arguments]
    whole = [f"--trainer.limit_{part}_batches=null" for part in ("val", "test")]
    return ["--config", str(config), "--ckpt_path", "best", *whole, *arguments]


def _same_data(run: Path, root: Path) -> bool:
    """Whether a run was trained on a folder; a run without a readable configuration is taken to be."""
    try:
        stored = yaml.safe_load((run / CONFIG).read_text())["data"]["root"]
    except (OSError, LookupError, TypeError, yaml.YAMLError):
        return True
    return Path(stored).resolve() == root.resolve()
