import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from brats_lightning.cli import main
from brats_lightning.experiment.training import automatic_precision

TINY = """
model:
  network:
    class_path: monai.networks.nets.UNet
    init_args: {spatial_dims: 3, in_channels: 4, out_channels: 4, channels: [4, 8], strides: [2], dropout: 0.2}
  loss: {class_path: monai.losses.DiceFocalLoss, init_args: {softmax: true, to_onehot_y: true}}
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 1.0e-2}}
  scheduler: {class_path: torch.optim.lr_scheduler.CosineAnnealingLR, init_args: {T_max: 6}}
data:
  root: cases
  preprocessing: {size: [16, 16, 16]}
  augmentation:
    - {class_path: monai.transforms.RandFlipd, init_args: {keys: [image, label], prob: 0.5, spatial_axis: 0}}
    - {class_path: monai.transforms.RandGaussianNoised, init_args: {keys: image, prob: 0.5}}
  split: {class_path: brats_lightning.data.splits.HoldOut, init_args: {validation: 1, test: 1}}
  workers: 0
trainer:
  max_epochs: 2
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  logger: false
  callbacks:
    - class_path: brats_lightning.model.callbacks.BestCheckpoint
    - class_path: brats_lightning.model.callbacks.LastCheckpoint
"""
PLATEAU = [
    "--model.scheduler=pytorch_lightning.cli.ReduceLROnPlateau",
    "--model.scheduler.monitor=val/loss",
    "--model.scheduler.patience=0",
    "--model.scheduler.threshold=10",  # every epoch counts as a bad one, so that the rate falls
]

