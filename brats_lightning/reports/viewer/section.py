"""The part of a page in which a case can be looked at from all sides."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from brats_lightning.nifti import Grid
from brats_lightning.reports.figures.canvas import TITLES
from brats_lightning.reports.figures.colours import OUTSIDE_IN, REGION_COLOURS, REGION_TITLES
from brats_lightning.reports.figures.planes import Array, foreground_box, views_of, windowed
from brats_lightning.reports.html.page import Json, Section
from brats_lightning.reports.html.parts import Html, escaped
from brats_lightning.reports.viewer.volumes import tumour_centre, volume_text

HERE = Path(__file__).parent
NIIVUE, RECORD = HERE / "niivue.umd.js", HERE / "niivue.json"
BRIGHTEST = 63
"""Grey values are stored in 64 steps: noise beyond that would cost half as much again, and nobody would see it."""
OPACITY_PERCENT = 45
MISSING = (
    "This browser has no WebGL2, or it is switched off, so that the interactive viewer cannot be shown: "
    "see the pictures below."
)

USE = "Click or drag to move the crosshair; after a click the wheel goes through the slices."
SIDES = " The patient’s right is on the left."


def niivue_version() -> str:
    """Version of the vendored library."""
    return str(json.loads(RECORD.read_text(encoding="utf-8"))["version"])


def viewer_section(
    image: Array,
    segmentations: Mapping[str, Array],
    *,
    grid: Grid,
    modalities: Sequence[str],
    placed: bool = True,
    title: str = "Viewer",
) -> Section:
    """Three planes that follow each other, modalities to choose from, segmentations to switch by tissue.

    Drawn as radiologists look: the patient's right is on the left. Segmentations after the first appear as outlines.

    Args:
        image: (C, X, Y, Z), axes growing right, anterior and superior; Z may be 1.
        segmentations: Each (X, Y, Z) integers as inside the program, by a name of one word; may be empty.
        grid: Of these arrays.
        modalities: Names of the image's channels in their order.
        placed: Whether directions and places in mm are those of the patient.
        title: Of the section.
    """
    box = _box(image, list(segmentations.values()), grid.spacing_mm)
    labels = {name: np.asarray(each[box], np.uint8) for name, each in segmentations.items()}
    shape = image[0][box].shape
    found = {value for each in labels.values() for value in np.unique(each).tolist()}
    tissues = [name for name in reversed(list(OUTSIDE_IN)) if OUTSIDE_IN[name] in found]
    volumes: list[Json] = [
        {
            "name": name,
            "volume": volume_text(np.rint(windowed(channel, box) * BRIGHTEST), spacing_mm=grid.spacing_mm),
        }
        for name, channel in zip(modalities, image, strict=True)
    ]
    scene: dict[str, Json] = {
        "images": volumes,
        "brightest": BRIGHTEST,
        "segmentations": [
            {"name": name, "volume": volume_text(each, spacing_mm=grid.spacing_mm)} for name, each in labels.items()
        ],
        "tissues": [
            {"name": name, "value": OUTSIDE_IN[name], "colour": list(_rgb(REGION_COLOURS[name]))} for name in tissues
        ],
        "largest": max(OUTSIDE_IN.values()),
        "shape": list(shape),
        "first": [part.start for part in box],
        "affine": grid.affine[:3].tolist(),
        "centre": list(tumour_centre(list(labels.values()), shape)),
        "placed": placed,
    }
    body = _body(modalities, list(labels), tissues, planes=[view.name for view in views_of(shape)], placed=placed)
    scripts = (NIIVUE.read_text(encoding="utf-8"), _own("viewer.js"))
    return Section(title, body, data={"viewer-scene": scene}, scripts=scripts, style=_own("viewer.css"))


@cache
def _own(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _box(image: Array, segmentations: Sequence[Array], spacing_mm: Sequence[float]) -> tuple[slice, slice, slice]:
    """The box round the brain, and round what was segmented outside it."""
    box = []
    for axis, part in enumerate(foreground_box(image, spacing_mm)):
        others = tuple({0, 1, 2} - {axis})
        places = [np.flatnonzero(each.any(axis=others)) for each in segmentations]
        first = min([part.start, *(int(at[0]) for at in places if at.size)])
        last = max([min(part.stop, image.shape[axis + 1]), *(int(at[-1]) + 1 for at in places if at.size)])
        box.append(slice(first, last))
    return box[0], box[1], box[2]


def _body(
    modalities: Sequence[str],
    segmentations: Sequence[str],
    tissues: Sequence[str],
    *,
    planes: Sequence[str],
    placed: bool,
) -> Html:
    """The controls, the picture, and where its crosshair stands."""
    first = "t2f" if "t2f" in modalities else modalities[0]  # the whole tumour is bright on FLAIR
    images = [_choice("image", name, TITLES.get(name, name), checked=name == first) for name in modalities]
    seen = ["all", *planes] if len(planes) > 1 else planes
    turned = [_choice("plane", name, name, checked=name == seen[0]) for name in seen]
    colours = [
        _choice(
            "tissue", str(OUTSIDE_IN[name]), REGION_TITLES.get(name, name), kind="checkbox", colour=REGION_COLOURS[name]
        )
        for name in tissues
    ]
    layers = [
        _group(
            name,
            [_choice(name, way, way, checked=way == usual) for way in ("filled", "outline", "off")],
        )
        for name, usual in zip(segmentations, ["filled", *["outline"] * len(segmentations)], strict=False)
    ]
    controls = [
        _group("Image", images),
        *layers,
        *([_group("Tissues", colours)] if colours else []),
        _group("Plane", turned),
        _group("Opacity", [Html(f'<input type="range" name="opacity" min="5" max="100" value="{OPACITY_PERCENT}">')]),
        _group("Slice", [Html('<input type="range" name="slice" min="0" value="0">')]),
    ]
    return Html(
        f'<p class="notice" id="viewer-missing" hidden>{escaped(MISSING)}</p>\n'
        f'<noscript><p class="notice">{escaped(MISSING)}</p></noscript>\n'
        '<div id="viewer" class="screen">\n'
        f'<form id="viewer-form" autocomplete="off">{"".join(controls)}</form>\n'
        '<div id="viewer-stage"><canvas tabindex="0" aria-label="slices through the case"></canvas></div>\n'
        '<p id="viewer-place"></p>\n'
        f"<p>{escaped(USE + SIDES if placed and set(planes) != {'sagittal'} else USE)}</p>\n</div>"
    )


def _group(title: str, controls: Sequence[Html]) -> Html:
    return Html(f"<fieldset><legend>{escaped(title.capitalize())}</legend>{''.join(controls)}</fieldset>")


def _choice(name: str, value: str, text: str, *, checked: bool = True, kind: str = "radio", colour: str = "") -> Html:
    sign = f'<span class="tissue" style="background:{escaped(colour)}"></span>' if colour else ""
    mark = " checked" if checked else ""
    control = f'<input type="{kind}" name="{escaped(name)}" value="{escaped(value)}"{mark}>'
    return Html(f"<label>{control}{sign}{escaped(text)}</label>")
