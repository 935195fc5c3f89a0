"""The commands of a run, and what all of them say of their user's mistakes."""

import logging
import os
import platform
import time
import warnings
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch.distributed as dist
from jsonargparse import ArgumentError
from lightning_fabric.utilities.exceptions import MisconfigurationException

from brats_lightning.cluster import signals
from brats_lightning.cluster.allocation import Task, own_task
from brats_lightning.cluster.roll_call import Dismissed
from brats_lightning.errors import BratsError, CheckpointError, ConfigError
from brats_lightning.experiment.caching import CacheCLI
from brats_lightning.experiment.resources import in_words
from brats_lightning.experiment.scoring import ScoringCLI
from brats_lightning.experiment.stopping import TO_BE_GONE_ON_WITH
from brats_lightning.experiment.training import BratsCLI
from brats_lightning.runs import CONFIG

SPEAKS_AFTER_SECONDS = 3
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
log = logging.getLogger("brats_lightning")


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
    task = own_task()
    _quieten(task)
    try:
        _call(cli, [subcommand, *_with_config_of_run(subcommand, arguments)])
    except Dismissed:
        signals.ignore_termination()
        raise SystemExit(1) from None
    except BratsError as error:
        if not task.rank:
            raise
        # Mostly the first process says the same, and ends this one. It waits with its connections open, so that the
        # others notice nothing before it has spoken.
        time.sleep(SPEAKS_AFTER_SECONDS)
        signals.ignore_termination()
        log.error("%s", error)  # noqa: TRY400 - it is the user's
        raise SystemExit(1) from error
    except RuntimeError as error:
        if not (dist.is_available() and dist.is_initialized() and _is_loss_of_another(error)):
            raise
        if signals.asked() is not None:
            log.info("stopped by %s, as another process of this run has ended", signals.asked())
            raise SystemExit(TO_BE_GONE_ON_WITH) from error
        raise BratsError(f"another process of this run has ended: see what it wrote ({_first_line(error)})") from error


def _call(cli: type[BratsCLI], arguments: Sequence[str]) -> None:
    """Call it; everything that is the user's to put right comes as a `BratsError`."""
    try:
        cli(arguments)
    except ArgumentError as error:
        raise ConfigError(" ".join(str(error).split())) from error
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split())) from error
    except UnpicklingError as error:
        raise CheckpointError("the checkpoint holds more than tensors and plain data: it is not loaded") from error
    except (RuntimeError, MemoryError) as error:
        if (sentence := in_words(error)) is None:
            raise
        raise BratsError(sentence) from error
    except ValueError as error:
        # jsonargparse tells what a constructor raised in a text of its own; the original is its cause.
        if isinstance(error.__cause__, BratsError):
            raise error.__cause__ from error
        raise


def _is_loss_of_another(error: RuntimeError) -> bool:
    """Whether a collective failed because its other end is gone: each backend has words of its own."""
    words = (*LOST, "Timed out", "NCCL", "gloo")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


def _first_line(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return next((words for words in LOST if words in line), line)


def _quieten(task: Task) -> None:
    """Say what this program does; leave out advertisements and notes to developers of libraries.

    Of several processes the first says what concerns all, and each marks what concerns it alone.
    """
    level = logging.WARNING if task.rank else logging.INFO
    machine = os.environ.get("SLURMD_NODENAME") or platform.node()
    mark = f"[{task.rank} on {machine}] " if task.ranks > 1 or task.rank else ""
    logging.basicConfig(level=level, format=f"{mark}%(message)s")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(
        lambda record: not any(word in record.getMessage() for word in ("litlogger", "TPU", "LeafSpec"))
    )
    for message in (
        r".*LeafSpec.*",
        r".*smaller than the logging interval.*",
        r".*does not have many workers.*",
        r".*exists and is not empty.*",
        r"The `srun` command is available.*",  # a hint that is wrong for a process alone
        r".*Argument `\w+` has been deprecated.*",  # of MONAI's, whose defaults jsonargparse hands over one by one
        r"It is recommended to use `self.log\(.*sync_dist=True.*",  # all processes log the same
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
