"""Every configuration is smoke-tested by running it."""

from pathlib import Path

import pytest
import yaml

from brats_lightning.cli import main
from tests.conftest import WriteFigshare

CONFIGS = Path(__file__).parents[1] / "configs"
OVERLAYS = sorted((CONFIGS / "overlays").glob("*.yaml"))
# Shrinks any configuration to a moment on a CPU; what is tested is that the file builds, trains, validates and tests.
HOLD_OUT = ["--data.split.validation=1", "--data.split.test=1"]
SMALL = [
    "--data.workers=0",
    "--data.preprocessing.n4.iterations=[2]",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.num_sanity_val_steps=0",
]
ELSEWHERE = {"predict.yaml", "sweep.yaml"}  # test_predict.py, test_slurm_scripts.py
WINDOWS = [  # patches and windows of 64³ where the files have 128³, on phantoms of 5-mm voxels
    "--data.preprocessing.spacing_mm=4",
    "--data.patches.size=[64,64,64]",
    "--data.augmentation.init_args.size=[64,64,64]",
    "--model.inferer.init_args.roi_size=[64,64,64]",
    "--data.samples_per_epoch=2",
    "--trainer.check_val_every_n_epoch=1",
    "--data.split.folds=3",
]
SLICES = ["--data.preprocessing.size=[32,32,null]", *HOLD_OUT]  # of phantoms with 31 of them
SIZES = {
    "attention_unet2d_mat.yaml": ["--data.patches.size=[48,48,1]", *HOLD_OUT],
    "attention_unet3d.yaml": ["--data.preprocessing.size=[32,32,32]", *HOLD_OUT],
    "demo.yaml": ["--data.preprocessing.size=[16,16,16]", *HOLD_OUT],
    "unet3d.yaml": ["--data.preprocessing.size=[32,32,32]", *HOLD_OUT],
    "dynunet.yaml": [*WINDOWS, "--model.network.init_args.filters=[4,8,8,8,8,8]"],
    "few_cases.yaml": [
        *WINDOWS,
        "--model.network.init_args.filters=[4,8,8,8,8]",
        "--trainer.max_steps=1",
        "--trainer.limit_val_batches=1",
    ],
    "resnet34_unet2d.yaml": ["--data.slices.indices=[15]", *SLICES],
    "segresnet.yaml": [*WINDOWS, "--model.network.init_args.init_filters=8"],
    "segresnet_vae.yaml": [
        *WINDOWS,
        "--model.network.init_args.init_filters=8",
        "--model.network.init_args.input_image_size=[64,64,64]",
    ],
    "swinunetr.yaml": [
        *(word.replace("64,64,64", "64,32,32") for word in WINDOWS),
        "--model.network.init_args.feature_size=12",
    ],
    "unet2d_denoised.yaml": ["--data.preprocessing.size=[32,32,32]", *HOLD_OUT],
    "unet2d_slices.yaml": ["--data.slices.first=12", "--data.slices.last=16", *SLICES],
    "vnet.yaml": ["--data.preprocessing.size=[32,32,32]", *HOLD_OUT],
}
PICTURES = {"attention_unet2d_mat.yaml"}
"""Configurations for `.mat` files."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, and no way to W&B's server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRATS_RUN", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_every_configuration_is_tried_here() -> None:
    assert {path.name for path in CONFIGS.glob("*.yaml")} == {*SIZES, *ELSEWHERE}


@pytest.fixture
def slices(write_figshare: WriteFigshare) -> Path:
    """Folder of four slices of four patients, and of sizes that no stride divides."""
    for number in range(4):
        path = write_figshare(f"{number}.mat", shape=(50 + number, 41), patient=str(number), seed=number)
    return path.parent


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SIZES))
def test_a_configuration_trains_and_is_scored(name: str, phantoms: Path, slices: Path) -> None:
    root = slices if name in PICTURES else phantoms
    main(["fit", f"--config={CONFIGS / name}", "--run=run", f"--data.root={root}", *SMALL, *SIZES[name]])
    scored = "validation" if "--data.split.folds=3" in SIZES[name] else "test"
    kept = "best" if Path("run/checkpoints/best.ckpt").exists() else "last"
    main(["validate" if scored == "validation" else "test", "--run=run", f"--ckpt_path={kept}"])
    ending = "" if kept == "best" else "_last"
    rows = Path(f"run/scores_{scored}{ending}.csv").read_text().splitlines()[1:]
    assert rows
    assert len(rows) % len(yaml.safe_load(Path("run/config.yaml").read_text())["model"]["regions"]) == 0
    case = root / ("0.mat" if name in PICTURES else next(path.name for path in phantoms.glob("BraTS*")))
    main(["predict", str(case), "--checkpoint=run", "--output=predictions"])
    assert Path(f"predictions/{case.stem}.nii.gz").is_file()
    assert list(Path("run/wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_overlay_changes_the_3d_unet(overlay: Path, phantoms: Path) -> None:
    small = [*SMALL, *HOLD_OUT, "--data.preprocessing.bias_field=false", "--trainer.logger=false"]
    if overlay.name == "one_millimetre.yaml":
        # Patches and windows of 32³ where the file has 128³, on phantoms of 5-mm voxels.
        Path("small.yaml").write_text(overlay.read_text().replace("128, 128, 128", "32, 32, 32"))
        overlay = Path("small.yaml")
        small += ["--data.preprocessing.spacing_mm=4"]
    elif overlay.name != "few_steps.yaml":
        small += SIZES["unet3d.yaml"]
    config = [f"--config={CONFIGS / 'unet3d.yaml'}", f"--config={overlay}"]
    main(["fit", *config, "--run=run", f"--data.root={phantoms}", *small])
    assert Path("run/checkpoints/last.ckpt").exists()
