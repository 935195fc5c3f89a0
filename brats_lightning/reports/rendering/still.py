"""The still picture: brain and tumour from three sides."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.patches import Patch

from brats_lightning.reports.figures.canvas import canvas, mark, scale_bar
from brats_lightning.reports.figures.colours import BACKGROUND, TEXT
from brats_lightning.reports.figures.style import save
from brats_lightning.reports.rendering.rasteriser import BELOW, FRONT, LEFT, Side, extent_mm, render
from brats_lightning.reports.rendering.scene import Scene

SIDES = (BELOW, FRONT, LEFT)
PIXELS_PER_MM = 2.2
MARGIN_MM = 14.0
EMPTY_MM = (200.0, 10.0)


def still(scene: Scene, *, path: Path, sides: Sequence[Side] = SIDES) -> None:
    """Draw a scene from one or several sides; where there is nothing to see, the picture says why.

    Args:
        scene: What to draw.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        sides: Where the eye is, a panel each.
    """
    notes = [scene.remark] if scene.remark else []
    if not scene.parts:
        figure, _ = canvas([EMPTY_MM], rows=1, title=scene.title, notes=notes)
        save(figure, path)
        return
    extents = [extent_mm(scene, side, margin_mm=MARGIN_MM)[1] for side in sides]
    key = [Patch(color=part.colour, label=f"{part.title}  {volume(part.volume_ml)}") for part in scene.parts]
    figure, (row,) = canvas(extents, rows=1, title=scene.title, notes=notes, key=key)
    for axes, side, (width, height) in zip(row, sides, extents, strict=True):
        picture = render(scene, side, pixels_per_mm=PIXELS_PER_MM, margin_mm=MARGIN_MM, ground=BACKGROUND)
        axes.imshow(picture, origin="lower", extent=(0, width, 0, height), interpolation="bilinear")
        axes.set_title(side.name, color=TEXT, fontsize=12, pad=7)
        mark(axes, side.view)
    scale_bar(row[-1])
    save(figure, path)


def volume(millilitres: float) -> str:
    """In words, with three digits that count.

    >>> volume(0.02341), volume(85.96), volume(1519.6)
    ('0.0234 ml', '86 ml', '1520 ml')
    """
    return f"{millilitres:.0f} ml" if millilitres >= 1000 else f"{millilitres:.3g} ml"
