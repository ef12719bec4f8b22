"""A scene: one apartment, as geometry that MuJoCo holds and draws, and as a plan to walk in.

A scene is a function of its number. Numbers of the three splits never meet, so that no scene is
seen in training and in test.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import mujoco
import numpy as np

from worldsim.envs.indoor.colours import (
    FLOORS,
    Picture,
    books,
    ceiling,
    painting,
    palette,
    rug,
    view,
    wall_paper,
    wood,
)
from worldsim.envs.indoor.floor_plan import Room, floor_plan
from worldsim.envs.indoor.free_space import Array, FreeSpace, support
from worldsim.envs.indoor.furnish import Placed, furnish
from worldsim.envs.indoor.shell import CURTAINS, Finish, before_side, build_shell, wall_supports
from worldsim.envs.indoor.solids import GLOW, PALETTE, Solids
from worldsim.errors import UsageError

Split = Literal["train", "validation", "test"]
SPLITS: dict[str, int] = {"train": 0, "validation": 1_000_000, "test": 2_000_000}
"""First number of the scenes of each split."""
SCENES = 1_000_000
"""Scenes of a split."""
FEWEST, MOST = 2, 8
"""Rooms of an apartment."""
_PLAN, _THINGS, _LOOK = 1, 2, 3
_AMBIENT = 0.55
_LIGHTS = (
    ((0.45, 0.25, -1.0), 0.45),
    ((-0.7, -0.55, -0.35), 0.22),
    ((0.2, 0.5, 0.8), 0.34),
)
"""Directions and strengths of lights without a place; so what is seen depends on no viewer."""
_EMISSION = {GLOW: 0.9, "view": 0.55, "ceiling": 0.3}


@dataclass(frozen=True, eq=False)
class Scene:
    """One apartment.

    Attributes:
        number: of the scene; with the bounds it fixes everything.
        bounds: fewest and most rooms.
        rooms: in the order of their indices.
        things: furniture and small things.
        model: what MuJoCo holds: one mesh for each room and material, lights, nothing that moves.
        boxes: `[n, 2, 3]` least and greatest coordinates of each geom of the model.
    """

    number: int
    bounds: tuple[int, int]
    rooms: tuple[Room, ...]
    things: tuple[Placed, ...]
    model: mujoco.MjModel
    boxes: Array

    @cached_property
    def supports(self) -> Array:
        """Support values `[M, K]` of walls, then of the things that stand on the floor."""
        return np.stack([*wall_supports(self.rooms), *map(support, self._outlines)])

    @property
    def _outlines(self) -> list[Array]:
        return [thing.outline for thing in self.things if thing.under is None]

    def free_space(self, radius: float) -> FreeSpace:
        """Where an agent of this radius can stand."""
        return FreeSpace(self.supports, radius)

    @property
    def threshold(self) -> Array:
        """A place `[2]` before a door, which furniture leaves free in every scene."""
        door = self.rooms[0].doors[0]
        return before_side(self.rooms[0], door.side, (door.low + door.high) / 2, 0.5)

    def room_at(self, place: Array) -> int | None:
        """Index of the room whose rectangle holds `place` `[2]`; None outside."""
        for index, room in enumerate(self.rooms):
            west, south, east, north = room.rect
            if west <= place[0] < east and south <= place[1] < north:
                return index
        return None


def scene_number(split: str, index: int) -> int:
    """Number of scene `index` of a split.

    Raises:
        UsageError: there is no such scene.
    """
    if not 0 <= index < SCENES:
        raise UsageError(f"scene {index} of split {split!r}: expected 0 to {SCENES - 1}")
    return SPLITS[split] + index


def given_scene(given: Any) -> int:
    """A scene's number as `reset` is given it.

    Raises:
        UsageError: it is no whole number.
    """
    try:
        return operator.index(given)
    except TypeError as error:
        raise UsageError(
            f"options['scene'] is {given!r}; expected a whole number, such as 7"
        ) from error


def split_of(number: int) -> str:
    """The split that a scene belongs to.

    Raises:
        UsageError: it belongs to none.
    """
    for split, first in SPLITS.items():
        if first <= number < first + SCENES:
            return split
    raise UsageError(
        f"scene {number} belongs to no split; scenes go from 0 to "
        f"{max(SPLITS.values()) + SCENES - 1}"
    )


def checked_rooms(rooms: tuple[int, int]) -> tuple[int, int]:
    """Bounds of the number of rooms.

    Raises:
        UsageError: they are no bounds, or beyond what plans are made for.
    """
    low, high = int(rooms[0]), int(rooms[1])
    if not FEWEST <= low <= high <= MOST:
        raise UsageError(
            f"env.rooms is {list(rooms)}; expected two counts from {FEWEST} to {MOST}, the fewest "
            "first"
        )
    return low, high


def checked_scenes(scenes: int | None) -> int:
    """How many scenes of a split are drawn from.

    Raises:
        UsageError: a split has fewer.
    """
    if scenes is not None and scenes > SCENES:
        raise UsageError(f"env.scenes is {scenes}; a split has {SCENES}")
    return SCENES if scenes is None else int(scenes)


@lru_cache(maxsize=8)
def build_scene(number: int, fewest: int = FEWEST, most: int = MOST) -> Scene:
    """The scene of a number, with as many rooms as its generator draws between two bounds."""
    split_of(number)
    rng = np.random.default_rng([number, _PLAN])
    count = int(rng.integers(fewest, most + 1))
    rooms = floor_plan(rng, count)
    things = tuple(furnish(np.random.default_rng([number, _THINGS]), rooms))
    look = np.random.default_rng([number, _LOOK])
    pictures = {PALETTE: palette(look)}
    pictures[GLOW] = pictures[PALETTE]
    finishes = [_finish(look, room, pictures) for room in rooms]
    pictures |= {"ceiling": ceiling(look), "wood a": wood(look), "whole books": books(look)}
    shells = [Solids() for _ in rooms]
    for solids, room, finish in zip(shells, rooms, finishes, strict=True):
        build_shell(solids, room, finish, look)
    for thing in things:
        shells[thing.room].place(thing.thing.parts, thing.place, thing.yaw)
    return Scene(number, (fewest, most), rooms, things, *_compile(shells, pictures))


def _finish(rng: np.random.Generator, room: Room, pictures: dict[str, Picture]) -> Finish:
    """Materials of a room; new pictures are added to `pictures`."""
    wet = room.use in ("bathroom", "kitchen")
    bare = room.use in ("bathroom", "kitchen", "hallway")
    kind = "tiles" if wet else str(rng.choice(["planks", "planks", "carpet"]))
    floor = f"floor {kind} {int(rng.integers(2))}"
    if floor not in pictures:
        pictures[floor] = FLOORS[kind](rng)
    wall = f"wall {room.use}"
    pictures[wall] = wall_paper(rng, room.use == "bathroom")
    outside = f"view {int(rng.integers(2))}"
    if outside not in pictures:
        pictures[outside] = view(rng)
    found = None
    if not bare and rng.random() < 0.75:
        found = f"rug {int(rng.integers(3))}"
        pictures.setdefault(found, rug(rng))
    hung = None
    if room.use != "bathroom" and rng.random() < 0.8:
        hung = f"whole painting {int(rng.integers(3))}"
        pictures.setdefault(hung, painting(rng))
    curtain = None if wet or rng.random() < 0.25 else str(rng.choice(CURTAINS))
    return Finish(floor, wall, outside, found, hung, curtain)


def _compile(
    shells: Sequence[Solids], pictures: dict[str, Picture]
) -> tuple[mujoco.MjModel, Array]:
    """MuJoCo's model of the triangles, and the bounds of each of its geoms."""
    spec = mujoco.MjSpec()
    spec.visual.headlight.ambient = [_AMBIENT] * 3
    spec.visual.headlight.diffuse = [0.0] * 3  # it turns with the camera, and would show seams
    spec.visual.headlight.specular = [0.0] * 3
    spec.visual.quality.shadowsize = spec.visual.quality.offsamples = 0
    for direction, power in _LIGHTS:
        spec.worldbody.add_light(
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            dir=direction,
            diffuse=[power] * 3,
            ambient=[0.0] * 3,
            specular=[0.0] * 3,
            castshadow=False,
        )
    for material, picture in pictures.items():
        _add_material(spec, material, picture)
    boxes = []
    for room, solids in enumerate(shells):
        for material in solids.pieces:
            boxes.append(_add_mesh(spec, f"{room} {material}", material, solids))
    return spec.compile(), np.stack(boxes)


