"""Leaving work that a signal asked to stop: say why and how to go on, put the job back into the queue, end together."""

import logging
import signal
import sys
from pathlib import Path
from typing import NoReturn

from brats_lightning.cluster import signals
from brats_lightning.cluster.allocation import own_job, own_task
from brats_lightning.cluster.requeue import requeue, resubmission
from brats_lightning.cluster.signals import Stopped
from brats_lightning.model.agreement import leave_together, meet

TO_BE_GONE_ON_WITH = 75
"""Exit code of unfinished work (EX_TEMPFAIL of sysexits.h): a script must not go on as if all were done."""
log = logging.getLogger("brats_lightning")


def leave(stopped: Stopped, *, run: Path | None = None) -> NoReturn:
    """End this process, all processes of a run alike.

    Args:
        stopped: Why.
        run: Folder of a training run.

    Raises:
        SystemExit: Always: 75 where the work is to be gone on with, 143 after SIGTERM.
    """
    signals.ignore_termination()
    _end_wandb()
    job = own_job()
    # Tasks that share cases stop, or have ended, one by one: each that is stopped says so.
    if own_task().rank == 0 or not stopped.saved:
        log.info("%s; %s", stopped, f"saved in {stopped.saved}" if stopped.saved else "what is finished is kept")
        if stopped.requeues and job is not None:
            requeue(job, run=run)  # says what to type where that is refused
        elif run is not None:
            log.info("go on with: %s", going_on(run))
    if stopped.saved:  # all processes have come here, and none may end before the job is back in the queue
        meet()
    leave_together()
    raise SystemExit(TO_BE_GONE_ON_WITH if stopped.requeues else 128 + signal.SIGTERM)


def _end_wandb() -> None:
    """Let W&B's own process write and leave: SLURM ends it with the others as soon as the job is re-queued."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()


def going_on(run: Path) -> str:
    """The command that goes on with a run: where it ran as a job, as a job."""
    if (job := own_job()) is not None:
        return resubmission(job, run)
    return f"brats fit --run {run} --ckpt_path auto"
