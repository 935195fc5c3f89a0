import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from brats_lightning.data.cases import find_cases
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import CheckpointError
from brats_lightning.inference.exporting.export import export
from brats_lightning.inference.models.bundle_folder import is_bundle
from brats_lightning.inference.models.checkpoints import digest_of, open_checkpoint
from brats_lightning.inference.models.exported import open_model
from brats_lightning.labels import EDITIONS
from tests.inference.conftest import WriteCheckpoint

CPU = torch.device("cpu")
SIZED = Preprocessing(size=(16, 20, 24))


def make_bundle(checkpoint: Path, folder: Path) -> Path:
    export(checkpoint, folder, ("bundle",))
    return folder / "model-bundle"


def parser_of(bundle: Path, cases: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(bundle / "configs/inference.json")
    parser.read_meta(bundle / "configs/metadata.json")
    parser.update({"bundle_root": str(bundle), "dataset_dir": str(cases)})
    return parser


@pytest.mark.slow
def test_monai_builds_the_network_and_its_weights_fit(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    checkpoint = write_checkpoint()
    bundle = make_bundle(checkpoint, tmp_path)
    network = parser_of(bundle, tmp_path).get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / "models/model.pt", weights_only=True), strict=True)
    images = torch.randn(1, 4, 18, 16, 20)
    with open_checkpoint(checkpoint).member.on(CPU) as expected, torch.inference_mode():
        torch.testing.assert_close(network(images), expected(images), rtol=0, atol=0)


def test_the_metadata_name_channels_and_requirements(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    settings = Preprocessing(modalities=("t2f", "t1c", "t1n", "t2w"), size=(16, 16, 16))
    bundle = make_bundle(write_checkpoint(preprocessing=settings), tmp_path)
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    required = {"version", "changelog", "monai_version", "pytorch_version", "numpy_version", "task", "description"}
    assert required | {"required_packages_version", "authors", "copyright", "network_data_format"} <= set(metadata)
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["channel_def"] == {"0": "T2-FLAIR", "1": "T1 with contrast agent", "2": "native T1", "3": "T2"}
    assert image["spatial_shape"] == ["2*n", "2*n", "2*n"]
    output = metadata["network_data_format"]["outputs"]["pred"]
    assert output["channel_def"] == {"0": "background", "1": "NCR", "2": "ED", "3": "ET"}
    assert "brats-lightning" not in metadata["required_packages_version"]
    assert "BiasFieldCorrectiond" not in (bundle / "docs/README.md").read_text()


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        (SIZED, 4e-3),  # half precision
        (Preprocessing(size=None, crop_margin=2, modalities=("t1c", "t2f", "t1n", "t2w")), 4e-3),
        (Preprocessing(size=(16, 16, 16), normalisation="percentile", crop=False), 1e-3),
        (Preprocessing(size=(16, 16, 16), normalisation="minmax"), 1e-3),
    ],
)
def test_monai_preprocesses_as_brats_does(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, phantoms: Path, settings: Preprocessing, tolerance: float
) -> None:
    bundle = make_bundle(write_checkpoint(preprocessing=settings), tmp_path)
    (tmp_path / "cases").mkdir()
    case = find_cases(phantoms).cases[0]
    (tmp_path / "cases" / case.id).symlink_to(phantoms / case.id)
    ours = settings(case)
    (theirs,) = parser_of(bundle, tmp_path / "cases").get_parsed_content("dataset")
    x, y, z = ours.grid.shape  # padding follows
    image = theirs["image"].as_tensor()
    assert [length % 2 for length in image.shape[1:]] == [0, 0, 0]
    if settings.size:
        np.testing.assert_allclose(theirs["image"].affine, ours.grid.affine)
        torch.testing.assert_close(image, ours.image.float(), rtol=0, atol=tolerance)
    else:
        starts = [(have - want) // 2 for have, want in zip(image.shape[1:], (x, y, z), strict=True)]
        inner = image[:, starts[0] :, starts[1] :, starts[2] :][:, :x, :y, :z]
        torch.testing.assert_close(inner, ours.image.float(), rtol=0, atol=tolerance)


@pytest.mark.slow
def test_steps_that_monai_lacks_come_from_this_package(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, phantoms: Path
) -> None:
    settings = Preprocessing(size=(16, 16, 16), bias_field=("t1c", "t2f"))
    bundle = make_bundle(write_checkpoint(preprocessing=settings), tmp_path)
    assert "BiasFieldCorrectiond" in (bundle / "docs/README.md").read_text()
    assert "brats-lightning" in (bundle / "configs/metadata.json").read_text()
    (tmp_path / "cases").mkdir()
    case = find_cases(phantoms).cases[0]
    (tmp_path / "cases" / case.id).symlink_to(phantoms / case.id)
    (theirs,) = parser_of(bundle, tmp_path / "cases").get_parsed_content("dataset")
    torch.testing.assert_close(theirs["image"].as_tensor(), settings(case).image.float(), rtol=0, atol=4e-3)


@pytest.mark.parametrize("patches", [False, True])
def test_monai_segments_a_folder_of_cases(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, phantoms: Path, patches: bool
) -> None:
    """On the grid of the files, and with the labels that the network chose."""

    def prefer_oedema(network: torch.nn.Module) -> None:
        biases = [value for name, value in network.named_parameters() if name.endswith("bias")]
        biases[-1].data += torch.tensor([0.0, 0.0, 1e6, 0.0])

    more: dict[str, Any] = {}
    settings = SIZED
    if patches:
        settings = Preprocessing(size=None)
        more["trained_on"] = {"smallest": [16, 16, 16], "largest": [16, 16, 16]}
    checkpoint = write_checkpoint(preprocessing=settings, change=prefer_oedema, **more)
    bundle = make_bundle(checkpoint, tmp_path)
    (tmp_path / "cases").mkdir()
    cases = find_cases(phantoms).cases[:2]
    for case in cases:
        (tmp_path / "cases" / case.id).symlink_to(phantoms / case.id)
    options = {"bundle_root": str(bundle), "dataset_dir": str(tmp_path / "cases"), "output_dir": str(tmp_path / "seg")}
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs/inference.json"), logging_file=False, workflow_type="infer", **options
    )
    workflow.initialize()
    workflow.run()
    for case in cases:
        (path,) = (tmp_path / "seg").glob(f"{case.id}*")
        written, image = nibabel.load(path), nibabel.load(case.images["t1n"])
        assert written.shape == image.shape
        np.testing.assert_allclose(written.affine, image.affine, atol=1e-4)
        assert set(np.unique(np.asarray(written.dataobj))) == {0, 2}
        labels = np.asarray(written.dataobj) == 2
        brain = np.asarray(image.dataobj) > 0
        assert labels[brain].mean() > 0.9  # the last half voxel at the crop's edge may be background


