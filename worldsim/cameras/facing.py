"""Panoramas of an agent that turns, all turned back to one heading.

A turn of the agent about the vertical moves the columns of an upright panorama, and nothing else.
So it is resampling, exact for what a row can hold, and a model whose panoramas all face heading
zero has to learn translation alone (PanoWorld, 2607.09661). Retrieved and rendered frames then face
as the frame to come does, and a turn there and back changes no bit of a latent.

Legend: V views, C channels, H W pixels, D entries of a vector that begins with proprioception.
Turns are in radians, to the left.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.cameras.poses import Frame, frame_of
from worldsim.errors import UsageError
from worldsim.spec import WorldSpec

UPRIGHT = 1e-3
"""How far the vertical axis of an upright camera may be off, as a sine."""


def turn_panoramas(images: Tensor, yaw: Tensor) -> Tensor:
    """Panoramas `[..., C, H, W]` as cameras see them that have turned by `yaw` `[...]`.

    The phases of each row's Fourier series are shifted, as `sphere.turn_panorama` does for one
    turn of all.
    """
    width = images.shape[-1]
    series = torch.fft.rfft(images.float(), dim=-1)
    wave = torch.arange(series.shape[-1], device=images.device)
    phase = torch.exp(-1j * yaw[..., None].float() * wave)
    if width % 2 == 0:
        # The highest wave has no phase of its own: half of it goes either way.
        phase = torch.cat([phase[..., :-1], phase[..., -1:].real.to(phase)], dim=-1)
    turned: Tensor = torch.fft.irfft(series * phase[..., None, None, :], n=width, dim=-1)
    return turned.to(images.dtype)


def roll_panoramas(values: Tensor, yaw: Tensor) -> Tensor:
    """The same of what must not be mixed, such as depth: by the nearest whole column."""
    width = values.shape[-1]
    shift = (yaw * (width / (2 * math.pi))).round().long()
    column = torch.arange(width, device=values.device) - shift[..., None]
    index = column.remainder(width)[..., None, None, :]
    return values.gather(-1, index.expand(values.shape))


def turn_poses(poses: Tensor, yaw: Tensor) -> Tensor:
    """Poses `[..., 4, 4]` of cameras that turn by `yaw` `[...]` about their own vertical axis."""
    cos, sin = yaw.cos(), yaw.sin()
    none, one = torch.zeros_like(cos), torch.ones_like(cos)
    entries = [cos, none, -sin, none, none, one, none, none, sin, none, cos, none]
    turn = torch.stack([*entries, none, none, none, one], dim=-1)
    found: Tensor = poses @ turn.reshape(*yaw.shape, 4, 4).to(poses)
    return found


@dataclass(frozen=True)
class Facing:
    """Which views are turned to heading zero, and where the heading stands.

    Attributes:
        views: V, whether each is a whole panorama that rides on the agent.
        frame: of the agent's pose in proprioception.
    """

    views: tuple[bool, ...]
    frame: Frame

    @staticmethod
    def of(spec: WorldSpec) -> "Facing":
        """Of a world.

        Raises:
            UsageError: it has no panorama that rides on an agent, or tells no heading.
        """
        frame = frame_of(spec.agent_pos)
        views = tuple(c.wrap and c.carrier is not None for c in spec.cameras)
        if not any(views) or frame is None or frame.heading is None:
            cameras = ", ".join(f"{c.name} (wrap={c.wrap}, on {c.carrier})" for c in spec.cameras)
            raise UsageError(
                "model.derotate=true turns panoramas back by the agent's heading. It needs a "
                f"camera with wrap=True and a carrier, and has {cameras}; and entries NAME_x, "
                "NAME_y (m), NAME_cos and NAME_sin in the proprioception, which holds "
                f"{', '.join(spec.agent_pos.names) or 'nothing'}. Set model.derotate=false"
            )
        return Facing(views, frame)

    def yaw(self, vector: Tensor) -> Tensor:
        """Turns `[..., V]` of the views away from heading zero, out of vectors `[..., D]`."""
        assert self.frame.heading is not None
        cos, sin = vector[..., list(self.frame.heading)].float().unbind(-1)
        turns = vector.new_tensor(self.views, dtype=torch.float32)
        return torch.atan2(sin, cos)[..., None] * turns

    def back(self, images: Tensor, vector: Tensor | None) -> Tensor:
        """Images `[..., V, C, H, W]` turned to heading zero.

        Raises:
            UsageError: nobody tells how they are turned.
        """
        return turn_panoramas(images, -self.yaw(_told(vector).to(images.device)))

    def away(self, images: Tensor, vector: Tensor | None) -> Tensor:
        """Images at heading zero, turned to the agent's own; inverse of `back`."""
        return turn_panoramas(images, self.yaw(_told(vector).to(images.device)))

    def depth(self, depth: Tensor, vector: Tensor) -> Tensor:
        """Depth `[..., V, H, W]` turned to heading zero, by whole columns."""
        return roll_panoramas(depth.unsqueeze(-3), -self.yaw(vector)).squeeze(-3)

    def depth_away(self, depth: Tensor, vector: Tensor) -> Tensor:
        """Depth at heading zero, turned to the agent's own."""
        return roll_panoramas(depth.unsqueeze(-3), self.yaw(vector)).squeeze(-3)

    def poses(self, poses: Tensor, vector: Tensor) -> Tensor:
        """Poses `[..., V, 4, 4]` of cameras, turned to heading zero."""
        return turn_poses(poses, -self.yaw(vector))

    def require_upright(self, poses: Tensor) -> None:
        """Refuse cameras `[..., V, 4, 4]` for which a turn of the agent is no roll.

        Raises:
            UsageError: one that is turned does not stand upright.
        """
        down = poses[..., :3, 1].float()
        off = down[..., :2].norm(dim=-1) + (down[..., 2] > 0)
        if bool((off * off.new_tensor(self.views, dtype=off.dtype) > UPRIGHT).any()):
            raise UsageError(
                "model.derotate=true needs panoramas that stand upright (y of the camera down, "
                f"along -z of the world), and one has y along {down.reshape(-1, 3)[0].tolist()}; "
                "mount it upright, or set model.derotate=false"
            )


def _told(vector: Tensor | None) -> Tensor:
    if vector is None:
        raise UsageError(
            "model.derotate=true turns panoramas back by the agent's heading, and nobody tells it; "
            "give the proprioception, or the state, of every frame beside it"
        )
    return vector
