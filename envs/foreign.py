"""Any MuJoCo-based gymnasium env, made multi-view and recordable without code.

`ForeignMujocoEnv("Pusher-v5", cameras=[...])` has the interface of worldsim's own simulators:
images of several cameras, proprioception, privileged state, success, exact save and restore.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.config.limits import Count, ImageSize, Rate
from worldsim.config.values import check_arguments
from worldsim.envs.foreign_binding import bind, require_same_world
from worldsim.envs.foreign_drawing import CameraRequest, GeomGroups, warn_of_groups, warn_of_moving
from worldsim.envs.foreign_memory import SourceMemory
from worldsim.envs.foreign_source import control_rate, make_source
from worldsim.envs.foreign_success import SuccessRequest, Task
from worldsim.envs.global_draws import GlobalDraws
from worldsim.envs.physics import (
    assets,
    get_physics,
    look,
    physics_of,
    read_physics,
    set_physics,
    show_goal,
)
from worldsim.envs.registration import HasHorizon, reset_options
from worldsim.envs.rendering import shared_renderer
from worldsim.envs.spaces import observation_space
from worldsim.errors import UsageError, WorldsimError

Info = dict[str, Any]
State = dict[str, Any]


class ForeignMujocoEnv(HasHorizon, gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
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
        success: `{key, above}`: success when `info[key] > above`, for envs that report none under
            `is_success` or `success`; False for envs without success.
        geom_groups: groups of shapes to draw, of 0 to 5; None: as MuJoCo, without group 0 where
            that holds collision shapes in front of visual ones.
        fps: actions a second; None: as the source's `dt` or its clock says.
        repeatable: whether `check_simulator` asks that seeds and states fix episodes.
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
        image_size: ImageSize = 64,
        max_episode_steps: Count | None = None,
        task: str | None = None,
        end_effector: Mapping[str, Any] | None = None,
        success: SuccessRequest = None,
        geom_groups: GeomGroups | None = None,
        fps: Rate | None = None,
        repeatable: bool = True,
        source_kwargs: Mapping[str, Any] | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        checked = {"image_size": image_size, "fps": fps, "render_mode": render_mode}
        check_arguments(ForeignMujocoEnv, checked, "env")
        self._draws = GlobalDraws(0)
        self._inner, limit = make_source(source, source_kwargs or {}, self._draws)
        self.max_episode_steps = max_episode_steps or self.asked_steps or limit
        self._task_text = task or source
        self._size = image_size
        self.render_mode, self.repeatable = render_mode, repeatable
        self._bind = partial(bind, self._inner, cameras, end_effector, success, geom_groups)
        self._bound = self._bind()
        warn_of_moving(self._bound.views, self._bound.model)
        warn_of_groups(self._bound.groups, geom_groups, source)
        rate = control_rate(self._inner, source, fps, self._draws)
        self.spec_world = self._bound.world(rate, image_size)
        self.observation_space = observation_space(self.spec_world)
        size = self.spec_world.action.dim
        self.action_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        self.metadata = {**self.metadata, "render_fps": self.spec_world.fps}
        with self._draws:
            self._inner.reset(seed=0)
        self._adopt()
        self._memory = SourceMemory(self._inner, self._model, self._data, self._draws)
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
        given = reset_options(options, ("initial_state", "factors"))
        if given.get("factors"):
            raise UsageError("foreign envs have no factors of variation; leave `factors` out")
        state: State | None = given.get("initial_state")
        # What nothing saves of a scene, such as meshes that a reset compiles, its seed gives again.
        first = seed if state is None or state.get("seed") is None else int(state["seed"])
        if first is not None:
            self._memory.rewind(self._model, self._data, first)
        self._ask(lambda: self._inner.reset(seed=first), "reset")
        self._adopt()
        self._seed, self._steps = seed, 0
        self._refresh()
        self._task.reset()
        if state is not None:
            self.set_state(state)
        self._rig = self._bound.rig(self._size)
        observation = self._observe()
        return observation, self._info(self._task.outcome())

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, Info]:
        """Advance one control step; see the class for what comes back.

        Raises:
            UsageError: the action has a wrong shape or is not finite.
        """
        command = self.spec_world.action.check(action, self._task_text)
        bound = self._bound
        before = bound.agent_pos.read(self._data)
        scaled = (bound.middle + bound.half * command).astype(self._inner.action_space.dtype)
        answer = self._ask(lambda: self._inner.step(scaled), "step")
        _, reward, terminated, truncated, source_info = answer
        self._steps += 1
        self._refresh()
        success, progress = self._task.after_step(source_info)
        info = self._info((success, progress))
        info["action_achieved"] = bound.achieved(command, before)
        out_of_time = bool(truncated) or self._steps >= self.max_episode_steps
        return self._observe(), float(reward), bool(terminated) or success, out_of_time, info

    def get_state(self) -> State:
        """Everything that decides what follows.

        `physics` is a flat float64 array; `scene` holds what MuJoCo's state does not: see
        `worldsim.envs.foreign_memory.Scene`.
        """
        return {
            "physics": get_physics(self._model, self._data),
            "factors": {},
            "seed": self._seed,
            "step": self._steps,
            "extras": self._task.get_extras(),
            "scene": {"assets": self._assets, **self._memory.scene(self._model)},
        }

    def set_state(self, state: State) -> None:
        """Restore `get_state` output exactly; without its `scene`, the present one stays.

        Raises:
            UsageError: the state belongs to another model, or to a scene with other meshes.
        """
        scene = state.get("scene")
        if scene is not None and scene["assets"] != self._assets:
            raise UsageError(
                f"state of {self._task_text}: it is of a scene with other meshes or textures than "
                "the present one; take it after a reset with a seed, and restore it with "
                "reset(options={'initial_state': state})"
            )
        physics = read_physics(self._model, state["physics"], self._task_text)
        set_physics(self._model, self._data, physics)
        if scene is not None:
            self._memory.restore(self._model, scene)
        self._seed, self._steps = state.get("seed"), int(state.get("step", 0))
        self._refresh()
        self._task.set_extras(state.get("extras", {}))

    def render(self) -> NDArray[np.uint8]:
        """The views of the last observation side by side, uint8 `[H, V*W, 3]`."""
        if not self._pixels:
            raise UsageError("nothing to render before reset()")
        return np.concatenate(list(self._pixels.values()), axis=1)

    def close(self) -> None:
        """Close the source env; the renderer is shared by the process and closed at its end."""
        self._inner.close()

    @property
    def _model(self) -> mujoco.MjModel:
        return self._bound.model

    @property
    def _data(self) -> mujoco.MjData:
        return self._bound.data

    @property
    def _task(self) -> Task:
        return self._bound.task

    def _ask(self, call: Callable[[], Any], what: str) -> Any:
        """What the source env answers, with the global generators as it left them.

        Raises:
            WorldsimError: the source raised.
        """
        try:
            with self._draws:
                return call()
        except Exception as error:  # whatever somebody else's env raises
            raise WorldsimError(
                f"{self._task_text} failed in {what}: {type(error).__name__}: {error}"
            ) from error

    def _adopt(self) -> None:
        """Go on with what the source simulates now; a reset may have compiled another model.

        Raises:
            UsageError: the new model is of another world.
        """
        model, data = physics_of(self._inner.unwrapped) or (None, None)
        if model is not self._model or data is not self._data:
            self._bound = self._bind()
            require_same_world(
                self.spec_world, self._bound.world(self.spec_world.fps, self._size), self._task_text
            )
        self._bound.hide()
        self._assets = assets(self._model)

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
            "agent_pos": self._bound.agent_pos.read(self._data),
            "task": self._task_text,
        }

    def _draw(self) -> None:
        show_goal(self._inner.unwrapped, self._model, self._data)
        bound = self._bound
        key = f"foreign/{look(bound.model, self._assets)}"
        renderer = shared_renderer(bound.model, self._size, self._size, key, groups=bound.groups)
        self._pixels = {
            view.name: view.draw(renderer, bound.model, bound.data) for view in bound.views
        }

    def _info(self, outcome: tuple[bool, float]) -> Info:
        success, progress = outcome
        return {
            "is_success": success,
            "success": success,
            "progress": progress,
            "state": self._task.state.read(self._data),
        }
