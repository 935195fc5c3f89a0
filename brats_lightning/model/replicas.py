"""One copy of the network a process, each with batches of its own, gradients averaged: distributed data parallel."""

from typing import Any

import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from brats_lightning.model.agreement import PATIENCE


class Replicas(DDPStrategy):
    """Lightning's DDP, with validation that may be uneven, and without a second copy of the gradients.

    Lightning validates through DDP's wrapper, which copies the statistics of batch normalisation from the first process
    at each call: processes that have different numbers of cases would wait for each other there. Here each validates
    its own cases with its own copy, and the statistics are copied once, before.

    Args:
        static_graph: Every step uses the same weights in the same way, so that DDP looks for them once.
        find_unused_parameters: Some steps leave weights out.
    """

    def __init__(self, *, static_graph: bool = False, find_unused_parameters: bool = False) -> None:
        super().__init__(
            timeout=PATIENCE,
            gradient_as_bucket_view=True,
            static_graph=static_graph,
            find_unused_parameters=find_unused_parameters,
        )

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Score a batch of this process."""
        assert self.lightning_module is not None  # noqa: S101 - the trainer has set it
        with self.precision_plugin.val_step_context():
            return self.lightning_module.validation_step(*args, **kwargs)

    def on_validation_start(self) -> None:
        """Give all processes the buffers of the first, which are those that checkpoints keep."""
        super().on_validation_start()
        assert self.lightning_module is not None  # noqa: S101
        share_buffers(self.lightning_module)


def share_buffers(module: nn.Module) -> None:
    """Copy the buffers of the first process to all others."""
    for buffer in module.buffers():
        dist.broadcast(buffer, src=0)
