"""The description beside an exported file: what the network expects, what it gives, and whose it is."""

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from brats_lightning.errors import CheckpointError
from brats_lightning.inference.models.checkpoints import Model, digest_of
from brats_lightning.inference.models.spec import LABEL_OF, ModelSpec
from brats_lightning.labels import EDITIONS

PACKAGE = "brats-lightning"
_RECORDED = (PACKAGE, "torch", "monai", "numpy")


def sidecar_of(path: Path) -> Path:
    """Where the description of an exported file lies."""
    return path.with_name(f"{path.name}.json")


def describe(
    spec: ModelSpec, file: Path, *, source: Model, how: str, verification: Mapping[str, Any]
) -> dict[str, Any]:
    """The description of an exported file, as JSON can hold it.

    Args:
        spec: What the network says of itself.
        file: That was exported.
        source: Checkpoint that it comes from.
        how: It was made, such as `traced`.
        verification: Largest difference from the checkpoint's output, and for which images.
    """
    preprocessing = spec.preprocessing
    sizes = {"any_multiple_of": spec.intake.divisor} if spec.intake.divisor else {"exactly": spec.intake.trained}
    axes = ["batch", "channel", "x (to the right)", "y (to the front)", "z (upwards)"]
    return {
        **spec.to_plain(),
        "file": {"name": file.name, "how": how, "bytes": file.stat().st_size, "sha256": digest_of(file)},
        "checkpoint": {"name": source.path.name, "sha256": source.digest},
        "versions": versions(),
        "input": {
            "name": "image",
            "dtype": "float32",
            "axes": axes,
            "channels": list(preprocessing.modalities),
            "size": sizes,
            "resampled_to": preprocessing.size,
            "spacing_mm": preprocessing.spacing_mm,
            "normalisation": preprocessing.normalisation,
        },
        "output": {
            "name": "logits",
            "dtype": "float32",
            "axes": axes,
            "channels": list(spec.output_channels),
            "activation": "softmax" if spec.outputs == "labels" else "sigmoid",
        },
        "editions": edition_values(spec),
        "verification": dict(verification),
    }


def edition_values(spec: ModelSpec) -> dict[str, dict[str, int]]:
    """The value of each of a network's labels in files of every edition that has them all."""
    wanted = {name: LABEL_OF[name] for name in spec.channels if name in LABEL_OF}
    values = {}
    for edition in EDITIONS.values():
        outside = {inside: value for value, inside in reversed(list(edition.values.items()))}
        if outside.keys() >= set(wanted.values()):
            values[edition.name] = {name: outside[inside] for name, inside in wanted.items()}
    return values


def versions() -> dict[str, str]:
    """Of this package and of those that decide what a network gives."""
    return {name: metadata.version(name) for name in _RECORDED}


def write_description(description: Mapping[str, Any], path: Path) -> None:
    """Write a description."""
    path.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def read_description(file: Path, sidecar: Path) -> tuple[ModelSpec, str]:
    """What the description of an exported file says, and the file's SHA-256.

    Args:
        file: That was exported.
        sidecar: Its description.

    Raises:
        CheckpointError: The description is missing, damaged or that of another file.
    """
    try:
        description = json.loads(sidecar.read_text(encoding="utf-8"))
        expected = description["file"]["sha256"]
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{file} has no description {sidecar.name} beside it: expected a file that `brats export` wrote, "
            "together with its description"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{sidecar} cannot be read ({error.strerror})") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{sidecar} is damaged, or no description that `brats export` wrote") from error
    try:
        spec = ModelSpec.from_plain(description)
    except CheckpointError as error:
        raise CheckpointError(f"{sidecar}: {error}") from error
    try:
        digest = digest_of(file)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror})") from error
    if digest != expected:
        raise CheckpointError(
            f"{file} is not the file that {sidecar.name} describes (their SHA-256 differ): export it again"
        )
    return spec, digest
