"""Every configuration is smoke-tested by running it."""

from pathlib import Path

import pytest

from brats_lightning.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
OVERLAYS = sorted((CONFIGS / "overlays").glob("*.yaml"))
# Shrinks any configuration to a moment on a CPU; what is tested is that the file builds, trains, validates and tests.
SMALL = [
    "--data.split.validation=1",
    "--data.split.test=1",
    "--data.workers=0",
    "--data.preprocessing.n4.iterations=[2]",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.num_sanity_val_steps=0",
]
ELSEWHERE = {"predict.yaml"}  # test_predict.py
SIZES = {"demo.yaml": ["--data.preprocessing.size=[16,16,16]"], "unet3d.yaml": ["--data.preprocessing.size=[32,32,32]"]}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, and no way to W&B's server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRATS_RUN", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_every_configuration_is_tried_here() -> None:
    assert {path.name for path in CONFIGS.glob("*.yaml")} == {*SIZES, *ELSEWHERE}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SIZES))
def test_a_configuration_trains_and_is_scored(name: str, phantoms: Path) -> None:
    main(["fit", f"--config={CONFIGS / name}", "--run=run", f"--data.root={phantoms}", *SMALL, *SIZES[name]])
    main(["test", "--run=run"])
    assert Path("run/scores_test.csv").read_text().count("\n") == 6
    assert list(Path("run/wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_overlay_changes_the_3d_unet(overlay: Path, phantoms: Path) -> None:
    small = [*SMALL, "--data.preprocessing.bias_field=false", "--trainer.logger=false"]
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
