"""A synthetic glioma: a necrotic core, an enhancing rim and the oedema around them, cut to drawn volumes."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from brats_lightning.labels import LABELS
from brats_lightning.phantom.anatomy import (
    Floats,
    Points,
    Tissues,
    Triple,
    ramp,
    squared_distance,
    ventricle_distance,
)

WITHOUT_ET, MULTIFOCAL = 0.2, 0.25
"""Shares of cases."""


@dataclass(frozen=True)
class Plan:
    """What is drawn about a tumour before it grows.

    Args:
        centres: In mm, one a focus, the largest first.
        shares: Of the volume, one a focus.
        ncr_ml: Volume of the necrotic core: of the whole core where nothing enhances.
        et_ml: Volume of the enhancing tumour, 0 in some cases.
        ed_ml: Volume of the oedema.
        push: How far tissue moves aside in the middle of a focus: 0 not at all, 1 all the way.
    """

    centres: tuple[Triple, ...]
    shares: tuple[float, ...]
    ncr_ml: float
    et_ml: float
    ed_ml: float
    push: float

    @property
    def core_ml(self) -> float:
        """Volume of the tumour core."""
        return self.ncr_ml + self.et_ml

    def radii_mm(self, volume_ml: float) -> list[float]:
        """Radius of each focus as a ball when together they have a volume."""
        return [_ball_mm(volume_ml * share) for share in self.shares]


@dataclass(frozen=True, eq=False)
class Tumour:
    """A grown tumour, one value a brain voxel.

    Args:
        label: 0, NCR, ED or ET.
        ncr: Fraction of necrotic core, 0 to 1, smooth over its border.
        et: Fraction of enhancing tumour.
        ed: Fraction of oedema.
    """

    label: npt.NDArray[np.uint8]
    ncr: Floats
    et: Floats
    ed: Floats


def draw_plan(generator: np.random.Generator, points: Points, depth: Floats) -> Plan:
    """Draw volumes and places: foci lie in the cerebrum, away from surface, ventricles and each other.

    Args:
        generator: Draws.
        points: Three arrays of one value a brain voxel.
        depth: Below the brain's surface.
    """
    ncr_ml = float(np.exp(generator.uniform(np.log(2), np.log(40))))
    rim_mm = generator.uniform(2.5, 6)
    shell_ml = ncr_ml * ((1 + rim_mm / _ball_mm(ncr_ml)) ** 3 - 1)
    et_ml = float(np.clip(shell_ml, 3, 38))
    if generator.random() < WITHOUT_ET:
        ncr_ml, et_ml = float(np.clip(ncr_ml + et_ml, 12, 58)), 0.0
    foci = int(generator.integers(2, 4)) if generator.random() < MULTIFOCAL else 1
    shares = np.array([1.0, *generator.uniform(0.15, 0.4, foci - 1)])
    ed_ml, push = generator.uniform((25, 0.3), (110, 0.65)).tolist()
    plan = Plan((), tuple((shares / shares.sum()).tolist()), ncr_ml, et_ml, ed_ml, push)
    centres = _draw_centres(generator, points, depth, plan.radii_mm(plan.core_ml))
    return replace(plan, centres=centres, shares=plan.shares[: len(centres)])


def displace(points: Points, plan: Plan) -> Points:
    """Where the tissue at each point lay before the tumour pushed it aside."""
    x, y, z = points
    for centre, radius in zip(plan.centres, plan.radii_mm(plan.core_ml), strict=True):
        spread = 1.2 * radius + 8
        pull = plan.push * np.exp(squared_distance((x, y, z), centre) / (-2 * spread**2))
        x, y, z = (p - pull * (p - c) for p, c in zip((x, y, z), centre, strict=True))
    return x, y, z


def grow(
    points: Points, tissues: Tissues, plan: Plan, *, fields: tuple[Floats, Floats, Floats], voxel_ml: float
) -> Tumour:
    """Let a tumour take the voxels that its volumes ask for, nearest first as random fields bend distance.

    Args:
        points: Three arrays of one value a brain voxel.
        tissues: Oedema spreads in white matter, hardly in cortex and nuclei; nothing enters CSF.
        plan: Places and volumes.
        fields: Smooth random fields: coarse, middle and fine.
        voxel_ml: Volume of a voxel.
    """
    coarse, middle, fine = fields
    radius = plan.radii_mm(plan.core_ml)[0]
    core_mm = _distance(points, plan, plan.core_ml) + 40 * tissues.csf + 3 * tissues.cortex
    core_mm += radius * (0.16 * coarse + 0.10 * middle + 0.05 * fine)
    core_border = _level(core_mm, plan.core_ml / voxel_ml)
    core = core_mm < core_border
    inner_mm = core_mm + 0.10 * radius * (fine - middle)
    inner_border = _level(inner_mm[core], plan.ncr_ml / voxel_ml) if plan.et_ml else np.inf

    whole_ml = plan.core_ml + plan.ed_ml
    radius = plan.radii_mm(whole_ml)[0]
    oedema_mm = _distance(points, plan, whole_ml) + 40 * tissues.csf + 14 * tissues.cortex + 9 * tissues.nuclei
    oedema_mm += radius * (0.16 * (coarse + middle) + 0.08 * fine)
    oedema_border = _level(oedema_mm[~core], plan.ed_ml / voxel_ml)

    label = np.where(oedema_mm < oedema_border, np.uint8(LABELS["ED"]), np.uint8(0))
    label[core] = np.where(inner_mm[core] < inner_border, np.uint8(LABELS["NCR"]), np.uint8(LABELS["ET"]))
    inside_core = ramp(core_border - core_mm, 1.5)
    inside_rim = ramp(inner_border - inner_mm, 2.0)
    oedema = (1 - inside_core) * ramp(oedema_border - oedema_mm, 5.0)
    return Tumour(label, inside_core * inside_rim, inside_core * (1 - inside_rim), oedema)


def _draw_centres(
    generator: np.random.Generator, points: Points, depth: Floats, radii_mm: list[float]
) -> tuple[Triple, ...]:
    """Centres of foci that do not touch, fewer than asked for where there is no room."""
    x, y, z = points
    cerebral = np.flatnonzero((depth > 15) & (np.abs(x) > 16) & (np.abs(y) < 62) & (z > -5) & (z < 48))
    cerebral = cerebral[:: cerebral.size // 5000 + 1]
    free = cerebral[ventricle_distance((x[cerebral], y[cerebral], z[cerebral]), widening_mm=0) > 9]
    if not free.size:  # voxels of centimetres
        free = np.array([depth.argmax()])
    centres: list[Triple] = []
    for radius in radii_mm:
        for centre, other in zip(centres, radii_mm, strict=False):
            apart = np.sqrt(squared_distance((x[free], y[free], z[free]), centre))
            free = free[apart > 1.35 * (radius + other) + 8]
        if not free.size:
            break
        voxel = int(generator.choice(free))
        centres.append((float(x[voxel]), float(y[voxel]), float(z[voxel])))
    return tuple(centres)


def _ball_mm(volume_ml: float) -> float:
    """Radius of a ball."""
    return float((3000 * volume_ml / (4 * np.pi)) ** (1 / 3))


def _distance(points: Points, plan: Plan, volume_ml: float) -> Floats:
    """Distance to the nearest focus, each scaled by its size to that of the first."""
    radii = plan.radii_mm(volume_ml)
    nearest = np.full(points[0].shape, np.inf, np.float32)
    for centre, radius in zip(plan.centres, radii, strict=True):
        beyond_falx = np.clip(points[0] * -np.sign(centre[0]), 0, 15)  # the falx holds a tumour back
        distance = (np.sqrt(squared_distance(points, centre)) + beyond_falx) * (radii[0] / radius)
        nearest = np.minimum(nearest, distance)
    return nearest


def _level(values: Floats, count: float) -> float:
    """The value below which `count` of the values lie, at least one."""
    rank = min(max(round(count), 1), values.size - 1)
    return float(np.partition(values, rank)[rank])
