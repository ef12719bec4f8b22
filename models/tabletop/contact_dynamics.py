"""The row `contact`: where an action takes an end effector and the objects that it touches.

Proprioception and, where they are tracked, the objects of the scene are stepped as numbers, and
drawn into the conditions of the frame to come (`worldsim.models.tabletop.maps`). The denoiser then
decides how that looks.

The network is told the geometry that decides what touches what: places relative to the hand and to
each other. On coordinates alone it has to learn a difference of every two of them, and a rotation,
before it learns about contact. A cube is pushed along the face that the hand meets. In world
coordinates that is another law for every heading, in the axes of that face it is one.

Legend: P proprioception, S objects, D = P + S state (D = P if objects are not tracked), A action,
K scene points.
"""

import math
from itertools import combinations

import torch
from torch import Tensor, nn

from worldsim.cameras.poses import (
    ScenePoint,
    end_effector_frame,
    point_headings,
    point_positions,
    scene_points,
)
from worldsim.models.dynamics.base import DynamicsConfig, StateNetwork, register_dynamics
from worldsim.models.tabletop.mirror import mirrored_action, mirrored_vector
from worldsim.spec import VectorSpec, WorldSpec

NEAR = 0.03
"""Metres that count as one: the size of what a gripper handles."""
Pair = tuple[Tensor, Tensor]


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


class ContactFeatures:
    """Relative places and motions `[..., F]` of hand and scene points.

    Where the action moves to, in the hand's axes. For every point: where it is from the hand in the
    world's and the hand's axes, how near, and its heading relative to the hand's. For points with a
    heading, hand, action and motion in the axes of their contact. For every two points: one from
    the other. Empty without a hand and without points.

    Args:
        spec: meaning of the entries.
        points: entries of the state that are places.
    """

    def __init__(self, spec: WorldSpec, points: tuple[ScenePoint, ...]) -> None:
        self.hand, self.points = end_effector_frame(spec.agent_pos), points
        self.reach = spec.action.scale[:3] if spec.action.moves_end_effector else None
        blank = torch.zeros(1, spec.agent_pos.dim), torch.zeros(1, spec.state.dim)
        self.count = self(blank, blank, torch.zeros(1, spec.action.dim)).shape[-1]

    def __call__(self, before: Pair, now: Pair, action: Tensor) -> Tensor:
        """Features of a step.

        Args:
            before: proprioception `[..., P]` and objects `[..., S]` one step ago, physical units.
            now: the same at the action.
            action: `[..., A]`, normalised.
        """
        parts, points = [action[..., :0]], self.points
        poses = None if self.hand is None else (self.hand.pose(before[0]), self.hand.pose(now[0]))
        if poses is not None and self.reach is not None:
            parts.append(torch.einsum("...ji,...j->...i", poses[1][..., :3, :3], action[..., :3]))
        if not points:
            return torch.cat(parts, dim=-1)
        places = point_positions(now[1], points)
        if poses is not None:
            was = point_positions(before[1], points)
            old, headings = (point_headings(state, points) for state in (before[1], now[1]))
            parts.append(self._from_hand(poses[1], places, headings).flatten(-2))
            for k, point in enumerate(points):
                if point.fold:
                    moved = was[..., k, :], places[..., k, :]
                    turned = old[..., k, :], headings[..., k, :]
                    parts += self._at_contact(point, poses, moved, turned, now[1], action)
        for i, j in combinations(range(len(points)), 2):
            parts.append((places[..., i, :] - places[..., j, :]) / NEAR)
        return torch.cat(parts, dim=-1)

    def _from_hand(self, pose: Tensor, places: Tensor, headings: Tensor) -> Tensor:
        """`[..., K, 9]`: offset in the world's (3) and the hand's axes (3), nearness, heading from
        the hand's."""
        offset = (places - pose[..., None, :3, 3]) / NEAR
        seen = torch.einsum("...ji,...kj->...ki", pose[..., :3, :3], offset)
        fold = headings.new_tensor([max(point.fold, 1) for point in self.points])
        yaw = torch.atan2(pose[..., 1, 0], pose[..., 0, 0])[..., None] * fold
        cos, sin = headings[..., 0], headings[..., 1]
        turned = [cos * yaw.cos() + sin * yaw.sin(), sin * yaw.cos() - cos * yaw.sin()]
        near = torch.exp(-0.5 * offset.square().sum(-1))
        return torch.cat([offset, seen, torch.stack([near, *turned], dim=-1)], dim=-1)

    def _at_contact(
        self,
        point: ScenePoint,
        poses: Pair,
        places: Pair,
        headings: Pair,
        state: Tensor,
        action: Tensor,
    ) -> list[Tensor]:
        """In the axes of a point's contact: the hand from it, how hand and point moved, where the
        action takes the hand, the hand's yaw (a gripper looks the same after half a turn), the
        tilt. Also the yaw of these axes, and how far the heading turned.

        Args:
            point: it has a heading.
            poses: of the hand, `[..., 4, 4]` before and now.
            places: of the point, `[..., 3]`.
            headings: of the point, `[..., 2]`.
            state: `[..., S]` now.
            action: `[..., A]`.
        """
        (was, place), hand = places, poses[1][..., :3, 3]
        yaw = contact_yaw(hand, state, point)
        vectors = [hand - place, hand - poses[0][..., :3, 3], place - was]
        if self.reach is not None:
            told = action[..., :3] * action.new_tensor(self.reach)
            vectors += [told, hand - place + told]
        parts = [in_axes(vector, yaw) / NEAR for vector in vectors]
        turned = torch.atan2(poses[1][..., 1, 0], poses[1][..., 0, 0]) - yaw
        angles = [f(k * turned) for k in (1, 2) for f in (torch.cos, torch.sin)]
        old, new = headings
        spun = old[..., 0] * new[..., 1] - old[..., 1] * new[..., 0]
        parts.append(torch.stack([*angles, yaw.cos(), yaw.sin(), spun], dim=-1))
        if point.tilt is not None:
            parts.append(in_axes(state[..., list(point.tilt)], yaw))
        return parts


