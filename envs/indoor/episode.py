"""What an episode asks for: things to go to, one after the other, and where it begins.

Legend: metres; places are `[2]` on the floor, in the scene's own frame.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np

from worldsim.envs.indoor.floor_plan import Room
from worldsim.envs.indoor.free_space import NORMALS, SLACK, Array, Flags, FreeSpace, support
from worldsim.envs.indoor.furnish import Placed
from worldsim.envs.indoor.scene import Scene
from worldsim.envs.indoor.shortest_path import ShortestPaths
from worldsim.errors import UsageError, unknown_name

NEAREST = 2.5
"""Metres of the shortest path from a drawn start to the first goal, at least."""
_SPACING = 0.2
_TRIES = 200
_ONE = (
    "go to the {} and stop",
    "walk to the {} and stop there",
    "find the {} and stop next to it",
    "stop at the {}",
)
_FIRST, _LATER = "go to the {} and stop", "then go to the {} and stop"


@dataclass(frozen=True)
class Rules:
    """Attributes:
    distance: metres of shortest path within which a goal is reached.
    view: degrees about the heading in which the thing must be seen; 0: it need not be.
    eye: height of the cameras, metres.
    """

    distance: float
    view: float
    eye: float


@dataclass(frozen=True, eq=False)
class Start:
    """Where an agent begins.

    Attributes:
        place: `[2]`.
        yaw: its heading, radians from the x axis to the left.
    """

    place: Array
    yaw: float


def given_start(given: Any) -> Start:
    """A start as `reset` is given it.

    Raises:
        UsageError: it is not x, y and a heading.
    """
    try:
        x, y, yaw = map(float, given)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"options['start'] is {given!r}; expected x and y in metres and a heading in radians"
        ) from error
    return Start(np.array([x, y]), yaw)


def phrase(thing: Placed, rooms: Sequence[Room]) -> str:
    """What instructions call a thing, such as "red sofa in the living room"; unique in a scene."""
    return f"{thing.name} in the {rooms[thing.room].use}"


def instruction(scene: Scene, goals: Sequence[int], wording: int) -> str:
    """The words of an episode.

    Args:
        scene: of the episode.
        goals: indices of things, in their order.
        wording: which of several ways to say it.
    """
    names = [phrase(scene.things[goal], scene.rooms) for goal in goals]
    if len(names) == 1:
        return _ONE[wording % len(_ONE)].format(names[0])
    return ", ".join([_FIRST.format(names[0]), *map(_LATER.format, names[1:])])


def find_thing(scene: Scene, named: str) -> int:
    """Index of the thing that an instruction calls so.

    Raises:
        UsageError: the scene has no such thing; the closest names are told.
    """
    names = [phrase(thing, scene.rooms) for thing in scene.things]
    if named not in names:
        raise unknown_name(f"thing of scene {scene.number}", named, names)
    return names.index(named)


@lru_cache(maxsize=128)
def space_of(scene: Scene, radius: float) -> FreeSpace:
    """The free space of a scene, kept with its visibility graph."""
    return scene.free_space(radius)


def floor_place(scene: Scene, radius: float, place: Array) -> Array:
    """The place `[2]` near any other, at which an agent can stand in a room or doorway."""
    low, high = np.split(np.array([room.rect for room in scene.rooms]), 2, axis=1)

    def inside(places: Array) -> Flags:
        off = places[..., None, :]
        return np.asarray(((off >= low) & (off <= high)).all(axis=-1).any(axis=-1))

    return space_of(scene, radius).nearest(np.asarray(place, np.float64), inside)


@lru_cache(maxsize=256)
def paths_to(scene: Scene, radius: float, goal: int) -> ShortestPaths:
    """Shortest paths to where an agent touches a thing, or the furniture that it stands on."""
    space = space_of(scene, radius)
    thing = scene.things[goal]
    base = thing if thing.under is None else scene.things[thing.under]
    bounds = support(base.outline) + radius
    angle = np.pi / len(NORMALS)
    middle, half = bounds[:, None] * NORMALS, _half_edges(bounds, angle)
    places = []
    for k, normal in enumerate(NORMALS):
        count = max(int(np.ceil(half[k].sum() / _SPACING)), 1)
        along = np.linspace(-half[k, 0], half[k, 1], count + 1)
        tangent = np.array([-normal[1], normal[0]])
        places.append(middle[k] + 2 * SLACK * normal + along[:, None] * tangent)
    return scene.paths(space, np.concatenate(places))


def _half_edges(bounds: Array, angle: float) -> Array:
    """How far each edge reaches to the right and to the left of its normal's foot, `[K, 2]`."""
    cos, sin = np.cos(2 * angle), np.sin(2 * angle)
    left = (np.roll(bounds, -1) - bounds * cos) / sin
    right = (np.roll(bounds, 1) - bounds * cos) / sin
    return np.stack([right, left], axis=1)


def draw_goals(rng: np.random.Generator, scene: Scene, radius: float, count: int) -> list[int]:
    """Things that can be reached, none twice in a row.

    Raises:
        UsageError: the scene has too few.
    """
    goals: list[int] = []
    for goal in _reachable(rng, scene, radius, count):
        if not goals or goals[-1] != goal:
            goals.append(goal)
        if len(goals) == count:
            return goals
    raise UsageError(
        f"scene {scene.number} has {len(set(goals))} things that can be reached, too few for "
        f"{count} goals; ask for fewer, or for more rooms"
    )


