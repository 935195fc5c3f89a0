import base64
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from brats_lightning.labels import LABELS
from brats_lightning.reports.rendering.scene import Part, Scene, scene
from brats_lightning.reports.rendering.surface import Surface
from brats_lightning.reports.rendering.viewer import mesh_data, mesh_section, write_scene


@pytest.fixture
def seen() -> Scene:
    label = np.zeros((24, 22, 20), np.uint8)
    label[2:10, 4:16, 4:16] = LABELS["ED"]
    label[4:8, 7:13, 7:13] = LABELS["NCR"]
    brain = np.zeros(label.shape, np.bool_)
    brain[1:-1, 1:-1, 1:-1] = True
    return scene(label, np.diag([1.0, 1.0, 1.5, 1.0]), title="<b>Case</b> & co", brain=brain)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Any bytes: nothing here looks into them."""
    path = tmp_path / "still.png"
    path.write_bytes(b"picture")
    return path


def test_the_viewers_arrays_read_back_as_the_surfaces(seen: Scene) -> None:
    data = cast("dict[str, Any]", mesh_data(seen))
    low, high = np.array(data["low"]), np.array(data["high"])
    for part, stored in zip(seen.parts, data["parts"], strict=True):
        positions, normals, triangles = (
            np.frombuffer(base64.b64decode(stored[name]), kind).reshape(-1, 3)
            for name, kind in (("positions", "<u2"), ("normals", "i1"), ("triangles", "<u2"))
        )
        np.testing.assert_allclose(low + positions / 65535 * (high - low), part.surface.vertices, atol=1e-3)
        np.testing.assert_allclose(normals / 127, part.surface.normals, atol=0.005)
        np.testing.assert_array_equal(triangles, part.surface.triangles)
        assert stored["count"] == triangles.size
        assert not stored["wide"]


def test_more_vertices_than_16_bits_count_have_wider_numbers() -> None:
    count = 2**16 + 2
    generator = np.random.default_rng(0)
    vertices, normals = (generator.random((count, 3), np.float32) for _ in range(2))
    large = Surface(vertices, np.array([[0, 1, count - 1]], np.uint32), normals)
    data = cast("dict[str, Any]", mesh_data(Scene("A", (Part("ET", "ET", "#FFFFFF", 1.0, 1.0, large),))))
    (stored,) = data["parts"]
    assert stored["wide"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(stored["triangles"]), "<u4"), [0, 1, count - 1])


def test_the_eye_begins_on_the_tumours_side(seen: Scene) -> None:
    mirrored = Scene(seen.title, tuple(part for part in seen.parts if part.name != "ED"))
    left = cast("dict[str, Any]", mesh_data(seen))["eye"][0]
    assert left < 0  # the tumour has the low x: the patient's left
    label = np.zeros((24, 22, 20), np.uint8)
    label[14:20, 4:10, 4:10] = LABELS["ET"]
    right = scene(label, np.eye(4), title="A", brain=np.ones(label.shape, np.bool_))
    assert cast("dict[str, Any]", mesh_data(right))["eye"][0] == -left
    assert cast("dict[str, Any]", mesh_data(mirrored))["eye"][0] == left


def test_a_section_says_what_it_shows_and_what_is_missing(seen: Scene, picture: Path) -> None:
    section = mesh_section(seen, name="mesh-2", picture=picture)
    assert 'data-mesh="mesh-2"' in section.body
    assert "<b>" not in section.body
    assert "ED  oedema, NCR  necrotic core" in section.body
    assert set(section.data or {}) == {"mesh-2"}
    empty = mesh_section(scene(np.zeros((8, 8, 1), np.uint8), np.eye(4), title="A"))
    assert "One slice" in empty.body
    assert "<img" not in empty.body
    assert not empty.data
    assert not empty.scripts


def test_a_page_asks_nobody_for_anything(seen: Scene, picture: Path, tmp_path: Path) -> None:
    write_scene(seen, path=tmp_path / "case.html", picture=picture)
    text = (tmp_path / "case.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text)
    assert "&lt;b&gt;Case" in text
    assert str(tmp_path) not in text
