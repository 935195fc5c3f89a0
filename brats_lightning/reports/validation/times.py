"""Which of a run's validations are drawn."""

import math

from pytorch_lightning import Trainer
from pytorch_lightning.trainer.states import TrainerFn

PICTURES_OF_A_RUN = 10


def is_drawn(trainer: Trainer, *, every_n_epochs: int | None) -> bool:
    """Whether this validation is one that is drawn; all processes answer alike.

    Args:
        trainer: In whose validation we are.
        every_n_epochs: Between pictures, after those of the first validation and besides those of the last epoch; None
            for about `PICTURES_OF_A_RUN` of them.
    """
    if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking or not _ends_epoch(trainer):
        return False
    last = trainer.max_epochs or -1
    every = every_n_epochs or (math.ceil(last / PICTURES_OF_A_RUN) if last > 0 else PICTURES_OF_A_RUN)
    done = trainer.current_epoch + 1
    before = done - _epochs_apart(trainer)
    return before < 1 or done // every > before // every or done == last


def _epochs_apart(trainer: Trainer) -> int:
    """Of two validations, at most."""
    apart = trainer.check_val_every_n_epoch
    return apart or max(1, math.ceil((trainer.val_check_batch or 1) / trainer.num_training_batches))


def _ends_epoch(trainer: Trainer) -> bool:
    """Whether no further validation follows in this epoch, as far as its length is known."""
    every, batches = trainer.val_check_batch, trainer.num_training_batches
    if not every or math.isinf(batches):
        return True
    done = trainer.fit_loop.epoch_loop.batch_idx + 1
    steps_left = trainer.max_steps - trainer.global_step if trainer.max_steps >= 0 else math.inf
    return done + every > batches or steps_left * trainer.accumulate_grad_batches < every
