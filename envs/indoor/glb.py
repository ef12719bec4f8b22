"""An apartment as glTF 2.0 in one binary file: what MuJoCo draws, lit, for any other program.

glTF: y up, metres, texture coordinates from a picture's upper left corner (Khronos, glTF 2.0
specification, sections 3.4, 3.6, 3.7, 3.9 and 4.4). What a light gives to a surface is the colour
of its corners, as OpenGL has it, and materials are unlit (KHR_materials_unlit). So a program
without lights shows what MuJoCo shows.

Legend: n corners of triangles.
"""

import json
import struct
from typing import Any

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.data.navigation.frames import to_habitat
from worldsim.envs.indoor.scene import Scene

Float = NDArray[np.float32]

_MAGIC, _VERSION = 0x46546C67, 2
_JSON, _BINARY = 0x4E4F534A, 0x004E4942
_FLOAT, _UINT8, _UINT32 = 5126, 5121, 5125
_VERTICES, _INDICES = 34962, 34963
_LINEAR, _MIPMAPPED, _REPEAT = 9729, 9987, 10497
_UNLIT = "KHR_materials_unlit"
_RGB = int(mujoco.mjtTextureRole.mjTEXROLE_RGB)


def glb(scene: Scene) -> bytes:
    """A scene as a binary glTF file; one node for each room and material, named so."""
    model, writer = scene.model, _Writer()
    pictures = _pictures(model)
    for name, picture in pictures.items():
        writer.add_material(name, picture)
    names = list(pictures)
    for geom in range(model.ngeom):
        material = names.index(model.mat(int(model.geom_matid[geom])).name)
        room, _, what = model.geom(geom).name.partition(" ")
        writer.add_mesh(f"{scene.rooms[int(room)].use}: {what}", material, _corners(model, geom))
    return writer.finish(f"worldsim scene {scene.number}")


def _corners(model: mujoco.MjModel, geom: int) -> tuple[Float, Float, Float, NDArray[np.uint8]]:
    """Places, normals, texture coordinates and light `[n, ...]` of a geom's triangles."""
    mesh = int(model.geom_dataid[geom])
    first, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    faces = slice(first, first + count)

    def of(values: Any, start: Any, indices: Any) -> NDArray[np.float64]:
        return np.asarray(values[int(start[mesh]) + indices[faces].reshape(-1)], np.float64)

    # MuJoCo moves a mesh to its principal axes; the geom says where those lie.
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    axes = turn.reshape(3, 3)
    places = of(model.mesh_vert, model.mesh_vertadr, model.mesh_face) @ axes.T
    places += model.geom_pos[geom]
    normals = of(model.mesh_normal, model.mesh_normaladr, model.mesh_facenormal) @ axes.T
    coordinates = of(model.mesh_texcoord, model.mesh_texcoordadr, model.mesh_facetexcoord)
    return (
        to_habitat(places).astype(np.float32),
        to_habitat(normals).astype(np.float32),
        coordinates.astype(np.float32),
        _light(model, int(model.geom_matid[geom]), normals),
    )


def _light(model: mujoco.MjModel, material: int, normals: NDArray[np.float64]) -> NDArray[np.uint8]:
    """What lights and glow give to corners, `[n, 4]`, by OpenGL's formula for directed lights."""
    facing = np.maximum(-normals @ model.light_dir.T, 0.0)
    found = facing @ model.light_diffuse + model.vis.headlight.ambient
    found = np.clip(found + model.mat_emission[material], 0.0, 1.0)
    whole = np.concatenate([found, np.ones((len(found), 1))], axis=1)
    return np.asarray(np.round(255 * whole), np.uint8)


def _pictures(model: mujoco.MjModel) -> dict[str, NDArray[np.uint8]]:
    """{material: uint8 `[H, W, 3]`} of those that a geom has."""
    found = {}
    for material in sorted(set(map(int, model.geom_matid))):
        texture = int(model.mat_texid[material, _RGB])
        shape = (int(model.tex_height[texture]), int(model.tex_width[texture]), 3)
        start = int(model.tex_adr[texture])
        data = model.tex_data[start : start + int(np.prod(shape))]
        found[model.mat(material).name] = np.asarray(data, np.uint8).reshape(shape)
    return found


