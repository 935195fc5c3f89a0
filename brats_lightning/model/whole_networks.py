"""Callbacks that need all of a network's weights in every process, and strategies under which none has them."""

from pytorch_lightning import Trainer

from brats_lightning.errors import ConfigError

SHARING = ("FSDP", "DeepSpeed", "ModelParallel")
"""In the names of strategies that give each process a part of the network."""


def require_whole_networks(trainer: Trainer, *, why: str) -> None:
    """Look whether every process has the whole network.

    Args:
        trainer: With the strategy.
        why: What needs it and for what: the beginning of the sentence.

    Raises:
        ConfigError: The strategy shares it out.
    """
    if any(word in type(trainer.strategy).__name__ for word in SHARING):
        raise ConfigError(
            f"{why}, and trainer.strategy shares each out over the processes: leave the callback out, or train with "
            "trainer.strategy ddp"
        )
