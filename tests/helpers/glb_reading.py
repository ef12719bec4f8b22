"""A reader of binary glTF written from its specification alone, and rays into what it holds."""

import json
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

KINDS = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles `[n, 3, ...]` of a node, y up, with the picture of their material."""

    name: str
    places: np.ndarray
    normals: np.ndarray
    coordinates: np.ndarray
    light: np.ndarray
    picture: np.ndarray


def read_glb(data: bytes) -> tuple[dict[str, Any], list[Mesh]]:
    """The document and its meshes; asserts what the specification demands of both."""
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    chunks, place = [], 12
    while place < len(data):
        size, kind = struct.unpack("<I4s", data[place : place + 8])
        assert size % 4 == 0
        chunks.append((kind, data[place + 8 : place + 8 + size]))
        place += 8 + size
    assert [kind for kind, _ in chunks] == [b"JSON", b"BIN\0"]
    document, binary = json.loads(chunks[0][1]), chunks[1][1]
    assert document["asset"]["version"] == "2.0"
    assert document["buffers"] == [{"byteLength": len(binary)}]
    used = {name for part in document["materials"] for name in part.get("extensions", {})}
    assert used <= set(document["extensionsUsed"])

    def view(index: int) -> bytes:
        found = document["bufferViews"][index]
        begin = found.get("byteOffset", 0)
        assert begin % 4 == 0 and begin + found["byteLength"] <= len(binary)
        return binary[begin : begin + found["byteLength"]]

    def accessor(index: int) -> np.ndarray:
        found = document["accessors"][index]
        values = np.frombuffer(view(found["bufferView"]), KINDS[found["componentType"]])
        values = values.reshape(found["count"], WIDTHS[found["type"]])
        if "min" in found:
            np.testing.assert_array_equal(values.min(axis=0), np.float32(found["min"]))
            np.testing.assert_array_equal(values.max(axis=0), np.float32(found["max"]))
        return values / 255 if found.get("normalized") else values

    def picture(material: int) -> np.ndarray:
        surface = document["materials"][material]["pbrMetallicRoughness"]
        texture = document["textures"][surface["baseColorTexture"]["index"]]
        image = document["images"][texture["source"]]
        assert image["mimeType"] == "image/png"
        decoded = cv2.imdecode(np.frombuffer(view(image["bufferView"]), np.uint8), 1)
        return np.asarray(decoded)[..., ::-1]

    meshes = []
    for node in (document["nodes"][k] for k in document["scenes"][document["scene"]]["nodes"]):
        assert not {"matrix", "rotation", "translation", "scale"} & set(node)
        for part in document["meshes"][node["mesh"]]["primitives"]:
            assert part.get("mode", 4) == 4
            order, names = accessor(part["indices"]).reshape(-1, 3), part["attributes"]
            assert "min" in document["accessors"][names["POSITION"]]
            a, b, c, d = (accessor(names[key])[order] for key in ATTRIBUTES)
            meshes.append(Mesh(node["name"], a, b, c, d, picture(part["material"])))
    return document, meshes


ATTRIBUTES = ("POSITION", "NORMAL", "TEXCOORD_0", "COLOR_0")


def first_hits(
    places: np.ndarray, eye: np.ndarray, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Metres, triangle and barycentric weights `[r]`, `[r]`, `[r, 3]` of the first hits of rays.

    Moeller and Trumbore, Journal of Graphics Tools 2, 1997; triangles have two sides. For one eye
    every determinant is linear in the ray.
    """
    a, b, c = (places[:, k].astype(np.float64) for k in range(3))
    one, other, off = b - a, c - a, eye - a
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / (rays @ np.cross(other, one).T)
        u = rays @ np.cross(other, off).T * scale
        v = rays @ np.cross(off, one).T * scale
        t = (other * np.cross(off, one)).sum(axis=1) * scale
    inside = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 1e-6)
    reach = np.where(inside, t, np.inf)
    which = reach.argmin(axis=1)
    row = np.arange(len(rays))
    u, v = u[row, which], v[row, which]
    return reach[row, which], which, np.stack([1 - u - v, u, v], axis=1)


def colour_at(mesh: Mesh, triangle: int, weights: np.ndarray) -> np.ndarray:
    """Unlit colour `[3]` in [0, 255] of a place on a triangle: the picture times the light."""
    u, v = weights @ mesh.coordinates[triangle]
    height, width = mesh.picture.shape[:2]
    row, column = int(np.floor(v % 1 * height)), int(np.floor(u % 1 * width))
    texel = mesh.picture[min(row, height - 1), min(column, width - 1)]
    return np.asarray(texel * (weights @ mesh.light[triangle])[:3])