class _Writer:
    """A glTF file as it is put together."""

    def __init__(self) -> None:
        self._binary = bytearray()
        self._parts: dict[str, list[dict[str, Any]]] = {
            key: []
            for key in ("bufferViews", "accessors", "images", "textures", "materials", "meshes")
        }

    def add_material(self, name: str, picture: NDArray[np.uint8]) -> None:
        """An unlit material with a picture that repeats."""
        written, data = cv2.imencode(".png", picture[..., ::-1])
        assert written
        image = self._add("images", name=name, mimeType="image/png", bufferView=self._view(data))
        texture = self._add("textures", sampler=0, source=image)
        surface = {"baseColorTexture": {"index": texture}, "metallicFactor": 0.0}
        self._add(
            "materials",
            name=name,
            pbrMetallicRoughness={**surface, "roughnessFactor": 1.0},
            extensions={_UNLIT: {}},
        )

    def add_mesh(
        self, name: str, material: int, corners: tuple[Float, Float, Float, NDArray[np.uint8]]
    ) -> None:
        """Triangles of a material; corners that are alike are written once."""
        rows = np.concatenate([np.asarray(part, np.float64) for part in corners], axis=1)
        _, first, index = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        places, normals, coordinates, light = (part[first] for part in corners)
        low, high = places.min(axis=0).tolist(), places.max(axis=0).tolist()
        attributes = {
            "POSITION": self._accessor(places, _FLOAT, "VEC3", min=low, max=high),
            "NORMAL": self._accessor(normals, _FLOAT, "VEC3"),
            "TEXCOORD_0": self._accessor(coordinates, _FLOAT, "VEC2"),
            "COLOR_0": self._accessor(light, _UINT8, "VEC4", normalized=True),
        }
        order = np.asarray(index.reshape(-1), np.uint32)
        indices = self._accessor(order, _UINT32, "SCALAR", _INDICES)
        primitive = {"attributes": attributes, "indices": indices, "material": material}
        self._add("meshes", name=name, primitives=[primitive])

    def finish(self, generator: str) -> bytes:
        """The bytes of the file."""
        names = [mesh["name"] for mesh in self._parts["meshes"]]
        document = {
            "asset": {"version": "2.0", "generator": generator},
            "extensionsUsed": [_UNLIT],
            "scene": 0,
            "scenes": [{"name": generator, "nodes": list(range(len(names)))}],
            "nodes": [{"name": name, "mesh": mesh} for mesh, name in enumerate(names)],
            "samplers": [
                {"magFilter": _LINEAR, "minFilter": _MIPMAPPED, "wrapS": _REPEAT, "wrapT": _REPEAT}
            ],
            "buffers": [{"byteLength": len(self._binary)}],
            **self._parts,
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = b"".join(
            struct.pack("<II", len(data), kind) + data
            for data, kind in ((text, _JSON), (bytes(self._binary), _BINARY))
        )
        return struct.pack("<III", _MAGIC, _VERSION, 12 + len(chunks)) + chunks

    def _add(self, kind: str, **entry: Any) -> int:
        self._parts[kind].append(entry)
        return len(self._parts[kind]) - 1

    def _view(self, data: NDArray[Any], **more: Any) -> int:
        """Bytes of the buffer, which begin at a multiple of four."""
        start = len(self._binary)
        self._binary += data.tobytes()
        self._binary += bytes(-len(self._binary) % 4)
        return self._add("bufferViews", buffer=0, byteOffset=start, byteLength=data.nbytes, **more)

    def _accessor(
        self,
        values: NDArray[Any],
        kind: int,
        shape: str,
        target: int = _VERTICES,
        **more: Any,
    ) -> int:
        view = self._view(np.ascontiguousarray(values), target=target)
        return self._add(
            "accessors", bufferView=view, componentType=kind, count=len(values), type=shape, **more
        )
