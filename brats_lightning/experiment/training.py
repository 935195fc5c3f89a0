"""`brats fit`: one YAML file is one experiment, and a run's folder holds all of it."""

import logging
import os
from collections.abc import Hashable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from jsonargparse.typing import register_type
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from brats_lightning.cluster.allocation import own_job, own_task
from brats_lightning.cluster.facts import own_facts
from brats_lightning.cluster.lease import Lease
from brats_lightning.cluster.roll_call import roll_call
from brats_lightning.cluster.signals import Stopped
from brats_lightning.data.datamodule import BratsDataModule
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.experiment.facts import facts_of, tags_of
from brats_lightning.experiment.opening import commit, say_start
from brats_lightning.experiment.processes import say_processes, trainer_settings
from brats_lightning.experiment.starts import NotesStarts
from brats_lightning.experiment.stopping import going_on, leave
from brats_lightning.inference.models.checkpoints import read_checkpoint
from brats_lightning.labels import PLANES
from brats_lightning.loggers.metrics_csv import MetricsCsv
from brats_lightning.loggers.wandb_run import WandbRun
from brats_lightning.model.agreement import leave_together, meet
from brats_lightning.model.callbacks import LastCheckpoint, ProgressBar
from brats_lightning.model.early_stopping import StaysStopped
from brats_lightning.model.module import SegmentationModule
from brats_lightning.model.random_state import RandomState
from brats_lightning.model.slice_wise import SliceWise
from brats_lightning.reports.run.settings import read_settings
from brats_lightning.runs import (
    AUTO,
    CONFIG,
    INHERITED,
    SPLIT,
    claim_run,
    discard_if_empty,
    find_checkpoint,
    last_checkpoint,
)

log = logging.getLogger("brats_lightning")

# MONAI annotates the keys of its transforms as Hashable, which jsonargparse could read but not write back.
register_type(Hashable, serializer=lambda key: key, deserializer=lambda key: key)


