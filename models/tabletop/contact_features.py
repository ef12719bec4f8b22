"""Geometry that decides what touches what: places relative to the hand and to each other.

A network on coordinates alone has to learn a difference of every two of them, and a rotation,
before it learns about contact.

Legend: P proprioception, S state, K scene points.
"""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from worldsim.models.tabletop.contact_axes import contact_yaw, in_axes
from worldsim.models.tabletop.maps import end_effector_pose
from worldsim.models.tabletop.scene_points import ScenePoint, point_headings, point_positions
from worldsim.spec import WorldSpec

NEAR = 0.03
"""Metres that count as one: the size of what a gripper handles."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One moment, in physical units.

    Attributes:
        agent_pos: `[..., P]`.
        state: `[..., S]`.
    """

    agent_pos: Tensor
    state: Tensor


def feature_count(spec: WorldSpec, points: tuple[ScenePoint, ...]) -> int:
    """Length of `contact_features`."""
    blank = Scene(torch.zeros(1, spec.agent_pos.dim), torch.zeros(1, spec.state.dim))
    action = torch.zeros(1, spec.action.dim)
    return contact_features(blank, blank, action, spec, points).shape[-1]


def contact_features(
    before: Scene, now: Scene, action: Tensor, spec: WorldSpec, points: tuple[ScenePoint, ...]
) -> Tensor:
    """Relative places and motions `[..., F]`, F as `feature_count` says.

    Where the action moves to, in the hand's axes. For every point: where it is from the hand in the
    world's and the hand's axes, how near, and its heading relative to the hand's. For points with a
    heading, hand, action and motion in the axes of their contact. For every two points: one from
    the other. Empty without a hand and without points.

    Args:
        before: one step ago.
        now: at the action.
        action: `[..., A]`, normalised.
        spec: meaning of the entries.
        points: entries of the state that are places.
    """
    parts = [action[..., :0]]
    pose, earlier = (end_effector_pose(scene.agent_pos, spec) for scene in (now, before))
    if pose is not None and spec.action.moves_end_effector:
        parts.append(torch.einsum("...ji,...j->...i", pose[..., :3, :3], action[..., :3]))
    if not points:
        return torch.cat(parts, dim=-1)
    places = point_positions(now.state, points)
    if pose is not None and earlier is not None:
        headings = point_headings(now.state, points)
        parts.append(_from_hand(pose, places, headings, points).flatten(-2))
        parts += _at_contact((earlier, pose), (before.state, now.state), action, spec, points)
    for i, j in combinations(range(len(points)), 2):
        parts.append((places[..., i, :] - places[..., j, :]) / NEAR)
    return torch.cat(parts, dim=-1)


def _from_hand(
    pose: Tensor, places: Tensor, headings: Tensor, points: tuple[ScenePoint, ...]
) -> Tensor:
    """`[..., K, 9]`: offset in the world's (3) and the hand's axes (3), nearness, heading from the
    hand's."""
    offset = (places - pose[..., None, :3, 3]) / NEAR
    seen = torch.einsum("...ji,...kj->...ki", pose[..., :3, :3], offset)
    fold = headings.new_tensor([max(point.fold, 1) for point in points])
    yaw = torch.atan2(pose[..., 1, 0], pose[..., 0, 0])[..., None] * fold
    cos, sin = headings[..., 0], headings[..., 1]
    turned = [cos * yaw.cos() + sin * yaw.sin(), sin * yaw.cos() - cos * yaw.sin()]
    near = torch.exp(-0.5 * offset.square().sum(-1))
    return torch.cat([offset, seen, torch.stack([near, *turned], dim=-1)], dim=-1)


def _at_contact(
    poses: tuple[Tensor, Tensor],
    states: tuple[Tensor, Tensor],
    action: Tensor,
    spec: WorldSpec,
    points: tuple[ScenePoint, ...],
) -> list[Tensor]:
    """In the axes of each point's contact: the hand from it, how hand and point moved, where the
    action takes the hand, the hand's yaw (a gripper looks the same after half a turn), the tilt.
    Also the yaw of these axes, and how far the heading turned."""
    parts = []
    for point in (p for p in points if p.fold):
        hand = poses[1][..., :3, 3]
        yaw = contact_yaw(hand, states[1], point)
        was, place = (point_positions(state, (point,))[..., 0, :] for state in states)
        vectors = [hand - place, hand - poses[0][..., :3, 3], place - was]
        if spec.action.moves_end_effector:
            told = action[..., :3] * action.new_tensor(spec.action.scale[:3])
            vectors += [told, hand - place + told]
        parts += [in_axes(vector, yaw) / NEAR for vector in vectors]
        turned = torch.atan2(poses[1][..., 1, 0], poses[1][..., 0, 0]) - yaw
        angles = [f(k * turned) for k in (1, 2) for f in (torch.cos, torch.sin)]
        old, new = (point_headings(state, (point,))[..., 0, :] for state in states)
        spun = old[..., 0] * new[..., 1] - old[..., 1] * new[..., 0]
        parts.append(torch.stack([*angles, yaw.cos(), yaw.sin(), spun], dim=-1))
        if point.tilt is not None:
            parts.append(in_axes(states[1][..., list(point.tilt)], yaw))
    return parts
