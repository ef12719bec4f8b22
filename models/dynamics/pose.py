"""The row `pose`: a base that drives in the plane, integrated in closed form.

An action is a planar motion in the agent's own axes (x forward, y left, z up), and the pose follows
the arc of that motion exactly. The motion is linear in the action. Its matrix is read from the
action's names where these say metres and radians, and fitted to recorded transitions in training. A
network adds what the command does not say, such as collisions, to the same motion. It begins at
zero, where the pose is integrated alone.

Legend: D state, A action, M modes; a motion is (forward m, left m, turn rad).
"""

import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.models.dynamics.base import DynamicsConfig, StateNetwork, register_dynamics
from worldsim.spec import ActionSpec, WorldSpec

MOTIONS = {
    "forward": (1.0, 0.0, 0.0),
    "backward": (-1.0, 0.0, 0.0),
    "left": (0.0, 1.0, 0.0),
    "right": (0.0, -1.0, 0.0),
    "turn": (0.0, 0.0, 1.0),
    "turn_left": (0.0, 0.0, 1.0),
    "turn_right": (0.0, 0.0, -1.0),
}
"""What one unit of an action's entry does, by its name, times its scale in metres or radians."""
RIDGE = 1e-6
"""Keeps the fit of motions finite where an action was never taken."""


def motion_matrix(action: ActionSpec) -> Tensor:
    """`[A, 3]` from an action to its motion, as far as names and units tell; the rest is zero."""
    none = (0.0, 0.0, 0.0)
    rows = [
        [scale * part for part in (MOTIONS.get(name, none) if unit in ("m", "rad") else none)]
        for name, unit, scale in zip(action.names, action.units, action.scale, strict=True)
    ]
    return torch.tensor(rows).reshape(-1, 3)


def travelled(motion: Tensor) -> Tensor:
    """Displacement `[..., 2]` in the first axes, of a motion `[..., 3]` of constant curvature."""
    ahead, aside, turn = motion.unbind(dim=-1)
    half = 0.5 * turn
    chord = _chord(half)
    cos, sin = chord * half.cos(), chord * half.sin()
    return torch.stack([ahead * cos - aside * sin, ahead * sin + aside * cos], dim=-1)


def _chord(half: Tensor) -> Tensor:
    """Length of a chord, which lies at half the turn of its arc, over that of the arc."""
    # Near zero the series is exact to rounding, and has a gradient.
    small = half.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(half), half)
    return torch.where(small, 1.0 - half.square() / 6.0, safe.sin() / safe)


@register_dynamics("pose")
class PoseDynamics(StateNetwork):
    """SE(2) integration of commanded motions, plus a learned motion in the agent's axes.

    Raises:
        UsageError: proprioception has no position and heading.
    """

    def __init__(self, config: DynamicsConfig, spec: WorldSpec) -> None:
        super().__init__(config, spec, features=6)
        frame = self.frame
        if frame is None or frame.heading is None:
            raise UsageError(
                f"dynamics 'pose' need entries NAME_x, NAME_y (m), NAME_cos and NAME_sin in the "
                f"proprioception, which holds {', '.join(spec.agent_pos.names) or 'nothing'}"
            )
        self.plane, self.ahead = list(frame.plane), list(frame.heading)
        self.motions: Tensor
        self.register_buffer("motions", motion_matrix(spec.action))

    @torch.no_grad()
    def fit_actions(self, before: Tensor, action: Tensor, after: Tensor) -> None:
        """Least squares of recorded motions on actions."""
        motion, taken = self.motion(before, after).double(), action.double()
        square = taken.mT @ taken + RIDGE * len(taken) * torch.eye(taken.shape[-1]).to(taken)
        self.motions.copy_(torch.linalg.solve(square, taken.mT @ motion))

    def motion(self, before: Tensor, after: Tensor) -> Tensor:
        """`[..., 3]` that took the agent from one state to the other; inverse of the step."""
        here, there = self.heading(before), self.heading(after)
        cross = here[..., 0] * there[..., 1] - here[..., 1] * there[..., 0]
        turn = torch.atan2(cross, (here * there).sum(dim=-1))
        gone = after[..., self.plane] - before[..., self.plane]
        half = 0.5 * turn
        arc = turned(gone, here, back=True) / _chord(half)[..., None]
        along = torch.stack([half.cos(), half.sin()], dim=-1)
        return torch.cat([turned(arc, along, back=True), turn[..., None]], dim=-1)

    def limited(self, state: Tensor) -> Tensor:
        """The box holds for all entries but the pose: a room may be larger than the recorded."""
        inside = super().limited(state)
        columns = [*self.plane, *self.ahead]
        index = torch.tensor(columns, device=state.device)
        return inside.index_copy(-1, index, state[..., columns])

    def features(self, previous: Tensor, state: Tensor, action: Tensor) -> Tensor:
        """`[..., 6]`: the commanded motion, then the last one, in typical motions of the agent."""
        motions = torch.cat([action @ self.motions, self.motion(previous, state)], dim=-1)
        return motions / self._scales().repeat(2)

    def moved(self, state: Tensor, steps: Tensor, action: Tensor) -> Tensor:
        """See `StateNetwork.moved`; the steps of x, y and the sine are a motion."""
        motion = action @ self.motions + self._scales() * steps[..., [*self.plane, self.ahead[1]]]
        heading = self.heading(state)
        place = state[..., self.plane] + turned(travelled(motion), heading)
        turn = motion[..., 2:]
        ahead = turned(torch.cat([turn.cos(), turn.sin()], dim=-1), heading)
        after = super().moved(state, steps, action)
        index = torch.tensor([*self.plane, *self.ahead], device=state.device)
        return after.index_copy(-1, index, torch.cat([place, ahead], dim=-1))

    def heading(self, state: Tensor) -> Tensor:
        """Unit vector `[..., 2]` along which the agent faces."""
        return torch.nn.functional.normalize(state[..., self.ahead], dim=-1)

    def _scales(self) -> Tensor:
        """`[3]` a typical motion: metres, metres, radians."""
        metres = self.step_size[self.plane].mean()
        radians = self.step_size[self.ahead].mean()
        return torch.stack([metres, metres, radians])


def turned(vectors: Tensor, heading: Tensor, *, back: bool = False) -> Tensor:
    """Vectors `[..., 2]` out of axes whose x lies along `heading` `[..., 2]`, or back into them."""
    cos, sin = heading.unbind(dim=-1)
    sin = -sin if back else sin
    x, y = vectors.unbind(dim=-1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
