from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from brats_lightning.data.bias_field import N4
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import CheckpointError
from brats_lightning.inference.models.checkpoints import intake_of, open_checkpoint
from brats_lightning.inference.models.networks import build_network
from brats_lightning.labels import PLANES, REGIONS
from brats_lightning.model.slice_wise import SliceWise

WriteCheckpoint = Callable[..., Path]
CPU = torch.device("cpu")


def network_of(path: Path) -> Any:
    with open_checkpoint(path).member.on(CPU) as network:
        return network


def test_the_network_computes_as_the_one_that_was_saved(write_checkpoint: WriteCheckpoint) -> None:
    path = write_checkpoint(seed=3)
    torch.manual_seed(3)
    trained = build_network(torch.load(path, weights_only=True)["hyper_parameters"]["network"])
    image = torch.randn(1, 4, 8, 8, 8)
    torch.testing.assert_close(network_of(path)(image), trained(image), rtol=0, atol=0)


def test_a_flipped_bit_is_never_taken_for_a_weight(write_checkpoint: WriteCheckpoint) -> None:
    """PyTorch would load it: it compares no checksum."""
    path = write_checkpoint(seed=3)
    whole, damaged = torch.load(path, weights_only=True), bytearray(path.read_bytes())
    weights = max(whole["state_dict"].values(), key=lambda tensor: tensor.numel()).numpy().tobytes()
    damaged[bytes(damaged).index(weights) + len(weights) // 2] ^= 64
    path.write_bytes(damaged)
    assert str(torch.load(path, weights_only=True)["hyper_parameters"]) == str(whole["hyper_parameters"])
    with pytest.raises(
        CheckpointError, match=r"is damaged \(.+ does not match its checksum\): take another checkpoint"
    ):
        open_checkpoint(path)


def test_a_checkpoint_says_what_prediction_needs(write_checkpoint: WriteCheckpoint) -> None:
    preprocessing = Preprocessing(
        modalities=("t1c", "t1n", "t2w", "t2f"), bias_field=("t1c",), n4=N4(shrink=2), size=None, spacing_mm=2.0
    )
    spec = open_checkpoint(write_checkpoint(preprocessing=preprocessing, regions=["WT", "ET"])).spec
    assert spec.preprocessing == preprocessing
    assert spec.channels == ("background", "NCR", "ED", "ET")
    assert spec.regions == {"WT": REGIONS["WT"], "ET": (3,)}
    assert spec.postprocessing == ()
    assert spec.intake.divisor == 2


@pytest.mark.parametrize(
    ("seen", "size", "trained", "whole"),
    [
        (None, (16, 16, 16), (16, 16, 16), True),
        (None, None, None, True),
        (((16, 16, 16), (16, 16, 16)), (16, 16, 16), (16, 16, 16), True),
        (((32, 32, 32), (32, 32, 32)), None, (32, 32, 32), False),  # volumes differ: one size means patches
        (((30, 31, 32), (40, 41, 42)), None, None, True),
    ],
)
def test_what_it_was_trained_on_tells_patches_from_volumes(
    write_checkpoint: WriteCheckpoint, seen: Any, size: Any, trained: Any, whole: bool
) -> None:
    more = {} if seen is None else {"trained_on": {"smallest": list(seen[0]), "largest": list(seen[1])}}
    intake = open_checkpoint(write_checkpoint(preprocessing=Preprocessing(size=size), **more)).spec.intake
    assert (intake.trained, intake.whole) == (trained, whole)


@pytest.mark.parametrize(
    ("planes", "expected"), [(["axial"], ((16, 12, 1), False)), (["coronal"], (None, True)), (PLANES, (None, True))]
)
def test_slices_of_other_planes_than_axial_are_no_windows_of_a_volume(planes: Any, expected: Any) -> None:
    network = SliceWise(nn.Conv2d(4, 4, 1), planes=list(planes))
    intake = intake_of(network, {"smallest": [16, 12, 1], "largest": [16, 12, 1]}, Preprocessing(size=None))
    assert (intake.trained, intake.whole) == expected


def test_a_run_folder_means_its_best_checkpoint(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    last = write_checkpoint("run/checkpoints/last.ckpt")
    assert open_checkpoint(tmp_path / "run").path == last
    best = write_checkpoint("run/checkpoints/best.ckpt")
    assert open_checkpoint(tmp_path / "run").path == best


def test_files_that_are_no_checkpoint_are_named(write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint .*missing\.ckpt"):
        open_checkpoint(tmp_path / "missing.ckpt")
    cut = write_checkpoint("cut.ckpt")
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="cut short"):
        open_checkpoint(cut)
    text = tmp_path / "text.ckpt"
    text.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"text\.ckpt is no checkpoint"):
        open_checkpoint(text)


def test_another_projects_checkpoint_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": nn.Conv3d(1, 1, 1).state_dict(), "epoch": 3}, path)
    with pytest.raises(CheckpointError, match="another project's checkpoint"):
        open_checkpoint(path)
    torch.save(nn.Conv3d(1, 1, 1).state_dict(), path)
    with pytest.raises(CheckpointError, match="another project's"):
        open_checkpoint(path)


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("code of a checkpoint has run",))


