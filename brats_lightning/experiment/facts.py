"""What is kept of a run beside its configuration: where its code and data come from, and what it is found by."""

from collections.abc import Mapping, Sequence
from typing import Any

from brats_lightning.data.datamodule import BratsDataModule
from brats_lightning.experiment.opening import commit
from brats_lightning.reports.run.record import digest_of_keys, digest_of_split


def facts_of(config: Mapping[str, Any], data: BratsDataModule) -> dict[str, str | float]:
    """Short names for what runs are compared by, the commit, and hashes of data and split; what is unknown is left out.

    Args:
        config: The resolved configuration as plain data.
        data: Whose cases are shared out.
    """
    model, optimizer = config["model"], config["model"]["optimizer"]
    augmentation = config["data"].get("augmentation") or []
    steps = augmentation if isinstance(augmentation, Sequence) else [augmentation]
    found = {
        "network": class_name(model["network"]),
        "augmentation": ", ".join(map(class_name, steps)) or "none",
        "outputs": model["outputs"],
        "editions": ", ".join(_editions(data)),
        "learning_rate": (optimizer.get("init_args") or {}).get("lr") if isinstance(optimizer, Mapping) else None,
        "commit": commit(),
        **digests_of(data),
    }
    return {name: value for name, value in found.items() if value not in ("", None)}


def digests_of(data: BratsDataModule) -> dict[str, str]:
    """Hashes of the cases' files with their preprocessing, and of the split; empty where they are not known."""
    return {
        "split_sha256": "" if data.parts is None else digest_of_split(data.parts),
        "data_sha256": _digest_of_data(data),
    }


def tags_of(facts: Mapping[str, str | float]) -> list[str]:
    """What a run is found by: its outputs, network and editions."""
    editions = [f"BraTS {edition}" for edition in str(facts.get("editions", "")).split(", ") if edition]
    return [*(str(facts[name]) for name in ("outputs", "network") if name in facts), *editions]


def class_name(settings: Any) -> str:
    """Of a class in a configuration; of one that wraps a network, such as `SliceWise`, the network's too."""
    if not isinstance(settings, Mapping):
        return str(settings).rpartition(".")[2]
    name = str(settings.get("class_path", "")).rpartition(".")[2]
    wrapped = (settings.get("init_args") or {}).get("network")
    return f"{name} of {class_name(wrapped)}" if isinstance(wrapped, Mapping) else name


def _editions(data: BratsDataModule) -> list[str]:
    if data.parts is None:
        return []
    return sorted({case.edition for part in ("train", "validation") for case in data.cases_of(part)})


def _digest_of_data(data: BratsDataModule) -> str:
    """As `reports.run_record.digest_of_data` finds it in the cache's folder."""
    if data.parts is None:
        return ""
    cases = {case.id: case for part in ("train", "validation", "test") for case in data.cases_of(part)}
    keys = [data.cache.key(cases[name]) for name in sorted(cases)]
    return digest_of_keys(keys) if all(keys) else ""
