"""Runs on several draws of the cases, every part of each scored, and how the scores spread."""

import csv
import json
from pathlib import Path

import pytest
import torch

from brats_lightning.cli import main
from brats_lightning.experiment.scoring import VOLUMES, with_volumes
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.reports.score_files import read_score_file

CONFIG = """
model:
  network:
    class_path: monai.networks.nets.UNet
    init_args: {spatial_dims: 3, in_channels: 4, out_channels: 4, channels: [4, 8], strides: [2]}
  loss: {class_path: monai.losses.DiceFocalLoss, init_args: {softmax: true, to_onehot_y: true}}
  compile: false
data:
  root: cases
  preprocessing: {size: [16, 16, 16]}
  split:
    class_path: brats_lightning.data.splits.RepeatedHoldOut
    init_args: {repeats: 2, validation: 1, test: 1}
  workers: 0
trainer:
  max_epochs: 1
  num_sanity_val_steps: 0
  logger: false
  callbacks:
    - class_path: brats_lightning.model.score_callbacks.ClassScores
    - class_path: brats_lightning.model.score_callbacks.SliceScores
      init_args: {regions: [WT], empty: exclude}
    - class_path: brats_lightning.model.callbacks.BestCheckpoint
      init_args: {monitor: val/iou_macro_with_background}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phantoms: Path) -> Path:
    """An empty working folder with a configuration and six phantoms."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRATS_RUN", raising=False)
    Path("cases").symlink_to(phantoms)
    Path("repeated.yaml").write_text(CONFIG)
    return tmp_path


def cases_in(path: str) -> set[str]:
    with Path(path).open(newline="") as file:
        return {row["case"] for row in csv.DictReader(file)}


def refusal_of(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    return capsys.readouterr().err


def test_volumes_are_scored_once_and_change_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, reference = torch.randint(0, 4, (2, 1, 6, 5, 7), generator=generator)
    wanted = RegionScores(["ET", "WT"], empty="nan", scores=["dice", "reference_volume_ml"], convention="pooled")
    scored = with_volumes(wanted)
    for scores in (wanted, scored):
        scores.update(prediction, reference, spacing_mm=torch.tensor([[1.0, 2.0, 5.0]]), cases=["a"])
    assert scored.scores == ("dice", "reference_volume_ml", "predicted_volume_ml")
    assert (scored.regions, scored.empty, scored.convention) == (wanted.regions, wanted.empty, wanted.convention)
    assert wanted.rows["a"].items() <= scored.rows["a"].items()
    assert scored.rows["a"]["predicted_volume_ml_ET"] == pytest.approx(int((prediction == 3).sum()) / 100)


def test_what_no_callback_logs_cannot_be_monitored(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = ["fit", "--config=repeated.yaml", "--trainer.callbacks=brats_lightning.model.callbacks.BestCheckpoint"]
    said = refusal_of(*fit, "--trainer.callbacks.monitor=val/iou_macro_with_background", capsys=capsys)
    assert "BestCheckpoint monitors 'val/iou_macro_with_background', which is not logged" in said


@pytest.mark.slow
def test_every_part_of_every_repeat_is_scored(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        run = f"--run=runs/r{number}"
        main(["fit", "--config=repeated.yaml", run, f"--data.split.repeat={number}"])
        main(["validate", run, "--part=train", "--grid=native"])
        main(["test", run])
        split = json.loads(Path(f"runs/r{number}/split.json").read_text())
        for part in ("train", "test"):
            assert cases_in(f"runs/r{number}/scores_{part}.csv") == set(split[part])
            assert set(VOLUMES) <= read_score_file(Path(f"runs/r{number}/scores_{part}.csv")).scores.keys()
            assert cases_in(f"runs/r{number}/scores_classes_{part}.csv") == {"all cases"}
            slices = cases_in(f"runs/r{number}/scores_slices_{part}.csv")
            assert {name.partition(" ")[0] for name in slices} == set(split[part])
            assert len(slices) == 31 * len(split[part])
    assert "Classes of train cases on the native grid" in capsys.readouterr().out
    assert json.loads(Path("runs/r0/split.json").read_text()) != split
    main(["repeats", "runs/r0", "runs/r1", "--output=repeats.csv"])
    with Path("repeats.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["part"] for row in rows if row["score"] == "accuracy"] == ["train", "test"]
    assert {(row["part"], row["cases r0"], row["cases r1"]) for row in rows} == {
        ("train", "4", "4"),
        ("test", "1", "1"),
    }
    main(["repeats", "runs/r0", "runs/r1", "--of=classes"])
    assert "micro with background" in capsys.readouterr().out
    Path("elsewhere").symlink_to(Path("cases").resolve())
    other = ["validate", "--config=repeated.yaml", "--part=train", "--ckpt_path=runs/r0/checkpoints/best.ckpt"]
    Path("runs/r0/split.json").rename("split.json")
    assert "--part train scores the cases that a run was trained on" in refusal_of(*other, capsys=capsys)
    assert "part" in refusal_of("test", "--run=runs/r1", "--part=train", capsys=capsys)
