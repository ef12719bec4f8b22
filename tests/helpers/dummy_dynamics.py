"""Dynamics of one's own: a unicycle among the cells of a floor that somebody was seen to enter."""

import torch
from torch import Tensor

from worldsim.cameras.poses import frame_of
from worldsim.errors import UsageError
from worldsim.models.dynamics.base import Dynamics, DynamicsConfig, register_dynamics
from worldsim.spec import WorldSpec

NAME = "unicycle"
CELL, SIDE = 0.5, 16
MOTIONS = {"forward": (1.0, 0.0), "turn_left": (0.0, 1.0), "turn_right": (0.0, -1.0)}


@register_dynamics(NAME)
class Unicycle(Dynamics):
    """Drives along its heading and stays where the next cell was never entered."""

    def __init__(self, config: DynamicsConfig, spec: WorldSpec) -> None:
        super().__init__(config, spec)
        frame = frame_of(spec.agent_pos)
        if frame is None or frame.heading is None:
            raise UsageError("dynamics 'unicycle' need a position and a heading")
        self.columns = list(frame.plane + frame.heading)
        action = zip(spec.action.names, spec.action.scale, strict=True)
        rows = [[scale * part for part in MOTIONS.get(name, (0.0, 0.0))] for name, scale in action]
        self.motions: Tensor
        self.entered: Tensor
        self.register_buffer("motions", torch.tensor(rows))
        self.register_buffer("entered", torch.zeros(SIDE * SIDE))

    def step(self, previous: Tensor, state: Tensor, action: Tensor, mask: Tensor) -> Tensor:
        ahead, turn = (action * mask[..., None] @ self.motions).unbind(dim=-1)
        x, y, cos, sin = state[..., self.columns].unbind(dim=-1)
        yaw = torch.atan2(sin, cos) + turn
        there = torch.stack([x + ahead * cos, y + ahead * sin, yaw.cos(), yaw.sin()], dim=-1)
        stays = state[..., self.columns].clone()
        stays[..., 2:] = there[..., 2:]
        free = self.entered[self._cell(there)][..., None] > 0
        places = torch.tensor(self.columns, device=state.device)
        return state.index_copy(-1, places, torch.where(free, there, stays))

    @torch.no_grad()
    def fit_actions(self, before: Tensor, action: Tensor, after: Tensor) -> None:
        for states in (before, after):
            self.entered[self._cell(states[..., self.columns])] = 1.0

    def _cell(self, place: Tensor) -> Tensor:
        column, row = ((place[..., :2] / CELL).floor().long() + SIDE // 2).unbind(dim=-1)
        return column.clamp(0, SIDE - 1) * SIDE + row.clamp(0, SIDE - 1)
