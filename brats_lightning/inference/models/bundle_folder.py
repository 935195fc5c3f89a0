"""MONAI bundles that `brats export` wrote, opened again."""

from collections.abc import Sequence
from pathlib import Path

import torch

from brats_lightning.errors import CheckpointError
from brats_lightning.inference.models.checkpoints import CheckpointMember, Model
from brats_lightning.inference.models.networks import build_network
from brats_lightning.inference.models.runtimes import quiet
from brats_lightning.inference.models.sidecar import read_description

WEIGHTS, INFERENCE = "models/model.pt", "configs/inference.json"
SIDECAR = "configs/brats_lightning.json"


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a bundle that `brats export` wrote."""
    return (folder / WEIGHTS).is_file() and (folder / INFERENCE).is_file()


def open_bundle(folder: Path, *, trust: Sequence[str] = ()) -> Model:
    """Open a bundle that `brats export` wrote; its MONAI configuration, which is code, is not read.

    Args:
        folder: Of the bundle.
        trust: Further packages whose networks may be imported.

    Raises:
        CheckpointError: It is damaged, carries code, or names a network that cannot be built from it.
    """
    path = folder / WEIGHTS
    spec, digest = read_description(path, folder / SIDECAR)
    try:
        with quiet():
            weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        network = build_network(spec.network, trust=trust)
        network.load_state_dict(weights, assign=True)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    except Exception as error:  # a file that is no state dictionary can make PyTorch raise anything
        raise CheckpointError(f"{path} does not hold the weights of {spec.network['class_path']}") from error
    return Model(folder, digest, spec, CheckpointMember(network, weights, spec.intake))
