"""A route walked in the simulator: its frames, true depth and poses, and the actions that led on.

Legend: T frames, V views, H W pixels, P proprioception, A action. Metres and radians.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.cameras.projection import projections_of
from worldsim.cameras.rig import CameraRig
from worldsim.conventions import stack_views
from worldsim.envs.indoor.agent import FORWARD, LEFT, RIGHT, Body
from worldsim.envs.indoor.env import IndoorNav
from worldsim.envs.indoor.scene import Scene
from worldsim.errors import UsageError
from worldsim.spec import WorldSpec
from worldsim.validation.revisit.routes import CONTROL, Leg, Route
from worldsim.validation.revisit.visibility import Geometry

Array = NDArray[np.float64]
Float = NDArray[np.float32]

ARRIVED = 0.6
"""Share of a step within which a place is reached."""


@dataclass(frozen=True)
class RecordedScene:
    """The scene of a recorded episode, of which the frames alone are known.

    Attributes:
        number: of the episode.
    """

    number: int


@dataclass(frozen=True, eq=False)
class Walk:
    """Attributes:
    route: its name.
    scene: where.
    spec: of the world.
    rig: calibration.
    actions: `[T - 1, A]`.
    pixels: uint8 `[T, V, H, W, 3]`.
    depth: `[T, V, H, W]` metres, of the kind that the spec says; 0 unknown.
    poses: `[T, V, 4, 4]` camera to the frame of the start.
    agent_pos: `[T, P]`.
    places: `[T, 2]` in the scene's frame.
    headings: `[T]`.
    back: first frame of the return; of a control the frame after the first.
    """

    route: str
    scene: Scene | RecordedScene
    spec: WorldSpec
    rig: CameraRig
    actions: Float
    pixels: NDArray[np.uint8]
    depth: Float
    poses: Float
    agent_pos: Float
    places: Array
    headings: Array
    back: int

    @property
    def geometry(self) -> Geometry:
        """For tests of what was seen."""
        return Geometry.of(
            torch.from_numpy(self.depth),
            self.spec.depth or "planar",  # where none is recorded, all of it is unknown
            torch.from_numpy(self.rig.intrinsics),
            torch.from_numpy(self.poses),
            projections_of(self.spec.cameras),
        )

    @property
    def returns(self) -> bool:
        """Whether it comes back."""
        return self.route != CONTROL

    def offsets(self) -> tuple[Array, Array]:
        """Metres to the nearest place of the first visit, and radians by which the heading differs
        there, of every frame of the return `[T - back]`."""
        apart = np.linalg.norm(self.places[self.back :, None] - self.places[: self.back], axis=-1)
        nearest = apart.argmin(axis=1)
        turned = self.headings[self.back :] - self.headings[nearest]
        return apart.min(axis=1), np.abs(np.angle(np.exp(1j * turned)))

    def nears(self, metres: float, radians: float) -> NDArray[np.bool_]:
        """Frames of the return `[T - back]` taken as near as that to one of the first visit."""
        first, then = slice(None, self.back), slice(self.back, None)
        apart = np.linalg.norm(self.places[then, None] - self.places[first], axis=-1)
        turned = self.headings[then, None] - self.headings[first]
        off = np.abs(np.angle(np.exp(1j * turned)))
        return np.asarray(((apart <= metres) & (off <= radians)).any(axis=1))


def walk_route(env: IndoorNav, route: Route, gap: int, most: int) -> Walk:
    """Walk a route.

    Args:
        env: a simulator with depth.
        route: in the scene that it begins in, see `begin`.
        gap: frames that a first visit lasts at least, and that a leg lingers.
        most: frames of the whole walk.

    Raises:
        UsageError: the env tells no depth.
    """
    if env.spec_world.depth is None:
        raise UsageError("a revisit needs true depth to say what was seen; set env.depth=true")
    taken = _Taken(env, most)
    taken.begin(route)
    body = env._body
    for leg in route.first:
        taken.go(leg, body, gap)
    back = len(taken.pixels) if route.back and route.first else 1
    for leg in route.back:
        taken.go(leg, body, gap)
    return taken.walk(route.name, back)


class _Taken:
    """Frames taken so far."""

    def __init__(self, env: IndoorNav, most: int) -> None:
        self.env, self.most = env, most
        self.pixels: list[NDArray[np.uint8]] = []
        self.rows: dict[str, list[Any]] = {
            name: [] for name in ("depth", "poses", "agent_pos", "places", "headings")
        }
        self.actions: list[Float] = []

    def begin(self, route: Route) -> None:
        """Stand at the start of a route in the scene of the env's episode."""
        start = (*map(float, route.start), route.yaw)
        options = {"scene": self.env.journey.scene.number, "start": start}
        self._keep(*self.env.reset(seed=0, options=options))

    def _keep(self, observation: dict[str, Any], info: dict[str, Any]) -> None:
        names = self.env.spec_world.camera_names
        self.pixels.append(stack_views(observation["pixels"], names))
        row = (
            info["depth"],
            info["camera_pose"],
            observation["agent_pos"],
            info["position"],
            info["heading"],
        )
        for held, value in zip(self.rows.values(), row, strict=True):
            held.append(value)

    def go(self, leg: Leg, body: Body, gap: int) -> None:
        """One leg."""
        for action in self._ways(leg, body, gap):
            if len(self.pixels) >= self.most:
                return
            spec = self.env.spec_world.action
            self.actions.append(spec.check(spec.vector(action, "a route"), "a route"))
            observation, _, _, _, info = self.env.step(action)
            self._keep(observation, info)

    def _ways(self, leg: Leg, body: Body, gap: int) -> Iterator[Any]:
        """Actions of a leg; each is asked for once the one before was taken."""
        for place in leg.places:
            yield from self._toward(place, body)
        sign = -1.0 if leg.turn < 0 else 1.0
        turns = round(abs(leg.turn) / body.turn)
        if leg.lingers:
            turns = max(turns, gap)
        for _ in range(turns):
            yield _turning(body, sign)

    def _toward(self, place: Array, body: Body) -> Iterator[Any]:
        journey = self.env.journey
        away = float(np.hypot(*(place - journey.place)))
        for _ in range(int(3 * away / body.forward + 2 * np.pi / body.turn) + 4):
            step = place - journey.place
            if np.hypot(*step) <= ARRIVED * body.forward:
                return
            bearing = np.arctan2(step[1], step[0]) - journey.yaw
            off = float(np.angle(np.exp(1j * bearing)))
            if body.actions == "discrete":
                near = abs(off) <= body.turn / 2 + 1e-6
                yield FORWARD if near else _turning(body, np.sign(off))
            elif abs(off) > body.turn:
                yield _turning(body, np.sign(off))
            else:
                share = min(float(np.hypot(*step)) / body.forward, 1.0)
                yield np.array([share, off / body.turn], np.float32)

    def walk(self, name: str, back: int) -> Walk:
        """What was taken."""
        arrays = {key: np.stack(rows) for key, rows in self.rows.items()}
        env = self.env
        actions = np.stack(self.actions) if self.actions else np.zeros((0, 1), np.float32)
        return Walk(
            route=name,
            scene=env.journey.scene,
            spec=env.spec_world,
            rig=env.camera_rig,
            actions=actions,
            pixels=np.stack(self.pixels),
            back=back,
            **arrays,
        )


def _turning(body: Body, sign: float) -> Any:
    """The action of a whole turn, to the left where `sign` is positive."""
    if body.actions == "discrete":
        return LEFT if sign > 0 else RIGHT
    return np.array([0.0, sign], np.float32)