def _add_material(spec: mujoco.MjSpec, material: str, picture: Picture) -> None:
    texture = spec.add_texture(
        name=material,
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        width=picture.shape[1],
        height=picture.shape[0],
        nchannel=3,
    )
    texture.data = picture.tobytes()
    shine = _EMISSION.get(material.split()[0], 0.0)
    surface = spec.add_material(name=material, specular=0.0, shininess=0.0, emission=shine)
    surface.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = material


def _add_mesh(spec: mujoco.MjSpec, name: str, material: str, solids: Solids) -> Array:
    """A mesh of what a room has of a material; its bounds `[2, 3]`."""
    points, normals, coordinates = solids.joined(material)
    mesh = spec.add_mesh(name=name)
    mesh.uservert = points.ravel()
    mesh.usernormal = normals.ravel()
    # MuJoCo counts the second coordinate from a picture's upper edge.
    mesh.usertexcoord = (coordinates * (1.0, -1.0) + (0.0, 1.0)).ravel()
    mesh.userface = mesh.userfacenormal = mesh.userfacetexcoord = np.arange(3 * len(points))
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    spec.worldbody.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname=name,
        material=material,
        contype=0,
        conaffinity=0,
    )
    return np.stack([points.min(axis=(0, 1)), points.max(axis=(0, 1))])
