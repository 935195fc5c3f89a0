"""The commands of a run, and what all of them say of their user's mistakes."""

import logging
import warnings
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

from jsonargparse import ArgumentError
from lightning_fabric.utilities.exceptions import MisconfigurationException

from brats_lightning.errors import BratsError, CheckpointError, ConfigError
from brats_lightning.experiment.caching import CacheCLI
from brats_lightning.experiment.scoring import ScoringCLI
from brats_lightning.experiment.training import BratsCLI
from brats_lightning.runs import CONFIG


def fit(arguments: Sequence[str]) -> None:
    """Train a network."""
    _run(BratsCLI, "fit", arguments)


def validate(arguments: Sequence[str]) -> None:
    """Score a checkpoint on the validation cases."""
    _run(ScoringCLI, "validate", arguments)


def test(arguments: Sequence[str]) -> None:
    """Score a checkpoint on the test cases."""
    _run(ScoringCLI, "test", arguments)


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
