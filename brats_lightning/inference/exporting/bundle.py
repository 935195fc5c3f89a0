"""A MONAI bundle: a folder with weights, a description and a configuration that MONAI's own tools run."""

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from brats_lightning.inference.exporting.bundle_config import inference_config, own_classes
from brats_lightning.inference.models.bundle_folder import INFERENCE, WEIGHTS
from brats_lightning.inference.models.sidecar import PACKAGE, versions
from brats_lightning.inference.models.spec import ModelSpec

_METADATA = "configs/metadata.json"
_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_CONTENTS = {"t1n": "native T1", "t1c": "T1 with contrast agent", "t2w": "T2", "t2f": "T2-FLAIR"}
_LICENCE = """\
Configurations and texts of this bundle: Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0

Weights (models/model.pt): their licence is the choice of whoever trained them, within the terms of the data they were
trained on. Put it here before you pass the bundle on.
"""


def write_bundle(network: nn.Module, spec: ModelSpec, folder: Path) -> str:
    """Write all of a bundle but its description.

    Args:
        network: Whose weights are stored.
        spec: What it says of itself.
        folder: New.

    Returns:
        What it holds.
    """
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True)
    torch.save(dict(network.state_dict()), folder / WEIGHTS)
    config = inference_config(spec, weights=WEIGHTS)
    contents: Mapping[str, Any] = {INFERENCE: config, _METADATA: _metadata(spec, own=bool(own_classes(config)))}
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "docs/README.md").write_text(_readme(spec, own_classes(config)), encoding="utf-8")
    (folder / "LICENSE").write_text(_LICENCE, encoding="utf-8")
    return "weights, configuration"


def _metadata(spec: ModelSpec, *, own: bool) -> dict[str, Any]:
    """As MONAI's schema of bundles has it."""
    found = versions()
    divisor = spec.intake.divisor
    shape: list[Any] = [f"{divisor}*n"] * 3 if divisor else list(spec.intake.trained or ())
    patches = spec.intake.trained is not None and not spec.intake.whole
    needed = {"nibabel": metadata.version("nibabel")} | ({PACKAGE: found[PACKAGE]} if own else {})

    def tensor(kind: str, channels: Mapping[str, str], values: list[int]) -> dict[str, Any]:
        return {
            "type": "image" if kind == "magnitude" else "logits",
            "format": kind,
            "modality": "MR",
            "num_channels": len(channels),
            "spatial_shape": shape,
            "dtype": "float32",
            "value_range": values,
            "is_patch_data": patches,
            "channel_def": dict(channels),
        }

    images = {str(index): _CONTENTS[name] for index, name in enumerate(spec.preprocessing.modalities)}
    labels = {str(index): name for index, name in enumerate(spec.output_channels)}
    return {
        "schema": _SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": "exported by brats-lightning"},
        "monai_version": found["monai"],
        "pytorch_version": found["torch"].partition("+")[0],
        "numpy_version": found["numpy"],
        "required_packages_version": needed,
        "name": "BraTS segmentation",
        "task": "Segmentation of brain tumours in MRI",
        "description": f"{spec.network['class_path'].rpartition('.')[2]} for {', '.join(spec.channels[1:])}",
        "authors": "whoever trained it",
        "copyright": "see LICENSE",
        "intended_use": "Research. Not a medical device.",
        "network_data_format": {
            "inputs": {"image": tensor("magnitude", images, [])},
            "outputs": {"pred": tensor("segmentation", labels, [])},
        },
    }


def _readme(spec: ModelSpec, own: Sequence[str]) -> str:
    """What whoever opens the bundle has to know."""
    settings = spec.preprocessing
    names = ", ".join(f"{value} {name}" for value, name in enumerate(spec.channels))
    differences = [
        "Files are read by MONAI: their oddities are neither checked nor put right.",
        "On the way back to the files' grid MONAI interpolates probabilities, `brats` averages them: borders vary.",
    ]
    if settings.spacing_mm:
        differences.append(
            "MONAI keeps the spacing exact and lets the field of view give way; in `brats` a whole number of voxels "
            "fills the field of view exactly."
        )
    if spec.postprocessing:
        differences.append("The steps tuned for this network (`postprocessing` in the description) are not applied.")
    if own:
        differences.append(
            f"{' and '.join(name.rpartition('.')[2] for name in own)}: MONAI has no equal; the class of "
            "brats-lightning is used, which must be installed."
        )
    listed = "\n".join(f"* {line}" for line in differences)
    return f"""\
# BraTS segmentation

`{spec.network["class_path"]}` on {", ".join(settings.modalities)}, in this order.
Research software, not a medical device.

```bash
pip install fire nibabel                                           # of MONAI's tools; ignite is not needed
python -m monai.bundle run --config_file configs/inference.json --bundle_root . --dataset_dir CASES --output_dir OUT
```

CASES holds a folder for each case; `modality_files` in `configs/inference.json` lists how the files end. OUT gets a
label map for each case on the grid of its files: {names}.
`configs/brats_lightning.json` lists the values that these labels have in each edition of BraTS.

`brats predict --checkpoint` takes this folder too. MONAI's steps give what `brats` gives, with these differences:

{listed}

A configuration of MONAI is code: run none that you do not trust.
"""
