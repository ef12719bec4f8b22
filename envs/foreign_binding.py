"""What the adapter reads and draws of one compiled model; a new model needs another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.config.compose import build
from worldsim.envs.foreign_drawing import CameraRequest, View, choose_groups, make_views
from worldsim.envs.foreign_spec import (
    EndEffector,
    Readout,
    action_spec,
    find_end_effector,
    joints,
    proprioception,
)
from worldsim.envs.foreign_success import SuccessRequest, Task, make_task
from worldsim.envs.physics import physics_of
from worldsim.envs.rendering import rig_of
from worldsim.errors import UsageError
from worldsim.spec import ActionSpec, CameraSpec, WorldSpec

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Binding:
    """Handles into one model and its data.

    Attributes:
        model: the compiled model.
        data: its data.
        views: the cameras.
        groups: geom groups that are drawn.
        effector: the arm's hand, where known.
        action: what an action means.
        middle: `[A]`; the env takes `middle + half * action`.
        half: `[A]`.
        agent_pos: proprioception.
        task: judge of the episode, with the privileged state.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    views: tuple[View, ...]
    groups: tuple[int, ...]
    effector: EndEffector | None
    action: ActionSpec
    middle: Vector
    half: Vector
    agent_pos: Readout
    task: Task

    def hide(self) -> None:
        """Make bodies transparent that are no part of the scene; a reset may show them again."""
        if self.effector is not None:
            self.effector.hide_bodies(self.model)

    def world(self, fps: float, size: int) -> WorldSpec:
        """The world that is recorded, with pictures of `size` x `size` pixels."""
        return WorldSpec(
            fps=fps,
            cameras=tuple(CameraSpec(view.name, size, size) for view in self.views),
            action=self.action,
            agent_pos=self.agent_pos.spec,
            state=self.task.state.spec,
        )

    def rig(self, size: int) -> CameraRig:
        """Calibration of the cameras where they stand now, all of them fixed in the world."""
        fovy = [view.fovy(self.model) for view in self.views]
        poses = [view.pose(self.data) for view in self.views]
        names = [view.name for view in self.views]
        return rig_of(names, fovy, poses, size, [False] * len(names))

    def achieved(self, command: Vector, before: Vector) -> Vector:
        """The displacement that happened, in units of the action; commanded where unknown.

        Args:
            command: `[A]` as it was given.
            before: `[P]` proprioception before the step.
        """
        achieved = command.copy()
        if self.effector is not None:
            moved = self.agent_pos.read(self.data)[:3] - before[:3]
            achieved[:3] = moved / np.asarray(self.action.scale[:3], np.float32)
        return achieved


def require_same_world(made: WorldSpec, now: WorldSpec, name: str) -> None:
    """Refuse an env that a reset turned into one of another robot or scene.

    Raises:
        UsageError: says what differs.
    """
    parts = ("action", "agent_pos", "state")
    if changed := [part for part in parts if getattr(made, part) != getattr(now, part)]:
        raise UsageError(
            f"after a reset {name} has another {' and '.join(changed)}: "
            + "; ".join(f"{getattr(made, n)} when made, {getattr(now, n)} now" for n in changed)
            + ". All episodes of a data set have the same; fix the scene with source_kwargs"
        )


def bind(
    env: gymnasium.Env[Any, Any],
    cameras: Sequence[CameraRequest],
    end_effector: Mapping[str, Any] | None,
    success: SuccessRequest,
    geom_groups: Sequence[int] | None,
) -> Binding:
    """Look everything up in the model that `env` has now; arguments are `ForeignMujocoEnv`'s.

    Raises:
        UsageError: something that was asked for is not in the model.
    """
    found = physics_of(env.unwrapped)
    assert found is not None, "make_source refuses envs without physics"
    (model, data), space = found, env.action_space
    wanted = build(EndEffector, dict(end_effector), "end_effector") if end_effector else None
    effector = find_end_effector(model, wanted, int(np.prod(space.shape or (0,))))
    action, middle, half = action_spec(space, model, effector)
    return Binding(
        model,
        data,
        make_views(cameras, model),
        choose_groups(model, geom_groups),
        effector,
        action,
        middle,
        half,
        proprioception(model, effector),
        make_task(env, success, joints(model, range(model.njnt))),
    )
