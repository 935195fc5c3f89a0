"""The networks that a worker has open."""

import json
from collections.abc import Sequence

import torch

from brats_lightning.errors import BratsError, CheckpointError
from brats_lightning.inference.models.checkpoints import Model
from brats_lightning.inference.models.exported import open_model
from brats_lightning.inference.models.spec import ModelSpec
from brats_lightning.inference.predictor.predictor import PredictorOptions
from brats_lightning.inference.segmenter import Segmenter
from brats_lightning.inference.shares import Share, device_of
from brats_lightning.web.records import Network
from brats_lightning.web.work.messages import Offered, Setup, WorkOptions

AXES = {"x": 0, "y": 1, "z": 2}
SLICE_WISE = "SliceWise"


class Networks:
    """Trained networks by name, alone or as ensembles.

    Args:
        models: By name.
        device: Where they run.
        options: How to predict.
    """

    def __init__(self, models: dict[str, Model], *, device: torch.device, options: WorkOptions) -> None:
        self._models = models
        self._device = device
        self.options = options
        self._predicts = PredictorOptions(
            flips=tuple(sorted({AXES[axis] for axis in options.flips})), precision=options.precision
        )
        self._segmenters: dict[tuple[str, ...], Segmenter] = {}
        self.gpus = torch.cuda.device_count()

    @property
    def offered(self) -> list[Offered]:
        """What the server says of them."""
        return [
            Offered(
                network=Network(
                    name=name,
                    modalities=list(model.spec.preprocessing.modalities),
                    regions=list(model.spec.regions),
                    slices=_takes_slices(model.spec),
                ),
                speaks=_speaks(model.spec),
            )
            for name, model in self._models.items()
        ]

    def segmenter(self, names: Sequence[str]) -> Segmenter:
        """Those networks as one; made once.

        Raises:
            BratsError: One is not offered, or they cannot decide together.
        """
        if missing := [name for name in names if name not in self._models]:
            raise BratsError(f"the server offers no network {', '.join(missing)}: choose another and start again")
        key = tuple(names)
        if key not in self._segmenters:
            self._segmenters[key] = Segmenter(
                [self._models[name] for name in names], options=self._predicts, device=self._device
            )
        return self._segmenters[key]


def open_networks(setup: Setup) -> Networks:
    """Open every checkpoint, and see that each can be used on the device.

    Raises:
        BratsError: One of them cannot, or there is no such device.
    """
    device = device_of(setup.device, Share())
    models: dict[str, Model] = {}
    for name, path in setup.checkpoints.items():
        try:
            models[name] = open_model(path, trust=setup.trust)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    networks = Networks(models, device=device, options=setup.options)
    for name in models:
        networks.segmenter([name])
    return networks


def _takes_slices(spec: ModelSpec) -> bool:
    """Pictures are of one modality; a network of slices knows itself what it was trained on, or cuts volumes."""
    of_slices = spec.intake.of_slices or str(spec.network["class_path"]).endswith(SLICE_WISE)
    return of_slices and len(spec.preprocessing.modalities) == 1


def _speaks(spec: ModelSpec) -> str:
    """What members of an ensemble must have in common."""
    regions = {name: sorted(values) for name, values in spec.regions.items()}
    return json.dumps([spec.preprocessing.modalities, spec.channels, regions], sort_keys=True)
