"""A small stand-in for habitat-sim 0.3, written to its documented interface alone.

It knows nothing of worldsim: it reads a stage configuration and its .glb (y up), draws by rays,
and walks on a grid. As the real one it is strict where that ends processes or is silent where that
is: see `navigation.md` of the project's notes and the pages under docs/pages of habitat-sim.
"""

import json
import math
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from fake_pathfinder import PathFinder
from glb_reading import Mesh, colour_at, first_hits, read_glb


class Bag(SimpleNamespace):
    """Attributes as they are set; equal where these are."""


class MetadataMediator:
    """Knows stages by the names of their files."""

    def __init__(self) -> None:
        self.known: list[str] = []
        self.stage_template_manager = Bag(load_configs=self.known.append)


class Spec(Bag):
    """A sensor's. Those of equal names are equal, whatever their sizes and fields of view."""

    def __eq__(self, other: object) -> bool:
        kept = ("round_about", "uuid", "sensor_type", "position", "orientation")
        return all(getattr(self, key) == getattr(other, key) for key in kept)


class GreedyFollowerError(RuntimeError):
    """No way."""


class GreedyGeodesicFollower:
    """Heads for the next corner of the path."""

    def __init__(self, simulator: Any, goal_radius: float) -> None:
        self._simulator, self._radius = simulator, goal_radius

    def reset(self) -> None:
        pass

    def next_action_along(self, goal: Any) -> str | None:
        state, actions = self._simulator.agent.state, self._simulator.agent.config.action_space
        path = Bag(requested_start=state.position, requested_ends=[goal])
        if not self._simulator.pathfinder.find_path(path):
            raise GreedyFollowerError()
        if path.geodesic_distance <= self._radius:
            return None
        far = [point for point in path.points[1:] if np.linalg.norm(point - state.position) > 0.1]
        toward = far[0] - state.position if far else path.points[-1] - state.position
        x, _, z = _rotation(state.rotation).T @ toward
        left = math.atan2(-x, -z)
        turn = math.radians(actions["turn_left"].actuation.amount)
        if abs(left) > turn / 2:
            return "turn_left" if left > 0 else "turn_right"
        return "move_forward"


class Agent:
    """Where it stands, by position and rotation [x, y, z, w]."""

    def __init__(self, config: Any) -> None:
        self.config, self.state = config, Bag(position=np.zeros(3), rotation=[0.0, 0.0, 0.0, 1.0])

    def set_state(self, state: Any) -> None:
        if not np.isfinite(state.position).all():
            raise ValueError("non-finite values")
        if not np.isclose(np.linalg.norm(state.rotation), 1.0, rtol=1e-4):
            raise ValueError("not a unit length vector")
        self.state = state


class Simulator:
    """Loads one stage, draws it and walks in it."""

    made = 0

    def __init__(self, config: Any) -> None:
        type(self).made += 1
        self._colours = self._has_colours(config)
        self.closed = False
        self._load(config)

    def reconfigure(self, config: Any) -> None:
        if self._has_colours(config) and not self._colours:
            raise RuntimeError("requiresTextures was changed to True from False")
        if config != self.config:
            self._load(config)

    def _has_colours(self, config: Any) -> bool:
        (agent,) = config.agents
        return any(spec.sensor_type == "COLOR" for spec in agent.sensor_specifications)

    def _load(self, config: Any) -> None:
        if config.sim_cfg.gpu_device_id != -1:
            raise RuntimeError("unable to find CUDA device")  # the real one ends the process
        self.config = config
        file = Path(config.sim_cfg.scene_id)
        assert file.name.endswith(".stage_config.json")
        instance = file.with_name(file.name.replace(".stage_config", ".scene_instance"))
        if instance.is_file():  # the real one takes this before the stage, and crashes without
            named = json.loads(instance.read_text())["stage_instance"]["template_name"]
            assert any(named in known for known in config.metadata_mediator.known)
        stage = json.loads(file.read_text())
        # Without these a real .glb is taken for one whose z is up.
        assert stage["up"] == [0, 1, 0] and stage["front"] == [0, 0, -1]
        self.meshes: list[Mesh] = read_glb((file.parent / stage["render_asset"]).read_bytes())[1]
        self.places = np.concatenate([mesh.places for mesh in self.meshes])
        self.owner = np.repeat(
            np.arange(len(self.meshes)), [len(mesh.places) for mesh in self.meshes]
        )
        self.agent = Agent(config.agents[0])
        for spec in config.agents[0].sensor_specifications:
            assert all(type(value) is float for value in [*spec.position, *spec.orientation])
        self.pathfinder = PathFinder()

    def get_agent(self, number: int) -> Agent:
        assert number == 0
        return self.agent

    def recompute_navmesh(self, pathfinder: PathFinder, settings: Any) -> bool:
        return pathfinder.build(self.places.astype(np.float64), settings)

    def make_greedy_follower(
        self, agent_id: Any = None, goal_radius: Any = None, **more: Any
    ) -> Any:
        return GreedyGeodesicFollower(self, goal_radius)

    def get_sensor_observations(self, agent_ids: int = 0) -> dict[str, np.ndarray]:
        return {s.uuid: self._draw(s) for s in self.agent.config.sensor_specifications}

    def close(self, destroy: bool = True) -> None:
        self.closed = True

    def _draw(self, spec: Any) -> np.ndarray:
        height, width = spec.resolution
        rays = _rays(spec, height, width).reshape(-1, 3)
        turn = _rotation(self.agent.state.rotation)
        eye = np.asarray(self.agent.state.position, np.float64) + turn @ np.array(spec.position)
        about_x, about_y, _ = (angle / 2 for angle in spec.orientation)
        own = _rotation([0.0, math.sin(about_y), 0.0, math.cos(about_y)])
        own = own @ _rotation([math.sin(about_x), 0.0, 0.0, math.cos(about_x)])
        lengths = np.linalg.norm(rays, axis=1)
        metres, hits, weights = first_hits(
            self.places, eye, (rays / lengths[:, None]) @ (turn @ own).T
        )
        if spec.sensor_type == "DEPTH":
            # The real one reads the nearest pixel of a cube's face there, which is too coarse.
            assert not spec.round_about
            # Depth buffers hold what lies along the axis of the picture.
            depth: np.ndarray = (metres * -rays[:, 2] / lengths).reshape(height, width)
            return depth.astype(np.float32)
        first = np.concatenate([[0], np.cumsum([len(mesh.places) for mesh in self.meshes])])
        colours = [
            colour_at(self.meshes[self.owner[hit]], int(hit - first[self.owner[hit]]), weight)
            for hit, weight in zip(hits, weights, strict=True)
        ]
        image = np.full((height, width, 4), 255, np.uint8)
        image[..., :3] = np.round(colours).reshape(height, width, 3)
        return image


