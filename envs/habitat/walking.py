"""An apartment whose collisions and shortest paths are habitat-sim's: those of its navigation mesh.

recast's mesh is made of cells and of agents that are discs. So paths differ by some centimetres
from the exact ones of `worldsim.envs.indoor`, which the mesh replaces here.

Legend: metres, our frame (z up) unless Habitat's is named; G goal places.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from worldsim.data.navigation.frames import from_habitat, to_habitat
from worldsim.envs.habitat.viewer import MOVES, Stage, viewer
from worldsim.envs.indoor.agent import Body, Float
from worldsim.envs.indoor.free_space import SLACK, Array, Flags, FreeSpace, Moved
from worldsim.envs.indoor.scene import Scene
from worldsim.envs.indoor.shortest_path import ShortestPaths

_SNAP = 0.15
"""Metres by which a place beside a thing may lie off the mesh."""
_FLOOR = 0.3
"""Metres up and down within which the mesh is this floor's."""
_ROUNDING = 1e-5
"""Metres by which a step that nothing stopped may miss its end in single precision.

`object_controls.py` of habitat-sim asks whether it was shorter; at a corner a bent one is longer.
"""


@dataclass(frozen=True, eq=False)
class HabitatSpace(FreeSpace):
    """Where an agent can stand and go by a navigation mesh.

    Attributes:
        pathfinder: habitat-sim's, of this scene and agent.
    """

    pathfinder: Any

    def is_free(self, places: Array, margin: float = 0.0) -> Flags:
        """See `FreeSpace.is_free`."""
        points = _on_floor(places)
        found = [self._is_free(point, margin) for point in points.reshape(-1, 3)]
        return np.array(found, bool).reshape(points.shape[:-1])

    def move(self, place: Array, step: Array, slide: bool) -> Moved:
        """See `FreeSpace.move`."""
        if np.hypot(*step) < SLACK:
            return Moved(place, False)
        start, end = _on_floor(place), _on_floor(place + step)
        go = self.pathfinder.try_step if slide else self.pathfinder.try_step_no_sliding
        reached = from_habitat(np.asarray(go(start, end), np.float64))[:2]
        return Moved(reached, bool(np.hypot(*(reached - place - step)) > _ROUNDING))

    def _is_free(self, point: Float, margin: float) -> bool:
        if not self.pathfinder.is_navigable(point, _FLOOR):
            return False
        return margin <= 0 or self.pathfinder.distance_to_closest_obstacle(point, 1.0) > margin

    def snapped(self, places: Array) -> Array:
        """The places `[G, 3]` of the mesh, in Habitat's frame, that are close to `[n, 2]`."""
        found = []
        for point in _on_floor(places):
            near = np.asarray(self.pathfinder.snap_point(point), np.float64)
            # Where there is no mesh near, all of it is NaN, which is near to nothing.
            off = np.hypot(*(near - point)[[0, 2]])
            if off <= _SNAP and abs(near[1]) <= _FLOOR:
                found.append(near)
        return np.array(found).reshape(-1, 3)


class HabitatPaths(ShortestPaths):
    """Shortest paths by habitat-sim's path finder."""

    @classmethod
    def to(cls, space: HabitatSpace, places: Array) -> Self:
        """Paths to what of the places `[n, 2]` lies on the mesh."""
        return cls(space, from_habitat(space.snapped(places))[:, :2])

    def next(self, place: Array) -> tuple[float, Array]:
        """See `ShortestPaths.next`."""
        away, points = self._found(place)
        return away, place if len(points) == 0 else points[min(1, len(points) - 1)]

    def path(self, place: Array) -> Array:
        """See `ShortestPaths.path`."""
        points = self._found(place)[1]
        return np.concatenate([place[None], points[1:] if len(points) > 1 else points])

    def nearest(self, place: Array) -> Array | None:
        """The goal place `[2]` at the end of the path; None without one."""
        points = self._found(place)[1]
        return points[-1] if len(points) else None

    def _nearest(self, place: Array) -> tuple[float, int | None]:
        """See `ShortestPaths._nearest`; there are no corners to name."""
        return self._found(place)[0], None

    def _found(self, place: Array) -> tuple[float, Array]:
        """Metres, infinite where there is no way, and points `[n, 2]` of the path."""
        assert isinstance(self.space, HabitatSpace)
        habitat = viewer().library
        path = habitat.MultiGoalShortestPath()
        path.requested_start = _on_floor(place)
        path.requested_ends = list(_on_floor(self.goals))
        if not len(self.goals) or not self.space.pathfinder.find_path(path):
            return float("inf"), np.zeros((0, 2))
        points = from_habitat(np.asarray(path.points, np.float64).reshape(-1, 3))[:, :2]
        return float(path.geodesic_distance), points


@dataclass(frozen=True, eq=False)
class HabitatScene(Scene):
    """An apartment that habitat-sim has loaded.

    Attributes:
        stage: its file, and who walks there.
    """

    stage: Stage

    @classmethod
    def of(cls, scene: Scene, stage: Stage) -> Self:
        """A scene with the stage that was exported of it."""
        return cls(
            scene.number, scene.bounds, scene.rooms, scene.things, scene.model, scene.boxes, stage
        )

    def free_space(self, radius: float) -> HabitatSpace:
        """See `Scene.free_space`."""
        return HabitatSpace(self.supports, radius, viewer().pathfinder(self.stage))

    def paths(self, space: FreeSpace, places: Array) -> HabitatPaths:
        """See `Scene.paths`."""
        assert isinstance(space, HabitatSpace)
        return HabitatPaths.to(space, places)

    def waypoint(
        self, paths: ShortestPaths, body: Body, place: Array, yaw: float, way: tuple[float, Array]
    ) -> Array:
        """Where habitat-sim's greedy follower goes next; it has discrete actions alone."""
        assert isinstance(paths, HabitatPaths)
        goal = paths.nearest(place) if body.actions == "discrete" else None
        if goal is None or way[0] <= body.forward / 2:
            return super().waypoint(paths, body, place, yaw, way)
        action = viewer().follow(self.stage, place, yaw, _on_floor(goal))
        if action is None:
            return super().waypoint(paths, body, place, yaw, way)
        turn = (0.0, body.turn, -body.turn)[MOVES.index(action)]
        return place + body.forward * np.array([np.cos(yaw + turn), np.sin(yaw + turn)])


def _on_floor(places: Array) -> Float:
    """Places `[..., 2]` as points `[..., 3]` in Habitat's frame, in its precision."""
    flat = np.asarray(places, np.float64)
    points = to_habitat(np.concatenate([flat, np.zeros_like(flat[..., :1])], axis=-1))
    return points.astype(np.float32)
