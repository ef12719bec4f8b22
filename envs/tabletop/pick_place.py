"""TabletopPickPlace: set a cube down on a raised platform."""

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.tabletop.base import TabletopEnv
from worldsim.envs.tabletop.placing import CUBE, apart, cos_sin_4, upward
from worldsim.envs.tabletop.scene import cube_xml
from worldsim.envs.tabletop.score import Float, TaskScore, aside, closeness, reach
from worldsim.spec import VectorSpec

PLATFORM_HEIGHT = 0.03
"""Height of the platform's top in metres; a pushed cube cannot climb it."""
SUCCESS_RADIUS = 0.035
"""Plane distance in metres between cube and platform centre below which it counts as placed."""
_HEIGHTS = (PLATFORM_HEIGHT + 0.017, PLATFORM_HEIGHT + 0.036)
"""Heights of the centre of a cube of any size that stands on the platform."""
_RELEASED = 0.010
"""How much wider than the cube the fingers must be, or how far above it, in metres."""
_LIFTED = 0.06
_STILL = 0.05

_PLATFORM = """
<body name="goal" mocap="true" pos="0 0 0">
  <geom name="goal" type="box" size="0.038 0.038 0.015" pos="0 0 0.015" friction="0.8 0.005 0.0001"
        rgba="0.05 0.62 0.25 1"/>
</body>
"""


def _stands(state: Float) -> NDArray[np.bool_]:
    height = state[..., 2]
    high_enough = (height > _HEIGHTS[0]) & (height < _HEIGHTS[1])
    return np.asarray(high_enough & (aside(state) < SUCCESS_RADIUS))


def _released(agent_pos: Float, state: Float) -> NDArray[np.bool_]:
    edge = 2.0 * (state[..., 2] - PLATFORM_HEIGHT)
    opened = agent_pos[..., 9] > edge + _RELEASED
    left = reach(agent_pos, state) > 0.5 * edge + 2.0 * _RELEASED
    return np.asarray(opened | left)


def _success(agent_pos: Float, state: Float) -> NDArray[np.bool_]:
    return np.asarray(_stands(state) & _released(agent_pos, state))


def _progress(agent_pos: Float, state: Float) -> NDArray[np.float64]:
    at_hand = closeness(reach(agent_pos, state), 0.02, 0.20)
    lift = closeness(_LIFTED - state[..., 2], 0.0, _LIFTED - 0.03)
    near = closeness(aside(state), SUCCESS_RADIUS, 0.25)
    underway = 0.2 * at_hand + 0.2 * lift + 0.4 * near * lift
    placed = np.where(_success(agent_pos, state), 1.0, 0.8)
    return np.where(_stands(state), placed, underway)


def _cost(agent_pos: Float, state: Float) -> NDArray[np.float64]:
    below = np.maximum(_HEIGHTS[0] - state[..., 2], 0.0)
    remaining = aside(state) + below + 0.3 * reach(agent_pos, state)
    return np.asarray(10.0 * np.where(_success(agent_pos, state), 0.0, remaining))


SCORE = TaskScore(success=_success, progress=_progress, cost=_cost)


class TabletopPickPlace(TabletopEnv):
    """Put the cube on the platform and let go of it.

    Solved when the cube rests on the platform, its centre within 3.5 cm of the platform's in the
    plane, and the fingers are open or away.

    State: cube x, y, z, cos and sin of four times its yaw, platform x, y, and the horizontal part
    of the direction in which the cube's upper face looks (zeros where it lies flat).
    Progress: up to 0.2 for reaching the cube, 0.2 for lifting it, 0.4 for carrying it near; 0.8
    when it stands on the platform, 1 when it is let go.
    Cost: 10 x (plane distance to the platform + missing height + 0.3 x gripper to cube), metres.
    """

    task = "put the red cube on the green platform"
    objects_xml = _PLATFORM + cube_xml(mass=0.3, friction=0.4, smooth=False)
    score = SCORE
    default_steps = 60
    state_spec = VectorSpec(
        (*CUBE.names, "platform_x", "platform_y", "object_tilt_x", "object_tilt_y"),
        (*CUBE.units, "m", "m", "1", "1"),
    )

    def _place(self, rng: np.random.Generator) -> None:
        platform = rng.uniform(-0.11, 0.11, 2)
        cube = apart(rng, 0.11, [platform], 0.12)
        hand = apart(rng, 0.14, [], 0.0)
        self._mocap("goal")[:2] = platform
        self._put_cube(cube, rng.uniform(-np.pi, np.pi))
        height = rng.uniform(0.10, 0.15)
        self.gripper.place(np.array([*hand, height]), rng.uniform(-0.4, 0.4), 0.07)

    def _task_state(self) -> NDArray[np.float64]:
        cube = self.data.body("object")
        axes, platform = cube.xmat.reshape(3, 3), self._mocap("goal")[:2]
        return np.array([*cube.xpos, *cos_sin_4(axes), *platform, *upward(axes)[:2]])

    def _at_rest(self) -> bool:
        velocity = self.data.qvel[self.model.joint("object").dofadr[0] :][:3]
        return bool(np.linalg.norm(velocity) < _STILL)
