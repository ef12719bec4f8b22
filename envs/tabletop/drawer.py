"""TabletopDrawer: pull a drawer open by its handle."""

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.tabletop.base import TabletopEnv
from worldsim.envs.tabletop.placing import yaw_quaternion
from worldsim.envs.tabletop.scene import ASSETS
from worldsim.envs.tabletop.score import Float, TaskScore, closeness, reach
from worldsim.spec import VectorSpec

SUCCESS_OPENING = 0.07
"""Opening in metres at which the task is solved; the drawer moves 10 cm."""
_REACH_SHARE = 0.2


def _progress(agent_pos: Float, state: Float) -> NDArray[np.float64]:
    near = closeness(reach(agent_pos, state), 0.03, 0.25)
    pulled = np.clip(state[..., 5] / SUCCESS_OPENING, 0.0, 1.0)
    done = state[..., 5] > SUCCESS_OPENING
    return np.where(done, 1.0, (1.0 - _REACH_SHARE) * pulled + _REACH_SHARE * near)


def _cost(agent_pos: Float, state: Float) -> NDArray[np.float64]:
    missing = np.maximum(SUCCESS_OPENING - state[..., 5], 0.0)
    return np.asarray(10.0 * (missing + 0.3 * reach(agent_pos, state)))


SCORE = TaskScore(
    success=lambda agent_pos, state: np.asarray(state[..., 5] > SUCCESS_OPENING),
    progress=_progress,
    cost=_cost,
)


class TabletopDrawer(TabletopEnv):
    """Pull the drawer more than 7 cm open.

    The cabinet stands at a random place and turn; its handle is a bar one can reach behind.

    State: handle x, y, z; cosine and sine of the direction in which it opens; opening in metres.
    Progress: 0.8 x share of the opening + 0.2 x closeness of the gripper to the handle; 1 if open.
    Cost: 10 x (missing opening + 0.3 x gripper to handle), in metres.
    """

    task = "pull the drawer open by its red handle"
    objects_xml = (ASSETS / "drawer.xml").read_text(encoding="utf-8")
    score = SCORE
    state_spec = VectorSpec(
        names=("handle_x", "handle_y", "handle_z", "drawer_cos", "drawer_sin", "opening"),
        units=("m", "m", "m", "1", "1", "m"),
    )

    def _place(self, rng: np.random.Generator) -> None:
        place = (rng.uniform(-0.13, -0.08), rng.uniform(-0.09, 0.09), rng.uniform(0.0, 0.015))
        self._mocap("cabinet")[:] = place
        self.data.mocap_quat[self.model.body("cabinet").mocapid[0]] = yaw_quaternion(
            rng.uniform(-0.4, 0.4)
        )
        hand = rng.uniform((-0.12, -0.14, 0.13), (0.14, 0.14, 0.17))
        self.gripper.place(hand, rng.uniform(-0.4, 0.4), 0.0)

    def _task_state(self) -> NDArray[np.float64]:
        direction = self.data.body("drawer").xmat.reshape(3, 3)[:2, 0]
        opening = self.data.joint("drawer").qpos[0]
        return np.array([*self.data.site("handle").xpos, *direction, opening])
