"""Networks that tell tumour from all else, from a checkpoint to files and scores."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import nn

from brats_lightning.cli import main
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.cases import find_cases
from brats_lightning.data.homes import MemoryHome
from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.data.reading import read_reference
from brats_lightning.errors import CheckpointError, ConfigError
from brats_lightning.inference.exporting.export import export
from brats_lightning.inference.models.checkpoints import Model, open_checkpoint
from brats_lightning.inference.models.exported import open_model
from brats_lightning.inference.models.spec import ModelSpec, channels_of
from brats_lightning.inference.native import NativeLabels
from brats_lightning.inference.postprocessing.postprocess import (
    Closing,
    FillHoles,
    KeepLargest,
    RelabelSmall,
    RemoveSmall,
    Step,
    Thresholds,
    plain,
)
from brats_lightning.inference.predictor.predictor import PredictorOptions
from brats_lightning.inference.segmenter import Segmenter
from brats_lightning.labels import MASK, REGIONS, WHOLE
from brats_lightning.model.outputs import decided

WriteCheckpoint = Callable[..., Path]
CPU = torch.device("cpu")
SMALL = Preprocessing(size=(16, 16, 16), bias_field=False)
AS_READ = Preprocessing(size=None, crop=False, bias_field=False)
POINT = {"class_path": "torch.nn.Conv3d", "init_args": {"in_channels": 4, "out_channels": 1, "kernel_size": 1}}
SETTINGS = {"network": POINT, "regions": ["WT"], "outputs": "tumour"}


def bright(network: nn.Module) -> None:
    """Tumour is what is bright in FLAIR."""
    assert isinstance(network, nn.Conv3d)
    assert network.bias is not None
    network.weight.zero_()
    network.weight[0, 3] = 1.0
    network.bias.fill_(-1.0)


@pytest.fixture
def tumour_of(write_checkpoint: WriteCheckpoint) -> WriteCheckpoint:
    """Writes a checkpoint of a network of tumour."""

    def write(name: str = "tumour.ckpt", *, preprocessing: Preprocessing = SMALL, **more: Any) -> Path:
        about = {"network": POINT, "preprocessing": preprocessing, "hyper_parameters": SETTINGS, "change": bright}
        return write_checkpoint(name, **{**about, **more})

    return write


def sample_of(phantoms: Path, preprocessing: Preprocessing = SMALL) -> Sample:
    return CaseCache(preprocessing, MemoryHome()).get(find_cases(phantoms).cases[0])


def segmenter(*models: Model, steps: tuple[Step, ...] | None = None, **options: Any) -> Segmenter:
    return Segmenter(models, options=PredictorOptions(**options), device=CPU, postprocessing=steps)


def test_a_checkpoint_says_what_its_channel_means(tumour_of: WriteCheckpoint) -> None:
    spec = open_checkpoint(tumour_of()).spec
    assert (spec.outputs, spec.channels, spec.output_channels) == ("tumour", ("background", "tumour"), ("tumour",))
    settings = json.loads(json.dumps(spec.to_plain()))
    assert settings["labels"] == {"tumour": WHOLE}
    assert ModelSpec.from_plain(settings) == spec


def test_whole_tumour_of_earlier_descriptions_is_that_of_today(tumour_of: WriteCheckpoint) -> None:
    spec = open_checkpoint(tumour_of()).spec
    earlier = ModelSpec.from_plain({**spec.to_plain(), "regions": {"WT": [1, 2, 3, 5], "own": [1, 2, 3]}})
    assert earlier.regions == {"WT": REGIONS["WT"], "own": (1, 2, 3)}


def test_one_channel_belongs_to_tumour_and_to_nothing_else() -> None:
    for outputs in ("labels", "regions"):
        with pytest.raises(CheckpointError, match=rf"set outputs: tumour, found {outputs}"):
            channels_of(1, outputs)
    with pytest.raises(CheckpointError, match="outputs: tumour needs a network with 1 output channel, found 2"):
        channels_of(2, "tumour")
    with pytest.raises(CheckpointError, match="labels with 4 to 6 output channels, found 2"):
        channels_of(2, "labels")


@pytest.mark.parametrize("options", [{}, {"mode": "windows", "window": (32, 32, 32)}, {"flips": (0, 1)}])
def test_tumour_is_where_the_sigmoid_reaches_a_half(
    tumour_of: WriteCheckpoint, phantoms: Path, options: dict[str, Any]
) -> None:
    model, sample = open_checkpoint(tumour_of(preprocessing=AS_READ)), sample_of(phantoms, AS_READ)
    found = segmenter(model, **options)([sample])
    logits = sample.image[3].float() - 1
    expected = torch.sigmoid(logits)
    inside = found.placement.paste_ras(found.probabilities[1].numpy())
    assert np.abs(inside - expected.numpy()).max() < 1e-6
    labels = found.placement.paste_ras(found.labels)
    clear = np.abs(inside - 0.5) > 1e-6
    assert np.array_equal(labels[clear], np.where(expected >= 0.5, WHOLE, 0)[clear])
    assert torch.allclose(found.probabilities.sum(0), torch.ones(()))
    assert set(np.unique(labels)) == {0, WHOLE}
    if not options:
        assert np.array_equal(labels, decided(logits[None, None], "tumour")[0].numpy())


def test_an_ensemble_is_the_mean_of_its_members(tumour_of: WriteCheckpoint, phantoms: Path) -> None:
    paths = tumour_of("a.ckpt"), tumour_of("b.ckpt", change=None, seed=1)
    models, sample = [open_checkpoint(path) for path in paths], sample_of(phantoms)
    together = segmenter(*models)
    assert together.postprocessing == (Thresholds({}),)
    one, other = (segmenter(model)([sample]).probabilities for model in models)
    assert torch.allclose(together([sample]).probabilities, (one + other) / 2, atol=1e-6)


def test_images_of_different_preprocessing_meet_on_the_patients_grid(
    tumour_of: WriteCheckpoint, phantoms: Path
) -> None:
    models = [open_checkpoint(tumour_of("a.ckpt")), open_checkpoint(tumour_of("b.ckpt", preprocessing=AS_READ))]
    samples = [sample_of(phantoms), sample_of(phantoms, AS_READ)]
    found = segmenter(*models)(samples)
    assert torch.allclose(found.probabilities.sum(0), torch.ones(()), atol=1e-5)
    alone = segmenter(models[1])(samples[1:])
    outside = np.ones(alone.labels.shape, bool)
    first = segmenter(models[0])(samples[:1])
    outside[first.placement.box] = False
    whole = found.placement.paste_ras(found.probabilities[1].numpy())
    assert np.allclose(whole[outside], alone.placement.paste_ras(alone.probabilities[1].numpy())[outside] / 2)


def test_networks_of_labels_and_of_tumour_do_not_vote_together(tumour_of: WriteCheckpoint) -> None:
    model = open_checkpoint(tumour_of())
    tissues = replace(model, spec=replace(model.spec, outputs="labels", channels=channels_of(4)))
    with pytest.raises(CheckpointError, match=r"members of the same labels: .* has background, NCR, ED, ET, .*tumour"):
        segmenter(tissues, model)
    assert (segmenter(tissues).edition, segmenter(model).edition) == (None, MASK)


@pytest.mark.parametrize(
    ("step", "part"),
    [
        (Thresholds({"WT": 0.4, "TC": 0.6}), "TC"),
        (Thresholds({"RC": 0.4}), "RC"),
        (RemoveSmall("ET", voxels=5), "ET"),
        (RemoveSmall("WT", voxels=5, becomes="RC"), "RC"),
        (FillHoles("WT", label="NCR"), "NCR"),
        (RelabelSmall(voxels=5), "ET, NCR"),
        (Closing("TC"), "TC"),
    ],
)
def test_steps_for_parts_of_the_tumour_are_refused_before_anything_is_read(
    tumour_of: WriteCheckpoint, step: Step, part: str
) -> None:
    model = open_checkpoint(tumour_of())
    with pytest.raises(ConfigError, match=rf"{type(step).__name__}: .*knows no {part}: expected steps for WT alone"):
        segmenter(model, steps=(step,))


def test_tuned_steps_are_taken_and_a_lower_threshold_finds_more(tumour_of: WriteCheckpoint, phantoms: Path) -> None:
    tuned = (Thresholds({"WT": 0.3}), KeepLargest("WT"), FillHoles("WT"))
    model, sample = open_checkpoint(tumour_of(postprocessing=plain(tuned))), sample_of(phantoms)
    own = segmenter(model)
    assert own.postprocessing == tuned
    lower, even = own([sample]).labels, segmenter(model, steps=())([sample]).labels
    assert set(np.unique(lower)) == {0, WHOLE}
    assert np.count_nonzero(lower) > np.count_nonzero(even)


def test_scoring_predicts_as_prediction_does_and_compares_masks(tumour_of: WriteCheckpoint, phantoms: Path) -> None:
    model = open_checkpoint(tumour_of())
    (case, *_), cache = find_cases(phantoms).cases, CaseCache(SMALL, MemoryHome())
    sizes = {"smallest": [16] * 3, "largest": [16] * 3}
    options = PredictorOptions()
    scoring = NativeLabels(lambda: [case], cache, options=options, postprocessing=(), trained_on=sizes)
    sample = cache.get(case)
    with model.member.on(CPU) as network:
        assert isinstance(network, nn.Module)
        scored = scoring(network, sample.image, case.id, outputs="tumour")
    found = segmenter(model)([sample])
    assert np.array_equal(scored.prediction.numpy(), found.placement.paste_ras(found.labels))
    labels = read_reference(case)
    assert np.array_equal(scored.reference.numpy() == WHOLE, np.isin(labels, [1, 2, 3]))
    assert set(np.unique(scored.reference)) == {0, WHOLE}


SLOW = [pytest.param(form, marks=pytest.mark.slow) for form in ("pt2", "onnx")]


@pytest.mark.parametrize("form", ["pt", "bundle", *SLOW])
def test_exports_carry_the_mask_and_predict_the_same(
    tumour_of: WriteCheckpoint, tmp_path: Path, phantoms: Path, form: Any
) -> None:
    checkpoint = tumour_of()
    export(checkpoint, tmp_path / "out", (form,))
    path = tmp_path / "out" / ("tumour-bundle" if form == "bundle" else f"tumour.{form}")
    sidecar = path / "configs/brats_lightning.json" if form == "bundle" else path.with_name(f"{path.name}.json")
    description = json.loads(sidecar.read_text())
    assert (description["outputs"], description["labels"]) == ("tumour", {"tumour": WHOLE})
    assert description["output"]["channels"] == ["tumour"]
    assert description["output"]["activation"] == "sigmoid"
    assert description["editions"] == {MASK: {"tumour": 1}}
    one, other = (segmenter(open_model(each))([sample_of(phantoms)]) for each in (checkpoint, path))
    assert np.array_equal(one.labels, other.labels)


def test_a_bundle_gives_a_mask_of_ones(tumour_of: WriteCheckpoint, tmp_path: Path) -> None:
    export(tumour_of(), tmp_path, ("bundle",))
    parser = ConfigParser(globals=False)
    parser.read_config(tmp_path / "tumour-bundle/configs/inference.json")
    steps = parser["postprocessing"]["transforms"]
    chosen = [step for step in steps if step["_target_"] in {"Activationsd", "AsDiscreted"}]
    parser.config["decision"] = {"_target_": "Compose", "transforms": chosen}
    parser.parse(reset=True)
    decision: Compose = parser.get_parsed_content("decision")
    logits = torch.randn(1, 1, 6, 6, 6)
    found = torch.as_tensor(decision({"pred": logits[0]})["pred"])
    assert torch.equal(found[0].byte() * WHOLE, decided(logits, "tumour")[0])
    assert "0 background, 1 tumour" in (tmp_path / "tumour-bundle/docs/README.md").read_text()


def test_masks_are_written_and_scored_for_the_whole_tumour(
    tumour_of: WriteCheckpoint, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = find_cases(phantoms).cases[0]
    checkpoint = tumour_of(preprocessing=Preprocessing(size=None, bias_field=False))
    folder = str(phantoms / case.id)
    options = ["--labels", MASK, "--workers", "0", "--probabilities", "true"]
    main(["predict", folder, "--checkpoint", str(checkpoint), "--output", str(tmp_path / "p"), *options])
    mask = np.asarray(nibabel.load(tmp_path / "p" / f"{case.id}.nii.gz").dataobj)
    probability = np.asarray(nibabel.load(tmp_path / "p" / f"{case.id}_WT_probability.nii.gz").dataobj)
    clear = np.abs(probability - 0.5) > 0.01  # files hold probabilities in steps
    assert np.array_equal(mask[clear], (probability >= 0.5)[clear])
    assert clear.mean() > 0.9
    assert case.label is not None
    reference = np.asarray(nibabel.load(case.label).dataobj) > 0
    capsys.readouterr()
    (tmp_path / "p" / f"{case.id}_WT_probability.nii.gz").unlink()
    folders = ["--predictions", str(tmp_path / "p"), "--references", folder, "--output", str(tmp_path / "e")]
    main(["evaluate", *folders, "--prediction-edition", MASK, "--workers", "1"])
    assert "masks of the whole tumour: scored for WT alone" in capsys.readouterr().out
    with (tmp_path / "e/scores.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["region"] == "WT"
    assert float(row["dice"]) == pytest.approx(2 * (mask[reference] > 0).sum() / (mask.sum() + reference.sum()))
    assert float(row["accuracy"]) == pytest.approx(((mask > 0) == reference).mean())