def test_the_files_of_every_edition_are_found(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    bundle = make_bundle(write_checkpoint(), tmp_path)
    for edition in ("2018", "2023", "2024-GLI"):
        folder = tmp_path / edition / "case"
        folder.mkdir(parents=True)
        separator = "-" if edition.startswith("2023") else "_"
        names = [f"case{separator}{name}.nii.gz" for name in EDITIONS[edition].modality_names]
        for name in [*names, f"case{separator}seg.nii.gz"]:
            (folder / name).touch()
        (found,) = parser_of(bundle, tmp_path / edition).get_parsed_content("files")
        assert [Path(file).name for file in found] == names


def test_a_bundle_is_a_model(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    checkpoint = write_checkpoint()
    bundle = make_bundle(checkpoint, tmp_path)
    assert is_bundle(bundle)
    assert not is_bundle(tmp_path)
    model = open_model(bundle)
    assert model.spec == open_checkpoint(checkpoint).spec
    assert model.path == bundle
    (bundle / "configs/inference.json").write_text("{not even JSON")  # which is code, and never read
    assert open_model(bundle).digest == model.digest == digest_of(bundle / "models/model.pt")


def test_damaged_bundles_are_named(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    whole = make_bundle(write_checkpoint(), tmp_path)

    def damaged(name: str) -> Path:
        return shutil.copytree(whole, tmp_path / name)

    bundle = damaged("without-description")
    (bundle / "configs/brats_lightning.json").unlink()
    with pytest.raises(CheckpointError, match=r"model\.pt has no description brats_lightning\.json"):
        open_model(bundle)
    bundle = damaged("changed")
    torch.save({}, bundle / "models/model.pt")
    with pytest.raises(CheckpointError, match="SHA-256 differ"):
        open_model(bundle)
    contents: list[object] = [{"weight": torch.zeros(1)}, [], 3]
    for content in contents:
        torch.save(content, bundle / "models/model.pt")
        description = json.loads((bundle / "configs/brats_lightning.json").read_text())
        description["file"]["sha256"] = digest_of(bundle / "models/model.pt")
        (bundle / "configs/brats_lightning.json").write_text(json.dumps(description))
        with pytest.raises(CheckpointError, match=r"does not hold the weights of monai\.networks\.nets\.UNet"):
            open_model(bundle)
    description["network"]["class_path"] = "os.system"
    (bundle / "configs/brats_lightning.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=r"changed: its network uses os\.system"):
        open_model(bundle)
