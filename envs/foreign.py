"""Any MuJoCo-based gymnasium env, made multi-view and recordable without code.

`ForeignMujocoEnv("Pusher-v5", cameras=[...])` has the interface of worldsim's own simulators:
images of several cameras, proprioception, privileged state, success, exact save and restore.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.config import build
from worldsim.envs.foreign_cameras import CameraRequest, make_views, rig_of
from worldsim.envs.foreign_source import make_source
from worldsim.envs.foreign_spec import (
    EndEffector,
    Readout,
    action_spec,
    find_end_effector,
    joints,
    proprioception,
)
from worldsim.envs.foreign_success import SuccessRule, Task, make_task
from worldsim.envs.rendering import shared_renderer
from worldsim.errors import UsageError
from worldsim.geometry.cameras import CameraRig
from worldsim.rates import plain_rate
from worldsim.specs import CameraSpec, WorldSpec

Info = dict[str, Any]
State = dict[str, Any]

_EVERYTHING = mujoco.mjtState.mjSTATE_INTEGRATION


class ForeignMujocoEnv(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """A foreign MuJoCo env with worldsim's observation, action and info.

    Observation: `pixels` {camera: uint8 [H,W,3]}, `agent_pos` float32 `[P]` (end effector and
    gripper width where known, else the actuated joints), `task`. Action: Box [-1,1]^A. `state`
    in the info is the goals of a goal env, else positions and velocities of all joints.
    Terminated on success or when the env itself ends, truncated after `max_episode_steps`.

    Args:
        source: gymnasium id, such as "Pusher-v5" or "FetchPush-v4".
        cameras: names of the model's cameras, or `{name, position, target, fovy}`.
        image_size: height and width in pixels.
        max_episode_steps: None takes the source's own limit.
        task: instruction text; None takes the source id.
        end_effector: `{site, metres, fingers}` of a Cartesian-controlled arm; Fetch is known.
        success: `{key, above}`: success when `info[key] > above`, for envs that report none.
        source_kwargs: passed to the source env's constructor.
        render_mode: "rgb_array" or None.

    Raises:
        UsageError: unknown or non-MuJoCo source, unknown camera, unbounded action space.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        source: str,
        cameras: Sequence[CameraRequest] = (),
        image_size: int = 64,
        max_episode_steps: int | None = None,
        task: str | None = None,
        end_effector: Mapping[str, Any] | None = None,
        success: Mapping[str, Any] | None = None,
        source_kwargs: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if image_size < 8 or render_mode not in (None, "rgb_array"):
            raise UsageError(
                f"image_size must be at least 8 (got {image_size}) and render_mode None or "
                f"'rgb_array' (got {render_mode!r})"
            )
        self._inner, limit = make_source(source, source_kwargs or {})
        self.max_episode_steps = max_episode_steps or limit
        self._model, self._data = _physics(self._inner)
        self._task_text = task or source
        self._views = make_views(cameras, self._model)
        self._size = image_size
        self._renderer_key = f"foreign/{source}/{sorted((source_kwargs or {}).items())}"
        self.render_mode = render_mode
        self.spec_world = self._build_spec(source, end_effector, success)
        self.observation_space = self._build_observation_space()
        size = self.spec_world.action.dim
        self.action_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        self.metadata = {**self.metadata, "render_fps": self.spec_world.fps}
        self._seed: int | None = None
        self._steps = 0
        self._rig: CameraRig | None = None
        self._pixels: dict[str, NDArray[np.uint8]] = {}

    @property
    def camera_rig(self) -> CameraRig:
        """Calibration of this episode's cameras.

        Raises:
            UsageError: the env was never reset.
        """
        if self._rig is None:
            raise UsageError("camera_rig is known after reset(); call reset first")
        return self._rig

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], Info]:
        """Start an episode; `options={"initial_state": get_state()}` restores one exactly."""
        super().reset(seed=seed)
        options = options or {}
        if unknown := sorted(set(options) - {"initial_state", "factors"}):
            raise UsageError(f"reset options {unknown} are unknown; known: initial_state, factors")
        if options.get("factors"):
            raise UsageError("foreign envs have no factors of variation; leave `factors` out")
        self._inner.reset(seed=seed)
        self._seed, self._steps = seed, 0
        self._refresh()
        self._task.reset(self._data)
        if options.get("initial_state") is not None:
            self.set_state(options["initial_state"])
        self._rig = rig_of(self._views, self._model, self._data, self._size, self._size)
        observation = self._observe()
        return observation, self._info(self._task.at_reset(self._data))

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, Info]:
        """Advance one control step; see the class for what comes back.

        Raises:
            UsageError: the action has a wrong shape or is not finite.
        """
        command = self.spec_world.action.check(action, self._task_text)
        before = self._agent_pos.read(self._data)
        _, reward, terminated, truncated, source_info = self._inner.step(
            (self._middle + self._half * command).astype(self._source_dtype)
        )
        self._steps += 1
        self._refresh()
        success, progress = self._task.after_step(self._data, source_info)
        info = self._info((success, progress))
        info["action_achieved"] = self._achieved(command, before)
        out_of_time = bool(truncated) or self._steps >= self.max_episode_steps
        return self._observe(), float(reward), bool(terminated) or success, out_of_time, info

    def get_state(self) -> State:
        """Everything that decides what follows; `physics` is a flat float64 array."""
        physics = np.empty(mujoco.mj_stateSize(self._model, _EVERYTHING), np.float64)
        mujoco.mj_getState(self._model, self._data, physics, _EVERYTHING)
        extras = self._task.get_extras()
        return {
            "physics": physics,
            "factors": {},
            "seed": self._seed,
            "step": self._steps,
            "extras": extras,
        }

    def set_state(self, state: State) -> None:
        """Restore `get_state` output exactly.

        Raises:
            UsageError: the state belongs to another model.
        """
        physics = np.asarray(state["physics"], np.float64)
        size = mujoco.mj_stateSize(self._model, _EVERYTHING)
        if physics.shape != (size,):
            raise UsageError(
                f"state of {self._task_text}: physics has shape {physics.shape}, expected ({size},)"
            )
        mujoco.mj_setState(self._model, self._data, physics, _EVERYTHING)
        self._seed, self._steps = state.get("seed"), int(state.get("step", 0))
        self._refresh()
        self._task.set_extras(state.get("extras", {}), self._data)

    def render(self) -> NDArray[np.uint8]:
        """The views of the last observation side by side, uint8 `[H, V*W, 3]`."""
        if not self._pixels:
            raise UsageError("nothing to render before reset()")
        return np.concatenate(list(self._pixels.values()), axis=1)

    def close(self) -> None:
        """Close the source env; the renderer is shared by the process and closed at its end."""
        self._inner.close()

    def _build_spec(
        self,
        source: str,
        end_effector: Mapping[str, Any] | None,
        success: Mapping[str, Any] | None,
    ) -> WorldSpec:
        space = self._inner.action_space
        requested = build(EndEffector, dict(end_effector), "end_effector") if end_effector else None
        size = int(np.prod(space.shape or (0,)))
        self._effector = find_end_effector(self._model, requested, size)
        if self._effector is not None:
            self._effector.hide_bodies(self._model)
        action, self._middle, self._half = action_spec(space, self._model, self._effector)
        self._source_dtype = space.dtype
        self._agent_pos = proprioception(self._model, self._effector)
        rule = build(SuccessRule, dict(success), "success") if success else None
        everything = joints(self._model, range(self._model.njnt))
        self._task: Task = make_task(self._inner, rule, everything)
        self._state: Readout = self._task.state
        return WorldSpec(
            fps=_control_rate(self._inner, source),
            cameras=tuple(CameraSpec(view.name, self._size, self._size) for view in self._views),
            action=action,
            agent_pos=self._agent_pos.spec,
            state=self._state.spec,
        )

    def _build_observation_space(self) -> spaces.Dict:
        image = spaces.Box(0, 255, (self._size, self._size, 3), np.uint8)
        return spaces.Dict(
            {
                "pixels": spaces.Dict({view.name: image for view in self._views}),
                "agent_pos": spaces.Box(
                    -np.inf, np.inf, (self.spec_world.agent_pos.dim,), np.float32
                ),
                "task": spaces.Text(256, charset=string.printable),
            }
        )

    def _refresh(self) -> None:
        """Bring poses up to date with positions.

        After `mj_step` they lag by one substep; this changes nothing that the next step reads,
        so a restored state looks as the original did.
        """
        mujoco.mj_fwdPosition(self._model, self._data)

    def _observe(self) -> dict[str, Any]:
        self._draw()
        return {
            "pixels": dict(self._pixels),
            "agent_pos": self._agent_pos.read(self._data),
            "task": self._task_text,
        }

    def _draw(self) -> None:
        self._mark_goal()
        renderer = shared_renderer(self._model, self._size, self._size, self._renderer_key)
        self._pixels = {
            view.name: view.draw(renderer, self._model, self._data) for view in self._views
        }

    def _mark_goal(self) -> None:
        """Let gymnasium-robotics move its goal marker, without touching the physics."""
        callback = getattr(self._inner.unwrapped, "_render_callback", None)
        if callback is not None:
            state = np.empty(mujoco.mj_stateSize(self._model, _EVERYTHING), np.float64)
            mujoco.mj_getState(self._model, self._data, state, _EVERYTHING)
            callback()
            mujoco.mj_setState(self._model, self._data, state, _EVERYTHING)

    def _info(self, outcome: tuple[bool, float]) -> Info:
        success, progress = outcome
        return {
            "is_success": success,
            "success": success,
            "progress": progress,
            "state": self._state.read(self._data),
        }

    def _achieved(
        self, command: NDArray[np.float32], before: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The displacement that happened, in units of the action; commanded where unknown."""
        achieved = command.copy()
        if self._effector is not None:
            moved = self._agent_pos.read(self._data)[:3] - before[:3]
            achieved[:3] = moved / np.asarray(self.spec_world.action.scale[:3], np.float32)
        return achieved


def _physics(env: gymnasium.Env[Any, Any]) -> tuple[mujoco.MjModel, mujoco.MjData]:
    inner = cast(Any, env.unwrapped)
    return inner.model, inner.data


def _control_rate(env: gymnasium.Env[Any, Any], source: str) -> float:
    rate = 1.0 / float(cast(Any, env.unwrapped).dt)
    return plain_rate(rate)
