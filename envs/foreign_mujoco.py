"""A MuJoCo-based source: drawn by cameras of our own choice, saved and restored exactly."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.config.compose import build
from worldsim.envs.foreign_actions import ActionCodec
from worldsim.envs.foreign_drawing import (
    ModelCamera,
    View,
    choose_groups,
    intrinsics_of,
    make_views,
    warn_of_groups,
)
from worldsim.envs.foreign_entries import Readings, Returned
from worldsim.envs.foreign_memory import SourceMemory
from worldsim.envs.foreign_scene import SceneRequest, State, Vector
from worldsim.envs.foreign_spec import (
    EndEffector,
    Readout,
    find_end_effector,
    joints,
    mujoco_codec,
    proprioception,
)
from worldsim.envs.foreign_success import GoalTask, Task, make_task
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
from worldsim.envs.rendering import shared_renderer
from worldsim.errors import UsageError
from worldsim.spec import END_EFFECTOR, CameraSpec, VectorSpec

_KEPT = {"assets", "numbers", "attributes", "generators", "draws"}
"""What a state's scene has."""


@dataclass(frozen=True)
class Binding:
    """Handles into one model and its data; a new model needs others.

    Attributes:
        model: the compiled model.
        data: its data.
        views: the cameras.
        groups: geom groups that are drawn.
        effector: the arm's hand, where known.
        codec: of actions.
        agent_pos: proprioception.
        state: privileged state.
        task: judge of the episode.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    views: tuple[View, ...]
    groups: tuple[int, ...]
    effector: EndEffector | None
    codec: ActionCodec
    agent_pos: Readout
    state: Readout
    task: Task

    def mounted(self, view: View) -> bool:
        """Whether a camera rides on the hand, whose pose proprioception tells."""
        if self.effector is None or not isinstance(view, ModelCamera) or view.follows:
            return False
        site = self.model.site(self.effector.site)
        return view.body != 0 and view.body == int(self.model.body_weldid[int(site.bodyid[0])])

    def hand(self) -> NDArray[np.float64]:
        """Pose `[4, 4]` of the hand in the world."""
        assert self.effector is not None
        site, pose = self.data.site(self.effector.site), np.eye(4)
        pose[:3, :3], pose[:3, 3] = site.xmat.reshape(3, 3), site.xpos
        return pose


def bind(env: gymnasium.Env[Any, Any], request: SceneRequest) -> Binding:
    """Look everything up in the model that `env` has now.

    Raises:
        UsageError: something that was asked for is not in the model.
    """
    found = physics_of(env.unwrapped)
    assert found is not None, "the caller has seen its physics"
    (model, data), space = found, env.action_space
    wanted = request.end_effector
    hand = build(EndEffector, dict(wanted), "end_effector") if wanted else None
    size = spaces.flatdim(space) if space.is_np_flattenable else 0
    effector = find_end_effector(model, hand, size)
    task = make_task(env, request.success)
    state = task.goals if isinstance(task, GoalTask) else joints(model, range(model.njnt))
    agent_pos = proprioception(model, effector)
    action, names = request.action_request, agent_pos.spec.names
    return Binding(
        model,
        data,
        make_views(request.cameras, model),
        choose_groups(model, request.geom_groups),
        effector,
        mujoco_codec(space, model, effector, action, names, request.stride),
        agent_pos,
        state,
        task,
    )


class MujocoScene:
    """See `Scene`.

    Args:
        env: the source, reset once.
        request: what the user says of it.
        draws: its own state of the global generators.
        example: what that reset returned.
    """

    restores = True
    depth_kind = None

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        request: SceneRequest,
        draws: GlobalDraws,
        example: Returned,
    ) -> None:
        self._env, self._request = env, request
        if request.pose is not None or request.depth is not None:
            raise UsageError(
                f"{request.name} is a MuJoCo environment, which worldsim draws itself, so it knows "
                "where cameras stand; leave env.pose and env.depth out"
            )
        self._bound = bind(env, request)
        warn_of_groups(self._bound.groups, request.geom_groups, request.name)
        asked = (request.proprioception, request.state)
        self._readings = [None if one is None else Readings(one, example) for one in asked]
        self.keeps_readings = any(self._readings)
        self.adopt()
        self._memory = SourceMemory(env, self._bound.model, self._bound.data, draws)

    @property
    def codec(self) -> ActionCodec:
        """See `Scene`."""
        return self._bound.codec

    @property
    def task(self) -> Task:
        """See `Scene`."""
        return self._bound.task

    @property
    def agent_pos(self) -> VectorSpec:
        """See `Scene`."""
        return (self._readings[0] or self._bound.agent_pos).spec

    @property
    def state(self) -> VectorSpec:
        """See `Scene`."""
        return (self._readings[1] or self._bound.state).spec

    @property
    def tells_poses(self) -> bool:
        """See `Scene`."""
        return any(view.moves and not self._bound.mounted(view) for view in self._bound.views)

    def cameras(self, size: int) -> tuple[CameraSpec, ...]:
        """See `Scene`."""
        rides = self._rides
        return tuple(
            CameraSpec(view.name, size, size, carrier=END_EFFECTOR if rides(view) else None)
            for view in self._bound.views
        )

    def adopt(self) -> None:
        """See `Scene`; a reset may have compiled another model, and shown what was hidden."""
        model, data = physics_of(self._env.unwrapped) or (None, None)
        if model is not self._bound.model or data is not self._bound.data:
            self._bound = bind(self._env, self._request)
        if self._bound.effector is not None:
            self._bound.effector.hide_bodies(self._bound.model)
        self._assets = assets(self._bound.model)

    def refresh(self) -> None:
        """See `Scene`.

        After `mj_step` poses lag by one substep; this changes nothing that the next step reads,
        so a restored state looks as the original did.
        """
        mujoco.mj_fwdPosition(self._bound.model, self._bound.data)

    def measure(self, returned: Returned) -> Vector:
        """See `Scene`."""
        if self._readings[0] is not None:
            return self._readings[0].read(returned)
        return self._bound.agent_pos.read(self._bound.data)

    def privileged(self, returned: Returned) -> Vector:
        """See `Scene`."""
        if self._readings[1] is not None:
            return self._readings[1].read(returned)
        return self._bound.state.read(self._bound.data)

    def draw(self, returned: Returned, size: int) -> dict[str, NDArray[np.uint8]]:
        """See `Scene`."""
        bound = self._bound
        show_goal(self._env.unwrapped, bound.model, bound.data)
        key = f"foreign/{look(bound.model, self._assets)}"
        renderer = shared_renderer(bound.model, size, size, key, groups=bound.groups)
        return {view.name: view.draw(renderer, bound.model, bound.data) for view in bound.views}

    def rig(self, size: int) -> CameraRig:
        """See `Scene`; a camera on the hand is given relative to it."""
        bound, poses = self._bound, self.poses().astype(np.float64)
        mounted = np.array([self._rides(view) for view in bound.views])
        for index in np.flatnonzero(mounted):
            poses[index] = np.linalg.inv(bound.hand()) @ poses[index]
        intrinsics = [intrinsics_of(v.fovy(bound.model), size, v.flip) for v in bound.views]
        names = tuple(view.name for view in bound.views)
        return CameraRig(names, np.stack(intrinsics), poses.astype(np.float32), mounted)

    def poses(self) -> Vector:
        """See `Scene`."""
        return np.stack([v.pose(self._bound.data) for v in self._bound.views]).astype(np.float32)

    def depth(self, returned: Returned, size: int) -> Vector:
        """See `Scene`."""
        raise NotImplementedError("no depth is told")

    def achieved(self, command: Vector, before: Vector, now: Vector) -> Vector:
        """The displacement that happened, in units of the action; commanded where unknown."""
        achieved = command.copy()
        if self._bound.effector is not None and self._readings[0] is None:
            scale = np.asarray(self.codec.spec.scale[:3], np.float32)
            achieved[:3] = (now[:3] - before[:3]) / scale
        return achieved

    def rewind(self, seed: int) -> None:
        """See `Scene`."""
        self._memory.rewind(self._bound.model, self._bound.data, seed)

    def get_state(self) -> State:
        """`physics`, a flat float64 array, and `scene`, what MuJoCo's state does not hold."""
        scene = {"assets": self._assets, **self._memory.scene(self._bound.model)}
        return {"physics": get_physics(self._bound.model, self._bound.data), "scene": scene}

    def set_state(self, state: State) -> None:
        """See `Scene`; without its `scene`, the present one stays.

        Raises:
            UsageError: the state belongs to another model, or to a scene with other meshes.
        """
        scene, name = state.get("scene"), self._request.name
        if scene is not None and (lacking := sorted(_KEPT - set(scene))):
            raise UsageError(f"state of {name}: its scene lacks {', '.join(lacking)}")
        if scene is not None and scene["assets"] != self._assets:
            raise UsageError(
                f"state of {name}: it is of a scene with other meshes or textures than "
                "the present one; take it after a reset with a seed, and restore it with "
                "reset(options={'initial_state': state})"
            )
        physics = read_physics(self._bound.model, state.get("physics"), name)
        set_physics(self._bound.model, self._bound.data, physics)
        if scene is not None:
            self._memory.restore(self._bound.model, scene)

    def _rides(self, view: View) -> bool:
        """Whether proprioception tells where a camera is."""
        return self._readings[0] is None and self._bound.mounted(view)
