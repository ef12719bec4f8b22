"""Axes in which touching is simple: those of the side of a thing that the hand is in front of.

A cube is pushed along the face that the hand meets. In world coordinates that is another law for
every heading, in the axes of that face it is one.

Legend: S state.
"""

import math

import torch
from torch import Tensor

from worldsim.models.tabletop.scene_points import ScenePoint


def contact_yaw(place: Tensor | None, state: Tensor, point: ScenePoint) -> Tensor:
    """Yaw `[...]` of the contact axes of a point that has a heading.

    Of the yaws at which it looks the same, the one whose x axis leads most nearly to the hand;
    without a hand, the least.

    Args:
        place: of the hand, `[..., 3]`, or None.
        state: `[..., S]`, physical units.
        point: entries of the state that are its place and heading.
    """
    # Off the origin, where atan2 has no gradient.
    own = torch.atan2(state[..., point.sin], state[..., point.cos] + 1e-12) / point.fold
    if place is None:
        return own
    away = place[..., :2] - state[..., [point.x, point.y]]
    turn = 2.0 * math.pi / point.fold
    direction = torch.atan2(away[..., 1], away[..., 0] + 1e-12)
    return own + turn * torch.round((direction - own) / turn)


def in_axes(vectors: Tensor, yaw: Tensor) -> Tensor:
    """World vectors `[..., 2 or 3]` in axes turned by `yaw` `[...]` about z; heights stay."""
    cos, sin = yaw.cos(), yaw.sin()
    x, y = vectors[..., 0], vectors[..., 1]
    plane = [x * cos + y * sin, y * cos - x * sin]
    return torch.stack([*plane, *vectors[..., 2:].unbind(dim=-1)], dim=-1)
