"""`BodyDynamics`: where an action takes the hand and the things of the scene.

Images alone leave the places of things to a fraction of a latent cell, and small errors of a frame
are read again by the next. What a data set records as numbers, proprioception and (where there
is one) the state of the scene, is therefore carried along as numbers by a small network that is
fitted to every recorded transition, and drawn into the conditions of the frame to come
(`worldsim.models.tabletop.maps`). The denoiser then decides how that looks.

Legend: P proprioception, S state, D = P + S body (D = P if the scene is not tracked), A action.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldsim.config.limits import Count, Whole
from worldsim.config.values import Checked
from worldsim.models.blocks import linear, zero_init
from worldsim.models.tabletop.contact_axes import contact_yaw, in_axes
from worldsim.models.tabletop.contact_features import Scene, contact_features, feature_count
from worldsim.models.tabletop.maps import end_effector_pose
from worldsim.models.tabletop.scene_points import ScenePoint, scene_points
from worldsim.spec import WorldSpec

LEAST_STEP = 1e-3
"""Typical change of an entry, in its standard deviations, below which it counts as fixed."""


@dataclass(frozen=True)
class DynamicsConfig(Checked):
    """Attributes:
    width: hidden channels.
    depth: residual blocks.
    scene: whether the state is tracked beside proprioception; a data set without one has nothing
        to track.
    modes: into how many different ways a step may go, of which the likeliest is taken: a cube is
        held or slips out of the hand, and the mean of both is none.
    """

    width: Count = 192
    depth: Whole = 2
    scene: bool = True
    modes: Count = 1


class BodyDynamics(nn.Module):
    """One step of hand and scene, from the last two and the action; everything in physical units.

    Args:
        config: sizes.
        spec: the world.
    """

    def __init__(self, config: DynamicsConfig, spec: WorldSpec) -> None:
        super().__init__()
        self.spec, self.agent_dim = spec, spec.agent_pos.dim
        self.state_dim = spec.state.dim if config.scene else 0
        self.points = scene_points(spec.state) if config.scene else ()
        self.mean: Tensor
        self.std: Tensor
        self.step: Tensor
        self.low: Tensor
        self.high: Tensor
        for name, value in (("mean", 0.0), ("std", 1.0), ("step", 1.0)):
            self.register_buffer(name, torch.full((self.dim,), value))
        self.register_buffer("low", torch.full((self.dim,), -torch.inf))
        self.register_buffer("high", torch.full((self.dim,), torch.inf))
        inputs = 2 * self.dim + feature_count(spec, self.points) + spec.action.dim + 1
        self.straight = zero_init(linear(inputs, self.dim))
        self.enter = nn.Linear(inputs, config.width)
        self.blocks = nn.ModuleList([_block(config.width) for _ in range(config.depth)])
        self.modes = config.modes
        self.leave = linear(config.width, config.modes * self.dim)
        if config.modes == 1:
            zero_init(self.leave)
        else:  # nearly nothing: what is equal at first stays equal
            nn.init.normal_(self.leave.weight, std=0.01)
        self.choose = zero_init(nn.Linear(config.width, config.modes)) if config.modes > 1 else None

    @property
    def dim(self) -> int:
        """D."""
        return self.agent_dim + self.state_dim

    def join(self, agent_pos: Tensor, state: Tensor) -> Tensor:
        """`[..., P]` and `[..., S]` to a body `[..., D]`."""
        return torch.cat([agent_pos, state[..., : self.state_dim]], dim=-1)

    def parts(self, body: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse of `join`; the state is empty if the scene is not tracked."""
        return body[..., : self.agent_dim], body[..., self.agent_dim :]

    def normalize(self, body: Tensor) -> Tensor:
        """To unit variance over the recorded bodies."""
        return (body - self.mean) / self.std

    def forward(self, before: Tensor, now: Tensor, action: Tensor, mask: Tensor) -> Tensor:
        """The body `[..., D]` after an action, within the box of recorded bodies.

        Where few recorded actions ran against a limit, the network alone would pass it.

        Args:
            before: `[..., D]` one step ago; the same as `now` where that is unknown.
            now: `[..., D]`.
            action: `[..., A]`, normalised as the spec says.
            mask: `[...]` 1 where the action is known.
        """
        ways, chances = self.ways(before, now, action, mask)
        likeliest = chances.argmax(dim=-1)[..., None, None].expand(*now.shape[:-1], 1, self.dim)
        after = ways.gather(-2, likeliest)[..., 0, :]
        return torch.maximum(torch.minimum(after, self.high), self.low)

    def ways(
        self, before: Tensor, now: Tensor, action: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Bodies `[..., M, D]` that may come of a step and the logarithms of their chances
        `[..., M]`; without the box of `forward`, which would stop gradients."""
        with torch.autocast(now.device.type, enabled=False):
            told = mask[..., None].float()
            action = action.float() * told
            earlier, scene = Scene(*self.parts(before)), Scene(*self.parts(now))
            geometry = contact_features(earlier, scene, action, self.spec, self.points)
            speed = (now - before) / self.step
            inputs = torch.cat([self.normalize(now), speed, geometry, action, told], dim=-1)
            hidden = nn.functional.silu(self.enter(inputs))
            for block in self.blocks:
                hidden = hidden + block(hidden)
            steps = self.leave(hidden).unflatten(-1, (self.modes, self.dim))
            steps = steps + self.straight(inputs).unsqueeze(-2)
            ways = self._moved(now.unsqueeze(-2).expand_as(steps), steps)
            if self.choose is None:
                return ways, ways.new_zeros(ways.shape[:-1])
            return ways, self.choose(hidden).log_softmax(dim=-1)

    def _moved(self, now: Tensor, steps: Tensor) -> Tensor:
        """`now` moved by `steps`, both `[..., D]`, the latter in typical steps of each entry; those
        of points with a heading are steps in the axes of their contact, and an angle."""
        after = now + self.step * steps
        pose = end_effector_pose(now[..., : self.agent_dim], self.spec)
        place = None if pose is None else pose[..., :3, 3]
        for point in (p for p in self.points if p.fold):
            yaw = contact_yaw(place, now[..., self.agent_dim :], point)
            index, moved = self._point_moved(point, now, steps, yaw)
            after = after.index_copy(-1, index, moved)
        return after

    def _point_moved(
        self, point: ScenePoint, now: Tensor, steps: Tensor, yaw: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Columns of a point's plane position, heading and tilt, and what they become."""
        columns, parts = [], []
        for pair in ((point.x, point.y), *([point.tilt] if point.tilt else [])):
            pair_columns = [self.agent_dim + entry for entry in pair]
            told = steps[..., pair_columns] * self.step[pair_columns].mean()
            columns += pair_columns
            parts.append(now[..., pair_columns] + in_axes(told, -yaw))
        heading = [self.agent_dim + point.cos, self.agent_dim + point.sin]
        angle = steps[..., heading[1]] * self.step[heading].mean()
        direction = nn.functional.normalize(now[..., heading], dim=-1)
        columns += heading
        parts.append(in_axes(direction, -angle))
        return torch.tensor(columns, device=now.device), torch.cat(parts, dim=-1)

    @torch.no_grad()
    def fit_scales(self, body: Tensor, before: Tensor, after: Tensor) -> None:
        """Set the normalisation and the box.

        Args:
            body: `[N, D]` recorded bodies.
            before: `[R, D]` of transitions.
            after: `[R, D]` of transitions.
        """
        std = body.std(dim=0)
        self.mean.copy_(body.mean(dim=0))
        self.std.copy_(torch.where(std < 1e-6, torch.ones_like(std), std))
        self.step.copy_(torch.maximum((after - before).std(dim=0), LEAST_STEP * self.std))
        self.low.copy_(body.amin(dim=0))
        self.high.copy_(body.amax(dim=0))

    @torch.no_grad()
    def widen_box(self, body: Tensor) -> None:
        """Let the box hold further recorded bodies `[N, D]`."""
        self.low.copy_(torch.minimum(self.low, body.amin(dim=0)))
        self.high.copy_(torch.maximum(self.high, body.amax(dim=0)))


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
    )
