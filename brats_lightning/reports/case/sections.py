"""What a report of a case says in words and tables."""

from collections.abc import Mapping

from brats_lightning.metrics.surface import CONVENTIONS
from brats_lightning.reports.case.files import CaseFilesRead
from brats_lightning.reports.case.numbers import DISTANCES, EMPTY, EMPTY_OF_PICTURES, SCORES, CaseNumbers, Size
from brats_lightning.reports.figures.canvas import TITLES
from brats_lightning.reports.figures.colours import REGION_TITLES
from brats_lightning.reports.figures.planes import tilt_degrees
from brats_lightning.reports.figures.remarks import STRAIGHT_DEGREES
from brats_lightning.reports.html.page import Section
from brats_lightning.reports.html.parts import facts, joined, notice, paragraph, table

PURPOSE = "Made by research software: no diagnosis, and nothing to treat a patient by."
NONE = "–"
EMPTY_IN_WORDS: Mapping[str, str] = {
    EMPTY: "a region in neither counts as right (1 and 0 mm), one that is missed or invented as 0 and 373.13 mm",
    EMPTY_OF_PICTURES: "a region in neither counts as right (1 and 0 pixels), one that is missed or invented as 0 and "
    "the picture’s diagonal",
}


def glance(read: CaseFilesRead, numbers: CaseNumbers) -> Section:
    """What the case is, what was found, and above all what is missing."""
    found = {
        "case": read.case.id,
        "images": ", ".join(TITLES.get(name, name) for name in read.modalities),
        **{name: _amounts(each, placed=read.placed) for name, each in numbers.sizes.items()},
    }
    if numbers.scores:
        shown = [name for name in ("WT", "TC", "ET") if name in numbers.scores]
        found["Dice"] = ", ".join(f"{name} {numbers.scores[name]['dice']:.3f}" for name in shown)
    remarks = [notice(text) for text in missing(read, numbers)]
    return Section("At a glance", joined(facts(found), *remarks, paragraph(PURPOSE)))


def missing(read: CaseFilesRead, numbers: CaseNumbers) -> list[str]:
    """Sentences about what is not there, or is odd."""
    said = []
    if read.missing:
        said.append(f"No {', '.join(TITLES[name] for name in read.missing)} in this case: shown is what there is.")
    if read.reference is None:
        said.append("This case has no reference: there is nothing to score the prediction against.")
    for name, labels in read.segmentations.items():
        if not labels.any():
            said.append(f"The {name} is empty: it has no tumour.")
        elif absent := numbers.absent(name):
            said.append(f"The {name} has no {', '.join(absent)}.")
    if not read.placed:
        said.append("A picture does not know its place in the patient: lengths are in pixels, and sides are not named.")
    elif (tilt := tilt_degrees(read.volumes.grid.affine)) > STRAIGHT_DEGREES:
        said.append(
            f"The grid is tilted by {tilt:.0f}°: planes are those of the grid, letters name the nearest direction."
        )
    return said


def size_section(read: CaseFilesRead, numbers: CaseNumbers) -> Section:
    """Volumes and diameters of each region, prediction and reference below each other."""
    flat, unit = 1 in read.volumes.grid.shape, "mm" if read.placed else "pixels"
    columns = ["region", "in", "volume, ml" if read.placed else "pixels"]
    columns += [] if flat else [f"longest, {unit}"]
    columns += [f"longest in a slice, {unit}", f"across that, {unit}", *([] if flat else ["axial slice"])]
    rows = []
    for region in dict.fromkeys(region for each in numbers.sizes.values() for region in each):
        for name, each in numbers.sizes.items():
            cells = _size_cells(each, region, flat=flat, placed=read.placed)
            rows.append([REGION_TITLES.get(region, region), name, *cells])
    caption = (
        "Diameters join points of the outline, half-way between voxels. The longest one is that of the whole region, "
        "all its lesions together; those in a slice are of one lesion, the second at a right angle to the first, as in "
        f"RANO. {NONE} where the region is absent."
    )
    return Section("Volumes and diameters", table(columns, rows, caption=caption, words=2))


def score_section(read: CaseFilesRead, numbers: CaseNumbers) -> Section:
    """Scores of each region that both sides can tell."""
    unit = "mm" if read.placed else "pixels"
    remarks = {(False, False): "in neither", (False, True): "missed", (True, False): "not in the reference"}
    rows = []
    for region, each in numbers.scores.items():
        sides = tuple(numbers.sizes[name][region] is not None for name in ("prediction", "reference"))
        cells = [f"{value:.2f}" if name.endswith("_mm") else f"{value:.3f}" for name, value in each.items()]
        rows.append([REGION_TITLES.get(region, region), *cells, remarks.get((sides[0], sides[1]), "")])
    columns = ["region", *(f"{title}, {unit}" if name.endswith("_mm") else title for name, title in SCORES.items()), ""]
    caption = (
        f"On the case’s own grid, over the whole image. HD95 by the convention “{DISTANCES}”: "
        f"{CONVENTIONS[DISTANCES]}. Empty masks by the policy “{numbers.empty}”: {EMPTY_IN_WORDS[numbers.empty]}."
    )
    return Section("Scores against the reference", table(columns, rows, caption=caption))


def _amounts(sizes: Mapping[str, Size | None], *, placed: bool) -> str:
    """The regions that are there with their volumes."""
    there = {region: size for region, size in sizes.items() if size is not None}
    amounts = [
        f"{region} {f'{size.volume_ml:.1f} ml' if placed else f'{size.voxels} pixels'}"
        for region, size in there.items()
    ]
    return ", ".join(amounts) or "no tumour"


def _size_cells(sizes: Mapping[str, Size | None], region: str, *, flat: bool, placed: bool) -> list[str]:
    absent = [NONE] * (2 if flat else 4)
    if region not in sizes:
        return ["not told", *absent]
    size = sizes[region]
    if size is None:
        return ["0", *absent]
    lengths = [*([] if size.longest is None else [size.longest]), size.axial, size.across]
    amount = f"{size.volume_ml:.2f}" if placed else str(size.voxels)
    return [amount, *(f"{length:.1f}" for length in lengths), *([] if flat else [str(size.slice)])]
