"""From probabilities to labels: a decision, then steps that clean its result; and how steps are stored."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, cast

import torch
from jsonargparse import Namespace

from brats_lightning.errors import ConfigError
from brats_lightning.inference.postprocessing.borders import Closing, FillHoles, Opening
from brats_lightning.inference.postprocessing.decisions import Argmax, Thresholds
from brats_lightning.inference.postprocessing.pieces import KeepLargest, RelabelSmall, RemoveSmall
from brats_lightning.inference.postprocessing.steps import Decision, Labels, LabelStep, Step
from brats_lightning.metrics.bounding_box import joint_bounding_box

__all__ = [
    "STEPS",
    "Argmax",
    "Closing",
    "Decision",
    "FillHoles",
    "KeepLargest",
    "LabelStep",
    "Opening",
    "RelabelSmall",
    "RemoveSmall",
    "Step",
    "Thresholds",
    "plain",
    "postprocess",
    "steps_of",
    "with_decision",
]

STEPS: Mapping[str, type[Step]] = {
    step.__name__: step
    for step in (Argmax, Thresholds, RemoveSmall, KeepLargest, RelabelSmall, FillHoles, Opening, Closing)
}
"""Every step by its name."""


def postprocess(probabilities: torch.Tensor, steps: Sequence[Step] = (), *, spacing_mm: Sequence[float]) -> Labels:
    """Decide on a label for each voxel, then clean the labels.

    Args:
        probabilities: (K, X, Y, Z) float on any device; see `model.outputs.channel_labels` for what channels mean.
        steps: In their order. Only the first may be a decision; without one it is `Argmax`.
        spacing_mm: Distance between neighbouring voxels along each axis.

    Returns:
        (X, Y, Z) labels as inside the program.

    Raises:
        ConfigError: A decision that is not the first step, or that asks for a label the network does not know.
    """
    decision, *cleaning = with_decision(steps)
    labels: Labels = cast("Decision", decision)(probabilities).cpu().numpy()
    # No step puts labels where there were none all around: what lies further out need not be looked at.
    box = joint_bounding_box(labels)
    cleaned = labels[box]
    if cleaned.size:
        for step in cleaning:
            cleaned = cast("LabelStep", step)(cleaned, spacing_mm=spacing_mm)
        labels[box] = cleaned
    return labels


def with_decision(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same steps, a decision first.

    Raises:
        ConfigError: A decision that is not the first step.
    """
    if late := [type(step).__name__ for step in steps[1:] if isinstance(step, Decision)]:
        raise ConfigError(f"post-processing: {late[0]} decides on labels and can only be the first step")
    return tuple(steps) if steps and isinstance(steps[0], Decision) else (Argmax(), *steps)


def plain(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Steps as JSON and YAML can hold them, with a class path and arguments each.

    Example:
        >>> plain([KeepLargest("WT")])[0]["init_args"]
        {'region': 'WT', 'becomes': None}
    """
    return [{"class_path": type(step).__name__, "init_args": asdict(cast("Any", step))} for step in steps]


def steps_of(stored: object) -> tuple[Step, ...]:
    """Steps from what `plain` gave; the class may be given by its name alone.

    Nothing but the steps of this project is ever imported or called: the list may come from a stranger's checkpoint.

    Raises:
        ConfigError: No list, a class that is no step, arguments that the step does not have or refuses.
    """
    if not isinstance(stored, list | tuple):
        raise ConfigError(f"post-processing is {stored!r}: expected a list of steps")
    return tuple(_step_of(entry) for entry in stored)


def _step_of(entry: object) -> Step:
    if isinstance(entry, str):
        entry = {"class_path": entry}
    elif isinstance(entry, Namespace):  # as the command line hands mappings over that name a class
        entry = entry.as_dict()
    if not isinstance(entry, Mapping) or "class_path" not in entry or set(entry) - {"class_path", "init_args"}:
        raise ConfigError(f"post-processing step {entry!r}: expected class_path and init_args")
    path, arguments = entry["class_path"], entry.get("init_args") or {}
    step = next((step for name, step in STEPS.items() if path in (name, f"{step.__module__}.{name}")), None)
    if step is None:
        raise ConfigError(f"post-processing step {path!r} is unknown: expected one of {', '.join(STEPS)}")
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"{step.__name__}: init_args is {arguments!r}: expected a value by name")
    known = [field.name for field in fields(cast("Any", step))]
    if unknown := [str(name) for name in arguments if name not in known]:
        raise ConfigError(f"{step.__name__} has no {', '.join(unknown)}: expected {' and '.join(known) or 'nothing'}")
    try:
        return step(**arguments)
    except TypeError as error:  # a field without a default was not given
        raise ConfigError(f"{step.__name__}: {str(error).partition(') ')[2] or error}") from error
