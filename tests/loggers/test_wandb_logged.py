"""What really arrives at W&B of a run: read back from its files, and from a server."""

import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
import yaml
from PIL import Image

from brats_lightning.cli import main
from brats_lightning.data.splits import Parts
from brats_lightning.loggers.wandb_segments import records, segments
from brats_lightning.loggers.wandb_sync import sync
from brats_lightning.reports.run.record import digest_of_data, digest_of_split

TINY = """
model:
  network:
    class_path: monai.networks.nets.UNet
    init_args: {spatial_dims: 3, in_channels: 4, out_channels: 4, channels: [4, 8], strides: [2]}
  loss: {class_path: monai.losses.DiceFocalLoss, init_args: {softmax: true, to_onehot_y: true}}
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 1.0e-2}}
data:
  root: cases
  preprocessing: {size: [16, 16, 16]}
  augmentation:
    - {class_path: monai.transforms.RandFlipd, init_args: {keys: [image, label], prob: 0.5, spatial_axis: 0}}
  split: {class_path: brats_lightning.data.splits.KFold, init_args: {folds: 3, fold: 1}}
  workers: 0
trainer:
  max_epochs: 1
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  logger: {class_path: brats_lightning.loggers.wandb_run.WandbRun, init_args: {project: p, tags: [mine]}}
  callbacks:
    - {class_path: brats_lightning.reports.pictures.ValidationPictures, init_args: {cases: 2, every_n_epochs: 1}}
"""
FACTS = {"network", "augmentation", "outputs", "editions", "learning_rate", "commit", "split_sha256", "data_sha256"}
Rows = list[dict[str, Any]]


def fit(run: str, *options: str) -> None:
    """A run, or more of it."""
    os.environ.pop("BRATS_RUN", None)
    main(["fit", "--config", "tiny.yaml", "--run", run, *options])
    wandb.teardown()


def offline_history(run: Path) -> tuple[Rows, dict[str, Any], Any]:
    """Rows, configuration and description of a run's files."""
    rows: Rows = []
    config: dict[str, Any] = {}
    description = None
    for segment in segments(run, (run / "wandb_id").read_text().splitlines()[0]):
        for _, record in records(segment):
            if record.HasField("history"):
                rows.append({})
                put(record.history.item, into=rows[-1])
            if record.HasField("run"):
                description = record.run
            put(record.config.update, into=config)
            put(record.run.config.update, into=config)
    return rows, config, description


def put(items: Any, *, into: dict[str, Any]) -> None:
    """Items of W&B's records as the dictionaries that they were taken out of."""
    for item in items:
        place, names = into, list(item.nested_key) or [item.key]
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = json.loads(item.value_json)


def require_pictures(logged: dict[str, Any], read: Any) -> None:
    """Two cases, none black, with masks that have the labels of phantoms."""
    found = logged["pictures/validation"]
    assert found["count"] == 2
    assert all(" · epoch 1 · Dice ET " in caption for caption in found["captions"])
    for name, masks in zip(found["filenames"], found["all_masks"], strict=True):
        picture = read(name)
        assert picture.dtype == np.uint8
        assert picture.max() > 200
        assert 5 < picture.mean() < 200
        assert set(masks) == {"prediction", "ground_truth"}
        truth = read(masks["ground_truth"]["path"])
        assert set(np.unique(truth)) == {0, 1, 2, 3}
        assert truth.shape == picture.shape[:2]
        assert set(np.unique(read(masks["prediction"]["path"]))) <= {0, 1, 2, 3}


def require_config(config: dict[str, Any], run: Path) -> None:
    """All that the run's own file says, and where its code and data come from."""
    whole = yaml.safe_load((run / "config.yaml").read_text())
    assert {name: config[name] for name in whole} == whole
    assert set(config) >= FACTS
    parts = Parts.read(run / "split.json")
    assert config["split_sha256"] == digest_of_split(parts)
    assert config["data_sha256"] == digest_of_data([*parts.train, *parts.validation, *parts.test], Path("runs/cache"))
    assert len(config["data_sha256"]) == len(hashlib.sha256().hexdigest())
    told = [config[name] for name in ("network", "augmentation", "outputs", "editions", "learning_rate")]
    assert told == ["UNet", "RandFlipd", "labels", "2021", 0.01]
    named = config["_wandb"]["mask/class_labels"]
    assert len(named) >= 2
    for labels in named.values():
        assert {"1": "NCR", "2": "ED", "3": "ET"}.items() <= labels["value"].items()


