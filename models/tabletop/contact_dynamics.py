"""The row `contact`: where an action takes an end effector and the objects that it touches.

Proprioception and, where they are tracked, the objects of the scene are stepped as numbers, with
contacts as features and in the axes of contact, and drawn into the conditions of the frame to come
(`worldsim.models.tabletop.maps`). The denoiser then decides how that looks.

Legend: P proprioception, S objects, D = P + S state (D = P if objects are not tracked), A action.
"""

import torch
from torch import Tensor, nn

from worldsim.models.dynamics.base import DynamicsConfig, register_dynamics
from worldsim.models.dynamics.network import StateNetwork
from worldsim.models.tabletop.contact_axes import contact_yaw, in_axes
from worldsim.models.tabletop.contact_features import Scene, contact_features, feature_count
from worldsim.models.tabletop.maps import end_effector_pose
from worldsim.models.tabletop.mirror import mirrored_action, mirrored_vector
from worldsim.models.tabletop.scene_points import ScenePoint, point_positions, scene_points
from worldsim.spec import EE_POSITION, END_EFFECTOR, VectorSpec, WorldSpec


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
        super().__init__(config, spec, objects, feature_count(spec, points))
        self.points = points

    def features(self, previous: Tensor, state: Tensor, action: Tensor) -> Tensor:
        """See `contact_features`."""
        earlier, scene = Scene(*self.parts(previous)), Scene(*self.parts(state))
        return contact_features(earlier, scene, action, self.spec, self.points)

    def pose(self, state: Tensor) -> Tensor | None:
        """Of the end effector."""
        return end_effector_pose(state[..., : self.agent_dim], self.spec)

    @property
    def carriers(self) -> tuple[str, ...]:
        """The end effector, where proprioception has one."""
        return () if self.spec.agent_pos.indices(*EE_POSITION) is None else (END_EFFECTOR,)

    def places(self, state: Tensor) -> dict[str, Tensor]:
        """Of the hand (`ee`) and of each scene point."""
        agent_pos, objects = self.parts(state)
        columns = self.spec.agent_pos.indices(*EE_POSITION)
        places = {} if columns is None else {"ee": agent_pos[..., list(columns)]}
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
        pose = self.pose(state)
        place = None if pose is None else pose[..., :3, 3]
        for point in (p for p in self.points if p.fold):
            yaw = contact_yaw(place, state[..., self.agent_dim :], point)
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
