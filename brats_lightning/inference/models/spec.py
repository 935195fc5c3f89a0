"""What a trained network says of itself: all that prediction needs besides its weights, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, cast, get_args

from brats_lightning.data.bias_field import N4
from brats_lightning.data.denoising import Denoising
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import BratsError, CheckpointError
from brats_lightning.inference.postprocessing.decisions import Thresholds
from brats_lightning.inference.postprocessing.postprocess import Decision, Step, plain, steps_of
from brats_lightning.inference.predictor.intake import Intake
from brats_lightning.labels import LABELS, REGIONS, WHOLE, region_labels
from brats_lightning.model.outputs import REGION_CHANNELS, TUMOUR, Outputs, region_channels, require_channels

FORMAT = 1
BACKGROUND = "background"
LABEL_OF: Mapping[str, int] = {**LABELS, TUMOUR: WHOLE}
"""Label of each channel that a network's probabilities may have besides the background."""


@dataclass(frozen=True)
class ModelSpec:
    """What a trained network says of itself.

    Args:
        network: `class_path` and `init_args` it is built from.
        preprocessing: What was done to every case it was trained on; its `modalities` are the input's channels.
        channels: Of its probabilities: the background, then names of `labels.LABELS` in their order, or `tumour`.
        regions: Label values of the regions it was scored on.
        intake: Which images it takes.
        postprocessing: Steps that were tuned for it.
        outputs: What its own channels mean: the labels of `channels`, nested regions, or tumour.
    """

    network: Mapping[str, Any]
    preprocessing: Preprocessing
    channels: tuple[str, ...]
    regions: Mapping[str, tuple[int, ...]]
    intake: Intake
    postprocessing: tuple[Step, ...] = ()
    outputs: Outputs = "labels"

    @property
    def output_channels(self) -> tuple[str, ...]:
        """Of its logits."""
        if self.outputs == "regions":
            return REGION_CHANNELS[: len(self.channels) - 1]
        return self.channels if self.outputs == "labels" else self.channels[1:]

    def to_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "format": FORMAT,
            "network": dict(self.network),
            "outputs": self.outputs,
            "modalities": list(self.preprocessing.modalities),
            "preprocessing": asdict(self.preprocessing),
            "channels": list(self.channels),
            "labels": {name: LABEL_OF[name] for name in self.channels if name != BACKGROUND},
            "regions": {name: list(values) for name, values in self.regions.items()},
            "intake": asdict(self.intake),
            "postprocessing": plain(self.postprocessing),
        }

    @classmethod
    def from_plain(cls, settings: Mapping[str, Any]) -> "ModelSpec":
        """The inverse of `to_plain`.

        Raises:
            CheckpointError: Something is missing, of another form, or of a later version.
        """
        found = settings.get("format") if isinstance(settings, Mapping) else settings
        if found != FORMAT:
            raise CheckpointError(f"expected a description of format {FORMAT}, found {found!r}")
        try:
            trained = settings["intake"]["trained"]
            return cls(
                settings["network"],
                preprocessing_of(settings["preprocessing"]),
                tuple(settings["channels"]),
                _regions_of(region_labels(settings["regions"])),
                Intake(tuple(trained) if trained else None, settings["intake"]["whole"], settings["intake"]["divisor"]),
                steps_of(settings["postprocessing"]),
                outputs_of(settings),
            )
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise CheckpointError(f"the description is incomplete or damaged ({error!r})") from error


def preprocessing_of(settings: Mapping[str, Any]) -> Preprocessing:
    """Preprocessing from the plain settings of a checkpoint.

    Raises:
        CheckpointError: Settings that this version does not have.
    """
    if not isinstance(settings, Mapping):
        raise CheckpointError(f"its preprocessing is {settings!r}: expected a value by name")
    known = {field.name for field in fields(Preprocessing)}
    if unknown := sorted(set(settings) - known):
        raise CheckpointError(
            f"its preprocessing has {', '.join(unknown)}, unknown to this version: use the version it was made with"
        )
    values = {name: _frozen(value) for name, value in settings.items()}
    try:
        n4 = {name: _frozen(value) for name, value in settings.get("n4", {}).items()}
        if "n4" in settings:
            n4.setdefault("backend", "itk")  # whose fit was the only one when settings did not name it yet
        denoise = settings.get("denoise")
        values["denoise"] = None if denoise is None else Denoising(**denoise)
        return Preprocessing(**{**values, "n4": N4(**n4)})
    except (TypeError, ValueError, AttributeError, BratsError) as error:
        raise CheckpointError(f"its preprocessing cannot be used ({error})") from error


def outputs_of(settings: Mapping[str, Any]) -> Outputs:
    """What a network's channels mean; labels where nobody could choose yet.

    Raises:
        CheckpointError: A meaning that this version does not have.
    """
    found = settings.get("outputs", "labels")
    if found not in get_args(Outputs):
        raise CheckpointError(f"its outputs are {found!r}, unknown to this version: expected {get_args(Outputs)}")
    return cast("Outputs", found)


def with_own_decision(steps: Sequence[Step], outputs: Outputs) -> tuple[Step, ...]:
    """Steps, and before them what decides on labels where they do not: for regions and for tumour, each at 0.5.

    Raises:
        ConfigError: A step for a region that a network of `tumour` does not know.
    """
    if outputs == "tumour":
        for step in steps:
            step.require_whole()
    if outputs == "labels" or (steps and isinstance(steps[0], Decision)):
        return tuple(steps)
    return (Thresholds({}), *steps)


def channels_of(count: int, outputs: Outputs = "labels") -> tuple[str, ...]:
    """Names of a network's probabilities, of which regions and tumour give one more than the network has channels.

    Raises:
        CheckpointError: Another number than its outputs have.
    """
    try:
        require_channels(count, outputs)
        if outputs == "tumour":
            return (BACKGROUND, TUMOUR)
        if outputs == "regions":
            count = len(region_channels(count)) + 1
    except BratsError as error:
        raise CheckpointError(str(error)) from error
    if not 4 <= count <= len(LABELS) + 1:  # two would be taken for background and tumour
        raise CheckpointError(
            f"expected a network of labels with 4 to {len(LABELS) + 1} output channels, found {count}"
        )
    return (BACKGROUND, *list(LABELS)[: count - 1])


def require_agreement(specs: Sequence[ModelSpec], names: Sequence[str]) -> None:
    """Members of an ensemble must speak of the same things.

    Args:
        specs: One a member.
        names: What to call them.

    Raises:
        CheckpointError: Modalities, labels or regions differ; names the first two that do.
    """
    for what, found in (
        ("modalities", [", ".join(spec.preprocessing.modalities) for spec in specs]),
        ("labels", [", ".join(spec.channels) for spec in specs]),
        ("regions", [str({name: sorted(spec.regions[name]) for name in sorted(spec.regions)}) for spec in specs]),
    ):
        for name, value in zip(names, found, strict=True):
            if value != found[0]:
                raise CheckpointError(
                    f"an ensemble needs members of the same {what}: {names[0]} has {found[0]}, {name} has {value}"
                )


def _regions_of(stored: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """WT as it is today: descriptions of earlier versions have it without the label WHOLE."""
    return {
        name: REGIONS[name] if set(values) == set(REGIONS.get(name, ())) - {WHOLE} else values
        for name, values in stored.items()
    }


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
