"""Weights & Biases, decided in seconds between online and offline, and never hanging."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import WandbLogger

from brats_lightning.cluster.allocation import own_job
from brats_lightning.cluster.signals import Stopped
from brats_lightning.loggers.wandb_identity import identity
from brats_lightning.loggers.wandb_segments import Tail, is_unsent, segments, tail_of
from brats_lightning.loggers.wandb_server import must_be_offline
from brats_lightning.runs import name_of_run

INIT_SECONDS = 15
FINISH_SECONDS = 60
LONGEST_TAG = 64
"""W&B's limit of characters."""
STEP = "trainer/global_step"
"""Lightning makes it the horizontal axis of every chart."""
log = logging.getLogger(__name__)


class WandbRun(WandbLogger):
    """Weights & Biases, online where it can be reached and offline everywhere else, one run however often restarted.

    Which of the two is decided within three seconds: offline without a key or without a route to the server. The
    variable `WANDB_MODE` and the argument `offline` overrule. Offline runs lie in the run's folder under `wandb` and
    are sent later, with `brats sync`; until then a run that is gone on with stays offline, as its history could not be
    put in order afterwards. At the end of a run whose server was lost, it waits a minute at most.

    Args:
        project: Name of the project.
        entity: Team or user; null takes the key's default.
        name: Of the run; null takes the name of the run's folder.
        group: Runs to compare with each other; `brats` takes the configuration's name.
        job_type: What this run is within its group; `brats` takes `fold-<n>` or `fit`.
        tags: To find it again.
        notes: Free text.
        offline: Never ask for the server.
        save_dir: Folder of the run; `brats` sets it.
    """

    def __init__(
        self,
        *,
        project: str = "brats",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: list[str] | None = None,
        notes: str | None = None,
        offline: bool = False,
        save_dir: Path | None = None,
    ) -> None:
        self._folder = Path(save_dir or ".").resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._has_folder = save_dir is not None
        self._earlier = Tail()
        self._lost = False
        # W&B's telemetry about itself asks for the server even offline, and without a route holds up the exit.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        only_listens = getattr(rank_zero_only, "rank", 0) != 0  # rank 0 alone logs
        offline = offline or only_listens or must_be_offline()
        super().__init__(
            project=project,
            name=name or (name_of_run(self._folder) if save_dir else None),
            save_dir=str(self._folder),
            # Not its `offline=True`: that sets a variable that wandb has already read.
            mode="offline" if offline else None,
            log_model=False,
            entity=entity,
            group=group,
            job_type=job_type,
            tags=tags,
            notes=notes,
        )
        self._wandb_init.pop("anonymous", None)  # Lightning hands over what W&B warns about

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, made when first used; goes offline when the server answers the probe and nothing more."""
        if self._experiment is None:
            self._begin()
        return super().experiment

    def _begin(self) -> None:
        """Go on with the W&B run of this folder, or begin it."""
        import wandb  # noqa: PLC0415 - half a second that offline ranks do not need

        earlier: list[Path] = []
        if self._has_folder:
            self._id = self._wandb_init["id"] = identity(self._folder)
            earlier = segments(self._folder, self._id)
        settings = wandb.Settings(init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS, silent=True)
        self._wandb_init.setdefault("settings", settings)
        if self._wandb_init["mode"] is None and not os.environ.get("WANDB_MODE") and any(map(is_unsent, earlier)):
            log.info("W&B: parts of this run still wait to be sent (brats sync): it is logged offline")
            self._wandb_init["mode"] = "offline"
        try:
            run = super().experiment
        except (wandb.errors.CommError, wandb.errors.UsageError) as error:
            if self._wandb_init["mode"] is not None:
                raise
            log.warning("W&B: %s: this run is logged offline", _first_line(error))
            wandb.teardown()  # its service still holds the id, as if the attempt went on
            self._wandb_init["mode"] = "offline"
            run = super().experiment
        self._earlier = tail_of(earlier)
        if run.starting_step > 0:  # what the server has counts, which may have lost what it was sent last
            step = run.starting_step - 1
            self._earlier = self._earlier if self._earlier.step == step else Tail(step)
        if job := own_job():
            run.config.update({"slurm": job.facts}, allow_val_change=True)

    @rank_zero_only
    def describe(self, facts: Mapping[str, Any], *, tags: Sequence[str] = ()) -> None:
        """Add to the run's configuration, and to its tags those that it does not have.

        Args:
            facts: By their names in the configuration.
            tags: To find the run by.
        """
        if self._experiment is None:
            self._begin()
        run = self.experiment
        run.config.update(dict(facts), allow_val_change=True)
        if new := [tag[:LONGEST_TAG] for tag in tags if tag[:LONGEST_TAG] not in (run.tags or ())]:
            run.tags = (*(run.tags or ()), *new)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add values to the row of a step, which W&B keeps once a later one begins.

        A run that was killed goes on from its last checkpoint and does some steps again, of which W&B has the rows:
        online it would refuse them, and `wandb sync` would append them behind the others under wrong numbers.
        """
        if self._experiment is None:
            self._begin()  # only now is it known what earlier parts hold
        values = dict(metrics)
        if step is None:
            self._log(values, commit=False)
            return
        if step <= self._earlier.step:
            # The last row may lack what came after the process was killed: a validation. It goes into the next one.
            is_last = step == self._earlier.step
            values = {name: value for name, value in values.items() if is_last and name not in self._earlier.names}
        if values:
            self._log({**values, STEP: step}, step=max(step, self._earlier.step + 1))

    def _log(self, values: dict[str, Any], **how: Any) -> None:
        """Log, as long as W&B's own process lives.

        SLURM sends SIGTERM to every process of a step, and W&B's ends of it at once, when this one has yet to save.
        """
        if self._lost:
            return
        try:
            self.experiment.log(values, **how)
        except OSError as error:
            self._lost = True
            log.warning("W&B: its process is gone (%s): nothing more is logged there", _first_line(error))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the W&B run with the training run: the next one of this process is another.

        A run that was asked to stop, and will be gone on with, counts as preempted, neither as finished nor as failed.
        """
        super().finalize(status)
        if self._experiment is None or self._lost:
            return
        exit_code = 0 if status == "success" else 1
        reason = sys.exception()  # Lightning calls this while it handles what ended the training
        with contextlib.suppress(OSError):
            if isinstance(reason, Stopped):
                self._experiment.mark_preempting()
                exit_code = 128 + signal.Signals[reason.signal_name]
            self._experiment.finish(exit_code=exit_code)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
