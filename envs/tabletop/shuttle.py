"""TabletopShuttle: push a cube to and fro between opposite sides, counted by a bead."""

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.tabletop.push import SUCCESS_RADIUS, TabletopPush
from worldsim.envs.tabletop.score import Float, TaskScore, aside, closeness, reach
from worldsim.spec import VectorSpec

VISITS = 4
"""How often the cube must reach the disc."""
_FAR = 0.25
_RAIL, _NOTCH = -0.2, 0.06
"""Metres: the x along which the bead runs, and how far it moves for a visit."""
_START = -0.5 * VISITS * _NOTCH

_BEAD = """
<body name="bead" mocap="true" pos="0 0 0">
  <geom name="bead" class="visual" type="box" size="0.014 0.014 0.014" pos="0 0 0.014"
        rgba="1 0.78 0.05 1"/>
</body>
"""


def _visits(state: Float) -> NDArray[np.float64]:
    """Visits so far, a fraction where an estimated bead lies between notches."""
    return np.clip((np.asarray(state[..., 8], np.float64) - _START) / _NOTCH, 0.0, VISITS)


def _success(agent_pos: Float, state: Float) -> NDArray[np.bool_]:
    return np.asarray(_visits(state) > VISITS - 0.5)


def _progress(agent_pos: Float, state: Float) -> NDArray[np.float64]:
    part = _visits(state) + closeness(aside(state), SUCCESS_RADIUS, _FAR)
    return np.where(_success(agent_pos, state), 1.0, np.minimum(part / VISITS, 1.0))


def _cost(agent_pos: Float, state: Float) -> NDArray[np.float64]:
    crossings = np.maximum(VISITS - 1 - _visits(state), 0.0)
    way = crossings * 2.0 * np.linalg.norm(np.asarray(state[..., 5:7], np.float64), axis=-1)
    left = np.where(_success(agent_pos, state), 0.0, aside(state) + way)
    return np.asarray(10.0 * (left + 0.3 * reach(agent_pos, state)))


class TabletopShuttle(TabletopPush):
    """Push the cube onto the disc, which then jumps to the opposite side of the table; four times.

    The long task: goals that follow from one another, in episodes of up to half a minute. Each
    visit, the cube's centre within 4 cm of the disc's, moves a bead at the table's edge on by a
    notch, so that pictures tell how far an episode is.

    State: as of `TabletopPush`, then the bead x, y.
    Progress: visits made, and the next one by distance (1 within 4 cm, 0 at 25 cm), over visits
    needed.
    Cost: 10 x (cube to disc + crossings still to come + 0.3 x gripper to cube), in metres.
    """

    task = "push the red cube onto the green disc, wherever it jumps"
    objects_xml = TabletopPush.objects_xml + _BEAD
    score = TaskScore(success=_success, progress=_progress, cost=_cost)
    default_steps = 300
    state_spec = VectorSpec(
        names=(*TabletopPush.state_spec.names, "bead_x", "bead_y"),
        units=(*TabletopPush.state_spec.units, "m", "m"),
    )

    def _place(self, rng: np.random.Generator) -> None:
        angle, radius = rng.uniform(-np.pi, np.pi), rng.uniform(0.07, 0.11)
        goal = radius * np.array([np.cos(angle), np.sin(angle)])
        self._mocap("bead")[:2] = _RAIL, _START
        self._lay_out(rng, goal)

    def _react(self) -> None:
        goal, bead = self._mocap("goal"), self._mocap("bead")
        if np.linalg.norm(self.data.joint("object").qpos[:2] - goal[:2]) < SUCCESS_RADIUS:
            goal[:2] = -goal[:2]
            bead[1] += _NOTCH

    def _task_state(self) -> NDArray[np.float64]:
        return np.concatenate([super()._task_state(), self._mocap("bead")[:2]])
