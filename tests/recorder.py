"""A callback that writes down what each process of a run is trained on; a run's configuration names it."""

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class Recorder(Callback):
    """Lines of JSON in `<run>/seen-<rank>.txt`, one a step, and the weights of each rank at the end.

    A step takes `PAUSE` seconds longer, an environment variable, so that something can happen meanwhile.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        run = Path(trainer.default_root_dir)
        (run / f"process-{trainer.global_rank}.txt").write_text(str(os.getpid()))

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,
        batch_idx: int,
    ) -> None:
        seeds = [int(seed) for seed in batch["seed"]]
        drawn = float(torch.rand(()))  # of the generator that dropout draws from
        seen = [trainer.global_step, trainer.current_epoch, batch_idx, batch["case"], seeds, drawn]
        with (Path(trainer.default_root_dir) / f"seen-{trainer.global_rank}.txt").open("a") as file:
            file.write(json.dumps(seen) + "\n")
        time.sleep(float(os.environ.get("PAUSE", "0")))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = Path(trainer.default_root_dir) / f"weights-{trainer.global_rank}.pt"
        torch.save(dict(pl_module.network.state_dict()), path)  # type: ignore[union-attr]
