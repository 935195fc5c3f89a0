"""`BratsDataModule`: a folder of cases as loaders for training, validation, test and prediction."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from monai.transforms import Transform
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from brats_lightning.cluster.allocation import own_task, starting_place
from brats_lightning.data.augmentation.fused import FusedAugmentation
from brats_lightning.data.batches import Batch, BatchAugmentation, collate
from brats_lightning.data.cache import MOST_WORKERS, CaseCache, FileKey
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.dataset import CaseDataset
from brats_lightning.data.exclusion import reasons_of, without
from brats_lightning.data.feeding.feed import Feed, Place
from brats_lightning.data.feeding.loader import ResidentLoader, WorkerLoader
from brats_lightning.data.feeding.patches import Patches
from brats_lightning.data.feeding.placing import place_cases
from brats_lightning.data.feeding.resident import ResidentCase
from brats_lightning.data.homes import CacheHome, make_home
from brats_lightning.data.order import EveryNth, ShuffledDraws, require_shares
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.slices import Slices
from brats_lightning.data.splits import PARTS, HoldOut, Parts, Split, require_cases
from brats_lightning.errors import ConfigError, DatasetError, Problem
from brats_lightning.labels import MASK
from brats_lightning.machine import lent_cores, usable_cores

log = logging.getLogger(__name__)


class BratsDataModule(LightningDataModule):
    """Cases of any BraTS edition, preprocessed once, cached, augmented, in batches.

    A batch holds `image` (B, C, X, Y, Z) float32, `label` (B, 1, X, Y, Z) uint8, `spacing_mm` (B, 3) and `case`, a
    list of ids; in training also `seed`, a list of 32-bit numbers. The same seeds make the same batches, whatever the
    feed.

    Args:
        root: Folder of cases; editions may be mixed.
        preprocessing: What is done to every case, once.
        augmentation: Of training cases: MONAI dictionary transforms of the keys `image` and `label`, applied by the
            worker processes, or one augmentation of whole batches, applied where training runs.
        patches: Train on patches; null trains on whole cases, or on whole slices.
        slices: Train on slices of the cases, for 2-D networks; null trains on volumes.
        feed: Where training batches are made: `device` keeps the cases on the GPU, `host` in main memory, `workers`
            reads them anew in processes, which MONAI transforms need; `auto` takes the first of these that will do.
        samples_per_epoch: Training samples of an epoch over all GPUs; null takes every case, or slice, once.
        split: Shares the labelled cases out; unlabelled ones are for prediction.
        split_file: Where training stores the split; one that is there already is followed. A run sets it.
        batch_size: Training samples a step.
        validation_batch_size: More than 1 needs cases of one size.
        workers: Processes that preprocess and load cases; null takes the cores this process may use.
        cache: Home of preprocessed cases: `disk`, `memory`, or `none`.
        cache_dir: Folder of the disk cache; several runs may share it.
        file_key: Notice changed files by their `content`, or faster by size and time of change (`stat`).
        edition: Label values of all cases, where names do not tell; null recognises them.
        skip_invalid: Leave unusable cases out, and record which, instead of refusing to start.
        seed: Of the order of cases, of their patches and their augmentation.
    """

    def __init__(
        self,
        root: Path,
        *,
        preprocessing: Preprocessing | None = None,
        augmentation: Sequence[Transform] | BatchAugmentation = (),
        patches: Patches | None = None,
        slices: Slices | None = None,
        feed: Feed = "auto",
        samples_per_epoch: int | None = None,
        split: Split | None = None,
        split_file: Path | None = None,
        batch_size: int = 2,
        validation_batch_size: int = 1,
        workers: int | None = None,
        cache: CacheHome = "disk",
        cache_dir: Path = Path("runs/cache"),
        file_key: FileKey = "content",
        edition: str | None = None,
        skip_invalid: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if workers is not None and workers < 0:
            raise ConfigError(f"data.workers must not be negative, found {workers}")
        if batch_size < 1 or validation_batch_size < 1:
            raise ConfigError(f"batch sizes must be at least 1, found {batch_size} and {validation_batch_size}")
        if samples_per_epoch is not None and samples_per_epoch < 1:
            raise ConfigError(f"data.samples_per_epoch must be at least 1, found {samples_per_epoch}")
        self.root = Path(root)
        self.preprocessing = preprocessing or Preprocessing()
        self.transforms = augmentation if isinstance(augmentation, Sequence) else ()
        self.batch_augmentation = None if isinstance(augmentation, Sequence) else augmentation
        self.patches = patches
        self._require_margin_used()
        self.slices = slices
        if slices is not None and cache == "none":
            raise ConfigError(
                "data.slices: each slice would be preprocessed with its whole volume: set data.cache to disk"
            )
        self.feed = feed
        self.samples_per_epoch = samples_per_epoch
        self.split = split or HoldOut()
        self.split_file = split_file
        self.batch_size = batch_size
        self.validation_batch_size = validation_batch_size
        self._wanted_workers = workers
        self.cache = CaseCache(self.preprocessing, make_home(cache, Path(cache_dir)), file_key=file_key)
        self.edition = edition
        self.skip_invalid = skip_invalid
        self.seed = seed
        self._keep_plain_hyperparameters()
        self.parts: Parts | None = None
        self.whole_volumes = False
        """Score whole volumes, whatever `slices` says of validation: their labels go back to the patients' grids."""
        self.validation_part = "validation"
        """Part that validation looks at; `brats validate --part train` scores the cases that were trained on."""
        self._cases: dict[str, Case] = {}
        self._placed = False
        self._resident: list[ResidentCase] | None = None

    @property
    def workers(self) -> int:
        """Processes that load cases; whether cores are shared is known only once all processes have been started."""
        return usable_cores() if self._wanted_workers is None else self._wanted_workers

    def _require_margin_used(self) -> None:
        """A margin that nothing cuts off would reach the network."""
        if self.patches is None or not self.patches.margin:
            return
        size = getattr(self.batch_augmentation, "size", None)
        if size is None or tuple(size) != self.patches.size:
            raise ConfigError(
                f"data.patches.margin needs an augmentation of whole batches with size {list(self.patches.size)}, "
                f"which cuts it off again, found {'none' if size is None else f'size {list(size)}'}"
            )

    def _keep_plain_hyperparameters(self) -> None:
        """What goes into checkpoints must load without unpickling code, also when Python code built this object."""
        self.save_hyperparameters(logger=False)
        for name in ("preprocessing", "patches", "slices"):
            if isinstance(settings := self.hparams.get(name), Preprocessing | Patches | Slices):
                self.hparams[name] = asdict(settings)
        if isinstance(settings := self.hparams.get("augmentation"), FusedAugmentation):
            self.hparams["augmentation"] = settings.settings
        for name, value in list(self.hparams.items()):
            if isinstance(value, Path):
                self.hparams[name] = str(value)
            elif callable(value) or (name == "augmentation" and any(callable(step) for step in value)):
                del self.hparams[name]

    def prepare_data(self) -> None:
        """Find the cases, split them and fill the cache: everything that can go wrong with them goes wrong here.

        Raises:
            DatasetError: Cases that cannot be used, the first ten and the count.
            ConfigError: A folder or a split that does not fit.
        """
        # Of several processes on a machine one is here; the trainer has the others wait.
        alone = self.trainer is not None and self._wanted_workers is None
        self._prepare(workers=lent_cores() if alone else self.workers)

    def setup(self, stage: str) -> None:
        """The same on every process; where `prepare_data` has run there is nothing left to build.

        Raises:
            ConfigError: A feed that contradicts other settings or the machine.
        """
        if self.parts is None:
            self._prepare(workers=self.workers)
        if stage == "fit" and self.cases_of("train"):
            self._place_cases()

    @property
    def fed_from(self) -> Place | None:
        """Where training batches are made, None before that is known."""
        if not self._placed:
            return None
        if self._resident is None:
            return "workers"
        return "device" if self._resident and self._resident[0].image.is_cuda else "host"

    def _place_cases(self) -> list[ResidentCase] | None:
        """The training cases where batches are made of them, None where worker processes read them."""
        if not self._placed:
            self._resident = place_cases(
                self.cache,
                self.cases_of("train"),
                feed=self.feed,
                device=self._device,
                patches=self.patches,
                slices=self.slices,
                transforms=bool(self.transforms),
                processes=self._ranks // self.trainer.num_nodes if self.trainer else 1,
                show=self._rank == 0,
            )
            self._placed = True
        return self._resident

    @property
    def _needed(self) -> tuple[str, ...]:
        """Parts that the trainer's task reads: scoring does not ask for the training cases."""
        state = getattr(self.trainer, "state", None)
        task = str(state.fn.value) if state is not None and state.fn is not None else "fit"
        return {"validate": (self.validation_part,), "test": ("test",)}.get(task, PARTS)

    def _prepare(self, *, workers: int) -> None:
        found = find_cases(self.root, modalities=self.preprocessing.modalities, edition=self.edition)
        self._refuse(found.problems)
        self._cases = {case.id: case for case in found.cases}
        parts, source = self._parts(found.cases)
        parts = without(parts, reasons_of(found.problems))
        require_cases(parts, found.cases, source=source, needed=self._needed)
        self._require_shares(parts)
        problems = self._fill(self._of(parts, *self._needed), workers=workers)
        self._refuse(problems)
        left_out = reasons_of([*found.problems, *problems])
        if left_out:
            log.warning("%d unusable cases left out: %s", len(left_out), ", ".join(sorted(left_out)))
        self.parts = parts = without(parts, left_out)
        if self._rank == 0:
            self._say(parts)
            # A stored split is the run's for good: a case that cannot be read today may be readable tomorrow.
            if self.split_file is not None and self._needed == PARTS and not self.split_file.exists():
                self._write(parts, self.split_file)

    def _fill(self, cases: Sequence[Case], *, workers: int) -> list[Problem]:
        return self.cache.fill(cases, workers=workers, start=starting_place(), show=own_task().rank == 0)

    def _require_shares(self, parts: Parts) -> None:
        """Refuse more processes than cases before hours of preprocessing."""
        unused = {"validation"} if getattr(self.trainer, "limit_val_batches", 1) == 0 else set()
        for part in [part for part in self._needed if part not in unused | {"test"}] or self._needed:
            if count := len(getattr(parts, part)):
                require_shares(count, ranks=self._ranks, what=f"{part.replace('train', 'training')} cases")

    def _parts(self, cases: Sequence[Case]) -> tuple[Parts, object]:
        """The split and where it comes from: the run's own where it has one already."""
        labelled = [case for case in cases if case.label is not None]
        if self.split_file is not None and self.split_file.exists():
            parts = Parts.read(self.split_file)
            known = {case for part in PARTS for case in getattr(parts, part)} | set(parts.left_out)
            new = sum(case.id not in known for case in labelled)
            more = f"; {new} labelled cases of the folder are in no part of it" if new else ""
            log.info("following %s%s", self.split_file, more)
            return parts, self.split_file
        if not labelled:
            nothing = "no usable case has a segmentation"
            raise DatasetError(Problem(str(self.root), "", nothing, "training and scoring need labelled cases"))
        return self.split(labelled), getattr(self.split, "file", "the split")

    def _say(self, parts: Parts) -> None:
        counts = ", ".join(f"{len(getattr(parts, part))} {part}" for part in self._needed)
        editions = sorted({case.edition for case in self._of(parts, *self._needed)})
        named = ["masks of the tumour" if edition == MASK else f"BraTS {edition}" for edition in editions]
        log.info("cases: %s (%s)", counts, ", ".join(named))

    @staticmethod
    def _write(parts: Parts, path: Path) -> None:
        try:
            parts.write(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error.strerror}): give another --run") from error

    def _refuse(self, problems: Sequence[Problem]) -> None:
        if problems and not self.skip_invalid:
            raise DatasetError(problems)

    def _of(self, parts: Parts, *names: str) -> list[Case]:
        return [self._cases[case] for name in names for case in getattr(parts, name)]

    def cases_of(self, part: str) -> list[Case]:
        """Cases of `train`, `validation` or `test`, after `setup`."""
        if self.parts is None:
            raise RuntimeError("setup has not run")
        return self._of(self.parts, part)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _ranks(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @property
    def _device(self) -> torch.device:
        """Where training runs."""
        strategy = getattr(self.trainer, "strategy", None)
        return torch.device("cpu") if strategy is None else strategy.root_device

    @property
    def _epoch(self) -> int:
        loop = getattr(self.trainer, "fit_loop", None)
        return 0 if loop is None else int(loop.epoch_progress.current.processed)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Augment whole batches, of training alone."""
        if self.batch_augmentation is None or self.trainer is None or not self.trainer.training:
            return batch
        return self.batch_augmentation(batch)

    def train_dataloader(self) -> WorkerLoader | ResidentLoader:
        """Shuffled batches; `on_after_batch_transfer` is still to come where whole batches are augmented.

        Raises:
            ConfigError: The split has no training case.
        """
        cases = self.cases_of("train")
        if not cases:
            raise ConfigError("the split has no case to train on: list some under train, or use `brats test`")
        resident = self._place_cases()
        dataset = CaseDataset(self.cache, cases, augmentation=self.transforms, patches=self.patches, slices=self.slices)
        samples = dataset.samples if resident is None else len(resident)
        if not samples:
            raise ConfigError("data.slices: no training slice shows tumour: widen its range, or set tumour to false")
        require_shares(samples, ranks=self._ranks, what=f"training {'cases' if self.slices is None else 'slices'}")
        require_shares(self.samples_per_epoch or samples, ranks=self._ranks, what="data.samples_per_epoch")
        order = ShuffledDraws(
            samples, samples=self.samples_per_epoch, seed=self.seed, rank=self._rank, ranks=self._ranks
        )
        order.set_epoch(self._epoch)
        if resident is not None:
            return ResidentLoader(
                resident, sampler=order, batch_size=self.batch_size, device=self._device, patches=self.patches
            )
        workers = self._workers_for(math.ceil(len(order) / self.batch_size))
        return WorkerLoader(dataset, order=order, batch_size=self.batch_size, workers=workers, seed=self.seed)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation cases in order, as they are.

        Raises:
            ConfigError: The split has none.
        """
        cases = self.cases_of(self.validation_part)
        if not cases:
            raise ConfigError(
                "the split has no validation cases: ask for some in data.split; to train without, set "
                "trainer.limit_val_batches to 0 and leave out what monitors val/…"
            )
        require_shares(len(cases), ranks=self._ranks, what="validation cases")
        return self._plain_loader(cases)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test cases in order, as they are.

        Raises:
            ConfigError: The split has none.
        """
        cases = self.cases_of("test")
        if not cases:
            raise ConfigError(
                "the split has no test cases: `brats validate` scores the validation cases; "
                "test cases are set aside when a run begins, by test in data.split"
            )
        require_shares(len(cases), ranks=self._ranks, what="test cases")
        return self._plain_loader(cases)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Unlabelled cases in order.

        Raises:
            DatasetError: Cases that cannot be used.
        """
        found = find_cases(self.root, modalities=self.preprocessing.modalities, edition=self.edition)
        unlabelled = [case for case in found.cases if case.label is None]
        problems = [*found.problems, *self._fill(unlabelled, workers=self.workers)]
        self._refuse(problems)
        left_out = reasons_of(problems)
        return self._plain_loader([case for case in unlabelled if case.id not in left_out])

    def _plain_loader(self, cases: Sequence[Case]) -> DataLoader[Batch]:
        in_slices = self.slices is not None and self.slices.validation == "slices" and not self.whole_volumes
        dataset = CaseDataset(self.cache, cases, slices=self.slices if in_slices else None)
        order = EveryNth(len(dataset), rank=self._rank, ranks=self._ranks)
        workers = self._workers_for(math.ceil(len(order) / self.validation_batch_size))
        return DataLoader(
            dataset,
            batch_size=self.validation_batch_size,
            sampler=order,
            num_workers=workers,
            collate_fn=collate,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            # A generator of its own: starting an epoch must not move the random state of the network.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _workers_for(self, batches: int) -> int:
        return min(self.workers, batches, MOST_WORKERS)
