import nibabel
import numpy as np
import pytest

from brats_lightning.nifti import Grid
from brats_lightning.radiomics.position import position

SHAPE = (10, 12, 14)


def grid_of(affine: object) -> Grid:
    return Grid(SHAPE, np.asarray(affine, np.float64))


def test_a_box_worked_out_by_hand() -> None:
    grid = grid_of([[2, 0, 0, -10], [0, 3, 0, 5], [0, 0, 4, 1], [0, 0, 0, 1]])
    voxels = np.argwhere(np.ones((3, 1, 2))) + np.array([4, 5, 6])
    found = position(voxels, grid=grid, native=grid)
    assert [found[f"centroid_{axis}"] for axis in "ijk"] == [5, 5, 6.5]
    assert [found[f"centroid_{axis}_mm"] for axis in "xyz"] == [0, 20, 27]
    assert [(found[f"box_{axis}_first"], found[f"box_{axis}_last"]) for axis in "ijk"] == [(4, 6), (5, 5), (6, 7)]
    box_mm = [(found[f"box_{axis}_low_mm"], found[f"box_{axis}_high_mm"]) for axis in "xyz"]
    assert box_mm == [(-3, 3), (18.5, 21.5), (23, 31)]


@pytest.mark.parametrize("codes", ["LPS", "AIR", "SPL"])
def test_voxels_are_those_of_the_file_and_millimetres_those_of_the_world(codes: str) -> None:
    turned = np.array([[1.8, 0.3, 0, -40], [-0.3, 1.8, 0, 10], [0, 0, 3, 7], [0, 0, 0, 1]])
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:5, 3:9, 4] = mask[3, 3, 4:7] = 1
    stored = nibabel.Nifti1Image(mask, turned).as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(turned), nibabel.orientations.axcodes2ornt(codes)
        )
    )
    array = np.asarray(stored.dataobj)
    x, y, z = array.shape
    native = Grid((x, y, z), stored.affine)
    there = np.argwhere(array)
    found = position(np.argwhere(mask), grid=grid_of(turned), native=native)
    assert [found[f"centroid_{axis}"] for axis in "ijk"] == pytest.approx(there.mean(0))
    assert [found[f"box_{axis}_first"] for axis in "ijk"] == there.min(0).tolist()
    assert [found[f"box_{axis}_last"] for axis in "ijk"] == there.max(0).tolist()
    corners = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), axis=-1).reshape(-1, 3)
    world = (there[:, None] + corners).reshape(-1, 3) @ stored.affine[:3, :3].T + stored.affine[:3, 3]
    assert [found[f"box_{axis}_low_mm"] for axis in "xyz"] == pytest.approx(world.min(0))
    assert [found[f"box_{axis}_high_mm"] for axis in "xyz"] == pytest.approx(world.max(0))
    assert [found[f"centroid_{axis}_mm"] for axis in "xyz"] == pytest.approx(world.mean(0))
