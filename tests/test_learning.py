"""Every configuration of another published system learns: a small one, on phantoms or synthetic slices, in seconds.

V-Net is left out: 45 million weights that no setting makes fewer learn nothing in seconds.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from brats_lightning.cli import main
from brats_lightning.phantom.folder import phantom
from tests.conftest import WriteFigshare

CONFIGS = Path(__file__).parents[1] / "configs"
QUICK = [
    "--data.workers=0",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.logger=false",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
VOLUMES = [
    "--data.preprocessing.size=[32,32,32]",
    "--data.preprocessing.bias_field=false",
    "--data.augmentation=[]",
    "--data.split.validation=2",
    "--data.split.test=0",
]
FLAT = [
    "--data.preprocessing.size=[48,48,null]",
    "--data.slices.first=4",
    "--data.slices.last=26",
    "--data.split.validation=2",
    "--data.split.test=0",
]
NARROW = "--model.network.init_args.network.init_args.features=[8,16,32,64,64,8]"
LEARN: dict[str, tuple[list[str], str, float]] = {
    "unet2d_slices.yaml": (
        [
            *FLAT,
            NARROW,
            "--trainer.max_epochs=6",
            "--data.batch_size=8",
            "--model.scheduler=null",
            "--model.optimizer.init_args.lr=3e-3",
        ],
        "dice_WT",
        0.6,
    ),
    "unet2d_denoised.yaml": (
        [
            "--data.preprocessing.size=[32,32,32]",
            "--data.preprocessing.n4.iterations=[2]",
            "--data.split.validation=2",
            "--data.split.test=0",
            NARROW,
            "--data.batch_size=8",
            "--model.optimizer.init_args.lr=3e-3",
            "--trainer.max_epochs=6",
        ],
        "dice_WT",
        0.6,
    ),
    "resnet34_unet2d.yaml": (
        [
            "--data.preprocessing.size=[32,32,null]",
            "--data.slices.indices=[12,13,14,15,16,17,18]",
            "--data.split.validation=2",
            "--data.batch_size=8",
            "--model.network.init_args.network.init_args.backbone=resnet18",
            "--model.optimizer.init_args.lr=1e-3",
            "--trainer.max_epochs=6",
        ],
        "iou_WT",
        0.4,
    ),
    "attention_unet2d_mat.yaml": (
        [
            "--data.patches.size=[48,48,1]",
            "--data.split.validation=2",
            "--data.split.test=0",
            "--model.network.init_args.network.init_args.channels=[8,16,32]",
            "--model.network.init_args.network.init_args.strides=[2,2]",
            "--model.optimizer.init_args.lr=0.1",
            "--trainer.max_epochs=10",
        ],
        "dice_WT",
        0.8,
    ),
    "attention_unet3d.yaml": (
        [
            *VOLUMES,
            "--model.network.init_args.channels=[8,16,32]",
            "--model.network.init_args.strides=[2,2]",
            "--model.optimizer.init_args.lr=3e-3",
            "--data.samples_per_epoch=60",
            "--trainer.max_epochs=2",
        ],
        "dice_WT",
        0.5,
    ),
    "segresnet_vae.yaml": (
        [
            "--data.preprocessing.spacing_mm=5",
            "--data.patches.size=[32,32,32]",
            "--data.patches.margin=0",
            "--data.patches.foreground=1",
            "--data.augmentation=[]",
            "--data.split=brats_lightning.data.splits.HoldOut",
            "--data.split.validation=2",
            "--data.samples_per_epoch=64",
            "--model.network.init_args.init_filters=8",
            "--model.network.init_args.input_image_size=[32,32,32]",
            "--model.inferer.init_args.roi_size=[32,32,32]",
            "--model.optimizer.init_args.lr=1e-2",
            "--trainer.callbacks=brats_lightning.model.callbacks.LastCheckpoint",  # no average of so few steps
            "--trainer.max_epochs=1",
            "--trainer.check_val_every_n_epoch=1",
        ],
        "dice_WT",
        0.5,
    ),
}


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of eight small synthetic cases."""
    folder = tmp_path_factory.mktemp("patients") / "cases"
    phantom(folder, cases=8, size=(48, 48, 31), workers=1)
    return folder


@pytest.fixture
def slices(write_figshare: WriteFigshare) -> Path:
    """Folder of twelve slices of as many patients: noise, and a bright blob that is the tumour."""
    generator = np.random.default_rng(0)
    for number in range(12):
        mask = np.zeros((44, 40), np.uint8)
        row, column, radius = generator.integers((12, 12, 4), (28, 28, 9)).tolist()
        rows, columns = np.ogrid[:44, :40]
        mask[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = 1
        image = 100 + 60 * gaussian_filter(generator.standard_normal(mask.shape), 2) + 40 * mask
        path = write_figshare(f"{number}.mat", image=image.astype(np.int16), mask=mask, patient=str(number))
    return path.parent


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LEARN))
def test_a_system_learns(
    name: str, patients: Path, slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRATS_RUN", raising=False)
    options, score, least = LEARN[name]
    root = slices if name.endswith("_mat.yaml") else patients
    main(["fit", f"--config={CONFIGS / name}", "--run=run", f"--data.root={root}", *QUICK, *options])
    with Path("run/metrics.csv").open(newline="") as file:
        found = [float(row[f"val/{score}"]) for row in csv.DictReader(file) if row.get(f"val/{score}")]
    assert max(found) > least
