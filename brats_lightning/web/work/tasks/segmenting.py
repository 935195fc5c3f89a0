"""Segment a case: the mask as `brats predict` writes it, and what the page shows of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from brats_lightning.data.reading import reference_file
from brats_lightning.errors import DatasetError
from brats_lightning.inference.loading import Loaded, load_cases
from brats_lightning.inference.results import INTERNAL, ResultFolder, Wanted
from brats_lightning.inference.segmenter import Segmentation, Segmenter
from brats_lightning.labels import EDITIONS, label_values
from brats_lightning.nifti import Volume, read_volume
from brats_lightning.reports.case.numbers import told_by
from brats_lightning.web.records import CaseRecord
from brats_lightning.web.work.messages import Outcome, WorkOptions
from brats_lightning.web.work.tasks.given import Given
from brats_lightning.web.work.tasks.kept import RECORD, SegmentedAs, discard_all, keep
from brats_lightning.web.work.tasks.networks import Networks
from brats_lightning.web.work.tasks.sizes import sizes_of
from brats_lightning.web.work.tasks.viewing import write_entropy, write_images, write_labels
from brats_lightning.web.work.tasks.wording import wanted_on_a_page

MASK_NAME = "mask"
READING, NETWORK, BACK, WRITING, MEASURING = (
    "Reading and preprocessing",
    "Network",
    "Back to the patient’s grid",
    "Writing",
    "Measuring",
)
_PERCENT = {READING: 0, NETWORK: 15, BACK: 80, WRITING: 85, MEASURING: 97}
_WITH_MORE_LABELS = ("2024-GLI", "2024-PED")


def segment(
    given: Given, record: CaseRecord, scratch: Path, networks: Networks, *, tell: Callable[[str, float], None]
) -> Outcome:
    """Segment a case.

    Args:
        given: The case.
        record: What is known of it, and which networks are wanted.
        scratch: Folder to write in.
        networks: That there are.
        tell: Is told the stage and the per cent.

    Raises:
        BratsError: A file of it cannot be used, or the networks cannot do with it.
    """
    segmenter, options = networks.segmenter(record.networks), networks.options
    tell(READING, _PERCENT[READING])
    loaded = _loaded(given, segmenter, options)
    tell(NETWORK, _PERCENT[NETWORK])

    def passed(share: float) -> None:
        network = _PERCENT[NETWORK] + share * (_PERCENT[BACK] - _PERCENT[NETWORK])
        tell(NETWORK if share < 1 else BACK, network)

    segmentation = segmenter(loaded.samples, progress=passed)
    tell(WRITING, _PERCENT[WRITING])
    edition, notes = _edition_for(given, segmentation, segmenter, options)
    results = _write_mask(loaded, segmentation, segmenter, scratch, edition=edition, options=options)
    native = loaded.samples[0].native
    labels = segmentation.placement.paste_ras(segmentation.labels)
    view, more = write_images(
        given, scratch, native=native, labels=labels, align=options.align is not None,
        tell=lambda share: tell(WRITING, _PERCENT[WRITING] + share * (_PERCENT[MEASURING] - _PERCENT[WRITING])),
    )  # fmt: skip
    results += [*(f"volumes/{kind}.nii.gz" for kind in view.images)]
    results.append(write_labels(scratch, "prediction", labels, spacing_mm=view.spacing_mm))
    if options.uncertainty:
        entropy = Volume(read_volume(scratch / "entropy.nii.gz").array.reshape(native.shape), native).ras().array
        results.append(write_entropy(scratch, entropy, spacing_mm=view.spacing_mm))
    SegmentedAs(edition=edition).write(scratch)
    tell(MEASURING, _PERCENT[MEASURING])
    sizes = sizes_of(labels, told_by(edition, labels), spacing_mm=view.spacing_mm, placed=view.placed)
    discard_all(given.folder)
    keep([RECORD, *results], scratch, given.folder)
    odd = [note for note in loaded.samples[0].notes if wanted_on_a_page(note)]
    said = [given.in_words(note) for note in (*odd, *notes, *more)]
    return Outcome(results=results, sizes={"prediction": sizes}, view=view, notes=said)


def _loaded(given: Given, segmenter: Segmenter, options: WorkOptions) -> Loaded:
    """As `brats predict` loads a case, with what the networks need and nothing else."""
    case = replace(given.case, images={name: given.case.images[name] for name in segmenter.modalities})
    loaded = next(load_cases([case], segmenter.preprocessings, align=options.align is not None, workers=0))
    if loaded.problems:
        raise DatasetError(loaded.problems)
    return loaded


def _edition_for(
    given: Given, segmentation: Segmentation, segmenter: Segmenter, options: WorkOptions
) -> tuple[str, list[str]]:
    """Whose label values are written: those of `brats predict`, and others only where these lack a label."""
    if options.labels or segmenter.edition:
        return options.labels or str(segmenter.edition), []
    found = label_values(segmentation.labels) - {0}
    usual = "2023" if given.is_picture else given.case.edition
    for edition in (usual, *_WITH_MORE_LABELS):
        if found <= set(EDITIONS[edition].values.values()):
            odd = [] if edition == usual else [f"the mask has label values of {EDITIONS[edition]}"]
            return edition, odd
    return INTERNAL, ["the mask has the program’s own label values: 1 NCR, 2 ED, 3 ET, 4 RC, 5 CC"]


def _write_mask(
    loaded: Loaded,
    segmentation: Segmentation,
    segmenter: Segmenter,
    scratch: Path,
    *,
    edition: str,
    options: WorkOptions,
) -> list[str]:
    """The files that `brats predict` writes, by the page's names of them."""
    ResultFolder(scratch / "predicted", key="", overwrite=True).write(
        replace(loaded.case, id=MASK_NAME),
        segmentation,
        Wanted(edition, uncertainty=options.uncertainty),
        like=reference_file(loaded.case, modalities=segmenter.modalities, align=options.align is not None),
        regions=segmenter.regions,
        seconds={},
        notes=[],
    )
    names = {f"{MASK_NAME}.nii.gz": "mask.nii.gz", f"{MASK_NAME}.png": "mask.png"}
    names |= {f"{MASK_NAME}_entropy.nii.gz": "entropy.nii.gz"}
    made = []
    for name, shown in names.items():
        if (path := scratch / "predicted" / name).exists():
            path.replace(scratch / shown)
            made.append(shown)
    return made