def test_code_in_a_checkpoint_is_never_run(write_checkpoint: WriteCheckpoint) -> None:
    with pytest.raises(CheckpointError, match="more than tensors and plain data"):
        open_checkpoint(write_checkpoint(extra=Bomb()))
    with pytest.raises(CheckpointError, match="more than tensors and plain data"):
        open_checkpoint(write_checkpoint(extra=nn.Conv3d(1, 1, 1)))


def test_only_networks_of_trusted_packages_are_imported(write_checkpoint: WriteCheckpoint) -> None:
    with pytest.raises(CheckpointError, match=r"elsewhere\.Net: allow .* --trust elsewhere"):
        build_network({"class_path": "elsewhere.Net"})
    with pytest.raises(CheckpointError, match=r"elsewhere\.Act"):
        build_network({"class_path": "torch.nn.Sequential", "init_args": {"args": [{"class_path": "elsewhere.Act"}]}})
    with pytest.raises(CheckpointError, match="cannot be built"):
        build_network({"class_path": "torch.nn.NoSuchNetwork"})
    with pytest.raises(CheckpointError, match="cannot be built"):
        build_network({"class_path": "elsewhere.Net"}, trust=("elsewhere",))  # allowed, but not there
    with pytest.raises(CheckpointError, match="does not say which network"):
        build_network(None)


@pytest.mark.parametrize(
    "settings",
    [
        # Functions that say that they give a network, to which jsonargparse would hand any text.
        {"class_path": "torch.fx.graph_module.reduce_graph_module", "init_args": {"body": {}, "import_block": "x"}},
        {"class_path": "torch.hub.load", "init_args": {}},
        {
            "class_path": "brats_lightning.inference.models.networks.build_network",
            "init_args": {"settings": '{"class_path": "elsewhere.Net"}', "trust": ["elsewhere"]},
        },
        {"class_path": "brats_lightning.inference.models.networks.build_network"},
        {"class_path": "torch.nn.Sequential", "init_args": {"args": '[{"class_path": "torch.hub.load"}]'}},
        {"class_path": "torch.nn.Identity", "init_args": {"anything": "os.system"}},
        {"class_path": "torch.nn.Identity", "dict_kwargs": {"a": {"class_path": "subprocess.Popen"}}},
        {"class_path": "monai.losses.PerceptualLoss", "init_args": {"spatial_dims": 3}},  # would load from the net
        {"class_path": "torch.nn.modules.module.register_module_forward_hook"},
    ],
)
def test_nothing_but_classes_of_networks_is_ever_called(settings: Any) -> None:
    with pytest.raises(CheckpointError, match=r"allow that package's code|no class of networks|names and numbers"):
        build_network(settings)


def test_weights_are_never_fetched_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that was trained from downloaded weights is built without them: the file has its own."""
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("it was downloaded"))
    arguments = {"spatial_dims": 2, "in_channels": 3, "out_channels": 4, "pretrained": True}
    build_network({"class_path": "monai.networks.nets.DenseNet121", "init_args": arguments})


@pytest.mark.parametrize(
    "damage",
    [
        {"hyper_parameters": [1]},
        {"hyper_parameters": {"network": {"class_path": "torch.nn.Identity"}}},
        {"state_dict": [1]},
        {"datamodule_hyper_parameters": None},
        {"trained_on": {"a": 1}},
        {"postprocessing": "x"},
    ],
    ids=str,
)
def test_settings_of_any_other_form_end_in_a_sentence_with_the_file(
    write_checkpoint: WriteCheckpoint, damage: dict[str, Any]
) -> None:
    with pytest.raises(CheckpointError, match=r"model\.ckpt"):
        open_checkpoint(write_checkpoint(**damage))


def test_weights_of_another_network_are_named(write_checkpoint: WriteCheckpoint) -> None:
    path = write_checkpoint()
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["network"]["init_args"]["channels"] = [4, 16]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"model\.ckpt: its weights are not those of the network"):
        open_checkpoint(path)


def test_settings_of_a_later_version_are_named(write_checkpoint: WriteCheckpoint) -> None:
    path = write_checkpoint()
    content = torch.load(path, weights_only=True)
    content["datamodule_hyper_parameters"]["preprocessing"]["registration"] = "affine"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="preprocessing has registration, unknown to this version"):
        open_checkpoint(path)


def test_modalities_that_do_not_fit_the_network_are_named(write_checkpoint: WriteCheckpoint) -> None:
    with pytest.raises(CheckpointError, match="does not take images of 3 channels"):
        open_checkpoint(write_checkpoint(preprocessing=Preprocessing(modalities=("t1c", "t2w", "t2f"))))
