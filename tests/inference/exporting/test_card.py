import json
from pathlib import Path

import pytest

from brats_lightning.errors import BratsError
from brats_lightning.inference.exporting.card import TO_FILL_IN, model_card
from brats_lightning.inference.exporting.export import export
from brats_lightning.inference.models.checkpoints import open_checkpoint
from brats_lightning.reports.run.facts import Start, write_starts
from brats_lightning.reports.scores import RegionRow, write_rows
from tests.inference.conftest import WriteCheckpoint


def in_a_run(checkpoint: Path, folder: Path) -> Path:
    """The checkpoint as a run's best, with what else lies in a run's folder."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("{}\n")
    (folder / "split.json").write_text(json.dumps({"train": ["a", "b", "c"], "validation": ["d"], "test": ["e", "f"]}))
    write_starts(folder, [Start("2026-03-05T14:02:31+01:00", commit="abc123", data_sha256="d" * 8)])
    about = {"empty_masks": "brats", "distances": "directed", "grid": "native"}
    scores = {"e": 0.5, "f": 0.7}
    rows = [RegionRow(case, "ET", {"dice": dice}, about) for case, dice in scores.items()]
    write_rows(folder / "scores_test.csv", rows)
    return checkpoint.rename(folder / "checkpoints/best.ckpt")


def test_what_the_run_tells_stands_in_the_card(tmp_path: Path, write_checkpoint: WriteCheckpoint) -> None:
    model = open_checkpoint(in_a_run(write_checkpoint(), tmp_path / "runs/own"))
    card = model_card(model, name="own", files=["own.pt"])
    assert "3 cases trained on, 1 case validated on, 2 cases set aside" in card
    assert "`abc123`" in card
    assert "| ET | 2 | 0.600 | 0.141 |" in card  # the sample's standard deviation of 0.5 and 0.7
    assert "native grid, empty masks by `brats`" in card
    assert model.digest in card
    assert str(tmp_path) not in card


def test_a_checkpoint_by_itself_has_a_card_that_asks(tmp_path: Path, write_checkpoint: WriteCheckpoint) -> None:
    card = model_card(open_checkpoint(write_checkpoint()), name="alone", files=["alone.pt"])
    assert "lies in no run's folder" in card
    assert f"{TO_FILL_IN} `brats test` has not scored it" in card


def test_what_people_have_written_stays(tmp_path: Path, write_checkpoint: WriteCheckpoint) -> None:
    checkpoint = write_checkpoint()
    export(checkpoint, tmp_path / "out", ("pt",))
    (card,) = (tmp_path / "out").glob("*-card.md")
    ours = f"{card.read_text()}\nOurs.\n"
    card.write_text(ours)
    export(checkpoint, tmp_path / "out", ("bundle",))
    assert card.read_text() == ours
    export(checkpoint, tmp_path / "out", ("bundle",), overwrite=True)
    assert card.read_text() != ours


def test_the_card_of_another_checkpoint_is_noticed(tmp_path: Path, write_checkpoint: WriteCheckpoint) -> None:
    export(write_checkpoint(seed=1), tmp_path / "out", ("pt",))
    with pytest.raises(BratsError, match=r"model-card\.md is the card of another checkpoint"):
        export(write_checkpoint(seed=2), tmp_path / "out", ("bundle",))
