"""Where a sample's voxels come from: settings of flips, rotation, scale and displacement, and what they draw."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from brats_lightning.data.augmentation.step import Step, are_numbers, is_share
from brats_lightning.errors import ConfigError

Triple = tuple[float, float, float]
Size = tuple[int, int, int]
_SPLINE_RMS = (151 / 315) ** 0.5
"""Root mean square of a cubic B-spline over control points of variance 1, along each axis."""


@dataclass(frozen=True, kw_only=True)
class Rotation(Step):
    """Rotation about the centre, as MONAI's RandRotated: about the x axis, then the y axis, then the z axis, in voxels.

    A slice, an image of one voxel along an axis, can be turned about that axis alone: there is nothing beside it.

    Args:
        probability: With which a sample undergoes it.
        radians: Largest angle about each axis; angles are drawn from both sides of 0.
    """

    radians: Triple

    def __post_init__(self) -> None:
        super().__post_init__()
        good = are_numbers(self.radians, 3) and min(self.radians) >= 0 and max(self.radians) <= math.pi
        self._require(good, "radians", "three angles from 0 to 3.14")

    def draw(self, generator: np.random.Generator) -> Triple:
        """Angle about each axis."""
        x, y, z = generator.uniform(-1, 1, 3) * self.radians
        return float(x), float(y), float(z)

    def require_within(self, size: Size) -> None:
        """Refuse to turn a slice out of its plane.

        Args:
            size: Voxels of the images.

        Raises:
            ConfigError: There is an angle by which an axis of one voxel would be turned into a longer one.
        """
        turned = [(size[(axis + 1) % 3] == 1) != (size[(axis + 2) % 3] == 1) for axis in range(3)]
        if any(angle and out for angle, out in zip(self.radians, turned, strict=True)):
            wanted = tuple(0.0 if out else float(angle) for angle, out in zip(self.radians, turned, strict=True))
            raise ConfigError(
                f"Rotation: radians is {tuple(self.radians)}, which would turn slices of {size[0]} × {size[1]} × "
                f"{size[2]} voxels out of their plane: expected {wanted}"
            )


@dataclass(frozen=True, kw_only=True)
class Scaling(Step):
    """Magnification about the centre, as MONAI's RandZoomd; across an axis of one voxel there is none.

    Args:
        probability: With which a sample undergoes it.
        factors: Smallest and largest; 2 doubles what is seen, 0.5 halves it.
        per_axis: Draw a factor for each axis instead of one for all.
    """

    factors: tuple[float, float]
    per_axis: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_range("factors", above=0)

    def draw(self, generator: np.random.Generator) -> Triple:
        """Factor of each axis."""
        x, y, z = np.broadcast_to(generator.uniform(*self.factors, 3 if self.per_axis else 1), 3)
        return float(x), float(y), float(z)


@dataclass(frozen=True, kw_only=True)
class Elastic(Step):
    """Smooth random displacement: a cubic B-spline over normally distributed control points.

    Not the distribution of MONAI's Rand3DElastic, which smooths uniform noise of every voxel by a Gaussian. It is alike
    in size and smoothness where `spacing` is √3 of MONAI's sigma and `magnitude` 0.086 of MONAI's over sigma^1.5: sigma
    5 to 8 and magnitude 50 to 150 become a spacing of 9 to 14 voxels and a magnitude of 0.2 to 1.2. Within a slice
    nothing moves out of its plane.

    Args:
        probability: With which a sample undergoes it.
        magnitude: Smallest and largest root mean square of the displacement along each axis, in voxels; at most a sixth
            of the spacing, from where on space begins to fold.
        spacing: Smallest and largest distance of the control points, in voxels.
    """

    magnitude: tuple[float, float]
    spacing: tuple[float, float]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_range("magnitude", least=0)
        self._require_range("spacing", least=2)
        if self.magnitude[1] > self.spacing[0] / 6:
            raise ConfigError(
                f"Elastic: a magnitude of {self.magnitude[1]:g} voxels would fold space where control points are "
                f"{self.spacing[0]:g} voxels apart: expected at most a sixth of the spacing"
            )

    def draw(self, generator: np.random.Generator, size: Size, *, source: Size | None = None) -> "Displacement":
        """Control points over a volume of this size, from a volume of another size if need be."""
        magnitude, spacing = float(generator.uniform(*self.magnitude)), float(generator.uniform(*self.spacing))
        lattice = [max(4, math.ceil((length - 1) / spacing) + 3) if length > 1 else 1 for length in size]
        deviation = magnitude / _SPLINE_RMS ** sum(length > 1 for length in size)
        points = generator.standard_normal((3, *lattice)) * deviation
        points[[length == 1 for length in source or size]] = 0
        return Displacement(spacing, points)


@dataclass(frozen=True, eq=False)
class Displacement:
    """A drawn elastic displacement.

    Args:
        spacing: Of the control points, in voxels.
        points: (3, A, B, D) control points in voxels, along x, y and z.
    """

    spacing: float
    points: npt.NDArray[np.float64]

    def basis(self, axis: int, size: int) -> npt.NDArray[np.float64]:
        """Weights (size, points) of the control points at the voxels of an axis; 1 where there is one point alone."""
        if self.points.shape[axis + 1] == 1:
            return np.ones((size, 1))
        position = np.arange(size) / self.spacing
        count = self.points.shape[axis + 1]
        span = np.minimum(position.astype(np.int64), count - 4)
        t = (position - span)[:, None]
        weights = np.hstack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
        basis = np.zeros((size, count))
        np.put_along_axis(basis, span[:, None] + np.arange(4), weights, axis=1)
        return basis


@dataclass(frozen=True, eq=False)
class Warp:
    """What was drawn of a sample's geometry.

    Args:
        flips: Axes to turn round.
        radians: Angle about each axis.
        factors: Magnification along each axis.
        displacement: Elastic displacement.
    """

    flips: tuple[bool, bool, bool] = (False, False, False)
    radians: Triple | None = None
    factors: Triple | None = None
    displacement: Displacement | None = None

    @property
    def resamples(self) -> bool:
        """Whether any voxel comes from between voxels."""
        return self.radians is not None or self.factors is not None or self.displacement is not None

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """From an offset from the centre of what comes out to the one in what went in, (3, 3).

        The image is flipped first, then rotated, then magnified; an elastic displacement comes last.
        """
        turned = np.diag([-1.0 if flip else 1.0 for flip in self.flips])
        for axis, angle in enumerate(self.radians or ()):
            one, other = [(1, 2), (2, 0), (0, 1)][axis]
            rotation = np.eye(3)
            rotation[[one, other], [one, other]] = math.cos(angle)
            rotation[one, other], rotation[other, one] = -math.sin(angle), math.sin(angle)
            turned = turned @ rotation
        matrix: npt.NDArray[np.float64] = turned / np.array(self.factors or (1.0, 1.0, 1.0))
        return matrix


@dataclass(frozen=True)
class Spatial:
    """The spatial steps of an augmentation; None leaves one out.

    Args:
        flips: Probability of turning each axis round.
        rotation: Rotation.
        scaling: Magnification.
        elastic: Displacement.
    """

    flips: Triple
    rotation: Rotation | None
    scaling: Scaling | None
    elastic: Elastic | None

    def __post_init__(self) -> None:
        if not are_numbers(self.flips, 3) or not all(is_share(share) for share in self.flips):
            raise ConfigError(f"flips is {self.flips!r}: expected three probabilities, one an axis")

    def draw(self, generator: np.random.Generator, size: Size, *, source: Size | None = None) -> Warp:
        """Geometry of one sample.

        Args:
            generator: Of the sample.
            size: Voxels that it is to have.
            source: Voxels that it has, where they are others.

        Raises:
            ConfigError: A slice is to be turned out of its plane.
        """
        source = source or size
        x, y, z = (bool(flip) for flip in generator.random(3) < self.flips)
        rotation, scaling, elastic = self.rotation, self.scaling, self.elastic
        if rotation:
            rotation.require_within(source)
        return Warp(
            flips=(x, y, z),
            radians=rotation.draw(generator) if rotation and rotation.happens(generator) else None,
            factors=_within(scaling.draw(generator), source) if scaling and scaling.happens(generator) else None,
            displacement=(
                elastic.draw(generator, size, source=source) if elastic and elastic.happens(generator) else None
            ),
        )


def _within(factors: Triple, size: Size) -> Triple:
    x, y, z = (factor if length > 1 else 1.0 for factor, length in zip(factors, size, strict=True))
    return x, y, z
