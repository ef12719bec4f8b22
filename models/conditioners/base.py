"""What denoisers are conditioned on as pixel-aligned maps, by named conditioners.

Actions that enter only as tokens are nearly inert (GigaWorld-1, 2607.02642: trajectory accuracy
.162 for cross-attention against .353 for channel-concatenated pixel-aligned maps). A model names
its conditioners; each draws its channels out of one step's geometry and one view of a memory.
Channels have names, by which weights are matched when a model is transferred to another world.

Legend: B batch, T frames, V views, A action, P proprioception, S tracked objects, D = P + S state,
M map channels, h w map size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from worldsim.cameras.poses import mounted_poses, require_carriers
from worldsim.cameras.projection import camera_rays, projections_of, scale_intrinsics
from worldsim.errors import UsageError
from worldsim.memory.view import MemoryView
from worldsim.models.dynamics.base import Dynamics
from worldsim.registry import Registry
from worldsim.spec import WorldSpec

MOTION_GAIN = 10.0
"""How rays change in a step is a fraction of what they are; this evens them."""


@dataclass(frozen=True)
class RigTensors:
    """Calibration of a batch: intrinsics `[B,V,3,3]` in image pixels, extrinsics `[B,V,4,4]`,
    mounted `[B,V]` bool, known `[B]` (0: no calibration, maps of it are zero)."""

    intrinsics: Tensor
    extrinsics: Tensor
    mounted: Tensor
    known: Tensor

    @staticmethod
    def of(batch: Mapping[str, Tensor], views: int) -> "RigTensors":
        """Calibration out of a batch; unknown (all zero or absent) cameras become harmless."""
        count = batch["agent_pos"].shape[0]
        device = batch["agent_pos"].device
        eye3 = torch.eye(3, device=device).expand(count, views, 3, 3)
        eye4 = torch.eye(4, device=device).expand(count, views, 4, 4)
        if "intrinsics" not in batch:
            none = torch.zeros(count, views, dtype=torch.bool, device=device)
            return RigTensors(eye3, eye4, none, none[:, 0].float())
        intrinsics, extrinsics = batch["intrinsics"].float(), batch["extrinsics"].float()
        known = (intrinsics[:, :, 0, 0] > 0).all(dim=1)
        at = known[:, None, None, None]
        return RigTensors(
            torch.where(at, intrinsics, eye3),
            torch.where(at, extrinsics, eye4),
            batch["mounted"].bool(),
            known.float(),
        )

    @property
    def riding(self) -> Tensor:
        """`[B, V]` bool, cameras that are known to be mounted."""
        return self.mounted & (self.known > 0)[:, None]


@dataclass(frozen=True, eq=False)
class StepGeometry:
    """Steps that lead to T frames, in physical units; pairs are before and after the action.

    Attributes:
        action: `[B, T, A]`.
        agent_pos: pair of `[B, T, P]`.
        objects: pair of `[B, T, S]`; empty if they are not tracked.
        cameras: pair of `[B, T, V, 4, 4]`, cameras to world.
        intrinsics: `[B, 1, V, 3, 3]` in cells of the map.
        size: (h, w).
    """

    action: Tensor
    agent_pos: tuple[Tensor, Tensor]
    objects: tuple[Tensor, Tensor]
    cameras: tuple[Tensor, Tensor]
    intrinsics: Tensor
    size: tuple[int, int]

    @staticmethod
    def of(
        action: Tensor,
        states: tuple[Tensor, Tensor],
        dynamics: Dynamics,
        rig: RigTensors,
        size: tuple[int, int],
    ) -> "StepGeometry":
        """The geometry of steps that take `states[0]` to `states[1]`, `[B, T, D]` each.

        Raises:
            UsageError: a camera is mounted on a pose that the dynamics do not tell.
        """
        cameras = dynamics.spec.cameras
        require_carriers(cameras, rig.riding, dynamics.carriers)
        poses = []
        for state in states:
            carrier = dynamics.pose(state)
            if carrier is None:
                carrier = torch.eye(4, device=action.device).expand(*action.shape[:2], 4, 4)
            poses.append(mounted_poses(rig.extrinsics, rig.mounted, carrier))
        intrinsics = scale_intrinsics(rig.intrinsics, size[0] / cameras[0].height).unsqueeze(1)
        before, after = (dynamics.parts(state) for state in states)
        return StepGeometry(
            action,
            (before[0], after[0]),
            (before[1], after[1]),
            (poses[0], poses[1]),
            intrinsics,
            size,
        )


class Conditioner:
    """Base of all conditioners.

    Args:
        spec: the world.
        objects: whether the objects of the world's state are tracked.

    Attributes:
        channels: a name for each of its M channels, unique among all conditioners.
        calibrated: whether it needs calibrated cameras; its maps are zero without.
    """

    calibrated: ClassVar[bool] = True

    def __init__(self, spec: WorldSpec, *, objects: bool) -> None:
        self.spec = spec
        self.channels: tuple[str, ...] = ()

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        """`[B, T, V, M, h, w]` for the frames that `step` leads to."""
        raise NotImplementedError("a conditioner draws its channels")


CONDITIONERS: Registry[Callable[..., Conditioner]] = Registry("conditioner")


def register_conditioner(name: str) -> Callable[[Any], Any]:
    """Class decorator that files a conditioner under `name`."""
    return CONDITIONERS.register(name)


def numbered(name: str, count: int) -> tuple[str, ...]:
    """Names of `count` channels about one thing."""
    return tuple(f"{name}_{index}" for index in range(count))


@register_conditioner("rays")
class Rays(Conditioner):
    """Plücker rays of the cameras as they will stand (6), and how these change (6)."""

    def __init__(self, spec: WorldSpec, *, objects: bool) -> None:
        super().__init__(spec, objects=objects)
        self.channels = numbered("rays", 12)
        self.projections = projections_of(spec.cameras)

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        """See the class."""
        before, after = (
            camera_rays(self.projections, step.intrinsics, poses, *step.size)
            for poses in step.cameras
        )
        return torch.cat([after, MOTION_GAIN * (after - before)], dim=3)


@register_conditioner("action")
class Action(Conditioner):
    """Each entry of the action as a constant map, where no geometry says what it does."""

    calibrated = False

    def __init__(self, spec: WorldSpec, *, objects: bool) -> None:
        super().__init__(spec, objects=objects)
        self.channels = tuple(f"action_{name}" for name in spec.action.names)

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        """See the class."""
        batch, frames, entries = step.action.shape
        flat = step.action[:, :, None, :, None, None]
        return flat.expand(batch, frames, len(self.spec.cameras), entries, *step.size)


class ConditionerList:
    """The conditioners of a model, one after another along the channels.

    Args:
        names: registered names, in order.
        spec: the world.
        dynamics: say whether objects are tracked.

    Raises:
        UsageError: a name is not registered, or stands there twice.
    """

    def __init__(self, names: Sequence[str], spec: WorldSpec, dynamics: Dynamics) -> None:
        for name in names:
            if list(names).count(name) > 1:
                raise UsageError(
                    f"model.conditioners names {name!r} twice in {list(names)}; name it once"
                )
        objects = dynamics.state_dim > 0
        rows = [registered_conditioners().get(name) for name in names]
        self.rows = tuple(row(spec, objects=objects) for row in rows)
        self.channels = tuple(name for row in self.rows for name in row.channels)
        self.calibrated = any(row.calibrated for row in self.rows)
        self._dynamics, self._views = dynamics, len(spec.cameras)

    def maps(
        self,
        action: Tensor,
        states: tuple[Tensor, Tensor],
        rig: RigTensors,
        size: tuple[int, int],
        memory: MemoryView | None = None,
    ) -> Tensor:
        """Maps `[B, T, V, M, h, w]` of frames.

        Args:
            action: `[B, T, A]` that leads to each frame.
            states: before and after it, `[B, T, D]` each, physical units.
            rig: calibration in pixels of the world's images.
            size: (h, w).
            memory: what is known of the frames to come.

        Raises:
            UsageError: a camera is mounted on a pose that the dynamics do not tell.
        """
        if not self.rows:
            return action.new_zeros(*action.shape[:2], self._views, 0, *size)
        step = StepGeometry.of(action, states, self._dynamics, rig, size)
        known = rig.known[:, None, None, None, None, None]
        parts = []
        for row in self.rows:
            maps = row.maps(step, memory)
            parts.append(maps * known if row.calibrated else maps)
        return torch.cat(parts, dim=3)


def registered_conditioners() -> Registry[Callable[..., Conditioner]]:
    """The registry, with every row in it."""
    # The rows import this module, so they are named where a name is first looked up.
    import worldsim.models.tabletop.maps  # noqa: F401

    return CONDITIONERS
