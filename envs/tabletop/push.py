"""TabletopPush: push a cube onto a disc."""

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.envs.tabletop.base import TabletopEnv
from worldsim.envs.tabletop.placing import CUBE, apart, cos_sin_4
from worldsim.envs.tabletop.scene import cube_xml
from worldsim.envs.tabletop.score import Float, TaskScore, aside, closeness, reach
from worldsim.spec import VectorSpec

SUCCESS_RADIUS = 0.04
"""Plane distance in metres between cube and disc centre at which the task is solved."""
_FAR = 0.25
_DRAG, _SPIN_DRAG = 20.0, 0.01
"""Viscous resistance of the cube in N s/m and, about its upright axis, N m s/rad: it stops where
the hand leaves it, as in other pushing tasks (PushT moves quasi-statically), whatever the speed of
the blow."""

_GOAL = """
<body name="goal" mocap="true" pos="0 0 0">
  <geom name="goal" class="visual" type="cylinder" size="0.04 0.001" pos="0 0 0.001"
        rgba="0.05 0.62 0.25 1"/>
</body>
"""


def _cost(agent_pos: Float, state: Float) -> NDArray[np.float64]:
    return np.asarray(10.0 * (aside(state) + 0.3 * reach(agent_pos, state)))


SCORE = TaskScore(
    success=lambda agent_pos, state: aside(state) < SUCCESS_RADIUS,
    progress=lambda agent_pos, state: closeness(aside(state), SUCCESS_RADIUS, _FAR),
    cost=_cost,
)


class TabletopPush(TabletopEnv):
    """Push the cube until its centre is within 4 cm of the disc's, in the plane.

    State: cube x, y, z, cos and sin of four times its yaw, disc x, y.
    Progress: 1 within 4 cm, 0 at 25 cm or more, linear between.
    Cost: 10 x (cube to disc + 0.3 x gripper to cube), in metres.
    """

    task = "push the red cube onto the green disc"
    objects_xml = _GOAL + cube_xml(mass=0.5, friction=0.15, smooth=True)
    score = SCORE
    state_spec = VectorSpec((*CUBE.names, "goal_x", "goal_y"), (*CUBE.units, "m", "m"))

    def _prepare(self, model: mujoco.MjModel) -> None:
        free = int(model.joint("object").dofadr[0])
        model.dof_damping[free : free + 2] = _DRAG
        model.dof_damping[free + 5] = _SPIN_DRAG

    def _place(self, rng: np.random.Generator) -> None:
        self._lay_out(rng, rng.uniform(-0.11, 0.11, 2))

    def _lay_out(self, rng: np.random.Generator, goal: NDArray[np.float64]) -> None:
        """Disc at `goal` `[2]`, cube and gripper somewhere apart from it."""
        cube = apart(rng, 0.10, [goal], 0.12)
        hand = apart(rng, 0.14, [cube], 0.05)
        self._mocap("goal")[:2] = goal
        self._put_cube(cube, rng.uniform(-np.pi, np.pi))
        height = rng.uniform(0.07, 0.14)
        self.gripper.place(np.array([*hand, height]), rng.uniform(-0.4, 0.4), 0.0)

    def _task_state(self) -> NDArray[np.float64]:
        cube = self.data.body("object")
        axes = cube.xmat.reshape(3, 3)
        return np.array([*cube.xpos, *cos_sin_4(axes), *self._mocap("goal")[:2]])