def _reachable(rng: np.random.Generator, scene: Scene, radius: float, count: int) -> Iterator[int]:
    """Things that can be reached, at random, all of them before any comes again."""
    for _ in range(count):
        for goal in map(int, rng.permutation(len(scene.things))):
            if np.isfinite(paths_to(scene, radius, goal).distance(scene.threshold)):
                yield goal


def draw_start(rng: np.random.Generator, scene: Scene, radius: float, goal: int) -> Start:
    """A free place from which the first goal can be reached and is not near.

    Raises:
        UsageError: none was found.
    """
    space, paths = space_of(scene, radius), paths_to(scene, radius, goal)
    farthest: tuple[float, Array] | None = None
    for _ in range(_TRIES):
        west, south, east, north = scene.rooms[int(rng.integers(len(scene.rooms)))].inside
        place = rng.uniform((west, south), (east, north))
        if not space.is_free(place, 0.03):
            continue
        away = paths.distance(place)
        if np.isfinite(away) and (farthest is None or away > farthest[0]):
            farthest = away, place
        if farthest is not None and farthest[0] > NEAREST:
            return Start(farthest[1], float(rng.uniform(-np.pi, np.pi)))
    if farthest is None:
        raise UsageError(f"scene {scene.number}: no place from which its things can be reached")
    return Start(farthest[1], float(rng.uniform(-np.pi, np.pi)))


def check_start(scene: Scene, radius: float, goals: Sequence[int], start: Start) -> None:
    """Refuse a start in a wall, and goals that cannot be reached from it.

    Raises:
        UsageError: says where the start is, and which goal.
    """
    if not np.isfinite([*start.place, start.yaw]).all():
        raise UsageError(f"start {[*start.place, start.yaw]} holds NaN or infinity")
    outside = scene.room_at(start.place) is None
    if outside or not space_of(scene, radius).is_free(start.place):
        place = ", ".join(f"{value:.2f}" for value in start.place)
        raise UsageError(
            f"start ({place}) of scene {scene.number} lies in a wall, in furniture or outside; an "
            f"agent of radius {radius} m needs that much room"
        )
    for goal in goals:
        if not np.isfinite(paths_to(scene, radius, goal).distance(start.place)):
            raise UsageError(
                f"the {phrase(scene.things[goal], scene.rooms)} of scene {scene.number} cannot be "
                "reached from the start; choose another goal or start"
            )


@lru_cache(maxsize=128)
def _resting(scene: Scene) -> mujoco.MjData:
    data = mujoco.MjData(scene.model)
    mujoco.mj_forward(scene.model, data)
    return data


def is_seen(scene: Scene, goal: int, eye: Array, yaw: float, view: float) -> bool:
    """Whether a thing is in sight: within a view's angle of the heading, and nothing before it.

    Args:
        scene: of the agent.
        goal: index of the thing.
        eye: `[3]` of the cameras.
        yaw: heading.
        view: degrees of the whole angle; 360 sees all around.
    """
    thing = scene.things[goal]
    toward = thing.place[:2] - eye[:2]
    bearing = np.arctan2(toward[1], toward[0]) - yaw
    if abs(np.angle(np.exp(1j * bearing))) > np.deg2rad(view) / 2 + 1e-9:
        return False
    return any(_hits(scene, thing, eye, share) for share in (0.5, 0.85, 0.2))


def _hits(scene: Scene, thing: Placed, eye: Array, share: float) -> bool:
    """Whether the ray to the middle of a thing, at a share of its height, ends on the thing."""
    target = thing.place + (0.0, 0.0, share * thing.thing.height)
    ray = target - eye
    geom = np.zeros(1, np.int32)
    hit = mujoco.mj_ray(scene.model, _resting(scene), eye, ray, None, 1, -1, geom)
    if hit < 0:
        return False
    off = eye + hit * ray - thing.place
    cos, sin = np.cos(thing.yaw), np.sin(thing.yaw)
    local = np.abs([cos * off[0] + sin * off[1], cos * off[1] - sin * off[0]])
    half = np.array([thing.thing.width, thing.thing.depth]) / 2 + 0.04
    return bool((local <= half).all() and -0.04 <= off[2] <= thing.thing.height + 0.1)


def physics_numbers(given: Any, header: int) -> tuple[Array, int]:
    """A state's numbers, and how many goals they tell of: the last of `header`, then two each.

    Raises:
        UsageError: they are too few, too many, or not finite.
    """
    numbers = np.asarray([] if given is None else given, np.float64)
    whole = numbers.ndim == 1 and len(numbers) > header and bool(np.isfinite(numbers).all())
    count = int(numbers[header - 1]) if whole else 0
    if count < 1 or len(numbers) != header + 2 * count:
        raise UsageError(
            f"state of IndoorNav: physics has shape {numbers.shape}, expected ({header} + 2 x "
            "goals,), all finite; was it taken in another env?"
        )
    return numbers, count
