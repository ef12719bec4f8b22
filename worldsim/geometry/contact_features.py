"""Geometry that decides what touches what: places relative to the hand and to each other.

A network on coordinates alone has to learn a difference of every two of them, and a rotation,
before it learns about contact.

Legend: P proprioception, S state, K scene points.
"""

from itertools import combinations

import torch
from torch import Tensor

from worldsim.geometry.body_maps import end_effector_pose
from worldsim.geometry.scene_points import ScenePoint, point_headings, point_positions
from worldsim.specs import WorldSpec

NEAR = 0.03
"""Metres that count as one: the size of what a gripper handles."""


def feature_count(spec: WorldSpec, points: tuple[ScenePoint, ...]) -> int:
    """Length of `contact_features`."""
    shape = (1,)
    agent_pos = torch.zeros(*shape, spec.agent_pos.dim)
    state, action = torch.zeros(*shape, spec.state.dim), torch.zeros(*shape, spec.action.dim)
    return contact_features(agent_pos, state, action, spec, points).shape[-1]


def contact_features(
    agent_pos: Tensor,
    state: Tensor,
    action: Tensor,
    spec: WorldSpec,
    points: tuple[ScenePoint, ...],
) -> Tensor:
    """Relative places `[..., F]`, F as `feature_count` says.

    For every point: where it is from the hand in the world's, the hand's and the point's own axes,
    how near, its heading relative to the hand's, and its tilt in the hand's axes if it has one. For
    every two points: one from the other. And where the action moves to, in the hand's axes. Empty
    without a hand and without points.

    Args:
        agent_pos: `[..., P]`, physical units.
        state: `[..., S]`, physical units.
        action: `[..., A]`.
        spec: meaning of the entries.
        points: entries of the state that are places.
    """
    parts = [action[..., :0]]
    pose = end_effector_pose(agent_pos, spec)
    if pose is not None and spec.action.moves_end_effector:
        parts.append(torch.einsum("...ji,...j->...i", pose[..., :3, :3], action[..., :3]))
    if not points:
        return torch.cat(parts, dim=-1)
    places, headings = point_positions(state, points), point_headings(state, points)
    if pose is not None:
        parts.append(_from_hand(pose, places, headings, points).flatten(-2))
        parts.extend(
            torch.einsum("...ji,...j->...i", pose[..., :2, :2], state[..., list(point.tilt)])
            for point in points
            if point.tilt is not None
        )
    for i, j in combinations(range(len(points)), 2):
        parts.append((places[..., i, :] - places[..., j, :]) / NEAR)
    return torch.cat(parts, dim=-1)


def _from_hand(
    pose: Tensor, places: Tensor, headings: Tensor, points: tuple[ScenePoint, ...]
) -> Tensor:
    """`[..., K, 11]`: offset in the world's (3), the hand's (3) and the point's axes (2), nearness,
    heading from the hand's."""
    offset = (places - pose[..., None, :3, 3]) / NEAR
    seen = torch.einsum("...ji,...kj->...ki", pose[..., :3, :3], offset)
    fold = headings.new_tensor([max(point.fold, 1) for point in points])
    # Off the origin, where atan2 has no gradient, for points without a heading.
    own = torch.atan2(headings[..., 1], headings[..., 0] + 1e-12) / fold
    along = offset[..., 0] * own.cos() + offset[..., 1] * own.sin()
    across = offset[..., 1] * own.cos() - offset[..., 0] * own.sin()
    yaw = torch.atan2(pose[..., 1, 0], pose[..., 0, 0])[..., None] * fold
    cos, sin = headings[..., 0], headings[..., 1]
    turned = [cos * yaw.cos() + sin * yaw.sin(), sin * yaw.cos() - cos * yaw.sin()]
    near = torch.exp(-0.5 * offset.square().sum(-1))
    return torch.cat([offset, seen, torch.stack([along, across, near, *turned], dim=-1)], dim=-1)
