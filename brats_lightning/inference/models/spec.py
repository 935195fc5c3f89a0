"""What a trained network says of itself: all that prediction needs besides its weights, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from brats_lightning.data.bias_field import N4
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import BratsError, CheckpointError
from brats_lightning.inference.postprocessing.postprocess import Step, plain, steps_of
from brats_lightning.inference.predictor.intake import Intake
from brats_lightning.labels import LABELS, region_labels

FORMAT = 1
BACKGROUND = "background"


@dataclass(frozen=True)
class ModelSpec:
    """What a trained network says of itself.

    Args:
        network: `class_path` and `init_args` it is built from.
        preprocessing: What was done to every case it was trained on; its `modalities` are the input's channels.
        channels: Of the output: the background, then names of `labels.LABELS` in their order.
        regions: Label values of the regions it was scored on.
        intake: Which images it takes.
        postprocessing: Steps that were tuned for it.
    """

    network: Mapping[str, Any]
    preprocessing: Preprocessing
    channels: tuple[str, ...]
    regions: Mapping[str, tuple[int, ...]]
    intake: Intake
    postprocessing: tuple[Step, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "format": FORMAT,
            "network": dict(self.network),
            "modalities": list(self.preprocessing.modalities),
            "preprocessing": asdict(self.preprocessing),
            "channels": list(self.channels),
            "labels": {name: LABELS[name] for name in self.channels if name != BACKGROUND},
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
        if settings.get("format") != FORMAT:
            raise CheckpointError(f"expected a description of format {FORMAT}, found {settings.get('format')!r}")
        try:
            trained = settings["intake"]["trained"]
            return cls(
                settings["network"],
                preprocessing_of(settings["preprocessing"]),
                tuple(settings["channels"]),
                region_labels(settings["regions"]),
                Intake(tuple(trained) if trained else None, settings["intake"]["whole"], settings["intake"]["divisor"]),
                steps_of(settings["postprocessing"]),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(f"the description is incomplete or damaged ({error!r})") from error


def preprocessing_of(settings: Mapping[str, Any]) -> Preprocessing:
    """Preprocessing from the plain settings of a checkpoint.

    Raises:
        CheckpointError: Settings that this version does not have.
    """
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
        return Preprocessing(**{**values, "n4": N4(**n4)})
    except (TypeError, BratsError) as error:
        raise CheckpointError(f"its preprocessing cannot be used ({error})") from error


def channels_of(count: int) -> tuple[str, ...]:
    """Names of a network's output channels.

    Raises:
        CheckpointError: Fewer or more than there are labels.
    """
    if not 2 <= count <= len(LABELS) + 1:
        raise CheckpointError(f"expected a network with 2 to {len(LABELS) + 1} output channels, found {count}")
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


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
