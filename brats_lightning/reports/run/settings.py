"""The resolved configuration of a run: read as plain data, flattened to one line a setting, compared between runs."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import yaml

from brats_lightning.errors import BratsError

Setting: TypeAlias = "str | int | float | bool | Sequence[Setting] | Mapping[str, Setting] | None"
Flat: TypeAlias = Mapping[str, str]
ABSENT = "–"
_DEEPEST, _MOST_VALUES = 50, 100_000
_OF_THE_PLACE = ("run", "ckpt_path", "config", "trainer.default_root_dir", "data.split_file", "data.cache_dir")
"""Settings that say where a run lies, and nothing about what it does."""


def read_settings(path: Path) -> Mapping[str, Setting]:
    """Read a `config.yaml` as plain data: no class that it names is imported.

    Raises:
        BratsError: It cannot be read or is no configuration.
    """
    expected = "expected the YAML that `brats fit` wrote"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BratsError(f"{path} cannot be read ({error.strerror}): expected the configuration of a run") from error
    except RecursionError as error:
        raise BratsError(f"{path} is no configuration (it is nested too deeply): {expected}") from error
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:  # of tags and dates, too
        first = " ".join(str(error).split())[:150]
        raise BratsError(f"{path} is no configuration ({first}): {expected}") from error
    if not isinstance(found, dict):
        raise BratsError(f"{path} is no configuration: expected settings by name, found {type(found).__name__}")
    if not _is_moderate(found):
        raise BratsError(f"{path} is no configuration (it is nested too deeply, or stands for too much): {expected}")
    return found


def _is_moderate(settings: Mapping[str, Setting]) -> bool:
    """Whether one can go through all of it: by YAML's aliases a few lines may stand for billions of values."""
    waiting: list[tuple[Setting, int]] = [(settings, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_VALUES:
            return False
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple | set) else ()
        waiting += [(each, depth + 1) for each in inner]
    return True


def value_of(settings: Mapping[str, Setting], key: str) -> Setting:
    """The value of a key such as `data.split.init_args.seed`, None where there is none."""
    found: Setting = settings
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def class_name(settings: Mapping[str, Setting], key: str) -> str:
    """The last part of a class path, empty where there is none."""
    return str(value_of(settings, f"{key}.class_path") or "").rpartition(".")[2]


def flat(settings: Mapping[str, Setting]) -> dict[str, str]:
    """One text for each setting, under a key that says where it stands.

    A class stands under its parameter's key, and its own parameters behind that; of a list of classes, each stands
    under its name, and a second one of a name as `Name 2`, however many of other names stand between them.

    Example:
        >>> flat({"model": {"loss": {"class_path": "monai.losses.DiceLoss", "init_args": {"batch": True}}}})
        {'model.loss': 'DiceLoss', 'model.loss.batch': 'true'}
    """
    return dict(_flat("", settings))


def _flat(key: str, value: Setting) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and "class_path" in value:
        yield key, str(value["class_path"]).rpartition(".")[2]
        inner = value.get("init_args")
        if isinstance(inner, Mapping):
            yield from _flat(key, inner)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        met = Counter[str]()
        for item in value:
            name = str(item.get("class_path", "")).rpartition(".")[2] if isinstance(item, Mapping) else ""
            met[name] += 1
            place = " ".join(filter(None, (name, str(met[name]) if met[name] > 1 else "")))
            yield from _flat(f"{key}.{place}" if place else key, item)
    else:
        yield key, _text(value)


def _text(value: Setting) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return str(value)


def lasting(settings: Mapping[str, Setting]) -> dict[str, str]:
    """All settings but those that say where a run lies, how it is logged and whence it went on, in one order."""
    return {key: text for key, text in sorted(flat(settings).items()) if not _is_of_the_place(key)}


def differences(all_settings: Sequence[Mapping[str, Setting]]) -> dict[str, tuple[str, ...]]:
    """Settings in which runs differ, each with its value in every run.

    Where a run lies, how it is logged and whence it went on is no difference.
    """
    flattened = [flat(settings) for settings in all_settings]
    keys = dict.fromkeys(key for each in flattened for key in each)
    found = {key: tuple(each.get(key, ABSENT) for each in flattened) for key in keys if not _is_of_the_place(key)}
    return {key: values for key, values in found.items() if len(set(values)) > 1}


def _is_of_the_place(key: str) -> bool:
    return key in _OF_THE_PLACE or key.startswith("trainer.logger")


def monitored(settings: Mapping[str, Setting]) -> tuple[str | None, bool]:
    """What the best checkpoint is chosen by, and whether more of it is better."""
    callbacks = value_of(settings, "trainer.callbacks")
    for callback in callbacks if isinstance(callbacks, list) else ():
        if isinstance(callback, Mapping) and str(callback.get("class_path")).endswith(".BestCheckpoint"):
            chosen = callback.get("init_args")
            if isinstance(chosen, Mapping) and chosen.get("monitor"):
                return str(chosen["monitor"]), chosen.get("mode", "max") != "min"
    return None, True
