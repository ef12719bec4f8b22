"""IndoorNav: an agent walks through procedural apartments to what its instruction names."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.config.limits import Count, ImageSize
from worldsim.config.values import check_arguments
from worldsim.envs.indoor.agent import (
    Body,
    Distance,
    Fov,
    Motion,
    Radius,
    Tall,
    Turn,
    View,
    motion_of,
)
from worldsim.envs.indoor.episode import Rules
from worldsim.envs.indoor.journey import Journey
from worldsim.envs.indoor.map_guide import MapGuide
from worldsim.envs.indoor.scene import (
    FEWEST,
    MOST,
    Scene,
    Split,
    build_scene,
    checked_rooms,
    checked_scenes,
    given_scene,
    scene_number,
)
from worldsim.envs.indoor.sensors import (
    Frame,
    Sensor,
    SensorConfig,
    agent_pose,
    check_height,
    look,
)
from worldsim.envs.indoor.world import EVENTS, HZ, world_of
from worldsim.envs.registration import HasHorizon, given_state, reset_options
from worldsim.envs.spaces import observation_space
from worldsim.errors import UsageError

Observation = dict[str, Any]
Array = NDArray[np.float64]

_SUCCESS_REWARD = 5.0
_FARTHEST = 100.0  # metres, bound of proprioception
_STEPS = 120
_EPISODE = 3
_OPTIONS = ("initial_state", "scene", "start", "goals", "task")


class IndoorNav(HasHorizon, gymnasium.Env[Observation, Any]):
    """Walk to the things that the instruction names, one after the other, and stop at each.

    Observation: `pixels` {camera: uint8 [H, W, 3]}, `agent_pos` float32 [4] (x, y, cosine and sine
    of the heading, in the frame of the start), `task` text.
    Action: 0 stop, 1 forward, 2 left, 3 right; or float32 [2] (forward, turn), where staying put is
    to stop. Stop closes the current goal whether it was met or not; the last one ends the episode.
    Reward: metres of shortest path that the action saved, and 5 on success.

    Args:
        sensor: "panorama", "front" (one camera), or "three" (60 degrees left, ahead, right).
        image_size: rows of an image; a panorama is twice as wide, other views are square.
        fov: degrees that a pinhole view spans.
        depth: whether info has depth: radial of a panorama, planar of other views.
        actions: "discrete" or "continuous".
        forward: metres of a step.
        turn: degrees of a turn.
        sliding: whether the agent slides along what it bumps into.
        split: scenes to draw from.
        scenes: how many of the split's scenes are used; None: all.
        rooms: fewest and most rooms of a scene.
        goals: how many things an episode asks for.
        radius: of the agent, metres.
        height: of the agent, metres; doors are higher, and cameras not.
        camera_height: of the cameras above the floor, metres.
        success_distance: metres of shortest path within which a goal is reached.
        success_view: degrees about the heading in which the thing must be seen; 0: it need not be.
        max_episode_steps: the episode is truncated after so many actions; None: the usual limit.
        render_mode: None or "rgb_array" (the cameras side by side).
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": HZ,
    }
    side_by_side: ClassVar[int] = 12
    """Envs of a thread that draw in turn without having to load a scene again."""

    def __init__(
        self,
        sensor: Sensor = "panorama",
        image_size: ImageSize = 32,
        fov: Fov = 90,
        depth: bool = True,
        actions: Motion = "discrete",
        forward: Distance = 0.25,
        turn: Turn = 30,
        sliding: bool = True,
        split: Split = "train",
        scenes: Count | None = None,
        rooms: tuple[Count, Count] = (FEWEST, MOST),
        goals: Count = 1,
        radius: Radius = 0.18,
        height: Tall = 1.5,
        camera_height: Tall = 1.25,
        success_distance: Distance = 1.0,
        success_view: View = 60,
        max_episode_steps: Count | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        check_arguments(IndoorNav, given, "env")
        self._rooms = checked_rooms(rooms)
        self._scenes = checked_scenes(scenes)
        check_height(camera_height, height)
        self._split, self._goals = split, goals
        self._body = Body(actions, float(forward), float(np.deg2rad(turn)), sliding, float(radius))
        self._rules = Rules(float(success_distance), float(success_view), float(camera_height))
        seen = (sensor, image_size, float(fov), float(camera_height), bool(depth))
        self._sensor = SensorConfig(*seen)
        self.max_episode_steps = max_episode_steps or self.asked_steps or _STEPS
        self.render_mode = render_mode
        self.spec_world = world_of(self._sensor, self._body)
        self.action_space = self.spec_world.action.space
        self.observation_space: spaces.Space[Any] = observation_space(self.spec_world, _FARTHEST)
        self._rig = self._sensor.rig
        self._journey: Journey | None = None
        self._frame: Frame | None = None
        self._seed, self._step = 0, 0

    @property
    def journey(self) -> Journey:
        """The episode under way: scene, places, goals and what became of them.

        Raises:
            UsageError: there is none before the first reset.
        """
        if self._journey is None:
            raise UsageError("IndoorNav has no episode yet; call reset() first")
        return self._journey

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: fixes scene, start, goals and wording; without it the env's own generator does.
            options: `scene` (number), `start` (x, y, heading in radians, in the scene's frame),
                `goals` (names such as "red sofa in the living room") and `task` (text) fix each of
                these; `initial_state` (from `get_state`) fixes everything.

        Raises:
            UsageError: an unknown option, an absent thing, a start in a wall, a goal out of reach.
        """
        super().reset(seed=seed)
        given = reset_options(options, _OPTIONS)
        self._seed = int(self.np_random.integers(2**31)) if seed is None else seed
        if given.get("initial_state") is not None:
            self.set_state({"seed": self._seed, **given_state(given["initial_state"], "IndoorNav")})
        else:
            self._journey, self._step = self.planned(self._seed, given), 0
            self._see()
        return self._observe(), self._info(stopped=False)

    def planned(self, seed: int, given: Mapping[str, Any] | None = None) -> Journey:
        """The episode that `reset(seed=seed)` begins, not begun: no picture is drawn.

        Args:
            seed: of the episode.
            given: options as `reset` has them, without `initial_state`.

        Raises:
            UsageError: as `reset` does.
        """
        given, rng = given or {}, np.random.default_rng([seed, _EPISODE])
        index, number = int(rng.integers(self._scenes)), given.get("scene")
        number = scene_number(self._split, index) if number is None else given_scene(number)
        scene = self._scene(number, *self._rooms)
        return Journey.begin(rng, scene, self._body, self._rules, self._goals, given)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """A quarter of a second.

        Raises:
            UsageError: the action is none, or not finite.
        """
        spec, journey = self.spec_world.action, self.journey
        vector = spec.check(spec.vector(action, "IndoorNav"), "IndoorNav")
        self._step += 1
        before = journey.distance
        motion = motion_of(self._body, vector)
        if motion is None:
            saved = 0.0
            journey.stop()
        else:
            journey.walk(*motion)
            saved = before - journey.distance if np.isfinite(before) else 0.0
        self._see()
        info = self._info(stopped=motion is None)
        info["action_achieved"] = self._body.achieved(vector, journey.ahead)
        reward = saved + _SUCCESS_REWARD * info["success"]
        truncated = self._step >= self.max_episode_steps
        return self._observe(), float(reward), journey.over, truncated, info

    def get_state(self) -> dict[str, Any]:
        """Everything needed to continue exactly; `physics` alone says all but an own wording."""
        return {
            "physics": self.journey.to_numbers(),
            "factors": {},
            "seed": self._seed,
            "step": self._step,
            "extras": {"task": self.journey.own_task},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `get_state` output.

        Raises:
            UsageError: the numbers are no state of this env, or its agent stands in a wall.
        """
        state = given_state(state, "IndoorNav")
        task = (state.get("extras") or {}).get("task")
        if task is not None and not isinstance(task, str):
            raise UsageError(f"state of IndoorNav: its task is {task!r}; expected a text")
        parts = (self._scene, self._body, self._rules, task)
        self._journey = Journey.from_numbers(state.get("physics"), *parts)
        self._seed, self._step = state.get("seed") or 0, state.get("step") or 0
        self._see()

    @property
    def map_guide(self) -> MapGuide:
        """What tells experts of the map, in any world that shares this env's starts."""
        return MapGuide(self.planned)

    @property
    def camera_rig(self) -> CameraRig:
        """Calibration of the cameras, relative to the agent."""
        return self._rig

    def render(self) -> NDArray[np.uint8] | None:
        """The cameras side by side, uint8 `[H, V*W, 3]`; None without a render mode."""
        if self.render_mode is None or self._frame is None:
            return None
        return np.concatenate(list(self._frame.pixels.values()), axis=1)

    def render_depth(self) -> dict[str, NDArray[np.float32]]:
        """Depth of each camera, float32 `[H, W]`, of the kind that `spec_world` says."""
        if self._frame is None or self._frame.depth is None:
            raise UsageError("this env gives no depth; make it with depth=True and reset it")
        return dict(zip(self.spec_world.camera_names, self._frame.depth, strict=True))

    def _scene(self, number: int, fewest: int, most: int) -> Scene:
        """The scene of a number and of bounds of its rooms."""
        return build_scene(number, fewest, most)

    def _look(self, journey: Journey) -> Frame:
        """What the agent sees."""
        return look(journey.scene, self._sensor, agent_pose(journey.place, journey.yaw))

    def _see(self) -> None:
        self._frame = self._look(self.journey)

    def _observe(self) -> Observation:
        assert self._frame is not None
        return {
            "pixels": {name: image.copy() for name, image in self._frame.pixels.items()},
            "agent_pos": self.journey.agent_pos,
            "task": self.journey.task,
        }

    def _info(self, stopped: bool) -> dict[str, Any]:
        assert self._frame is not None
        journey = self.journey
        told = journey.report()
        for name, pose in (("camera_pose", self._camera_poses()), ("pose", self._agent_pose())):
            told[name] = (journey.to_start @ pose).astype(np.float32)
        told["events"] = np.array([told[name] for name in EVENTS[:-1]] + [stopped], np.float32)
        if self._frame.depth is not None:
            told["depth"] = self._frame.depth.copy()
        return told

    def _camera_poses(self) -> Array:
        """Cameras to the scene's frame, `[V, 4, 4]`."""
        return np.asarray(self._agent_pose() @ self._rig.extrinsics.astype(np.float64))

    def _agent_pose(self) -> Array:
        """The agent to the scene's frame, `[4, 4]`."""
        return agent_pose(self.journey.place, self.journey.yaw)
