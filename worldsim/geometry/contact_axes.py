"""Axes in which touching is simple: those of the side of a thing that the hand is in front of.

A cube is pushed along the face that the hand meets. In world coordinates that is another law for
every heading, in the axes of that face it is one.

Legend: K scene points.
"""

import math

import torch
from torch import Tensor

from worldsim.geometry.scene_points import ScenePoint, point_headings, point_positions


def contact_yaw(place: Tensor | None, state: Tensor, points: tuple[ScenePoint, ...]) -> Tensor:
    """Yaw `[..., K]` of the contact axes of points that have a heading.

    Of the yaws at which a point looks the same, the one whose x axis leads most nearly to the hand;
    without a hand, the least.

    Args:
        place: of the hand, `[..., 3]`, or None.
        state: `[..., S]`, physical units.
        points: entries of the state that are places, each with a heading.
    """
    headings = point_headings(state, points)
    fold = headings.new_tensor([point.fold for point in points])
    # Off the origin, where atan2 has no gradient.
    own = torch.atan2(headings[..., 1], headings[..., 0] + 1e-12) / fold
    if place is None:
        return own
    toward = place[..., None, :2] - point_positions(state, points)[..., :2]
    turn = 2.0 * math.pi / fold
    direction = torch.atan2(toward[..., 1], toward[..., 0] + 1e-12)
    return own + turn * torch.round((direction - own) / turn)


def in_axes(vectors: Tensor, yaw: Tensor) -> Tensor:
    """World vectors `[..., 2 or 3]` in axes turned by `yaw` `[...]` about z; heights stay."""
    cos, sin = yaw.cos(), yaw.sin()
    x, y = vectors[..., 0], vectors[..., 1]
    plane = [x * cos + y * sin, y * cos - x * sin]
    return torch.stack([*plane, *vectors[..., 2:].unbind(dim=-1)], dim=-1)
