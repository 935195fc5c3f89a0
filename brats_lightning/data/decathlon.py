"""The Medical Segmentation Decathlon's Task01: one 4-D file a case, its channels named in a JSON file."""

import json
from pathlib import Path
from typing import Any

from brats_lightning.data.case import Case, Volume4D
from brats_lightning.data.naming import walk
from brats_lightning.errors import Problem
from brats_lightning.labels import MODALITIES, Modality


def decathlon_cases(root: Path, problems: list[Problem]) -> list[Case]:
    """Cases of every Task01 folder below a folder.

    Args:
        root: Searched with all its folders.
        problems: Gets what is wrong with descriptions that cannot be used.
    """
    cases = []
    for folder, folders, names in walk(root, []):
        if "dataset.json" not in names or not {"imagesTr", "imagesTs"} & set(folders):
            continue
        description_file = folder / "dataset.json"
        try:
            channels = _msd_channels(json.loads(description_file.read_text()))
        except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
            problems.append(
                Problem(folder.name, description_file.name, f"no usable description ({error})", "restore it")
            )
            continue
        for path in sorted(path for part in ("imagesTr", "imagesTs") for path in (folder / part).glob("*.nii*")):
            if path.name.startswith("."):
                continue  # the archive is full of macOS's shadow files
            label = folder / "labelsTr" / path.name
            case = path.name.partition(".")[0]
            images: dict[Modality, Path | Volume4D] = {name: Volume4D(path, at) for name, at in channels.items()}
            cases.append(Case(case, case, "MSD", images, label if label.exists() else None))
    return cases


def _msd_channels(description: Any) -> dict[Modality, int]:
    """Channel of each modality; refuses a label table that is not Task01's."""
    labels = {int(value): name.lower() for value, name in description["labels"].items()}
    if labels.get(1) != "edema" or not labels.get(3, "").startswith("enhancing"):
        raise ValueError(f"expected the labels 1 edema, 2 non-enhancing, 3 enhancing tumour, found {labels}")
    names = {"t1w": "t1n", "t1gd": "t1c", "t2w": "t2w", "flair": "t2f"}
    found = {names[name.lower()]: int(channel) for channel, name in description["modality"].items()}
    return {modality: found[modality] for modality in MODALITIES}
