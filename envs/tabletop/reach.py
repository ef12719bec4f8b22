"""TabletopReach: bring the gripper to a floating marker."""

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.tabletop.base import TabletopEnv
from worldsim.envs.tabletop.placing import apart
from worldsim.envs.tabletop.score import TaskScore, closeness, reach
from worldsim.spec import VectorSpec

SUCCESS_RADIUS = 0.03
"""Distance in metres between fingertips and marker at which the task is solved."""
_FAR = 0.30

_MARKER = """
<body name="goal" mocap="true" pos="0 0 0.1">
  <geom name="object" class="visual" type="sphere" size="0.022 0.022 0.022"
        rgba="0.86 0.12 0.10 1"/>
</body>
"""


SCORE = TaskScore(
    success=lambda agent_pos, state: reach(agent_pos, state) < SUCCESS_RADIUS,
    progress=lambda agent_pos, state: closeness(reach(agent_pos, state), SUCCESS_RADIUS, _FAR),
    cost=lambda agent_pos, state: 10.0 * reach(agent_pos, state),
)


class TabletopReach(TabletopEnv):
    """Bring the point between the fingertips within 3 cm of the marker.

    State: marker x, y, z.
    Progress: 1 within 3 cm, 0 at 30 cm or more, linear between.
    Cost: 10 x distance in metres.
    """

    task = "reach the red marker"
    objects_xml = _MARKER
    score = SCORE
    default_steps = 30
    state_spec = VectorSpec(names=("goal_x", "goal_y", "goal_z"), units=("m", "m", "m"))

    def _place(self, rng: np.random.Generator) -> None:
        goal = rng.uniform(-0.13, 0.13, 2)
        hand = apart(rng, 0.14, [goal], 0.08)
        self._mocap("goal")[:] = (*goal, rng.uniform(0.03, 0.14))
        height = rng.uniform(0.05, 0.16)
        self.gripper.place(np.array([*hand, height]), rng.uniform(-0.4, 0.4), 0.0)

    def _task_state(self) -> NDArray[np.float64]:
        return self._mocap("goal").copy()
