"""The colour of each region in every picture and page, and those of the ground it stands on."""

from collections.abc import Collection, Mapping, Sequence

from brats_lightning.labels import LABELS, TISSUES, WHOLE

REGION_COLOURS: Mapping[str, str] = {
    "ET": "#F0E442", "ED": "#56B4E9", "NCR": "#D55E00", "RC": "#009E73", "CC": "#CC79A7",
    "WT": "#0072B2", "TC": "#E69F00",
}  # fmt: skip
"""A region's colour in every picture, told apart by every eye (Okabe and Ito, Color Universal Design, 2008)."""
REGION_TITLES = {
    "ET": "ET  enhancing tumour", "ED": "ED  oedema", "NCR": "NCR  necrotic core", "RC": "RC  resection cavity",
    "CC": "CC  cyst", "WT": "WT  whole tumour", "TC": "TC  tumour core",
}  # fmt: skip
OUTSIDE_IN: Mapping[str, int] = {"WT": WHOLE, **{name: LABELS[name] for name in ("ED", "RC", "CC", "ET", "NCR")}}
"""What is drawn, with its label, in this order: tumour of no stated tissue has the colour of the whole tumour."""
BACKGROUND, TEXT, FAINT = "#000000", "#F2F4F7", "#9AA4B2"
"""Of pictures of the brain."""
PAPER, INK, MUTED, GRID = "#FFFFFF", "#16191D", "#59626E", "#E4E7EB"
"""Of plots: ground, text, lesser text, lines behind the data."""
FILL_OPACITY = 0.22

OTHER_COLOURS = ("#332288", "#AA4499", "#117733", "#882255", "#999933", "#661100", "#44AA99", "#6699CC")
"""Of runs, and of regions of own names: muted colours after Paul Tol (2021), none of them a region's."""


def regions_in_key(values: Collection[int]) -> list[str]:
    """Regions that a legend names: those of the labels found, and the three tissues unless it is masks.

    Example:
        >>> regions_in_key({WHOLE}), regions_in_key({4})
        (['WT'], ['ET', 'ED', 'NCR', 'RC'])
    """
    found = [name for name, value in OUTSIDE_IN.items() if value in values]
    always = () if found == ["WT"] else TISSUES
    return [*always, *(name for name in found if name not in always)]


def region_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each region, those of own names included.

    Example:
        >>> region_colours(["ET", "lesion"])
        {'ET': '#F0E442', 'lesion': '#332288'}
    """
    own = [name for name in names if name not in REGION_COLOURS]
    others = {name: OTHER_COLOURS[number % len(OTHER_COLOURS)] for number, name in enumerate(own)}
    return {name: REGION_COLOURS.get(name) or others[name] for name in names}
