"""`brats predict`: from checkpoints and cases to label maps on the patients' own grids."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from brats_lightning.cluster.allocation import own_task
from brats_lightning.cluster.signals import stop_if_asked
from brats_lightning.data.alignment import RESAMPLED
from brats_lightning.data.case import Case
from brats_lightning.data.reading import reference_file
from brats_lightning.errors import BratsError, DatasetError, Problem
from brats_lightning.inference.loading import Loaded, cases_to_predict, load_cases
from brats_lightning.inference.models.checkpoints import Model
from brats_lightning.inference.models.exported import open_model
from brats_lightning.inference.postprocessing.postprocess import plain, steps_of
from brats_lightning.inference.predictor.forward import half_precision
from brats_lightning.inference.predictor.predictor import Mode, Precision, PredictorOptions
from brats_lightning.inference.results import ResultFolder, Wanted, require_other_folder
from brats_lightning.inference.segmenter import Segmentation, Segmenter
from brats_lightning.inference.shares import device_of, own_share
from brats_lightning.labels import Modality
from brats_lightning.machine import usable_cores

MOST_WORKERS = 8
WRITTEN_AHEAD = 2
"""Cases that wait to be written: each holds its probabilities."""
AXES = {"x": 0, "y": 1, "z": 2}


def predict(
    cases: Path | None = None,
    *,
    checkpoint: tuple[Path, ...],
    output: Path,
    t1n: Path | None = None,
    t1c: Path | None = None,
    t2w: Path | None = None,
    t2f: Path | None = None,
    case: str | None = None,
    labels: str | None = None,
    probabilities: bool = False,
    uncertainty: bool = False,
    mode: Mode = "auto",
    window: tuple[int, int, int] | None = None,
    overlap: float = 0.5,
    flips: tuple[Literal["x", "y", "z"], ...] = (),
    precision: Precision = "auto",
    compile: bool = False,  # noqa: A002 - the option's name
    postprocessing: list[Any] | None = None,
    align: Literal["header"] | None = None,
    edition: str | None = None,
    device: str = "auto",
    workers: int | None = None,
    share: str | None = None,
    overwrite: bool = False,
    trust: tuple[str, ...] = (),
) -> None:
    """Segment cases with trained networks: `brats predict CASES --checkpoint C --output DIR`.

    Writes `<case>.nii.gz` on the grid of the case's own files, and `predictions.json`. Pictures (.mat, PNG, JPEG) get
    `<case>.png` too, a mask of exactly their pixels: 255 for tumour, or the label values of several tissues. A second
    call goes on where the first was stopped; under `srun` or `torchrun` the processes share the cases. Asked to stop by
    SIGUSR1, it finishes the case at hand.

    Args:
        cases: Folder of BraTS cases, or of one case; for networks of one modality also a folder of pictures, or one
            file.
        checkpoint: Checkpoint, run folder or exported network; several make an ensemble.
        output: Folder of the results.
        t1n: Native T1 of a single case, instead of a folder.
        t1c: Its T1 with contrast agent.
        t2w: Its T2.
        t2f: Its T2-FLAIR.
        case: Its name; null takes what the files' names have in common.
        labels: Edition whose label values are written (2021, 2023, 2024-GLI …), or internal; null: the case's own.
        probabilities: Write a map of each region's probability too.
        uncertainty: Write a map of the entropy too, 0 to 1.
        mode: One pass over the whole brain, or windows; auto: as the network was trained, and as memory allows.
        window: Voxels of a window; null takes the training patch.
        overlap: Share of a window that its neighbour covers too.
        flips: Axes to flip as test-time augmentation, x (left–right), y, z: every combination of them.
        precision: Of the network: auto is bf16 on a GPU and 32 bits on a CPU.
        compile: Compile the networks: slower to start, faster from then on.
        postprocessing: Steps from probabilities to labels; null takes those tuned for the checkpoint, [] none.
        align: `header` resamples modalities that lie on different grids by their headers.
        edition: Edition of all cases, where names do not tell.
        device: auto, cpu, cuda, or cuda:1.
        workers: Processes that load cases; null takes the cores there are.
        share: Predict one part of the cases, such as 3/8: the third of eight, as an element of a job array does.
        overwrite: Predict finished cases again.
        trust: Packages, besides this one, MONAI and PyTorch, whose networks may be imported.
    """
    started = time.perf_counter()
    task = own_task()
    own = own_share(share, task=task)
    options = PredictorOptions(
        mode=mode,
        window=window,
        overlap=overlap,
        flips=tuple(sorted({AXES[axis] for axis in flips})),
        precision=precision,
        compile=compile,
    )
    wanted = Wanted(labels, probabilities, uncertainty)
    chosen = device_of(device, own)
    steps = None if postprocessing is None else steps_of(postprocessing)
    models = [open_model(path, trust=trust) for path in checkpoint]
    segmenter = Segmenter(models, options=options, device=chosen, postprocessing=steps)
    settings = {
        "predictor": asdict(options)
        | {"flips": sorted(set(flips)), "precision": str(half_precision(precision, device=chosen) or "32")},
        "postprocessing": plain(segmenter.postprocessing),
        "wanted": asdict(wanted),
        "align": align,
        "edition": edition,
    }
    files: Mapping[Modality, Path | None] = {"t1n": t1n, "t1c": t1c, "t2w": t2w, "t2f": t2f}
    found = cases_to_predict(cases, files, case=case, modalities=segmenter.modalities, edition=edition)
    require_other_folder(found.cases, output)
    results = ResultFolder(output, key=_key(models, settings), overwrite=overwrite)
    job = _Job(segmenter, results, wanted, align=align is not None, quiet=task.rank > 0)
    mine = own.of(found.cases)
    problems = list(found.problems) if own.number == 0 else []
    refused: list[Problem] = []
    waiting = []
    for each in mine:
        try:
            waiting += [] if results.is_finished(each) else [each]
        except DatasetError as error:
            refused += error.problems
    about = {
        "version": metadata.version("brats-lightning"),
        "checkpoints": [
            {"path": str(model.path), "sha256": model.digest, "network": model.spec.network} for model in models
        ],
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu",
        "options": settings,
    }
    try:
        problems += job.run(waiting, workers=_workers(workers))
    except BaseException:
        with suppress(BratsError):  # also of what was stopped one wants to know what it has done
            results.summarise(about)
        raise
    results.give_up(problems)
    summary = results.summarise(about)
    seconds = time.perf_counter() - started
    before = f", {len(mine) - len(waiting)} were finished before" if len(mine) > len(waiting) else ""
    what = "1 case" if job.finished == 1 else f"{job.finished} cases"
    job.console.print(f"{what} predicted in {seconds:.1f} s{before}: {summary}", markup=False, highlight=False)
    if refused or problems:
        raise DatasetError([*refused, *problems])


class _Job:
    """Loading ahead, the network, and writing behind, with a progress bar."""

    def __init__(
        self, segmenter: Segmenter, results: ResultFolder, wanted: Wanted, *, align: bool, quiet: bool
    ) -> None:
        self.segmenter = segmenter
        self.results = results
        self.wanted = wanted
        self.align = align
        self.quiet = quiet
        self.finished = 0
        self.console = Console(soft_wrap=True)

    def run(self, cases: Sequence[Case], *, workers: int) -> list[Problem]:
        """Predict cases; one that cannot be used does not stop the others.

        Returns:
            What is wrong with those that could not be used.

        Raises:
            BratsError: Nothing can be written or loaded any more.
            Stopped: A signal asked for it.
        """
        if cases:
            stop_if_asked()
        problems: list[Problem] = []
        writing: list[Future[None]] = []
        loader = load_cases(cases, self.segmenter.preprocessings, align=self.align, workers=workers)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns, TimeRemainingColumn(), transient=True, disable=self.quiet, console=self.console)
        with ThreadPoolExecutor(1, thread_name_prefix="writing") as writer, bar as progress:
            tracked = progress.track(loader, total=len(cases), description="Predicting cases")
            for number, loaded in enumerate(tracked, start=1):
                problems += loaded.problems
                if loaded.samples:
                    try:
                        writing.append(writer.submit(self._write, loaded, self._segment(loaded)))
                    except DatasetError as error:
                        problems += error.problems
                while len(writing) > WRITTEN_AHEAD or (writing and writing[0].done()):
                    problems += self._settle(writing.pop(0))
                if number < len(cases):
                    stop_if_asked()
            for each in writing:
                problems += self._settle(each)
        return problems

    def _segment(self, loaded: Loaded) -> Segmentation:
        """What the networks cannot do with one case they may well do with the next."""
        for note in loaded.samples[0].notes:
            if RESAMPLED in note:
                self.console.print(f"{loaded.case.id}: {note}", markup=False, highlight=False)
        try:
            return self.segmenter(loaded.samples)
        except BratsError as error:
            cure = "the other cases are not affected by it"
            raise DatasetError(Problem(loaded.case.id, "", str(error), cure)) from error

    def _settle(self, written: Future[None]) -> tuple[Problem, ...]:
        try:
            written.result()
        except DatasetError as error:
            return error.problems
        self.finished += 1
        return ()

    def _write(self, loaded: Loaded, segmentation: Segmentation) -> None:
        self.results.write(
            loaded.case,
            segmentation,
            self.wanted,
            like=reference_file(loaded.case, modalities=self.segmenter.modalities, align=self.align),
            edition=self.segmenter.edition,
            regions=self.segmenter.regions,
            seconds={"load_and_preprocess": loaded.seconds, **segmentation.seconds},
            notes=loaded.samples[0].notes,
        )


def _workers(wanted: int | None) -> int:
    if wanted is not None:
        if wanted < 0:
            raise BratsError(f"--workers must not be negative, found {wanted}")
        return wanted
    return min(usable_cores(), MOST_WORKERS)


def _key(models: Sequence[Model], settings: Mapping[str, Any]) -> str:
    """Differs between any two calls whose label maps may differ."""
    about = json.dumps([[model.digest for model in models], settings], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()[:20]
