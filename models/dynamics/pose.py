"""The row `pose`: a base that drives in the plane, integrated in closed form.

The action is read as a planar motion in the agent's own axes (x forward, y left, z up) and the pose
follows the arc of that motion exactly. A network adds what the command does not say, such as
collisions, to the same motion. It begins at zero, where the rows of the pose are the integration.

Legend: D state, A action, M modes; a motion is (forward m, left m, turn rad).
"""

import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.models.dynamics.base import DynamicsConfig, register_dynamics
from worldsim.models.dynamics.frames import Frame, frame_of
from worldsim.models.dynamics.network import StateNetwork
from worldsim.spec import ActionSpec, WorldSpec

MOTIONS = {
    "forward": (1.0, 0.0, 0.0),
    "backward": (-1.0, 0.0, 0.0),
    "left": (0.0, 1.0, 0.0),
    "right": (0.0, -1.0, 0.0),
    "turn": (0.0, 0.0, 1.0),
    "turn_left": (0.0, 0.0, 1.0),
    "turn_right": (0.0, 0.0, -1.0),
    "stop": (0.0, 0.0, 0.0),
}
"""What one unit of an action's entry does, by its name, times its scale."""


def motion_matrix(action: ActionSpec) -> Tensor:
    """`[A, 3]` from an action to its motion; a discrete action is its one-hot vector.

    Raises:
        UsageError: an entry's name is none of `MOTIONS`.
    """
    unknown = [name for name in action.names if name not in MOTIONS]
    if unknown:
        raise UsageError(
            f"dynamics 'pose' do not know how actions {unknown} move the agent; known entries are "
            f"{', '.join(MOTIONS)}. Use model.dynamics.name=agent, which learns it"
        )
    rows = zip(action.names, action.scale, strict=True)
    return torch.tensor([[scale * part for part in MOTIONS[name]] for name, scale in rows])


def travelled(motion: Tensor) -> Tensor:
    """Displacement `[..., 2]` in the first axes, of a motion `[..., 3]` of constant curvature."""
    ahead, aside, turn = motion.unbind(dim=-1)
    half = 0.5 * turn
    # The chord of an arc lies at half the turn and is sin(half) / half as long as the arc. Near
    # zero the series is exact to rounding, and has a gradient.
    small = half.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(half), half)
    chord = torch.where(small, 1.0 - half.square() / 6.0, safe.sin() / safe)
    cos, sin = chord * half.cos(), chord * half.sin()
    return torch.stack([ahead * cos - aside * sin, ahead * sin + aside * cos], dim=-1)


@register_dynamics("pose")
class PoseDynamics(StateNetwork):
    """SE(2) integration of commanded motions, plus a learned motion in the agent's axes.

    Raises:
        UsageError: proprioception has no position and heading, or an action is no motion.
    """

    def __init__(self, config: DynamicsConfig, spec: WorldSpec) -> None:
        super().__init__(config, spec, features=6)
        frame = frame_of(spec.agent_pos)
        if frame is None or frame.heading is None:
            raise UsageError(
                f"dynamics 'pose' need entries NAME_x, NAME_y (m), NAME_cos and NAME_sin in the "
                f"proprioception, which holds {', '.join(spec.agent_pos.names) or 'nothing'}"
            )
        self.frame: Frame = frame
        self.columns: tuple[int, ...] = frame.plane + frame.heading
        self.motions: Tensor
        self.register_buffer("motions", motion_matrix(spec.action), persistent=False)

    def limited(self, state: Tensor) -> Tensor:
        """The box holds for all entries but the pose: a room may be larger than the recorded."""
        inside = super().limited(state)
        columns = torch.tensor(self.columns, device=state.device)
        return inside.index_copy(-1, columns, state[..., list(self.columns)])

    def features(self, previous: Tensor, state: Tensor, action: Tensor) -> Tensor:
        """`[..., 6]`: the commanded motion, then the last one, in typical motions of the agent."""
        here, there = self.heading(state), self.heading(previous)
        gone = state[..., list(self.frame.plane)] - previous[..., list(self.frame.plane)]
        spun = there[..., 0] * here[..., 1] - there[..., 1] * here[..., 0]
        last = torch.cat([turned(gone, here, back=True), spun[..., None]], dim=-1)
        return torch.cat([action @ self.motions, last], dim=-1) / self._scales().repeat(2)

    def moved(self, state: Tensor, steps: Tensor, action: Tensor) -> Tensor:
        """See `StateNetwork.moved`; the steps of x, y and the sine are a motion."""
        (x, y), (_, sin) = self.frame.plane, self.frame.heading or (0, 0)
        motion = action @ self.motions + self._scales() * steps[..., [x, y, sin]]
        heading = self.heading(state)
        place = state[..., list(self.frame.plane)] + turned(travelled(motion), heading)
        turn = motion[..., 2:]
        ahead = turned(torch.cat([turn.cos(), turn.sin()], dim=-1), heading)
        after = super().moved(state, steps, action)
        columns = torch.tensor(self.columns, device=state.device)
        return after.index_copy(-1, columns, torch.cat([place, ahead], dim=-1))

    def heading(self, state: Tensor) -> Tensor:
        """Unit vector `[..., 2]` along which the agent faces."""
        return torch.nn.functional.normalize(state[..., list(self.frame.heading or ())], dim=-1)

    def pose(self, state: Tensor) -> Tensor:
        """Agent to world `[..., 4, 4]`."""
        return self.frame.pose(state)

    def _scales(self) -> Tensor:
        """`[3]` a typical motion: metres, metres, radians."""
        metres = self.step_size[list(self.frame.plane)].mean()
        radians = self.step_size[list(self.frame.heading or ())].mean()
        return torch.stack([metres, metres, radians])


def turned(vectors: Tensor, heading: Tensor, *, back: bool = False) -> Tensor:
    """Vectors `[..., 2]` out of axes whose x lies along `heading` `[..., 2]`, or back into them."""
    cos, sin = heading.unbind(dim=-1)
    sin = -sin if back else sin
    x, y = vectors.unbind(dim=-1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
