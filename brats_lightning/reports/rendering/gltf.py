"""Surfaces as a GLB file (binary glTF 2.0), which 3-D programs, browsers and phones open.

Vertices are in mm, right, anterior and superior, as everywhere here. The format wants metres with y up and the front
towards z: the node `patient` holds that turn and scale, so that the case stands upright and has its size.

Khronos Group, glTF 2.0 specification, 2021.
"""

import json
import struct
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb

from brats_lightning.reports.rendering.scene import Part, Scene

MAGIC, VERSION, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
FLOAT, UNSIGNED_INT, ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 5126, 5125, 34962, 34963
UPRIGHT = (0.0, 0.5**0.5, 0.5**0.5, 0.0)
"""Quaternion that takes right, anterior, superior to −x, z, y."""
METRES_PER_MM = 0.001
Values = npt.NDArray[np.float32] | npt.NDArray[np.uint32]


class _Content(TypedDict):
    accessors: list[dict[str, object]]
    bufferViews: list[dict[str, object]]
    meshes: list[dict[str, object]]
    materials: list[dict[str, object]]


def write_glb(scene: Scene, *, path: Path) -> None:
    """Write a scene; without anything to see the file is whole and holds no mesh.

    Raises:
        OSError: It cannot be written.
    """
    content = _Content(accessors=[], bufferViews=[], meshes=[], materials=[])
    binary = bytearray()
    for part in scene.parts:
        _add(part, content, binary)
    children = range(1, 1 + len(scene.parts))
    patient = {"name": "patient", "rotation": UPRIGHT, "scale": [METRES_PER_MM] * 3}
    document: dict[str, object] = {
        "asset": {"version": "2.0", "generator": "brats_lightning"},
        "scene": 0,
        "scenes": [{"name": scene.title, "nodes": [0], "extras": {"remark": scene.remark}}],
        "nodes": [
            patient | ({"children": list(children)} if scene.parts else {}),
            *({"name": part.name, "mesh": mesh} for mesh, part in enumerate(scene.parts)),
        ],
    }
    if binary:
        document |= {**content, "buffers": [{"byteLength": len(binary)}]}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    chunks = _chunk(JSON_CHUNK, text, filler=b" ") + (
        _chunk(BINARY_CHUNK, bytes(binary), filler=b"\0") if binary else b""
    )
    path.write_bytes(struct.pack("<III", MAGIC, VERSION, 12 + len(chunks)) + chunks)


def _add(part: Part, content: _Content, binary: bytearray) -> None:
    surface = part.surface
    position, normal, indices = (
        _accessor(values, content, binary, target=target)
        for values, target in (
            (surface.vertices, ARRAY_BUFFER),
            (surface.normals, ARRAY_BUFFER),
            (surface.triangles.ravel(), ELEMENT_ARRAY_BUFFER),
        )
    )
    content["accessors"][position] |= {
        "min": surface.vertices.min(0).tolist(),
        "max": surface.vertices.max(0).tolist(),
    }
    primitive = {
        "attributes": {"POSITION": position, "NORMAL": normal},
        "indices": indices,
        "material": len(content["materials"]),
    }
    extras = {"title": part.title, "volume_ml": part.volume_ml}
    content["meshes"].append({"name": part.name, "primitives": [primitive], "extras": extras})
    seen: dict[str, object] = {
        "name": part.name,
        "pbrMetallicRoughness": {
            "baseColorFactor": [*(_linear(value) for value in to_rgb(part.colour)), part.opacity],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.6,
        },
    }
    content["materials"].append(seen | ({"alphaMode": "BLEND"} if part.opacity < 1 else {}))


def _accessor(values: Values, content: _Content, binary: bytearray, *, target: int) -> int:
    """Append values of 4 bytes each; the number of their accessor."""
    stored = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    content["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(stored), "target": target})
    binary += stored
    is_vector = values.ndim == 2
    content["accessors"].append(
        {
            "bufferView": len(content["bufferViews"]) - 1,
            "componentType": FLOAT if is_vector else UNSIGNED_INT,
            "count": len(values),
            "type": "VEC3" if is_vector else "SCALAR",
        }
    )
    return len(content["accessors"]) - 1


def _linear(value: float) -> float:
    """A share of light from a share of sRGB, which colours on screens are given in."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _chunk(kind: int, content: bytes, *, filler: bytes) -> bytes:
    padded = content + filler * (-len(content) % 4)
    return struct.pack("<II", len(padded), kind) + padded
