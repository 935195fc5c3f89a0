from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brats_lightning.reports.run.pictures import WIDEST_PIXELS, Album


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A picture that no format can make small."""
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 2 * WIDEST_PIXELS), np.uint8)).save(path)
    return path


def test_a_page_holds_no_more_than_it_has_room_for(noise: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.new("L", (8, 8)).save(small)
    one = Album().show(noise, description="noise", caption="")
    assert one is not None
    album = Album(most_bytes=2 * len(one))
    shown = [album.show(noise, description="noise", caption="") for _ in range(3)]
    assert [each is not None for each in shown] == [True, True, False]
    assert album.crowded_out == [noise]
    album = Album(most_bytes=len(one) + 2000)
    assert [album.show(path, description="", caption="") is not None for path in (noise, noise, small)] == [
        True, False, True,
    ]  # fmt: skip


def test_what_is_not_there_or_damaged_takes_no_room(noise: Path, tmp_path: Path) -> None:
    album = Album()
    noise.write_bytes(noise.read_bytes()[:1000])
    for path in (tmp_path / "absent.png", noise):
        assert album.show(path, description="", caption="") is None
    assert album.crowded_out == []