class SaveRunConfig(SaveConfigCallback):
    """Write the resolved configuration into the run's folder, and make the loggers ready."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """A new run has its configuration before anything takes long, so that it can be gone on with."""
        if stage == "fit" and trainer.is_global_zero and not self._path(trainer).exists():
            self._save(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """What a run is gone on with replaces its configuration only now, when nothing of it was refused."""
        if not trainer.is_global_zero:
            return
        self._save(trainer)
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCsv):
                logger.go_on_from(trainer.global_step)
            logger.log_hyperparams(self.config.as_dict())
            if isinstance(logger, WandbRun):
                facts = facts_of(self.config.as_dict(), trainer.datamodule)  # type: ignore[attr-defined]
                logger.describe(facts, tags=tags_of(facts))

    def _save(self, trainer: Trainer) -> None:
        path = self._path(trainer)
        beside = path.with_name(f".{path.name}")
        try:
            self.parser.save(self.config, beside, skip_none=False, overwrite=True)
            beside.replace(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error.strerror}): give another --run") from error

    @staticmethod
    def _path(trainer: Trainer) -> Path:
        return Path(trainer.default_root_dir) / CONFIG


class BratsCLI(LightningCLI):
    """LightningCLI with run folders, named checkpoints, and the configuration as the only truth."""

    config: Namespace
    datamodule: BratsDataModule
    model: SegmentationModule

    def __init__(self, args: Sequence[str]) -> None:
        quiet = {"exit_on_error": False, "allow_abbrev": False}
        self.run: Path | None = None
        self.lease: Lease | None = None
        self._is_new = False
        self._task = own_task()
        self._processes: dict[str, Any] = {}
        try:
            super().__init__(
                SegmentationModule,
                BratsDataModule,
                save_config_callback=SaveRunConfig,
                trainer_defaults={
                    "use_distributed_sampler": False,  # the data module's samplers know the ranks
                    "logger": {"class_path": f"{WandbRun.__module__}.WandbRun"},
                },
                seed_everything_default=0,
                auto_configure_optimizers=False,
                parser_kwargs={**quiet, **{name: dict(quiet) for name in self.subcommands()}},
                args=list(args),
            )
            meet()
            leave_together()
        finally:
            if self.lease is not None:
                self.lease.release()
            if self.run is not None and self._is_new:
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
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse what `brats` hands over (Lightning would warn that it did not read it from the shell).

        Raises:
            BratsError: A configuration file is none.
        """
        for path in _configurations(args):
            read_settings(path)  # what it refuses may keep jsonargparse busy for ever
        try:
            self.config = parser.parse_args(args)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            if isinstance(error.__cause__, BratsError):
                raise
            raise ConfigError(f"the configuration cannot be used ({error or type(error).__name__})") from error

    def _parse_ckpt_path(self) -> None:
        """A checkpoint gives weights: Lightning would also put its stored settings over the user's."""

    def _set_seed(self) -> None:
        try:
            super()._set_seed()
        except ValueError as error:
            raise ConfigError("seed_everything: expected a whole number from 0 to 4294967295, true or false") from error

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
        if chosen.trainer.precision is None:
            chosen.trainer.precision = automatic_precision(chosen.trainer.accelerator)
        self._meet(chosen)
        chosen.run = self.run
        chosen.trainer.default_root_dir = str(self.run)
        self.trainer_defaults["callbacks"] = _callbacks_of_every_run(chosen.trainer)

    def _meet(self, chosen: Namespace) -> None:
        """Have all processes agree that the run can start, and where; the first one alone claims its folder."""
        problem = ""
        try:
            self._processes = trainer_settings(chosen.trainer, self._task)
        except ConfigError as error:
            problem = str(error)
        if problem and self._task.ranks == 1:
            raise ConfigError(problem)
        facts = own_facts(self._task, reads=[chosen.data.root], commit=commit(), problem=problem)
        given = roll_call(self._task, facts, prepare=lambda: self._settled(chosen))
        if self._task.rank:
            self._follow(chosen, given)

    def _settled(self, chosen: Namespace) -> dict[str, str]:
        """Settle the run on the first process: what the others are told of it."""
        self._settle(chosen)
        if self.subcommand == "fit":
            say_start(self._task, run=Path(str(self.run)), going_on_from=chosen.ckpt_path)
        # Machines whose GPUs differ would choose different precisions by themselves.
        return {"run": str(self.run), "ckpt_path": chosen.ckpt_path or "", "precision": str(chosen.trainer.precision)}

    def _follow(self, chosen: Namespace, given: dict[str, str]) -> None:
        """Do as the first process does; copies that Lightning starts are told nothing, and find its folder."""
        if given:
            os.environ[INHERITED] = given["run"]
            chosen.ckpt_path = given["ckpt_path"] or None
            chosen.trainer.precision = given["precision"]
        self._settle(chosen)

    def _settle(self, chosen: Namespace) -> None:
        """Claim a folder; a job that was re-queued goes on from its own last checkpoint, whatever it began with."""
        wanted, job = chosen.ckpt_path, own_job()
        again = wanted == AUTO or (job is not None and job.restarts > 0)
        if wanted not in {None, AUTO}:
            chosen.ckpt_path = str(sound_checkpoint(wanted, chosen.run))
        self._is_new = chosen.run is None or not chosen.run.exists()
        self.run = run = claim_run(_name_of(chosen), given=chosen.run, continues=wanted is not None, again=again)
        if self._task.rank == 0:
            self.lease = Lease.take(run, job=job)
        if again:
            last = last_checkpoint(run)
            if last is not None or wanted == AUTO:
                chosen.ckpt_path = None if last is None else str(sound_checkpoint(str(last), run))
        chosen.data.split_file = run / SPLIT
        for logger in _as_list(chosen.trainer.logger):
            if isinstance(logger, Namespace) and "save_dir" in logger.get("init_args", {}):
                logger.init_args.save_dir = run
            if isinstance(logger, Namespace) and logger.class_path.endswith(".WandbRun"):
                logger.init_args.group = logger.init_args.group or _name_of(chosen)
                logger.init_args.job_type = logger.init_args.job_type or _job_type(chosen)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer for the processes at hand, with a CSV beside every other logger."""
        settings = dict(self._processes)
        own_plugins = self._get(self.config_init, "trainer").get("plugins")
        settings["plugins"] = [*settings["plugins"], *([] if own_plugins is None else _as_list(own_plugins))]
        trainer = super().instantiate_trainer(**settings, **kwargs)
        # What the others do at the end of an epoch, such as to note the best score, belongs into its checkpoint.
        callbacks: list[Callback] = vars(trainer)["callbacks"]  # which Lightning does not declare
        callbacks.sort(key=lambda callback: isinstance(callback, LastCheckpoint))
        if self.subcommand == "fit":
            trainer.loggers = [MetricsCsv(Path(trainer.default_root_dir)), *trainer.loggers]
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except Stopped as stopped:
            leave(stopped, run=self.run)
        except SystemExit:  # Lightning's answer to Ctrl-C
            self._say_how_to_go_on("stopped")
            raise
        except Exception:
            self._say_how_to_go_on("failed")
            raise

    def _say_how_to_go_on(self, what: str) -> None:
        if self.subcommand == "fit" and self.run is not None and last_checkpoint(self.run) is not None:
            log.info("%s; go on with: %s", what, going_on(self.run))

    def before_fit(self) -> None:
        """Say how many work together; look for what would end a run only after its first epoch.

        Raises:
            ConfigError: Something is monitored that is never logged, encoder weights that do not fit, or volumes that
                would be cut in other planes than the training slices.
        """
        if self._chosen.ckpt_path is None:
            self.model.require_encoder_weights()
        self._require_planes_trained_on()
        say_processes(self.trainer, batch_size=self.datamodule.batch_size)
        callbacks = _as_list(self._get(self.config_init, "trainer").get("callbacks") or [])
        watching = {type(callback).__name__: getattr(callback, "monitor", None) for callback in callbacks}
        if (scheduler := self._chosen.model.scheduler) is not None:
            watching[scheduler.class_path.rpartition(".")[2]] = scheduler.get("init_args", Namespace()).get("monitor")
        logged = [*self.model.logged_names, *(name for each in callbacks for name in getattr(each, "logged_names", []))]
        for name, monitor in watching.items():
            if monitor is not None and monitor not in logged:
                raise ConfigError(
                    f"{name} monitors {monitor!r}, which is not logged: expected one of {', '.join(logged)}"
                )

    def _require_planes_trained_on(self) -> None:
        """Training takes slices as they come: that volumes are cut in another plane would show in scores alone."""
        network, slices = self.model.network, self.datamodule.slices
        if slices is None or not isinstance(network, SliceWise):
            return
        cut = [plane for plane, axis in PLANES.items() if axis in network.axes]
        if foreign := [plane for plane in cut if plane not in slices.planes]:
            raise ConfigError(
                f"model.network cuts volumes in {', '.join(foreign)} slices, and data.slices.planes is "
                f"{list(slices.planes)}: set the planes of SliceWise to some of these"
            )

    def after_fit(self) -> None:
        """Say where everything lies."""
        if self.trainer.is_global_zero:
            log.info("run folder: %s", self._chosen.run)


def automatic_precision(accelerator: Any) -> str:
    """16-bit mixed precision on a GPU (bfloat16 where it has it), 32 bits elsewhere."""
    if accelerator not in {"auto", "gpu", "cuda"} or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


def sound_checkpoint(wanted: str, run: Path | None) -> Path:
    """The file of a checkpoint, opened once: Lightning would load it late, and say nothing that helps.

    Args:
        wanted: `best` or `last` of the run, or a path.
        run: Folder of the run.

    Raises:
        CheckpointError: It is not there, damaged, or holds code.
    """
    path = find_checkpoint(wanted, run)
    read_checkpoint(path)
    return path


def _configurations(arguments: Sequence[str]) -> list[Path]:
    """Files that a command line names as configurations."""
    found = [after for option, after in pairwise(arguments) if option in {"--config", "-c"}]
    found += [argument.partition("=")[2] for argument in arguments if argument.startswith("--config=")]
    return [Path(name) for name in found if Path(name).is_file()]


def _callbacks_of_every_run(trainer: Namespace) -> list[Callback]:
    """What no configuration needs to ask for."""
    callbacks: list[Callback] = [RandomState(), StaysStopped(), NotesStarts()]
    if trainer.enable_progress_bar is not False:
        callbacks.append(ProgressBar())
    asked_for = [callback.class_path.rpartition(".")[2] for callback in _as_list(trainer.callbacks or [])]
    if trainer.enable_checkpointing is not False and not trainer.barebones and LastCheckpoint.__name__ not in asked_for:
        callbacks.append(LastCheckpoint())
    return callbacks


def _name_of(chosen: Namespace) -> str:
    """A run is named after its first configuration file."""
    files = chosen.get("config") or []
    return Path(str(files[0])).stem if files else "run"


def _job_type(chosen: Namespace) -> str:
    """Folds and repeats of one experiment are told apart."""
    split = chosen.data.split
    settings = Namespace() if split is None else split.get("init_args", Namespace())
    numbers = {name: settings.get(name) for name in ("fold", "repeat")}
    return next((f"{name}-{number}" for name, number in numbers.items() if number is not None), "fit")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
