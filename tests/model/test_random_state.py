import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from brats_lightning.model.random_state import RandomState


def draw() -> tuple[list[float], list[float], list[float]]:
    """The next numbers of the three global generators, Gaussian ones included, which come in pairs."""
    return (
        torch.randn(3).tolist(),
        [*np.random.standard_normal(3), *np.random.random(2)],  # noqa: NPY002 - the global one is meant
        [random.gauss(0, 1), random.random(), random.random()],
    )


def seed(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002 - the global one is meant
    random.seed(number)


def begin(callback: RandomState, *, rank: int = 0) -> None:
    """Training begins on a process of this number."""
    trainer: Any = SimpleNamespace(global_rank=rank)
    callback.on_train_start(trainer, LightningModule())


def through_a_file(state: dict[str, Any], path: Path) -> dict[str, Any]:
    torch.save(state, path)
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


@pytest.mark.parametrize("already_drawn", [0, 1, 5])
def test_all_generators_go_on_from_a_file_without_code(tmp_path: Path, already_drawn: int) -> None:
    seed(3)
    for _ in range(already_drawn):
        draw()
    state = through_a_file(RandomState().state_dict(), tmp_path / "state.pt")
    expected = [draw() for _ in range(3)]
    seed(99)
    callback = RandomState()
    callback.load_state_dict(state)
    begin(callback)
    assert [draw() for _ in range(3)] == expected


def test_states_wait_for_the_start_of_training_and_are_used_once(tmp_path: Path) -> None:
    seed(3)
    callback = RandomState()
    callback.load_state_dict(through_a_file(callback.state_dict(), tmp_path / "state.pt"))
    first = draw()
    assert draw() != first  # loading alone has moved nothing back
    for expected in (True, False):
        begin(callback)
        assert (draw() == first) is expected


def test_a_fresh_run_is_left_alone() -> None:
    seed(3)
    expected = draw()
    seed(3)
    begin(RandomState())
    assert draw() == expected


def test_each_process_begins_with_numbers_of_its_own_that_are_the_same_in_every_run() -> None:
    drawn = []
    for rank in (0, 1, 2, 1):
        seed(3)
        begin(RandomState(), rank=rank)
        drawn.append(draw())
    assert drawn[1] == drawn[3]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert all(one != other for one, other in zip(drawn[first], drawn[second], strict=True))


def test_each_process_has_its_own_state_back_and_a_new_one_begins_apart() -> None:
    states, expected = [], []
    for number in (3, 4):
        seed(number)
        states += RandomState().state_dict()["ranks"]
        expected.append(draw())
    found = []
    for rank in (0, 1, 2):
        seed(99)
        callback = RandomState()
        callback.load_state_dict({"ranks": states})
        begin(callback, rank=rank)
        found.append(draw())
    assert found[:2] == expected
    seed(99)
    assert found[2] not in (*expected, draw())


def test_a_checkpoint_from_before_there_were_several_processes_still_loads() -> None:
    seed(3)
    (state,) = RandomState().state_dict()["ranks"]
    expected = draw()
    callback = RandomState()
    callback.load_state_dict(state)
    begin(callback)
    assert draw() == expected


class Dropping(LightningModule):
    """Draws from all three generators in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def training_step(self, batch: list[torch.Tensor], batch_index: int) -> torch.Tensor:  # noqa: ARG002
        noise = random.random() + np.random.standard_normal()  # noqa: NPY002 - the global one is meant
        loss: torch.Tensor = (self.network(batch[0]) - noise).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


def train(folder: Path, *, epochs: int, checkpoint: Path | None = None, keeps: bool = True) -> torch.Tensor:
    """Weights after training; a run that is continued starts from other random states."""
    seed(99 if checkpoint else 3)
    data = TensorDataset(torch.arange(24.0).reshape(8, 3) / 24)
    saving = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=[saving, RandomState()] if keeps else [saving],
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Dropping()
    loader = DataLoader(data, batch_size=2, generator=torch.Generator().manual_seed(0))
    trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*is not empty",
    "ignore:.*LeafSpec",
    "ignore:.*add the following call",
)
def test_a_run_that_was_stopped_and_continued_is_the_uncut_run_to_the_last_bit(tmp_path: Path) -> None:
    uncut = train(tmp_path / "uncut", epochs=3)
    train(tmp_path / "cut", epochs=1)
    last = tmp_path / "cut" / "last.ckpt"
    stored = last.read_bytes()
    assert torch.equal(train(tmp_path / "cut", epochs=3, checkpoint=last), uncut)
    last.write_bytes(stored)
    assert not torch.equal(train(tmp_path / "cut", epochs=3, checkpoint=last, keeps=False), uncut)
