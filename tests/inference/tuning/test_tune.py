"""The whole command on runs whose network nobody trained."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from brats_lightning.cli import main
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.inference.models.checkpoints import open_checkpoint
from brats_lightning.inference.postprocessing.postprocess import steps_of
from brats_lightning.inference.tuning.tune import store

WriteCheckpoint = Callable[..., Path]
POINT = {"class_path": "torch.nn.Conv3d", "init_args": {"in_channels": 4, "out_channels": 4, "kernel_size": 1}}


def shy(network: nn.Module) -> None:
    """Tumour is what is bright in FLAIR, and never the most probable label."""
    assert isinstance(network, nn.Conv3d)
    assert network.bias is not None
    network.weight.zero_()
    network.weight[2, 3] = 1.0
    network.bias.copy_(torch.tensor([2.0, -3.0, -0.6, -3.0]))


@pytest.fixture
def write_run(write_checkpoint: WriteCheckpoint, phantoms: Path, tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, validation: list[str]) -> Path:
        preprocessing = Preprocessing(size=None)
        stored = {"preprocessing": asdict(preprocessing), "root": str(phantoms), "cache": "none", "cache_dir": "cache"}
        write_checkpoint(
            f"{name}/checkpoints/best.ckpt",
            network=POINT,
            preprocessing=preprocessing,
            change=shy,
            datamodule_hyper_parameters=stored,
        )
        split: dict[str, Any] = {"train": [], "validation": validation, "test": [], "left_out": {}}
        (tmp_path / name / "split.json").write_text(json.dumps(split))
        return tmp_path / name

    return write


def tune(*arguments: object) -> None:
    main(["tune-postprocessing", *map(str, arguments), "--metric", "dice_WT", "--workers", "0"])


def dice_of_whole_tumour(run: Path, phantoms: Path, case: str, folder: Path, *more: str) -> float:
    shutil.rmtree(folder, ignore_errors=True)
    arguments = ["--checkpoint", str(run), "--output", str(folder / "p"), "--workers", "0"]
    main(["predict", str(phantoms / case), *arguments, *more])
    main(
        ["evaluate", "--predictions", str(folder / "p"), "--references", str(phantoms / case), "--output", str(folder)]
    )
    with (folder / "scores.csv").open() as file:
        return next(float(row["dice"]) for row in csv.DictReader(file) if row["region"] == "WT")


def test_what_is_found_is_saved_and_used_and_reported_from_other_folds(
    write_run: Callable[..., Path], phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = sorted(path.name for path in phantoms.glob("BraTS*"))
    runs = [write_run("fold-0", cases[:3]), write_run("fold-1", cases[3:])]
    before = dice_of_whole_tumour(runs[0], phantoms, cases[0], tmp_path / "before")
    tune("--runs", *runs)
    said = capsys.readouterr().out
    assert "saved in" in said
    assert "Thresholds" in said
    with (runs[0] / "postprocessing.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == set(cases)
    assert {row["fold"] for row in rows} == {str(run) for run in runs}
    found = yaml.safe_load((runs[0] / "postprocessing.yaml").read_text())["postprocessing"]
    assert (
        steps_of(found) == open_checkpoint(runs[0]).spec.postprocessing == open_checkpoint(runs[1]).spec.postprocessing
    )
    # What the report says of a case without steps is what the two other commands say of it.
    reported = {row["case"]: float(row["before"]) for row in rows}
    assert reported[cases[0]] == pytest.approx(before, abs=0.002)  # probabilities are kept in 16 bits
    after = dice_of_whole_tumour(runs[0], phantoms, cases[0], tmp_path / "after")
    assert after > before + 0.1
    undone = dice_of_whole_tumour(runs[0], phantoms, cases[0], tmp_path / "undone", "--postprocessing", "[]")
    assert undone == before
    assert not list(runs[0].glob(".tuning-*"))


def test_networks_of_regions_are_held_against_their_own_thresholds(
    write_run: Callable[..., Path], phantoms: Path, tmp_path: Path
) -> None:
    cases = sorted(path.name for path in phantoms.glob("BraTS*"))
    run = write_run("run", cases)
    checkpoint = run / "checkpoints/best.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["outputs"] = "regions"
    content["hyper_parameters"]["network"]["init_args"]["out_channels"] = 3
    weight = torch.zeros(3, 4, 1, 1, 1)
    weight[:, 3] = 1.0
    content["state_dict"] = {"network.weight": weight, "network.bias": torch.tensor([-1.0, -4.0, -6.0])}
    torch.save(content, checkpoint)
    tune("--runs", run, "--folds", 2, "--save", "never")
    with (run / "postprocessing.csv").open() as file:
        reported = {row["case"]: float(row["before"]) for row in csv.DictReader(file)}
    itself = dice_of_whole_tumour(run, phantoms, cases[0], tmp_path / "itself")
    assert 0 < itself == pytest.approx(reported[cases[0]], abs=0.002)


def test_networks_of_tumour_are_tuned_for_the_whole_tumour_alone(
    write_run: Callable[..., Path], phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = sorted(path.name for path in phantoms.glob("BraTS*"))
    run = write_run("run", cases)
    checkpoint = run / "checkpoints/best.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"] |= {"outputs": "tumour", "regions": ["WT"]}
    content["hyper_parameters"]["network"]["init_args"]["out_channels"] = 1
    weight = torch.zeros(1, 4, 1, 1, 1)
    weight[:, 3] = 1.0
    content["state_dict"] = {"network.weight": weight, "network.bias": torch.tensor([-2.5])}
    torch.save(content, checkpoint)
    tune("--runs", run, "--folds", 2)
    steps = open_checkpoint(run).spec.postprocessing
    assert steps
    assert {name for step in steps for name in step.named} == {"WT"}
    with (run / "postprocessing.csv").open() as file:
        rows = list(csv.DictReader(file))
    before, after = (sum(float(row[side]) for row in rows) for side in ("before", "after"))
    assert 0 < before < after
    with pytest.raises(SystemExit):
        main(["tune-postprocessing", "--runs", str(run), "--workers", "0"])
    said = capsys.readouterr().err
    assert (
        "no tissues apart cannot be tuned for dice_mean_WT_TC_ET: expected a score of WT, such as --metric dice_WT"
        in said
    )


def test_nothing_is_saved_unless_that_is_wished(write_run: Callable[..., Path], phantoms: Path) -> None:
    cases = sorted(path.name for path in phantoms.glob("BraTS*"))
    run = write_run("run", cases)
    untouched = (run / "checkpoints/best.ckpt").read_bytes()
    tune("--runs", run, "--folds", 2, "--save", "never")
    assert (run / "checkpoints/best.ckpt").read_bytes() == untouched
    assert (run / "postprocessing.yaml").is_file()


def test_a_checkpoint_keeps_everything_else(write_checkpoint: WriteCheckpoint) -> None:
    path = write_checkpoint(epoch=7)
    weights = torch.load(path, weights_only=True)["state_dict"]
    store(path, [{"class_path": "KeepLargest", "init_args": {"region": "WT"}}])
    content = torch.load(path, weights_only=True)
    assert content["epoch"] == 7
    assert content["state_dict"].keys() == weights.keys()
    assert all(torch.equal(content["state_dict"][name], weights[name]) for name in weights)
    (step,) = open_checkpoint(path).spec.postprocessing
    assert type(step).__name__ == "KeepLargest"


def test_what_does_not_fit_is_named(
    write_run: Callable[..., Path], phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = sorted(path.name for path in phantoms.glob("BraTS*"))

    def refused(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main(["tune-postprocessing", *map(str, arguments), "--workers", "0"])
        assert stop.value.code == 1
        return capsys.readouterr().err

    run = write_run("run", cases[:2])
    assert "cannot tune for 'beauty'" in refused("--runs", run, "--metric", "beauty")
    assert "no checkpoint" in refused("--runs", tmp_path / "nowhere")
    assert "not folds of one split" in refused("--runs", run, write_run("other", cases[1:3]))
    assert "which" in refused("--runs", write_run("gone", ["BraTS2021_99999"]))
    (run / "split.json").unlink()
    assert "which cases it was validated on is not known" in refused("--runs", run)
