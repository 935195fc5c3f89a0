"""The page about a folder of cases."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from brats_lightning.data.check import Checked
from brats_lightning.data.checking.findings import About, CaseNumbers, Remark, in_digits
from brats_lightning.data.checking.needs import Needs
from brats_lightning.data.splits import PARTS
from brats_lightning.labels import EDITIONS, LABELS, Modality
from brats_lightning.reports.data_report.thresholds import LOOKED_FOR
from brats_lightning.reports.html.page import Section, page
from brats_lightning.reports.html.parts import Html, details, facts, joined, notice, paragraph, table

SUBTITLE = "brain-tumour segmentation · report of a folder of cases"
NONE = "–"
ABOUT: Mapping[About, str] = {
    "sides": "Left and right",
    "duplicate": "The same image twice",
    "label": "Segmentations",
    "intensity": "Intensities",
    "header": "Headers",
    "outlier": "Unlike the other cases of the edition",
    "split": "The split",
}
STYLE = "td.words:nth-child(n+3) { white-space: normal; }"
"""Sentences in tables, which would be wider than any screen on one line."""
SHOWN = ("WT", "TC", *LABELS)


def data_page(
    checked: Checked, needed: Needs, *, root: Path, headers: bool, size: Sequence[int], training: int | None
) -> str:
    """The report of a folder as the text of a page, which needs nothing beside it.

    Args:
        checked: What was found.
        needed: What a run on it would take.
        root: The folder.
        headers: Only headers were read.
        size: Voxels an axis for which `needed` was worked out.
        training: Bytes that training takes, None where that is not known.
    """
    sections = [
        _glance(checked, root, headers=headers),
        Section("Problems", _problems(checked), style=STYLE),
        Section("Remarks", _remarks(checked.remarks)),
        *([] if headers else [_labels(checked), _images(checked)]),
        _headers(checked.numbers),
        _needs(needed, size, training),
        Section("Every case", details(f"{len(checked.cases)} cases", _cases(checked))),
        Section("What was looked for", facts({name: " ".join(text.split()) for name, text in LOOKED_FOR.items()})),
    ]
    return page(f"Cases of {root.resolve().name}", sections, subtitle=SUBTITLE)


def _glance(checked: Checked, root: Path, *, headers: bool) -> Section:
    usable = len(checked.notes)
    pairs = {
        "Folder": str(root),
        "Cases": f"{len(checked.cases)} of {len({case.patient for case in checked.cases})} patients, {usable} usable",
        "Problems": str(len(checked.problems)),
        "Remarks": f"{len(checked.remarks)} of {len({remark.case for remark in checked.remarks})} cases",
        "Modalities": ", ".join(checked.modalities),
    }
    if checked.parts is not None:
        pairs["Split"] = ", ".join(f"{part} {len(getattr(checked.parts, part))}" for part in PARTS)
    counts = Counter((case.edition, case.label is not None) for case in checked.cases)
    rows = [
        [str(EDITIONS[name]), str(counts[name, True]), str(counts[name, False])]
        for name in sorted({name for name, _ in counts})
    ]
    body = [facts(pairs), table(["edition", "labelled", "unlabelled"], rows)]
    if headers:
        body.append(notice("Only headers were read: nothing is said of voxels, of duplicates or of segmentations."))
    return Section("At a glance", joined(*body))


def _problems(checked: Checked) -> Html:
    if not checked.problems:
        return paragraph(f"No problems in {len(checked.cases)} cases.")
    rows = [[problem.case, problem.file, problem.what, problem.cure] for problem in checked.problems]
    return _words(["case", "file", "what", "cure"], rows)


def _remarks(remarks: Iterable[Remark]) -> Html:
    by_kind: dict[About, list[Remark]] = defaultdict(list)
    for remark in remarks:
        by_kind[remark.about].append(remark)
    parts: list[Html] = []
    for kind in get_args(About):
        if kind in by_kind:
            rows = [[remark.case, remark.file, remark.what] for remark in by_kind[kind]]
            shown = _words(["case", "file", "what"], rows)
            parts.append(details(f"{ABOUT[kind]}: {len(rows)}", shown))
    return joined(*parts) if parts else paragraph("Nothing odd.")


def _words(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    return table(columns, rows, words=len(columns))


def _labels(checked: Checked) -> Section:
    by_edition: dict[str, list[CaseNumbers]] = defaultdict(list)
    for case in checked.cases:
        numbers = checked.numbers.get(case.id)
        if numbers is not None and numbers.label is not None:
            by_edition[case.edition].append(numbers)
    rows = []
    for edition, held in sorted(by_edition.items()):
        for name in SHOWN:
            volumes = [numbers.label.voxels[name] * numbers.voxel_ml for numbers in held if numbers.label]
            if there := [volume for volume in volumes if volume]:
                rows.append([str(EDITIONS[edition]), name, str(len(volumes)), str(len(there)), *_spread(there)])
    columns = ["edition", "region", "cases", "that have it", "smallest ml", "5 %", "median", "95 %", "largest"]
    return Section("Volumes of segmentations", table(columns, rows, words=2) if rows else paragraph("None was read."))


def _images(checked: Checked) -> Section:
    held: dict[tuple[str, Modality], list[CaseNumbers]] = defaultdict(list)
    for case in checked.cases:
        if (numbers := checked.numbers.get(case.id)) is not None:
            for modality in numbers.images:
                held[case.edition, modality].append(numbers)
    rows = []
    for (edition, modality), cases in sorted(held.items()):
        medians = [numbers.images[modality].median for numbers in cases]
        rows.append([str(EDITIONS[edition]), modality, str(len(cases)), *_spread(medians)])
    columns = ["edition", "modality", "cases", "smallest", "5 %", "median", "95 %", "largest"]
    about = "The median of each case's brain, its background at 0."
    return Section("Intensities", table(columns, rows, words=2, caption=about) if rows else paragraph("None was read."))


def _spread(values: Sequence[float]) -> list[str]:
    return [in_digits(float(value)) for value in np.percentile(values, [0, 5, 50, 95, 100])]


def _headers(measured: Mapping[str, CaseNumbers]) -> Section:
    counts = Counter(
        (
            "label" if kind == "label" else "image",
            "×".join(map(str, header.shape)),
            "×".join(f"{size:.3g}" for size in header.spacing_mm),
            header.orientation,
            header.stored_as,
        )
        for numbers in measured.values()
        for kind, header in numbers.headers.items()
    )
    rows = [[*key, str(count)] for key, count in counts.most_common()]
    columns = ["file", "voxels", "mm", "axes", "stored as", "files"]
    found = table(columns, rows, words=5) if rows else paragraph("No file has a NIfTI header.")
    return Section("Headers", found)


def _needs(needed: Needs, size: Sequence[int], training: int | None) -> Section:
    shape = "×".join(map(str, size))
    cropped = "cropped to the brain" if needed.cropped else "uncropped, which is more than a run takes"
    pairs = {
        "Usable cases": str(needed.cases),
        "Their files": _bytes(needed.files_bytes),
        f"Preprocessed to {shape}": f"{_bytes(needed.resampled_bytes)} of disk for the cache, and of memory to stay in",
        f"At their own voxels, {cropped}": _bytes(needed.native_bytes),
        "To read the largest": f"{_bytes(needed.reading_bytes)} of memory a process, and twice that to preprocess it",
    }
    if training is not None:
        pairs["To train configs/unet3d.yaml"] = f"about {_bytes(training)} of GPU memory in 16 bits, 2 cases of {shape}"
    return Section("Memory and disk of a run", facts(pairs))


def _bytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _cases(checked: Checked) -> Html:
    part_of = {name: part for part in PARTS for name in getattr(checked.parts, part, ())}
    problems = Counter(problem.case for problem in checked.problems)
    remarks = Counter(remark.case for remark in checked.remarks)
    rows = []
    for case in checked.cases:
        numbers = checked.numbers.get(case.id, CaseNumbers())
        brain = numbers.brain_voxels * numbers.voxel_ml
        label = numbers.label
        volumes = [f"{label.voxels[name] * numbers.voxel_ml:.2f}" if label else NONE for name in SHOWN]
        rows.append(
            [
                case.id, case.patient, str(EDITIONS[case.edition]), part_of.get(case.id, NONE),
                f"{brain:.0f}" if brain else NONE, *volumes, str(label.lesions) if label else NONE,
                str(problems[case.id]), str(remarks[case.id]),
            ]
        )  # fmt: skip
    columns = ["case", "patient", "edition", "part", "brain ml", *(f"{name} ml" for name in SHOWN)]
    return table([*columns, "lesions", "problems", "remarks"], rows, words=4)
