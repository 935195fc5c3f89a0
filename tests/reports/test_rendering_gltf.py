import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.labels import LABELS
from brats_lightning.reports.rendering.gltf import write_glb
from brats_lightning.reports.rendering.scene import Scene, scene
from brats_lightning.reports.rendering.surface import enclosed_mm3

AFFINE = np.diag([-1.0, -1.0, 1.5, 1.0])


def tumour() -> Scene:
    label = np.zeros((24, 22, 20), np.uint8)
    label[4:16, 4:16, 4:16] = LABELS["ED"]
    label[7:13, 7:13, 7:13] = LABELS["NCR"]
    return scene(label, AFFINE, title="BraTS2021_00001 ä")


def chunks(path: Path) -> tuple[dict[str, Any], bytes]:
    """The document and the binary part; checks the frame of the file on its way."""
    content = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    size, kind = struct.unpack_from("<I4s", content, 12)
    assert (kind, size % 4) == (b"JSON", 0)
    document = json.loads(content[20 : 20 + size])
    rest = content[20 + size :]
    if not rest:
        return document, b""
    size, kind = struct.unpack_from("<I4s", rest)
    assert (kind, size % 4, size + 8) == (b"BIN\0", 0, len(rest))
    return document, rest[8:]


def values(document: dict[str, Any], binary: bytes, number: int) -> npt.NDArray[Any]:
    """What an accessor stands for; checks that it is aligned, and has the least and largest values it claims."""
    accessor = document["accessors"][number]
    view = document["bufferViews"][accessor["bufferView"]]
    assert view["byteOffset"] % 4 == 0
    assert view["byteOffset"] + view["byteLength"] <= document["buffers"][0]["byteLength"] <= len(binary)
    kind = {5126: np.dtype("<f4"), 5125: np.dtype("<u4")}[accessor["componentType"]]
    width = {"VEC3": 3, "SCALAR": 1}[accessor["type"]]
    assert view["byteLength"] == accessor["count"] * width * kind.itemsize
    found = np.frombuffer(binary, kind, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
    if "min" in accessor:
        np.testing.assert_array_equal(found.min(0), np.array(accessor["min"], np.float32))
        np.testing.assert_array_equal(found.max(0), np.array(accessor["max"], np.float32))
    return found


def test_the_file_reads_back_as_the_surfaces(tmp_path: Path) -> None:
    seen = tumour()
    write_glb(seen, path=tmp_path / "case.glb")
    document, binary = chunks(tmp_path / "case.glb")
    assert document["asset"]["version"] == "2.0"
    assert document["scenes"][0]["name"] == seen.title
    nodes = document["nodes"]
    assert [nodes[child]["name"] for child in nodes[0]["children"]] == ["ED", "NCR"]
    for part, child in zip(seen.parts, nodes[0]["children"], strict=True):
        (primitive,) = document["meshes"][nodes[child]["mesh"]]["primitives"]
        position, normal = (values(document, binary, primitive["attributes"][name]) for name in ("POSITION", "NORMAL"))
        triangles = values(document, binary, primitive["indices"]).reshape(-1, 3)
        assert "min" in document["accessors"][primitive["attributes"]["POSITION"]]
        np.testing.assert_array_equal(position, part.surface.vertices)
        np.testing.assert_array_equal(normal, part.surface.normals)
        np.testing.assert_array_equal(triangles, part.surface.triangles)
        volume_ml = enclosed_mm3(position.astype(float), triangles.astype(int)) / 1000
        assert volume_ml == pytest.approx(document["meshes"][nodes[child]["mesh"]]["extras"]["volume_ml"], rel=0.02)
        material = document["materials"][primitive["material"]]
        assert material["pbrMetallicRoughness"]["baseColorFactor"][3] == part.opacity
        assert (material.get("alphaMode") == "BLEND") == (part.opacity < 1)


def test_the_case_stands_upright_in_metres_and_faces_the_viewer(tmp_path: Path) -> None:
    write_glb(tumour(), path=tmp_path / "case.glb")
    node = chunks(tmp_path / "case.glb")[0]["nodes"][0]
    *vector, w = node["rotation"]

    def turn(point: Sequence[float]) -> npt.NDArray[np.float64]:
        at = np.array(point)
        moved: npt.NDArray[np.float64] = at + 2 * np.cross(vector, np.cross(vector, at) + w * at)
        return moved

    np.testing.assert_allclose(turn([0, 0, 1]), [0, 1, 0], atol=1e-6)  # superior is up
    np.testing.assert_allclose(turn([0, 1, 0]), [0, 0, 1], atol=1e-6)  # the face looks along z, glTF's front
    np.testing.assert_allclose(turn([1, 0, 0]), [-1, 0, 0], atol=1e-6)  # and is not mirrored
    assert node["scale"] == [0.001] * 3


def test_without_anything_to_see_the_file_is_whole(tmp_path: Path) -> None:
    write_glb(scene(np.zeros((8, 8, 8), np.uint8), np.eye(4), title="A"), path=tmp_path / "empty.glb")
    document, binary = chunks(tmp_path / "empty.glb")
    assert binary == b""
    assert "meshes" not in document
    assert "empty" in document["scenes"][0]["extras"]["remark"]
