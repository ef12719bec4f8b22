"""What denoisers are conditioned on as pixel-aligned maps, by named conditioners.

Actions that enter only as tokens are nearly inert (GigaWorld-1, 2607.02642: trajectory accuracy
.162 for cross-attention against .353 for channel-concatenated pixel-aligned maps). A model names
its conditioners; each draws its channels out of one step's geometry and one view of a memory.
Channels have names, by which weights are matched when a model is transferred to another world.

Legend: B batch, T frames, V views, A action, P proprioception, S tracked objects, D = P + S state,
M map channels, h w map size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from worldsim.cameras.facing import Facing
from worldsim.cameras.projection import camera_rays, projections_of
from worldsim.errors import UsageError
from worldsim.memory.view import MemoryView
from worldsim.models.conditioners.steps import FrameSteps, StepGeometry
from worldsim.models.dynamics.base import Dynamics
from worldsim.registry import Registry
from worldsim.spec import WorldSpec

MOTION_GAIN = 10.0
"""How rays change in a step is a fraction of what they are; this evens them."""


@dataclass(frozen=True)
class RecalledShape:
    """Sizes of what a memory tells.

    Attributes:
        channels: c of latents.
        retrieved: most past frames for each frame to come.
    """

    channels: int
    retrieved: int


class Conditioner:
    """Base of all conditioners.

    Args:
        spec: the world.
        objects: whether the objects of the world's state are tracked.

    Attributes:
        channels: a name for each of its M channels, unique among all conditioners.
        calibrated: whether it needs calibrated cameras; its maps are zero without.
        recalls: whether it draws what a memory tells. It is then made with a further argument
            `told`, a `RecalledShape`, and the weights of its channels begin at zero.
    """

    calibrated: ClassVar[bool] = True
    recalls: ClassVar[bool] = False

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
        told: sizes of what a memory tells, for those that draw it.
        facing: which views are turned to heading zero; None if none.

    Attributes:
        channels: names of all M channels.
        silent: which of these, by their number, begin with weights of zero.

    Raises:
        UsageError: a name is not registered, or stands there twice.
    """

    def __init__(
        self,
        names: Sequence[str],
        spec: WorldSpec,
        dynamics: Dynamics,
        told: RecalledShape | None = None,
        facing: Facing | None = None,
    ) -> None:
        require_distinct(names)
        objects = dynamics.state_dim > 0
        rows: list[Conditioner] = []
        for name in names:
            row: Any = registered_conditioners().get(name)
            own = {"told": told} if getattr(row, "recalls", False) else {}
            rows.append(row(spec, objects=objects, **own))
        self.rows = tuple(rows)
        self.channels = tuple(name for row in self.rows for name in row.channels)
        recalled = [row.recalls for row in self.rows for _ in row.channels]
        self.silent = [index for index, recalls in enumerate(recalled) if recalls]
        self.calibrated = any(row.calibrated for row in self.rows)
        self._dynamics, self._facing = dynamics, facing

    def maps(
        self, steps: FrameSteps, size: tuple[int, int], memory: MemoryView | None = None
    ) -> Tensor:
        """Maps `[B, T, V, M, h, w]` of the frames that `steps` lead to.

        Args:
            steps: how they come about.
            size: (h, w).
            memory: what is known of the frames to come.

        Raises:
            UsageError: a camera is mounted on a pose that nobody tells.
        """
        if not self.rows:
            return steps.action.new_zeros(*steps.view_mask.shape, 0, *size)
        step = StepGeometry.of(steps, self._dynamics, size, self._facing)
        known = steps.rig.known[:, None, None, None, None, None]
        parts = []
        for row in self.rows:
            maps = row.maps(step, memory)
            parts.append(maps * known if row.calibrated else maps)
        return torch.cat(parts, dim=3)


def require_distinct(names: Sequence[str]) -> None:
    """Refuse a conditioner that is named twice.

    Raises:
        UsageError: see above.
    """
    for name in names:
        if list(names).count(name) > 1:
            raise UsageError(
                f"model.conditioners names {name!r} twice in {list(names)}; name it once"
            )


def registered_conditioners() -> Registry[Callable[..., Conditioner]]:
    """The registry, with every row in it."""
    # The rows import this module, so they are named where a name is first looked up.
    import worldsim.models.conditioners.motion
    import worldsim.models.conditioners.recalled
    import worldsim.models.tabletop.maps  # noqa: F401

    return CONDITIONERS