CONVOLUTION = {"in_channels": 4, "out_channels": 4, "kernel_size": 1}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phantoms: Path) -> Path:
    """An empty working folder with a configuration and six phantoms."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRATS_RUN", raising=False)
    Path("cases").symlink_to(phantoms)
    Path("tiny.yaml").write_text(TINY)
    return tmp_path


def fails(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Standard error of a command that must exit with 1 and no traceback."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.splitlines()[-1]


def weights(run: str, name: str = "last") -> dict[str, torch.Tensor]:
    checkpoint = torch.load(Path(run) / "checkpoints" / f"{name}.ckpt", weights_only=True)
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return state


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_folder_holds_all_of_a_run(home: Path) -> None:
    main(["fit", "--config", "tiny.yaml"])
    run = home / "runs" / "tiny"
    files = {"config.yaml", "split.json", "checkpoints", "metrics.csv", "facts.json"}
    assert {path.name for path in run.iterdir()} == files
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    split = json.loads((run / "split.json").read_text())
    assert [len(split[part]) for part in ("train", "validation", "test")] == [4, 1, 1]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["augmentation"][0]["init_args"]["keys"] == ["image", "label"]
    assert config["trainer"]["precision"] == "32-true"
    scored = [row for row in rows(run / "metrics.csv") if row["val/loss"]]
    assert [row["epoch"] for row in scored] == ["0", "1"]
    regions = {
        f"val/{score}_{region}" for score in ("dice", "iou", "hd95_mm") for region in ("ET", "ED", "NCR", "WT", "TC")
    }
    means = {f"val/{score}_mean_{trio}" for score in ("dice", "iou", "hd95_mm") for trio in ("ET_ED_NCR", "WT_TC_ET")}
    assert regions | means | {"val/accuracy", "train/loss_epoch"} <= set(scored[0])


def test_a_checkpoint_carries_what_prediction_needs_as_plain_data(home: Path) -> None:
    main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs=1"])
    checkpoint = torch.load("runs/tiny/checkpoints/best.ckpt", weights_only=True)
    network = checkpoint["hyper_parameters"]["network"]
    assert network["class_path"] == "monai.networks.nets.UNet"
    assert network["init_args"]["channels"] == [4, 8]
    assert checkpoint["hyper_parameters"]["regions"] == ["ET", "ED", "NCR", "WT", "TC"]
    preprocessing = checkpoint["datamodule_hyper_parameters"]["preprocessing"]
    assert list(preprocessing["modalities"]) == ["t1n", "t1c", "t2w", "t2f"]
    assert list(preprocessing["size"]) == [16, 16, 16]


@pytest.mark.parametrize("schedule", [[], pytest.param(PLATEAU, marks=pytest.mark.slow)], ids=["cosine", "plateau"])
def test_stopping_and_continuing_changes_no_weight(home: Path, schedule: list[str]) -> None:
    fit = ["fit", "--config", "tiny.yaml", *schedule]
    main([*fit, "--run=runs/uncut", "--trainer.max_epochs=4"])
    main([*fit, "--run=runs/cut", "--trainer.max_epochs=2"])
    assert not same(weights("runs/uncut"), weights("runs/cut"))
    main(["fit", "--run=runs/cut", "--ckpt_path=last", "--trainer.max_epochs=4"])
    uncut, cut = (torch.load(f"runs/{run}/checkpoints/last.ckpt", weights_only=True) for run in ("uncut", "cut"))
    assert uncut["global_step"] == cut["global_step"] == 8
    assert same(uncut["state_dict"], cut["state_dict"])
    assert uncut["lr_schedulers"] == cut["lr_schedulers"]
    assert rows(Path("runs/uncut/metrics.csv")) == rows(Path("runs/cut/metrics.csv"))


@pytest.mark.slow
def test_a_run_that_was_moved_keeps_its_best_score(home: Path) -> None:
    """Lightning forgets the best score when the folder's path has changed, and a worse epoch would take its place."""
    main(["fit", "--config", "tiny.yaml", "--run=runs/a", "--trainer.max_epochs=3"])
    Path("runs/a").rename("elsewhere")
    main(["fit", "--run=elsewhere", "--ckpt_path=last", "--trainer.max_epochs=4"])
    checkpoint = torch.load("elsewhere/checkpoints/last.ckpt", weights_only=True)
    (best,) = [state for name, state in checkpoint["callbacks"].items() if name.startswith("BestCheckpoint")]
    scores = [row["val/dice_mean_ET_ED_NCR"] for row in rows(Path("elsewhere/metrics.csv"))]
    assert float(best["best_model_score"]) == pytest.approx(max(float(score) for score in scores if score))
    assert Path(best["best_model_path"]).resolve() == Path("elsewhere/checkpoints/best.ckpt").resolve()
    assert {path.name for path in Path("elsewhere/checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert not Path("runs/a").exists()


@pytest.mark.slow
def test_another_seed_gives_another_run(home: Path) -> None:
    for run, options in (("a", []), ("b", []), ("c", ["--seed_everything=1"]), ("d", ["--data.seed=1"])):
        main(["fit", "--config", "tiny.yaml", f"--run=runs/{run}", "--trainer.max_epochs=1", *options])
    assert same(weights("runs/a"), weights("runs/b"))
    assert not same(weights("runs/a"), weights("runs/c"))
    assert not same(weights("runs/a"), weights("runs/d"))


def test_the_configuration_wins_over_what_a_checkpoint_stored(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lightning puts a checkpoint's hyper-parameters over YAML and command line when it is given as a file."""
    main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs=1"])
    checkpoint = "runs/tiny/checkpoints/last.ckpt"
    main(["validate", "--config", "tiny.yaml", "--ckpt_path", checkpoint, "--model.empty=nan"])
    assert {row["empty_masks"] for row in rows(Path("runs/tiny/scores_validation_last.csv"))} == {"nan"}
    refused = fails(
        "fit", "--run=runs/tiny", f"--ckpt_path={checkpoint}", "--model.network.channels=[4,16]", capsys=capsys
    )
    assert "weights are not those of the configured UNet" in refused


def test_a_run_is_scored_from_its_folder_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = "--trainer.callbacks+=brats_lightning.reports.pictures.OverlayPictures"
    main(["fit", "--config", "tiny.yaml", pictures])
    config = Path("runs/tiny/config.yaml").read_text()
    Path("runs/tiny").rename("runs/moved")
    capsys.readouterr()
    main(["test", "--run=runs/moved"])
    table = capsys.readouterr().out
    assert "runs/moved/checkpoints/best.ckpt" in table
    assert "1 case · voxel accuracy" in table
    scores = rows(Path("runs/moved/scores_test.csv"))
    case = json.loads(Path("runs/moved/split.json").read_text())["test"][0]
    assert [(row["case"], row["region"]) for row in scores] == [
        (case, name) for name in ("ET", "ED", "NCR", "WT", "TC")
    ]
    assert {row["grid"] for row in scores} == {"native"}
    assert Path(f"runs/moved/figures/scores_test/{case}.png").stat().st_size > 10_000
    assert Path("runs/moved/config.yaml").read_text() == config
    assert not Path("runs/tiny").exists()


def test_scores_are_those_of_the_files_that_predict_writes(home: Path) -> None:
    """The same case by the other door: `brats predict` writes a file, `brats evaluate` scores it."""
    main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs=1"])
    main(["test", "--run=runs/tiny"])
    (case,) = json.loads(Path("runs/tiny/split.json").read_text())["test"]
    main(["predict", f"cases/{case}", "--checkpoint", "runs/tiny", "--output", "predictions"])
    main(["evaluate", "--predictions", "predictions", "--references", f"cases/{case}", "--output", "evaluated"])
    tested = rows(Path("runs/tiny/scores_test.csv"))
    evaluated = {row["region"]: row for row in rows(Path("evaluated/scores.csv"))}
    for row in tested:
        for score in ("dice", "iou", "hd95_mm", "accuracy"):
            assert float(row[score]) == pytest.approx(float(evaluated[row["region"]][score]), abs=1e-9)


def test_scores_can_be_taken_on_the_grid_that_the_network_sees(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs=1"])
    main(["validate", "--run=runs/tiny", "--grid=preprocessed"])
    (row, *_) = rows(Path("runs/tiny/scores_validation_preprocessed.csv"))
    logged = rows(Path("runs/tiny/metrics.csv"))[-1]
    assert row["grid"] == "preprocessed"
    assert float(row["dice"]) == pytest.approx(float(logged[f"val/dice_{row['region']}"]), abs=1e-5)
    refused = fails("test", "--run=runs/tiny", "--grid=preprocessed", "--inference.flips=[0]", capsys=capsys)
    assert "for --grid native" in refused


def test_a_run_that_never_validated_is_scored_on_all_its_cases(home: Path) -> None:
    last = "--trainer.callbacks=brats_lightning.model.callbacks.LastCheckpoint"
    main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs=1", "--trainer.limit_val_batches=0", last])
    main(["validate", "--run=runs/tiny", "--ckpt_path=last"])
    assert {row["case"] for row in rows(Path("runs/tiny/scores_validation_last.csv"))} == set(
        json.loads(Path("runs/tiny/split.json").read_text())["validation"]
    )


def test_runs_never_overwrite_each_other(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs=1"])
    assert {path.name for path in Path("runs").iterdir()} == {"cache", "tiny", "tiny-2"}
    refused = fails("fit", "--config", "tiny.yaml", "--run=runs/tiny", capsys=capsys)
    assert refused.startswith("brats: runs/tiny holds a run with checkpoints")


def test_cache_fills_ahead_and_fit_finds_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["cache", "--config", "tiny.yaml"])
    entries = {path: path.stat().st_mtime_ns for path in Path("runs/cache").iterdir()}
    assert len(entries) == 6
    assert "Preprocessing cases" in capsys.readouterr().out
    main(["cache", "--config", "tiny.yaml"])
    main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs=1"])
    assert "Preprocessing cases" not in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in Path("runs/cache").iterdir()} == entries


@pytest.mark.slow
@pytest.mark.parametrize("home_of_cases", ["memory", "none"])
def test_every_cache_gives_the_same_run(home: Path, home_of_cases: str) -> None:
    main(["fit", "--config", "tiny.yaml", "--run=runs/disk", "--trainer.max_epochs=1"])
    main(
        ["fit", "--config", "tiny.yaml", "--run=runs/other", "--trainer.max_epochs=1", f"--data.cache={home_of_cases}"]
    )
    assert same(weights("runs/disk"), weights("runs/other"))


def test_configurations_stack_and_the_command_line_comes_last(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("over.yaml").write_text("trainer: {max_epochs: 7}\ndata: {batch_size: 3}\n")
    fit = ["fit", "--config", "tiny.yaml", "--config", "over.yaml", "--data.batch_size=4", "--print_config"]
    with pytest.raises(SystemExit, match="0"):
        main(fit)
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["trainer"]["max_epochs"] == 7
    assert printed["data"]["batch_size"] == 4
    assert printed["model"]["network"]["init_args"]["channels"] == [4, 8]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--data.rot=x"], "data.rot"),
        (["--model.network.class_path=monai.networks.nets.UNett"], "UNett"),
        (["--config=absent.yaml"], "absent.yaml"),
        (["--data.root=absent"], "/absent: expected one that holds case folders"),
        (["--data.preprocessing.spacing_mm=1"], "size and spacing_mm exclude each other"),
        (["--model.regions=[XX]"], "unknown region XX"),
        (["--model.network.in_channels=3"], "the network does not take images of shape [2, 4, 16, 16, 16]"),
        (["--model.network.out_channels=3"], "needs a network with 4 output channels, found 3"),
        (["--data.preprocessing.size=[15,16,16]"], "size"),
        (["--data.split.validation=4", "--data.split.test=4"], "no case is left to train on"),
        (["--ckpt_path=last"], "--ckpt_path last needs a --run"),
        (["--ckpt_path=last", "--run=runs/absent"], "no checkpoint runs/absent/checkpoints/last.ckpt"),
        (["--trainer.max_epoch=3"], "max_epoch"),
        (["--data.split.validation=0"], "the split has no validation cases"),
        (["--model.regions=[WT]"], "BestCheckpoint monitors 'val/dice_mean_ET_ED_NCR', which is not logged"),
        ([*PLATEAU, "--model.scheduler.monitor=val/los"], "ReduceLROnPlateau monitors 'val/los'"),
        (
            [
                "--data.slices.planes=[coronal]",
                "--model.network=brats_lightning.model.slice_wise.SliceWise",
                "--model.network.network=torch.nn.Conv2d",
                *(f"--model.network.network.{name}={value}" for name, value in CONVOLUTION.items()),
            ],
            "model.network cuts volumes in axial slices, and data.slices.planes is ['coronal']",
        ),
        (["--trainer.devices=0"], "devices"),
        (["--data.workers=-1"], "data.workers must not be negative"),
        (["--ckpt_path=tiny.yaml"], "is no checkpoint, or one that was cut short"),
        (["--data.cache_dir=tiny.yaml/cache"], "cache folder"),
        (["--run=tiny.yaml/run"], "run folder"),
    ],
)
def test_mistakes_end_in_one_sentence(
    home: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in fails("fit", "--config=tiny.yaml", *options, capsys=capsys)


def test_a_folder_that_is_no_run_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run in runs/absent" in fails("test", "--run=runs/absent", capsys=capsys)
    assert "needs a --run or a --ckpt_path" in fails("test", "--config=tiny.yaml", capsys=capsys)


def test_unusable_cases_stop_a_run_before_it_starts(
    home: Path, write_case: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cases").unlink()  # `write_case` writes below this folder
    for number in range(15):
        folder = write_case(f"BraTS2021_000{number:02}", seed=number)
        if number >= 3:
            (folder / f"{folder.name}_t2.nii.gz").write_bytes(b"broken")
    fit = ["fit", "--config=tiny.yaml", "--trainer.max_epochs=1"]
    with pytest.raises(SystemExit, match="1"):
        main(fit)
    refused = capsys.readouterr().err
    assert "12 problems in 12 cases" in refused
    assert refused.count("_t2.nii.gz") == 10
    assert "and 2 more" in refused
    assert not Path("runs/tiny").exists()
    split = "--data.split.validation=0.2"
    main([*fit, "--data.skip_invalid=true", "--data.split.test=0", split])
    stored = json.loads(Path("runs/tiny/split.json").read_text())
    assert len(stored["left_out"]) == 12
    assert set(stored["train"]) | set(stored["validation"]) <= {f"BraTS2021_0000{number}" for number in range(3)}


@pytest.mark.parametrize(
    ("accelerator", "gpu", "bfloat16", "precision"),
    [
        ("auto", True, True, "bf16-mixed"),
        ("gpu", True, False, "16-mixed"),
        ("cpu", True, True, "32-true"),
        ("auto", False, False, "32-true"),
    ],
)
def test_precision_follows_the_machine(
    accelerator: str, gpu: bool, bfloat16: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bfloat16)
    assert automatic_precision(accelerator) == precision


def test_scoring_never_changes_the_runs_split(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--config=tiny.yaml", "--trainer.max_epochs=1", "--data.split.test=2"])
    split = Path("runs/tiny/split.json").read_text()
    victim = json.loads(split)["test"][0]
    Path("copy").mkdir()
    for case in Path("cases").iterdir():
        (Path("copy") / case.name).symlink_to(case.resolve())
    (Path("copy") / victim).unlink()
    (Path("copy") / victim).mkdir()
    Path("cases").unlink()
    Path("copy").rename("cases")
    main(["test", "--run=runs/tiny", "--data.skip_invalid=true"])
    assert "1 case ·" in capsys.readouterr().out
    assert Path("runs/tiny/split.json").read_text() == split


@pytest.mark.slow
def test_an_abbreviated_option_is_refused_rather_than_overruled(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--config=tiny.yaml", "--trainer.max_epochs=1"])
    assert "--ckpt" in fails("validate", "--run=runs/tiny", "--ckpt=last", capsys=capsys)
    main(["validate", "--run=runs/tiny", "--ckpt_path=last"])
    assert "runs/tiny/checkpoints/last.ckpt" in capsys.readouterr().out
    assert {row["checkpoint"] for row in rows(Path("runs/tiny/scores_validation_last.csv"))} == {
        "runs/tiny/checkpoints/last.ckpt"
    }


@pytest.mark.slow
def test_other_data_are_scored_as_a_whole_unless_the_run_has_seen_them(
    home: Path, write_case: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", "--config=tiny.yaml", "--trainer.max_epochs=1"])
    Path("cases").rename("phantoms")
    for number in range(2):
        write_case(f"BraTS2021_0000{number}", seed=number)
    Path("cases").rename("elsewhere")
    Path("phantoms").rename("cases")
    main(["test", "--run=runs/tiny", "--data.root=elsewhere"])
    assert {row["case"] for row in rows(Path("runs/tiny/scores_test_elsewhere.csv"))} == {
        "BraTS2021_00000",
        "BraTS2021_00001",
    }
    trained = json.loads(Path("runs/tiny/split.json").read_text())["train"][0]
    Path("elsewhere", trained).symlink_to((Path("cases") / trained).resolve())
    refused = fails("test", "--run=runs/tiny", "--data.root=elsewhere", capsys=capsys)
    assert f"{trained}: trained on or validated on by the run" in refused


def test_a_checkpoint_that_lies_alone_is_scored_beside_itself(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--config=tiny.yaml", "--trainer.max_epochs=1"])
    Path("alone").mkdir()
    Path("runs/tiny/checkpoints/last.ckpt").rename("alone/mine.ckpt")
    main(["validate", "--config=tiny.yaml", "--ckpt_path=alone/mine.ckpt"])
    assert len(rows(Path("alone/scores_validation_mine_cases.csv"))) == 6 * 5
    assert {path.name for path in Path("runs").iterdir()} == {"cache", "tiny"}


@pytest.mark.slow
def test_other_modalities_are_pictured_under_their_names(home: Path) -> None:
    modalities = ["--data.preprocessing.modalities=[t1c,t2f]", "--model.network.in_channels=2"]
    pictures = "--trainer.callbacks+=brats_lightning.reports.pictures.OverlayPictures"
    main(["fit", "--config=tiny.yaml", "--trainer.max_epochs=1", *modalities, pictures])
    main(["test", "--run=runs/tiny"])
    assert len(list(Path("runs/tiny/figures/scores_test").glob("*.png"))) == 1


def test_a_run_is_gone_on_with_from_another_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["fit", "--config=tiny.yaml", "--trainer.max_epochs=1"])
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    main(["fit", "--run=../runs/tiny", "--ckpt_path=last", "--trainer.max_epochs=2"])
    assert list(Path().iterdir()) == []


def test_failed_starts_leave_no_folder(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails("fit", "--config=tiny.yaml", "--ckpt_path=typo.ckpt", capsys=capsys)
    fails("fit", "--config=tiny.yaml", "--data.root=absent", capsys=capsys)
    assert not Path("runs/tiny").exists()


def test_a_start_that_is_refused_leaves_the_run_as_it_was(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--config=tiny.yaml", "--run=run", "--trainer.max_epochs=1"])
    before = Path("run/config.yaml").read_bytes()
    refused = ["--run=run", "--ckpt_path=auto", "--model.network.channels=[4,16]", "--trainer.max_epochs=2"]
    assert "weights are not those of the configured UNet" in fails("fit", "--config=tiny.yaml", *refused, capsys=capsys)
    assert Path("run/config.yaml").read_bytes() == before
    main(["fit", "--run=run", "--ckpt_path=auto", "--trainer.max_epochs=2"])
    assert yaml.safe_load(Path("run/config.yaml").read_text())["trainer"]["max_epochs"] == 2


def test_an_empty_folder_that_was_there_stays(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("there").mkdir()
    for run, stays in (("there", True), ("new", False)):
        fails("fit", "--config=tiny.yaml", f"--run={run}", "--data.root=nowhere", capsys=capsys)
        assert Path(run).exists() is stays
