"""What the tabletop tasks share: the gymnasium interface over one MuJoCo scene."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.config.limits import Count, ImageSize
from worldsim.config.values import check_arguments
from worldsim.envs.physics import get_physics, read_physics, set_physics
from worldsim.envs.registration import HasHorizon, given_state, reset_options
from worldsim.envs.rendering import (
    SceneRenderer,
    camera_indices,
    camera_pose,
    rig_of,
    shared_renderer,
)
from worldsim.envs.spaces import observation_space
from worldsim.envs.tabletop.gripper import ACTION, AGENT_POS, Gripper
from worldsim.envs.tabletop.placing import yaw_quaternion
from worldsim.envs.tabletop.scene import CAMERAS, CONTROL_HZ, MOUNTED, scene_xml
from worldsim.envs.tabletop.score import TaskScore
from worldsim.envs.tabletop.variation import TABLETOP_FACTORS, ModelVariation
from worldsim.spec import END_EFFECTOR, CameraSpec, VectorSpec, WorldSpec

Float = NDArray[np.float32]
Observation = dict[str, Any]
_START_STREAM = 1
_SUCCESS_REWARD = 5.0
_FARTHEST = 2.0
"""Bound of proprioception."""


class TabletopEnv(HasHorizon, gymnasium.Env[Observation, Float]):
    """A gripper over a table at 10 Hz.

    Observation: `pixels` {camera: uint8 [H, W, 3]}, `agent_pos` float32 [10], `task` text.
    Action: float32 [5] in [-1, 1], see `worldsim.envs.tabletop.gripper.ACTION`.
    Reward: minus the task's remaining distance (`TaskScore.cost`), and 5 on success.

    Args:
        image_size: height and width of every camera, pixels.
        factors: active factors of variation, as `FactorSpace.parse` reads them.
        max_episode_steps: the episode is truncated after so many actions; None: the task's own.
        render_mode: None or "rgb_array" (the cameras side by side).
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": CONTROL_HZ,
    }
    task: ClassVar[str]
    objects_xml: ClassVar[str]
    state_spec: ClassVar[VectorSpec]
    score: ClassVar[TaskScore]
    default_steps: ClassVar[int] = 50

    def __init__(
        self,
        image_size: ImageSize = 64,
        factors: str | Sequence[str] = "none",
        max_episode_steps: Count | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        sizes = {"image_size": image_size, "max_episode_steps": max_episode_steps}
        check_arguments(TabletopEnv, {**sizes, "render_mode": render_mode}, "env")
        self.factor_space = TABLETOP_FACTORS
        self.factor_space.parse(factors)
        self.active_factors = factors
        self.max_episode_steps = max_episode_steps or self.asked_steps or self.default_steps
        self.render_mode = render_mode
        self._size = image_size
        self.model = mujoco.MjModel.from_xml_string(scene_xml(self.objects_xml))
        self._prepare(self.model)
        self.data = mujoco.MjData(self.model)
        self.gripper = Gripper(self.model, self.data)
        self._variation = ModelVariation(self.model)
        self._factors = self.factor_space.nominal
        self._seed, self._step = 0, 0
        camera_specs = tuple(
            CameraSpec(name, image_size, image_size, carrier=END_EFFECTOR if mounted else None)
            for name, mounted in zip(CAMERAS, MOUNTED, strict=True)
        )
        self.spec_world = WorldSpec(CONTROL_HZ, camera_specs, ACTION, AGENT_POS, self.state_spec)
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION.dim,), np.float32)
        self.observation_space = observation_space(self.spec_world, _FARTHEST)

    @abstractmethod
    def _place(self, rng: np.random.Generator) -> None:
        """Set the start of an episode: gripper, objects and goal."""

    @abstractmethod
    def _task_state(self) -> NDArray[np.float64]:
        """The privileged state `[S]`, as `state_spec` names it."""

    def _prepare(self, model: mujoco.MjModel) -> None:
        """Set nominal numbers of the physics that MJCF cannot say."""

    def _react(self) -> None:
        """Change the scene by the task's own rules, after physics moved it."""

    def _at_rest(self) -> bool:
        """Whether the scene is still enough to count as solved."""
        return True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: fixes start and factors; without it the env's own generator chooses one.
            options: `factors` {name: value} fixes some factors; `initial_state` (from `get_state`,
                or {"physics", "factors"}) fixes everything.

        Raises:
            UsageError: an unknown option or a bad factor value.
        """
        super().reset(seed=seed)
        given = reset_options(options, ("factors", "initial_state"))
        self._seed = int(self.np_random.integers(2**31)) if seed is None else seed
        if given.get("initial_state") is not None:
            state = given_state(given["initial_state"], type(self).__name__)
            self.set_state({"seed": self._seed, **state})
        else:
            self._begin(given.get("factors") or {})
        return self._observe(), self._info()

    def _begin(self, fixed: Mapping[str, Any]) -> None:
        chosen = self.factor_space.sample(self._seed, self.active_factors)
        chosen.update(self.factor_space.check(fixed))
        self._set_factors(chosen)
        self._step = 0
        mujoco.mj_resetData(self.model, self.data)
        self._place(np.random.default_rng([self._seed, _START_STREAM]))
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: Float) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One tenth of a second.

        Raises:
            UsageError: the action has the wrong shape or is not finite.
        """
        checked = ACTION.check(action, type(self).__name__)
        achieved = self.gripper.step(checked)
        self._step += 1
        self._react()
        self._refresh()
        info = self._info()
        info["action_achieved"] = achieved
        cost = float(self.score.cost(self.gripper.agent_pos(), info["state"]))
        reward = _SUCCESS_REWARD * info["success"] - cost
        truncated = self._step >= self.max_episode_steps
        return self._observe(), reward, info["success"], truncated, info

    def get_state(self) -> dict[str, Any]:
        """Everything needed to continue exactly: physics (float64, flat), factors, seed, step."""
        return {
            "physics": get_physics(self.model, self.data),
            "factors": self.factors,
            "seed": self._seed,
            "step": self._step,
            "extras": {},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `get_state` output; factors not named are nominal.

        Raises:
            UsageError: the physics vector does not fit this env, or a factor is wrong.
        """
        state = given_state(state, type(self).__name__)
        physics = read_physics(self.model, state.get("physics"), type(self).__name__)
        factors = self.factor_space.nominal
        factors.update(self.factor_space.check(state.get("factors") or {}))
        self._set_factors(factors)
        self._seed, self._step = state.get("seed") or 0, state.get("step") or 0
        mujoco.mj_resetData(self.model, self.data)
        set_physics(self.model, self.data, physics)
        self._refresh()

    @property
    def factors(self) -> dict[str, list[float]]:
        """Values of every factor in this episode."""
        return {name: list(value) for name, value in self._factors.items()}

    @property
    def camera_rig(self) -> CameraRig:
        """Calibration in this episode; the wrist camera is given relative to the end effector."""
        to_hand = np.linalg.inv(self.gripper.pose)
        cameras = camera_indices(self.model, CAMERAS)
        poses = [camera_pose(self.data, index) for index in cameras]
        poses = [to_hand @ p if rides else p for p, rides in zip(poses, MOUNTED, strict=True)]
        fovy = [float(self.model.cam_fovy[index]) for index in cameras]
        return rig_of(CAMERAS, fovy, poses, self._size, MOUNTED)

    def render(self) -> NDArray[np.uint8] | None:
        """The cameras side by side, uint8 `[H, V*W, 3]`; None without a render mode."""
        if self.render_mode is None:
            return None
        return np.concatenate(list(self._pixels().values()), axis=1)

    def render_depth(self) -> dict[str, Float]:
        """Planar metric depth of each camera, float32 `[H, W]`."""
        renderer = self._renderer()
        return {
            name: renderer.depth(self.model, self.data, index) for index, name in enumerate(CAMERAS)
        }

    def _mocap(self, name: str) -> NDArray[np.float64]:
        """Place of a mocap body `[3]`, to read and to write."""
        place: NDArray[np.float64] = self.data.mocap_pos[self.model.body(name).mocapid[0]]
        return place

    def _put_cube(self, place: NDArray[np.float64], yaw: float) -> None:
        """Lay the cube flat on the table at `place` `[2]`."""
        half = float(self.model.geom("object").size[0])
        self.data.joint("object").qpos[:] = (*place, half, *yaw_quaternion(yaw))

    def _set_factors(self, values: dict[str, tuple[float, ...]]) -> None:
        self._factors = values
        self._variation.apply(values)
        mujoco.mj_setConst(self.model, self.data)

    def _refresh(self) -> None:
        """Bring places of bodies, cameras and lights up to date without touching the state."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def _renderer(self) -> SceneRenderer:
        return shared_renderer(self.model, self._size, self._size, key=type(self).__name__)

    def _pixels(self) -> dict[str, NDArray[np.uint8]]:
        renderer = self._renderer()
        return {
            name: renderer.color(self.model, self.data, index) for index, name in enumerate(CAMERAS)
        }

    def _observe(self) -> Observation:
        return {
            "pixels": self._pixels(),
            "agent_pos": self.gripper.agent_pos(),
            "task": self.task,
        }

    def _info(self) -> dict[str, Any]:
        state = self._task_state().astype(np.float32)
        agent_pos = self.gripper.agent_pos()
        success = bool(self.score.success(agent_pos, state)) and self._at_rest()
        return {
            "is_success": success,
            "success": success,
            "progress": float(self.score.progress(agent_pos, state)),
            "state": state,
        }
