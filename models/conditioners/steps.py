"""Steps that lead to frames, and their geometry, out of which conditioners draw their maps.

Legend: B batch, T frames, V views, A action, P proprioception, S tracked objects, D = P + S state,
h w map size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldsim.cameras.facing import Facing
from worldsim.cameras.poses import mounted_poses, require_carriers
from worldsim.cameras.projection import scale_intrinsics
from worldsim.models.dynamics.base import Dynamics


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

    def posed(self, camera_pose: Tensor, carrier: Tensor | None) -> "RigTensors":
        """These cameras where their poses were told.

        Args:
            camera_pose: `[B, V, 4, 4]` camera to world, NaN where it is not told.
            carrier: `[B, 4, 4]` what carries mounted ones, to the world; None where none is known.
        """
        extrinsics = camera_pose
        if carrier is not None:
            riding = torch.linalg.inv(carrier)[:, None] @ camera_pose
            extrinsics = torch.where(self.mounted[..., None, None], riding, camera_pose)
        told = _whole(extrinsics)
        return replace(self, extrinsics=torch.where(told, extrinsics, self.extrinsics))

    def scaled(self, factor: float) -> Tensor:
        """Intrinsics `[B, V, 3, 3]` in cells of images that are `factor` times the size."""
        return scale_intrinsics(self.intrinsics, factor)

    @property
    def riding(self) -> Tensor:
        """`[B, V]` bool, cameras that are known to be mounted."""
        return self.mounted & (self.known > 0)[:, None]


@dataclass(frozen=True, eq=False)
class FrameSteps:
    """Steps that lead to T frames, in physical units.

    Attributes:
        action: `[B, T, A]` that leads to each frame.
        mask: `[B, T]` 1 where it is known.
        before: `[B, T, D]` state before it.
        after: `[B, T, D]` state after it.
        view_mask: `[B, T, V]` 1 where the view exists.
        rig: calibration in pixels of the world's images.
        camera_pose: `[B, T, V, 4, 4]` cameras to world before and after, NaN where the dynamics
            tell them; None where they tell all.
    """

    action: Tensor
    mask: Tensor
    before: Tensor
    after: Tensor
    view_mask: Tensor
    rig: RigTensors
    camera_pose: tuple[Tensor, Tensor] | None = None

    @staticmethod
    def of(batch: Mapping[str, Tensor], dynamics: Dynamics) -> "FrameSteps":
        """Steps along a recorded clip; row t holds action t-1, row 0 has none.

        Args:
            batch: see `WorldModel.condition`.
            dynamics: of the model.
        """
        action, mask = batch["action"].float(), batch["action_mask"].float()
        state = dynamics.join(batch["agent_pos"].float(), batch["state"].float())
        led = torch.cat([torch.zeros_like(action[:, :1]), action[:, :-1]], dim=1)
        known = torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], dim=1)
        poses = None
        if "camera_pose" in batch:
            poses = (_held(batch["camera_pose"].float()), batch["camera_pose"].float())
        rig = RigTensors.of(batch, len(dynamics.spec.cameras))
        return FrameSteps(led, known, _held(state), state, batch["view_mask"], rig, poses)

    def frames(self, start: int, stop: int) -> "FrameSteps":
        """The steps that lead to frames start..stop-1."""
        span = slice(start, stop)
        poses = self.camera_pose
        return FrameSteps(
            self.action[:, span],
            self.mask[:, span],
            self.before[:, span],
            self.after[:, span],
            self.view_mask[:, span],
            self.rig,
            None if poses is None else (poses[0][:, span], poses[1][:, span]),
        )

    def acted(self, keep: Tensor) -> "FrameSteps":
        """The same with unknown actions in the rows where `keep` `[B]` is 0 (dropout)."""
        return replace(self, mask=self.mask * keep[:, None])

    def cameras(self, dynamics: Dynamics, facing: Facing | None = None) -> tuple[Tensor, Tensor]:
        """Poses `[B, T, V, 4, 4]` of the cameras before and after.

        Args:
            dynamics: of the model.
            facing: turns views to heading zero, see `worldsim.cameras.facing`.

        Raises:
            UsageError: a camera is mounted on a pose that nobody tells.
        """
        riding, given = self.rig.riding, self.camera_pose
        if given is not None:
            told = _whole(given[0]) & _whole(given[1])
            riding = riding & ~told[..., 0, 0].all(1)
        require_carriers(dynamics.spec.cameras, riding, dynamics.carriers)
        poses = []
        for place, state in enumerate((self.before, self.after)):
            carrier = dynamics.pose(state)
            if carrier is None:
                carrier = torch.eye(4, device=state.device).expand(*state.shape[:2], 4, 4)
            pose = mounted_poses(self.rig.extrinsics, self.rig.mounted, carrier)
            if given is not None:
                pose = torch.where(_whole(given[place]), given[place], pose)
            poses.append(pose if facing is None else facing.poses(pose, state))
        return poses[0], poses[1]


def _whole(poses: Tensor) -> Tensor:
    """`[..., 1, 1]` bool, which of the poses `[..., 4, 4]` are told; half a pose is none."""
    return poses.isfinite().flatten(-2).all(-1)[..., None, None]


def _held(values: Tensor) -> Tensor:
    """`[B, T, ...]` one frame late; the first stands for what was before it."""
    return torch.cat([values[:, :1], values[:, :-1]], dim=1)


@dataclass(frozen=True, eq=False)
class StepGeometry:
    """What conditioners draw: steps that lead to T frames; pairs are before and after the action.

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
        steps: FrameSteps, dynamics: Dynamics, size: tuple[int, int], facing: Facing | None = None
    ) -> "StepGeometry":
        """The geometry of steps on maps of `size`, of views as `facing` turns them.

        Raises:
            UsageError: a camera is mounted on a pose that nobody tells.
        """
        before, after = (dynamics.parts(state) for state in (steps.before, steps.after))
        return StepGeometry(
            steps.action,
            (before[0], after[0]),
            (before[1], after[1]),
            steps.cameras(dynamics, facing),
            steps.rig.scaled(size[0] / dynamics.spec.cameras[0].height).unsqueeze(1),
            size,
        )
