"""`brats fit`: one YAML file is one experiment, and a run's folder holds all of it."""

import logging
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from jsonargparse.typing import register_type
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from brats_lightning.data.datamodule import BratsDataModule
from brats_lightning.errors import ConfigError
from brats_lightning.loggers.metrics_csv import MetricsCsv
from brats_lightning.loggers.wandb_run import WandbRun
from brats_lightning.model.callbacks import ProgressBar, RandomState
from brats_lightning.model.module import SegmentationModule
from brats_lightning.runs import (
    CHECKPOINTS,
    CONFIG,
    SPLIT,
    claim_run,
    discard_if_empty,
    find_checkpoint,
)

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
        self._settle(chosen)
        chosen.run = self.run
        chosen.trainer.default_root_dir = str(self.run)
        if chosen.trainer.precision is None:
            chosen.trainer.precision = automatic_precision(chosen.trainer.accelerator)
        if chosen.trainer.enable_progress_bar is False:
            self.trainer_defaults["callbacks"] = [RandomState()]

    def _settle(self, chosen: Namespace) -> None:
        wanted = chosen.ckpt_path
        if wanted is not None:
            chosen.ckpt_path = str(find_checkpoint(wanted, chosen.run))
        self.run = run = claim_run(_name_of(chosen), given=chosen.run, continues=wanted is not None)
        chosen.data.split_file = run / SPLIT
        for logger in _as_list(chosen.trainer.logger):
            if isinstance(logger, Namespace) and "save_dir" in logger.get("init_args", {}):
                logger.init_args.save_dir = run

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

    def after_fit(self) -> None:
        """Say where everything lies."""
        if self.trainer.is_global_zero:
            log.info("run folder: %s", self._chosen.run)


def automatic_precision(accelerator: Any) -> str:
    """16-bit mixed precision on a GPU (bfloat16 where it has it), 32 bits elsewhere."""
    if accelerator not in {"auto", "gpu", "cuda"} or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


def _name_of(chosen: Namespace) -> str:
    """A run is named after its first configuration file."""
    files = chosen.get("config") or []
    return Path(str(files[0])).stem if files else "run"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
