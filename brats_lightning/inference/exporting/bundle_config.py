"""The `inference.json` of a MONAI bundle: this project's preprocessing and prediction in MONAI's own words."""

from collections.abc import Mapping
from typing import Any

from brats_lightning.data.bias_field import BiasFieldCorrectiond
from brats_lightning.data.denoising import Denoised
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.transforms import NormaliseBraind
from brats_lightning.inference.models.spec import ModelSpec
from brats_lightning.labels import CHALLENGE_REGIONS, EDITIONS, LABELS, MODALITIES, Modality

Config = dict[str, Any]


def inference_config(spec: ModelSpec, *, weights: str) -> Config:
    """What `python -m monai.bundle run` needs to segment a folder of cases; no ignite, no download.

    Args:
        spec: What the network says of itself.
        weights: Its file, from the bundle's root.
    """
    network = {"_target_": spec.network["class_path"], **spec.network.get("init_args", {})}
    return {
        "imports": ["$import pathlib", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/cases'",
        "output_dir": "$@bundle_root + '/eval'",
        "weights": f"$@bundle_root + '/{weights}'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "modality_files": [file_patterns(name) for name in spec.preprocessing.modalities],
        "files": "$[[next(str(file) for pattern in patterns for file in sorted(case.glob(pattern)))"
        " for patterns in @modality_files]"
        " for case in sorted(pathlib.Path(@dataset_dir).iterdir()) if case.is_dir()]",
        "network_def": network,
        "network": "$@network_def.eval().requires_grad_(False).to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": preprocessing_steps(spec)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': files} for files in @files]",
            "transform": "@preprocessing",
        },
        "inferer": _inferer(spec),
        "postprocessing": {"_target_": "Compose", "transforms": _postprocessing_steps(spec)},
        "segment": "$lambda case: @postprocessing({**case,"
        " 'pred': @inferer(case['image'].as_tensor()[None].to(@device), @network)[0].cpu()})",
        "initialize": ["$@network_def.load_state_dict(torch.load(@weights, map_location='cpu', weights_only=True))"],
        "run": ["$[@segment(case)['pred'].shape for case in @dataset]"],
    }


def file_patterns(modality: Modality) -> list[str]:
    """How the files of a modality end in the editions that give every modality a file."""
    index = MODALITIES.index(modality)
    names = {edition.modality_names[index] for edition in EDITIONS.values() if edition.name not in {"2015", "MSD"}}
    return [f"*[-_]{name}.nii*" for name in sorted(names)]


