"""The surfaces on a page, to be turned by hand: a section of a report, or a page of its own."""

import base64
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from brats_lightning.reports.html.page import Json, Section, page
from brats_lightning.reports.html.parts import Html, escaped, joined, notice
from brats_lightning.reports.html.written import write_page
from brats_lightning.reports.rendering.scene import BRAIN, Part, Scene
from brats_lightning.reports.rendering.still import still, volume

SCRIPT, STYLE = (Path(__file__).parent / name for name in ("viewer.js", "viewer.css"))
YAW, PITCH = 0.7, 0.35
"""Radians from the front towards the patient's right, and upwards."""
POSITION_STEPS, NORMAL_STEPS = 2**16 - 1, 2**7 - 1
"""Of a box of 200 mm a step is 3 micrometres."""
HINT = (
    "Drag to turn; with Shift or two fingers, to move; click, then scroll to zoom, or pinch; double-click to reset. "
    "Arrow keys, + and − do the same."
)
REMARK = "Volumes are those of the voxels."


def mesh_section(
    scene: Scene, *, title: str = "In three dimensions", name: str = "mesh", picture: Path | None = None
) -> Section:
    """A section of a page with a viewer, and the still picture for paper and for browsers without WebGL2.

    Args:
        scene: What to show; without anything to see the section says so in a sentence.
        title: The section's heading.
        name: Element id of its data: one of its own for each section of a page.
        picture: PNG file that `still` has drawn; None draws it for this page alone.

    Raises:
        OSError: The picture cannot be read.
    """
    remark = notice(scene.remark) if scene.remark else Html("")
    if not scene.parts:
        return Section(title, remark)
    description = f"{scene.title} in three dimensions: " + ", ".join(part.title for part in scene.parts)
    figure = Html(
        f'<figure data-mesh="{escaped(name)}"><img src="{_data_address(scene, picture)}" alt="{escaped(description)}">'
        f'<figcaption><span class="screen">{escaped(HINT)}</span> {escaped(REMARK)}</figcaption></figure>'
    )
    data = {name: mesh_data(scene)}
    return Section(title, joined(remark, figure), data=data, scripts=(_text(SCRIPT),), style=_text(STYLE))


def write_scene(scene: Scene, *, path: Path, picture: Path | None = None) -> None:
    """Write a page of its own: one file that makes no request.

    Args:
        scene: What to show.
        path: The page; its folder must exist.
        picture: PNG file that `still` has drawn; None draws it for this page alone.

    Raises:
        OSError: The picture cannot be read, or the page not be written.
    """
    sections = [mesh_section(scene, picture=picture)]
    write_page(path, page(scene.title, sections, subtitle="Surfaces of the label map"))


def mesh_data(scene: Scene) -> Json:
    """What the viewer draws: positions as 16-bit parts of the scene's box, normals as bytes, both in base64."""
    low, high = scene.box_mm
    return {
        "low": np.round(low, 4).tolist(),
        "high": np.round(high, 4).tolist(),
        "eye": [_yaw(scene), PITCH],
        "parts": [_part(part, low, high - low) for part in scene.parts],
    }


def _yaw(scene: Scene) -> float:
    """Where the eye begins: in front, on the side of the tumour."""
    low, high = scene.box_mm
    tumour = [part.surface.vertices[:, 0] for part in scene.parts if part.name != BRAIN]
    is_right = bool(tumour) and float(np.concatenate(tumour).mean()) > (low[0] + high[0]) / 2
    return YAW if is_right else -YAW


def _part(part: Part, low: npt.NDArray[np.float64], size: npt.NDArray[np.float64]) -> Json:
    surface = part.surface
    wide = len(surface.vertices) > 2**16 - 1
    positions = np.rint((surface.vertices - low) / size * POSITION_STEPS).astype("<u2")
    return {
        "name": part.name,
        "title": part.title,
        "colour": part.colour,
        "opacity": part.opacity,
        "volume": volume(part.volume_ml),
        "count": surface.triangles.size,
        "wide": wide,
        "positions": _base64(positions.tobytes()),
        "normals": _base64(np.rint(surface.normals * NORMAL_STEPS).astype(np.int8).tobytes()),
        "triangles": _base64(surface.triangles.astype("<u4" if wide else "<u2").tobytes()),
    }


def _data_address(scene: Scene, picture: Path | None) -> str:
    if picture is not None:
        return f"data:image/png;base64,{_base64(picture.read_bytes())}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "still.png"
        still(scene, path=path)
        return _data_address(scene, path)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