@register_dynamics("contact")
class ContactDynamics(StateNetwork):
    """One step of hand and objects, from the last two and the action; all in physical units.

    Args:
        config: sizes; `scene` says whether objects are tracked.
        spec: the world.
    """

    def __init__(self, config: DynamicsConfig, spec: WorldSpec) -> None:
        points = scene_points(spec.state) if config.scene else ()
        objects = spec.state.dim if config.scene else 0
        contact = ContactFeatures(spec, points)
        super().__init__(config, spec, objects, contact.count)
        self.points, self.contact = points, contact
        self.frame = contact.hand

    def features(self, previous: Tensor, state: Tensor, action: Tensor) -> Tensor:
        """See `ContactFeatures`."""
        return self.contact(self.parts(previous), self.parts(state), action)

    def places(self, state: Tensor) -> dict[str, Tensor]:
        """Of the hand (`ee`) and of each scene point."""
        objects = self.parts(state)[1]
        places = {} if self.frame is None else {"ee": self.frame.position(state)}
        for point in self.points:
            places[point.name] = point_positions(objects, (point,))[..., 0, :]
        return places

    def mirror_signs(self, axis: str) -> tuple[list[float], list[float]]:
        """See `worldsim.models.tabletop.mirror`."""
        agent_pos, state = self.spec.agent_pos, self.spec.state
        names, units = agent_pos.names + state.names, agent_pos.units + state.units
        vector = VectorSpec(names[: self.dim], units[: self.dim])
        return mirrored_vector(vector, axis), mirrored_action(self.spec.action, axis)

    def moved(self, state: Tensor, steps: Tensor, action: Tensor) -> Tensor:
        """See `StateNetwork.moved`. Steps of points with a heading are in the axes of their
        contact, and an angle."""
        after = super().moved(state, steps, action)
        hand = None if self.frame is None else self.frame.position(state)
        for point in (p for p in self.points if p.fold):
            yaw = contact_yaw(hand, state[..., self.agent_dim :], point)
            index, moved = self._point_moved(point, state, steps, yaw)
            after = after.index_copy(-1, index, moved)
        return after

    def _point_moved(
        self, point: ScenePoint, state: Tensor, steps: Tensor, yaw: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Columns of a point's plane position, heading and tilt, and what they become."""
        columns, parts = [], []
        for pair in ((point.x, point.y), *([point.tilt] if point.tilt else [])):
            pair_columns = [self.agent_dim + entry for entry in pair]
            moved = steps[..., pair_columns] * self.step_size[pair_columns].mean()
            columns += pair_columns
            parts.append(state[..., pair_columns] + in_axes(moved, -yaw))
        heading = [self.agent_dim + point.cos, self.agent_dim + point.sin]
        angle = steps[..., heading[1]] * self.step_size[heading].mean()
        direction = nn.functional.normalize(state[..., heading], dim=-1)
        columns += heading
        parts.append(in_axes(direction, -angle))
        return torch.tensor(columns, device=state.device), torch.cat(parts, dim=-1)
