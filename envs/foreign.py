"""Any env that others wrote, made multi-view and recordable without code.

`ForeignEnv("Pusher-v5", cameras=[...])` has the interface of worldsim's own simulators. A
MuJoCo-based source is drawn by cameras of our own choice and restored exactly. Any other shows its
own pictures, and is brought back by its seed and actions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.config.limits import Count, ImageSize, Rate
from worldsim.config.values import check_arguments
from worldsim.envs.foreign_drawing import CameraRequest, GeomGroups
from worldsim.envs.foreign_entries import Returned
from worldsim.envs.foreign_mujoco import MujocoScene
from worldsim.envs.foreign_pictures import PictureScene
from worldsim.envs.foreign_scene import (
    Scene,
    SceneRequest,
    State,
    TaskRequest,
    Vector,
    instruction,
    kept_readings,
    require_same_world,
    world_of,
)
from worldsim.envs.foreign_source import ask, control_rate, make_source
from worldsim.envs.foreign_success import Stepped, SuccessRequest
from worldsim.envs.global_draws import GlobalDraws
from worldsim.envs.physics import physics_of
from worldsim.envs.registration import HasHorizon, given_state, reset_options
from worldsim.envs.spaces import observation_space
from worldsim.errors import UsageError

Info = dict[str, Any]


class ForeignEnv(HasHorizon, gymnasium.Env[dict[str, Any], Any]):
    """An env of others with worldsim's observation, action and info.

    Observation: `pixels` {camera: uint8 [H,W,3]}, `agent_pos` float32 `[P]`, `task`. Action: Box
    [-1,1]^A, or Discrete. Info: success, progress and `state` `[S]`: the goals of a goal env,
    positions and velocities of another MuJoCo env's joints, else the numbers observed; where known,
    `camera_pose` `[V,4,4]` of cameras that move, and `depth`. Terminated on success or when the
    env itself ends, truncated after `max_episode_steps`.

    Args:
        source: gymnasium id, such as "Pusher-v5".
        cameras: see `CameraRequest`; empty takes the pictures of a source without MuJoCo.
        image_size: height and width.
        max_episode_steps: None takes the source's own limit, divided by `stride`.
        task: instruction, or where the source tells it; None takes the source id.
        end_effector: `{site, metres, fingers}` of a Cartesian-controlled arm; Fetch is known.
        success: a `SuccessRule`; None: as the env reports it; False for envs without success.
        geom_groups: groups of shapes to draw, of 0 to 5; None: see `choose_groups`.
        fps: steps of the source a second; None: as its `dt`, `render_fps` or clock says.
        stride: steps of the source for which an action is repeated, at `fps / stride`.
        action: what an action means, see `ActionRequest`.
        proprioception: entries of what the source returns that a robot would measure.
        state: entries of what the source returns that only a simulator knows; [] for none.
        pose: of the camera of a source without MuJoCo, see `PoseRequest`.
        depth: likewise, see `DepthRequest`.
        repeatable: whether `check_simulator` asks that seeds and states fix episodes.
        source_kwargs: passed to the source env's constructor.
        render_mode: "rgb_array" or None.

    Raises:
        UsageError: unknown source, camera or entry, or an action without bounds.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        source: str,
        cameras: Sequence[CameraRequest] = (),
        image_size: ImageSize = 64,
        max_episode_steps: Count | None = None,
        task: TaskRequest = None,
        end_effector: Mapping[str, Any] | None = None,
        success: SuccessRequest = None,
        geom_groups: GeomGroups | None = None,
        fps: Rate | None = None,
        stride: Count = 1,
        action: Mapping[str, Any] | None = None,
        proprioception: Sequence[str] | None = None,
        state: Sequence[str] | None = None,
        pose: Mapping[str, Any] | None = None,
        depth: Mapping[str, Any] | None = None,
        repeatable: bool = True,
        source_kwargs: Mapping[str, Any] | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        checked = {"image_size": image_size, "fps": fps, "stride": stride}
        check_arguments(ForeignEnv, {**checked, "render_mode": render_mode}, "env")
        self._name, self._size, self._stride = source, image_size, stride
        self.render_mode, self.repeatable = render_mode, repeatable
        self._draws = GlobalDraws(0)
        self._inner, limit = make_source(source, source_kwargs or {}, self._draws)
        self.max_episode_steps = max_episode_steps or self.asked_steps or -(-limit // stride)
        self._rate = control_rate(self._inner, source, fps, self._draws) / stride
        parts = (end_effector, success, geom_groups, action, proprioception, state, stride)
        self._scene = self._make_scene(SceneRequest(source, cameras, *parts, pose, depth))
        self._tell = instruction(task, source, self._inner.unwrapped)
        self.spec_world = world_of(self._scene, self._rate, image_size)
        self.observation_space = observation_space(self.spec_world)
        self.action_space = self.spec_world.action.space
        self.metadata = {**self.metadata, "render_fps": self.spec_world.fps}

    def _make_scene(self, request: SceneRequest) -> Scene:
        """Reset the source once more, and read what it then is."""
        self._seed: int | None = None
        self._commands: list[Vector] = []
        self._steps, self._task_text = 0, self._name
        self._rig: CameraRig | None = None
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        with self._draws:
            observation, info = self._inner.reset(seed=0)
        self._returned = Returned(observation, info, self._inner.unwrapped)
        self._measured: tuple[Vector, Vector]
        parts = (self._inner, request, self._draws, self._returned)
        draws_itself = physics_of(self._inner.unwrapped) is None
        return PictureScene(*parts) if draws_itself else MujocoScene(*parts)

    @property
    def camera_rig(self) -> CameraRig | None:
        """Calibration of this episode's cameras; None where the source draws itself.

        Raises:
            UsageError: the env was never reset.
        """
        if not self._pixels:
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
        state = state if state is None else given_state(state, self._name)
        # What nothing saves of a scene, such as meshes that a reset compiles, its seed gives again.
        first = seed if state is None or state.get("seed") is None else state["seed"]
        if first is None and not self._scene.restores:
            first = int(self.np_random.integers(2**31))
        self._begin(first)
        self._seed = seed if self._scene.restores else first
        if state is not None:
            self.set_state(state)
        self._rig = self._scene.rig(self._size)
        return self._observe(), self._info(self._scene.task.outcome())

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, Info]:
        """Advance one control step; see the class for what comes back.

        Raises:
            UsageError: the action has a wrong shape, is not finite or no choice.
        """
        spec, before = self.spec_world.action, self._measured[0]
        command = spec.check(spec.vector(action, self._name), self._name)
        reward, ended, truncated, outcome = self._advance(command)
        info = self._info(outcome)
        info["action_achieved"] = self._scene.achieved(command, before, self._measured[0])
        out_of_time = truncated or self._steps >= self.max_episode_steps
        return self._observe(), reward, ended or outcome[0], out_of_time, info

    def get_state(self) -> State:
        """Everything that decides what follows.

        `physics` is flat float64, and empty where the source cannot be restored; `commands` then
        hold what was done. `scene` holds what MuJoCo's state does not.
        """
        state = {
            "factors": {},
            "seed": self._seed,
            "step": self._steps,
            "extras": self._scene.task.get_extras(),
            **self._scene.get_state(),
        }
        if not self._scene.restores:
            state["commands"] = [command.tolist() for command in self._commands]
        elif self._scene.keeps_readings:
            state["readings"] = [values.tolist() for values in self._measured]
        return state

    def set_state(self, state: State) -> None:
        """Restore `get_state` output exactly; without its `scene`, the present one stays.

        A source that cannot be restored is reset with the seed, and its actions are played again.

        Raises:
            UsageError: the state is of another model or scene, or lacks the seed that is needed.
        """
        state = given_state(state, self._name)
        if not self._scene.restores:
            self._replay(state)
            return
        self._scene.set_state(state)
        self._seed, self._steps = state.get("seed"), state.get("step") or 0
        self._scene.refresh()
        self._scene.task.set_extras(state.get("extras", {}))
        if "readings" in state:
            self._measured = kept_readings(state["readings"], self.spec_world, self._name)
        elif not self._scene.keeps_readings:
            self._take()

    def render(self) -> NDArray[np.uint8]:
        """The views of the last observation side by side, uint8 `[H, V*W, 3]`."""
        if not self._pixels:
            raise UsageError("nothing to render before reset()")
        return np.concatenate(list(self._pixels.values()), axis=1)

    def close(self) -> None:
        """Close the source env."""
        self._inner.close()

    def _begin(self, seed: int | None) -> None:
        """Reset the source, and read what it shows."""
        if seed is not None:
            self._scene.rewind(seed)
        inner, failed = self._inner, f"{self._name} failed in reset"
        observation, info = ask(lambda: inner.reset(seed=seed), self._draws, failed)
        self._returned = Returned(observation, info, inner.unwrapped)
        self._scene.adopt()
        if (now := world_of(self._scene, self._rate, self._size)) != self.spec_world:
            require_same_world(self.spec_world, now, self._name)
        self._commands, self._steps = [], 0
        self._scene.refresh()
        self._scene.task.reset()
        self._task_text = self._tell(self._returned)
        self._take()

    def _advance(self, command: Vector) -> tuple[float, bool, bool, tuple[bool, float]]:
        """Repeat a command, not past success; reward, ended, out of time, and the outcome."""
        total, decoded = 0.0, self._scene.codec.decode(command)
        for _ in range(self._stride):
            answer = ask(
                lambda: self._inner.step(decoded), self._draws, f"{self._name} failed in step"
            )
            observation, reward, ended, truncated, info = answer
            total += float(reward)
            self._returned = Returned(observation, info, self._inner.unwrapped)
            self._scene.refresh()
            stepped = Stepped(float(reward), bool(ended), info)
            outcome = self._scene.task.after_step(stepped)
            if ended or truncated or outcome[0]:
                break
        self._commands.append(command)
        self._steps += 1
        self._take()
        return total, bool(ended), bool(truncated), outcome

    def _replay(self, state: State) -> None:
        """Bring a source back that cannot be restored.

        Raises:
            UsageError: the state holds no seed.
        """
        if state.get("seed") is None:
            raise UsageError(
                f"{self._name} cannot be put into a state; its seed is replayed, and this state "
                "has none. Take it from get_state of this env"
            )
        if self._commands or self._seed != state["seed"]:
            self._begin(int(state["seed"]))
        self._seed = int(state["seed"])
        for command in state.get("commands", ()):
            self._advance(self.spec_world.action.check(command.astype(np.float32), self._name))
        self._scene.task.set_extras(state.get("extras", {}))

    def _take(self) -> None:
        """Read what the source returned."""
        scene, returned = self._scene, self._returned
        agent_pos = scene.codec.centred(scene.measure(returned))
        self._measured = agent_pos, scene.privileged(returned)

    def _observe(self) -> dict[str, Any]:
        self._pixels = self._scene.draw(self._returned, self._size)
        pixels, agent_pos = dict(self._pixels), self._measured[0].copy()
        return {"pixels": pixels, "agent_pos": agent_pos, "task": self._task_text}

    def _info(self, outcome: tuple[bool, float]) -> Info:
        success, progress = outcome
        info: Info = {"is_success": success, "success": success, "progress": progress}
        info["state"] = self._measured[1].copy()
        if self._scene.tells_poses:
            info["camera_pose"] = self._scene.poses()
        if self._scene.depth_kind is not None:
            info["depth"] = self._scene.depth(self._returned, self._size)
        return info