def kinds_of_files(server: Any, run: str) -> set[str]:
    """Files of a run that have arrived, without what differs from one picture to the next."""
    own = [name.removeprefix(f"store/{run}/") for name in server.state.files if name.startswith(f"store/{run}/")]
    return {re.sub(r"_\d+_[0-9a-f]+\b.*", "", name) for name in own}


TAGS = {"mine", "labels", "UNet", "BraTS 2021"}


@pytest.mark.slow
def test_the_same_arrives_offline_and_online_and_nothing_twice(
    server: Any, nobody: pytest.MonkeyPatch, tmp_path: Path, phantoms: Path
) -> None:
    Path("cases").symlink_to(phantoms)
    Path("tiny.yaml").write_text(TINY)
    nobody.setenv("WANDB_MODE", "offline")
    fit("runs/off")
    time.sleep(1.1)  # W&B names its folders by the second
    fit("runs/off", "--ckpt_path", "last", "--trainer.max_epochs=2")
    rows, config, description = offline_history(Path("runs/off"))
    steps = [int(row["_step"]) for row in rows]
    assert steps == sorted(set(steps))
    drawn = [row for row in rows if "pictures/validation" in row]
    assert [row["epoch"] for row in drawn] == [0, 1]
    folders = sorted(Path("runs/off/wandb").glob("offline-run-*/files"))
    require_pictures(drawn[0], lambda name: np.asarray(Image.open(folders[0] / name)))
    require_config(config, Path("runs/off"))
    assert (description.display_name, description.run_group, description.job_type) == ("off", "tiny", "fold-1")
    assert set(description.tags) == TAGS
    nobody.delenv("WANDB_MODE")

    fit("runs/on", "--trainer.max_epochs=2")
    (arrived,) = server.state.runs.values()
    assert [row["_step"] for row in arrived["history"]] == steps
    of_surfaces = {"pictures/3d"}  # of each session's end
    assert [set(row) - of_surfaces for row in arrived["history"]] == [set(row) - of_surfaces for row in rows]
    assert of_surfaces <= set(arrived["history"][-1]) & set(rows[-1])
    prefix = f"store/{arrived['name']}/"

    def received(name: str) -> Any:
        path = tmp_path / "received.png"
        path.write_bytes(server.state.files[prefix + name])
        return np.asarray(Image.open(path))

    require_pictures(next(row for row in arrived["history"] if "pictures/validation" in row), received)
    require_config({name: entry["value"] for name, entry in arrived["config"].items()}, Path("runs/on"))
    assert (arrived["displayName"], arrived["group"], arrived["jobType"]) == ("on", "tiny", "fold-1")
    assert set(arrived["tags"]) == TAGS
    assert any(name.endswith(".glb") for name in server.state.files)
    sync(Path("runs/off"))
    late = server.state.runs[Path("runs/off/wandb_id").read_text().splitlines()[0]]
    assert [set(row) - of_surfaces for row in late["history"]] == [set(row) - of_surfaces for row in arrived["history"]]
    assert set(late["config"]) == set(arrived["config"])
    require_config({name: entry["value"] for name, entry in late["config"].items()}, Path("runs/off"))
    assert [late[name] for name in ("group", "jobType", "project")] == ["tiny", "fold-1", "p"]
    kinds = [kinds_of_files(server, each["name"]) for each in (arrived, late)]
    assert kinds[0] == kinds[1]
    assert {"media/images/pictures/validation", "media/images/mask/pictures/validation"} <= kinds[0]
    tables = [json.loads(content) for name, content in server.state.files.items() if name.endswith(".table.json")]
    columns = ["epoch", "case", "reference | prediction", *(f"dice_{name}" for name in ("ET", "ED", "NCR", "WT", "TC"))]
    assert tables
    assert all(table["columns"] == columns and len(table["data"]) == 2 for table in tables)