def _rays(spec: Any, height: int, width: int) -> np.ndarray:
    """Directions `[H, W, 3]` of pixels in OpenGL's camera: x right, y up, looking along -z."""
    row, column = np.mgrid[:height, :width] + 0.5
    if spec.round_about:
        phi, theta = 2 * math.pi * column / width, math.pi * (height - row) / height
        level = np.sin(theta)
        return np.stack([-np.sin(phi) * level, -np.cos(theta), np.cos(phi) * level], axis=-1)
    half = math.tan(math.radians(spec.hfov) / 2)
    x, y = (2 * column / width - 1) * half, (1 - 2 * row / height) * half * height / width
    return np.stack([x, y, -np.ones_like(x)], axis=-1)


def _rotation(quaternion: Any) -> np.ndarray:
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def make_module(version: str = "0.3.3") -> ModuleType:
    """What `import habitat_sim` gives."""
    module: Any = ModuleType("habitat_sim")
    module.__version__ = version
    module.Simulator, module.PathFinder = Simulator, PathFinder
    module.SimulatorConfiguration = lambda: Bag(gpu_device_id=0, scene_id="NONE")
    module.Configuration = lambda sim_cfg, agents, metadata_mediator: Bag(
        sim_cfg=sim_cfg, agents=agents, metadata_mediator=metadata_mediator
    )
    module.metadata = SimpleNamespace(MetadataMediator=MetadataMediator)
    module.NavMeshSettings = lambda: Bag(set_defaults=lambda: None)
    module.MultiGoalShortestPath = lambda: Bag(requested_ends=[], points=[])
    module.AgentState = Bag
    module.CameraSensorSpec = lambda: Spec(round_about=False, position=[0.0, 1.5, 0.0])
    module.EquirectangularSensorSpec = lambda: Spec(round_about=True, position=[0.0, 1.5, 0.0])
    module.SensorType = SimpleNamespace(COLOR="COLOR", DEPTH="DEPTH")
    module.errors = SimpleNamespace(GreedyFollowerError=GreedyFollowerError)
    module.agent = SimpleNamespace(
        AgentConfiguration=lambda: Bag(height=1.5, radius=0.1),
        ActionSpec=lambda name, actuation: Bag(name=name, actuation=actuation),
        ActuationSpec=lambda amount: Bag(amount=amount),
    )
    module.__spec__ = SimpleNamespace(name="habitat_sim")
    return module  # type: ignore[no-any-return]


def install(monkeypatch: Any, version: str = "0.3.3") -> ModuleType:
    """Let `import habitat_sim` find the stand-in, and no viewer of an earlier one be left."""
    from worldsim.envs.habitat import env, viewer

    module = make_module(version)
    monkeypatch.setitem(sys.modules, "habitat_sim", module)
    monkeypatch.setattr(viewer, "_OF_THREAD", SimpleNamespace())
    # Scenes keep the path finder that they were first asked about, so none outlives the stand-in.
    monkeypatch.setattr(env, "_staged", lru_cache(maxsize=8)(env._staged.__wrapped__))
    return module
