"""Networks whose channels are nested regions, from a checkpoint to labels."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import nn

from brats_lightning.data.cache import CaseCache
from brats_lightning.data.cases import find_cases
from brats_lightning.data.homes import MemoryHome
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import CheckpointError
from brats_lightning.inference.exporting.export import export
from brats_lightning.inference.models.checkpoints import open_checkpoint
from brats_lightning.inference.models.exported import open_model
from brats_lightning.inference.models.spec import ModelSpec, channels_of, with_own_decision
from brats_lightning.inference.native import NativeLabels
from brats_lightning.inference.postprocessing.postprocess import Argmax, RemoveSmall, Thresholds, plain, postprocess
from brats_lightning.inference.predictor.intake import Intake
from brats_lightning.inference.predictor.predictor import LoadedMember, Predictor, PredictorOptions
from brats_lightning.inference.segmenter import Segmenter
from brats_lightning.model.outputs import decided, label_probabilities

WriteCheckpoint = Callable[..., Path]
CPU = torch.device("cpu")
SMALL = Preprocessing(size=(16, 16, 16), bias_field=False)


def network_of(channels: int) -> dict[str, Any]:
    plan = {"spatial_dims": 3, "in_channels": 4, "out_channels": channels, "channels": [4, 8], "strides": [2]}
    return {"class_path": "monai.networks.nets.UNet", "init_args": plan}


@pytest.fixture
def regions_of(write_checkpoint: WriteCheckpoint) -> WriteCheckpoint:
    """Writes a checkpoint of a network of regions."""

    def write(name: str = "regions.ckpt", *, channels: int = 3, **more: Any) -> Path:
        network = network_of(channels)
        settings = {"network": network, "regions": ["WT", "TC", "ET"], "outputs": "regions"}
        return write_checkpoint(name, network=network, preprocessing=SMALL, hyper_parameters=settings, **more)

    return write


@pytest.mark.parametrize(("channels", "names"), [(3, "WT TC ET"), (4, "WT TC ET RC")])
def test_a_checkpoint_says_what_its_channels_mean(regions_of: WriteCheckpoint, channels: int, names: str) -> None:
    spec = open_checkpoint(regions_of(channels=channels)).spec
    assert (spec.outputs, " ".join(spec.output_channels)) == ("regions", names)
    assert spec.channels == ("background", "NCR", "ED", "ET", "RC")[: channels + 1]
    assert ModelSpec.from_plain(json.loads(json.dumps(spec.to_plain()))) == spec


def test_descriptions_and_checkpoints_without_a_word_are_those_of_labels(write_checkpoint: WriteCheckpoint) -> None:
    spec = open_checkpoint(write_checkpoint()).spec
    settings = spec.to_plain()
    assert settings.pop("outputs") == "labels"
    assert ModelSpec.from_plain(settings) == spec
    assert spec.output_channels == spec.channels
    with pytest.raises(CheckpointError, match="its outputs are 'lesions', unknown to this version"):
        ModelSpec.from_plain({**settings, "outputs": "lesions"})


def test_regions_have_three_channels_or_four(regions_of: WriteCheckpoint) -> None:
    with pytest.raises(CheckpointError, match=r"3 output channels \(WT, TC, ET\), or 4 .*found 5"):
        open_checkpoint(regions_of(channels=5))
    assert channels_of(4, "labels") == channels_of(3, "regions")


@pytest.mark.parametrize("mode", ["whole", "windows"])
def test_probabilities_are_those_of_the_labels(mode: Any) -> None:
    torch.manual_seed(0)
    network, image = nn.Conv3d(4, 3, 1), torch.randn(4, 9, 8, 7)
    options = PredictorOptions(mode=mode, window=(4, 4, 4))
    member = LoadedMember(network, Intake(None))
    found = Predictor([member], options, device=CPU, outputs=["regions"])(image)
    with torch.no_grad():
        assert torch.allclose(found, label_probabilities(network(image[None]), "regions")[0], atol=1e-5)


def test_networks_of_labels_and_of_regions_vote_together(
    write_checkpoint: WriteCheckpoint, regions_of: WriteCheckpoint, phantoms: Path
) -> None:
    paths = write_checkpoint("labels.ckpt", preprocessing=SMALL, regions=["WT", "TC", "ET"]), regions_of()
    models = [open_checkpoint(path) for path in paths]
    sample = CaseCache(SMALL, MemoryHome()).get(find_cases(phantoms).cases[0])
    options = PredictorOptions()
    alone = [Segmenter([model], options=options, device=CPU)([sample]) for model in models]
    together = Segmenter(models, options=options, device=CPU)
    found = together([sample])
    assert torch.allclose(found.probabilities, (alone[0].probabilities + alone[1].probabilities) / 2, atol=1e-6)
    assert together.postprocessing == (Thresholds({}),)
    assert Segmenter(models[:1], options=options, device=CPU).postprocessing == ()


def test_regions_are_decided_each_at_a_half_unless_tuned(regions_of: WriteCheckpoint) -> None:
    tuned = (Thresholds({"ET": 0.3}), RemoveSmall("ET", voxels=5))
    options = PredictorOptions()
    for path, expected in (
        (regions_of("plain.ckpt"), (Thresholds({}),)),
        (regions_of("tuned.ckpt", postprocessing=plain(tuned)), tuned),
    ):
        assert Segmenter([open_checkpoint(path)], options=options, device=CPU).postprocessing == expected
    cleaning = (RemoveSmall("ET", voxels=5),)
    assert with_own_decision(cleaning, "regions") == (Thresholds({}), *cleaning)
    assert with_own_decision((Argmax(),), "regions") == (Argmax(),)
    assert with_own_decision(cleaning, "labels") == cleaning


def test_scoring_predicts_as_prediction_does(regions_of: WriteCheckpoint, phantoms: Path) -> None:
    model = open_checkpoint(regions_of())
    (case, *_), cache = find_cases(phantoms).cases, CaseCache(SMALL, MemoryHome())
    scoring = NativeLabels(
        lambda: [case],
        cache,
        options=PredictorOptions(),
        postprocessing=(),
        trained_on={"smallest": [16] * 3, "largest": [16] * 3},
    )
    sample = cache.get(case)
    with model.member.on(CPU) as network:
        assert isinstance(network, nn.Module)
        scored = scoring(network, sample.image, case.id, outputs="regions")
    found = Segmenter([model], options=PredictorOptions(), device=CPU)([sample])
    assert np.array_equal(scored.prediction.numpy(), found.placement.paste_ras(found.labels))
    assert set(np.unique(found.labels)) > {0}


@pytest.mark.parametrize("form", ["pt", "bundle"])
def test_exports_carry_regions_and_predict_the_same(
    regions_of: WriteCheckpoint, tmp_path: Path, phantoms: Path, form: Any
) -> None:
    checkpoint = regions_of()
    export(checkpoint, tmp_path / "out", (form,))
    path = tmp_path / "out" / ("regions-bundle" if form == "bundle" else "regions.pt")
    sidecar = path / "configs/brats_lightning.json" if form == "bundle" else path.with_name("regions.pt.json")
    description = json.loads(sidecar.read_text())
    assert description["outputs"] == "regions"
    assert description["output"]["channels"] == ["WT", "TC", "ET"]
    assert description["output"]["activation"] == "sigmoid"
    sample = CaseCache(SMALL, MemoryHome()).get(find_cases(phantoms).cases[0])
    options = PredictorOptions()
    one, other = (Segmenter([open_model(each)], options=options, device=CPU)([sample]) for each in (checkpoint, path))
    assert np.array_equal(one.labels, other.labels)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_bundle_decides_as_regions_do(regions_of: WriteCheckpoint, tmp_path: Path, channels: int) -> None:
    export(regions_of(channels=channels), tmp_path, ("bundle",))
    bundle = tmp_path / "regions-bundle"
    parser = ConfigParser(globals=False)
    parser.read_config(bundle / "configs/inference.json")
    steps = parser["postprocessing"]["transforms"]
    chosen = [step for step in steps if step["_target_"] in {"Activationsd", "AsDiscreted", "Lambdad"}]
    parser.config["decision"] = {"_target_": "Compose", "transforms": chosen}
    parser.parse(reset=True)
    decision: Compose = parser.get_parsed_content("decision")
    logits = torch.randn(1, channels, 6, 6, 6)
    found = decision({"pred": logits[0]})["pred"]
    assert torch.equal(torch.as_tensor(found)[0].byte(), decided(logits, "regions")[0])
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    pred = metadata["network_data_format"]["outputs"]["pred"]
    assert list(pred["channel_def"].values()) == ["WT", "TC", "ET", "RC"][:channels]
    labels = postprocess(label_probabilities(logits, "regions")[0], [Thresholds({})], spacing_mm=(1, 1, 1))
    assert (labels == decided(logits, "regions")[0].numpy()).mean() > 0.99  # but where rounding decides