def preprocessing_steps(spec: ModelSpec) -> list[Config]:
    """From `{"image": [a file for each modality]}` to the image that the network takes."""
    both = ["image", "brain"]
    settings = spec.preprocessing
    steps: list[Config] = [
        {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
        {"_target_": "CopyItemsd", "keys": "image", "names": "brain"},  # it records every step for the way back
        {"_target_": "Orientationd", "keys": both, "axcodes": "RAS", "labels": None},
        {"_target_": "Lambdad", "keys": "brain", "func": "$lambda x: (x != 0).any(0, keepdim=True).float()"},
        *_bias_field(settings),
        *_denoising(settings),
    ]
    if settings.crop:
        crop = {"source_key": "brain", "margin": settings.crop_margin, "allow_smaller": True}
        steps.append({"_target_": "CropForegroundd", "keys": both, **crop})
    if settings.size:
        kept = [edge or -1 for edge in settings.size]  # MONAI's word for an axis that stays as it is
        resize = {"spatial_size": kept, "mode": "trilinear", "align_corners": False}
        steps.append({"_target_": "Resized", "keys": both, **resize})
    elif settings.spacing_mm:
        space = {"pixdim": [settings.spacing_mm] * 3, "mode": "bilinear", "padding_mode": "border"}
        steps.append({"_target_": "Spacingd", "keys": both, **space, "align_corners": False, "scale_extent": True})
    steps.append({"_target_": "Lambdad", "keys": "brain", "func": "$lambda x: (x > 0.5).float()"})
    steps += _normalisation(settings)
    divisor = spec.intake.divisor or 1
    if divisor > 1 and not settings.fixed_size:
        steps.append({"_target_": "DivisiblePadd", "keys": both, "k": divisor})
    return steps


def own_classes(config: Mapping[str, Any]) -> list[str]:
    """Classes of this package that a configuration names."""
    steps = config["preprocessing"]["transforms"]
    return [step["_target_"] for step in steps if step["_target_"].startswith("brats_lightning.")]


def _bias_field(settings: Preprocessing) -> list[Config]:
    """MONAI has no N4."""
    corrected = settings.modalities if settings.bias_field is True else settings.bias_field or ()
    if not corrected:
        return []
    n4 = {"_target_": _path(type(settings.n4)), **_listed(vars(settings.n4))}
    channels = [settings.modalities.index(name) for name in corrected]
    correct = {"_target_": _path(BiasFieldCorrectiond), "keys": "image"}
    return [{**correct, "mask_key": "brain", "channels": channels, "options": n4}]


def _denoising(settings: Preprocessing) -> list[Config]:
    if settings.denoise is None:
        return []
    options = {"_target_": _path(type(settings.denoise)), **vars(settings.denoise)}
    return [{"_target_": _path(Denoised), "keys": "image", "mask_key": "brain", "options": options}]


def _normalisation(settings: Preprocessing) -> list[Config]:
    if settings.normalisation != "zscore":
        own = {"_target_": _path(NormaliseBraind), "keys": "image"}
        return [{**own, "mask_key": "brain", "method": settings.normalisation}]
    return [
        {"_target_": "MaskIntensityd", "keys": "image", "mask_key": "brain"},
        {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
    ]


def _inferer(spec: ModelSpec) -> Config:
    trained = spec.intake.trained
    if trained is None or spec.intake.whole:
        return {"_target_": "SimpleInferer"}
    return {"_target_": "SlidingWindowInferer", "roi_size": list(trained), "overlap": 0.5, "mode": "gaussian"}


def _postprocessing_steps(spec: ModelSpec) -> list[Config]:
    """Probabilities go back to the grid of the files, and are decided there."""
    back = {"keys": "pred", "orig_keys": "brain", "transform": "@preprocessing", "nearest_interp": False}
    name = {"keys": "pred", "output_dir": "@output_dir", "output_postfix": "seg", "separate_folder": False}
    return [
        {"_target_": "Activationsd", "keys": "pred", "softmax" if spec.outputs == "labels" else "sigmoid": True},
        {"_target_": "Invertd", **back},
        *_decision(spec),
        {"_target_": "SaveImaged", **name, "output_dtype": "$torch.uint8", "resample": False, "print_log": False},
    ]


def _decision(spec: ModelSpec) -> list[Config]:
    """The most probable label; or WT, in it TC, in that ET, each from 0.5 on, and outside of WT the cavity.

    Of tumour a mask of 1, as the edition `mask` has it.
    """
    if spec.outputs == "labels":
        return [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}]
    if spec.outputs == "tumour":
        return [{"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}]
    names = spec.output_channels
    wt, tc, et = (f"x[{names.index(name)}:{names.index(name) + 1}]" for name in CHALLENGE_REGIONS)
    ed, ncr = LABELS["ED"], LABELS["NCR"]
    labels = f"{wt} * ({ed} + {tc} * ({ncr - ed} + {et} * {LABELS['ET'] - ncr}))"
    if "RC" in names:
        rc = names.index("RC")
        labels += f" + (1 - {wt}) * x[{rc}:{rc + 1}] * {LABELS['RC']}"
    return [
        {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
        {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda x: {labels}"},
    ]


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _listed(values: Mapping[str, Any]) -> Config:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
