"""Reads which events happened at a frame, off it, the frame before, and the action between.

Where panoramas are turned to heading zero (`model.derotate`), latents do not say which way the
agent faces, and an event such as a collision is about what is ahead. So features of both frames are
turned to the heading after the action, as `StrideHead` turns its own to the way of the step. Ahead
is in the middle then, what stays stays in its place, and an event is read alike whatever way the
agent faces; of cosine and sine as inputs that would have to be learnt.

Legend: B batch, T frames, N pairs of frames, V views, c h w latent, A action, E events.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldsim.cameras.facing import Facing, turn_panoramas
from worldsim.models.blocks import ResBlock, zero_init
from worldsim.models.conditioners.steps import FrameSteps

GRID = (8, 16)
"""Most rows and columns of a view that are told apart, which bounds the head's weights."""
LAST = "out.2"
"""The layer whose outputs are the events."""


class EventHead(nn.Module):
    """Convolutions over pairs of frames with weights shared by views, scaled by the action, an MLP.

    It begins undecided about every event.

    Args:
        width: channels.
        views: V.
        latent: (c, h, w).
        actions: A.
        events: E.
        facing: which views its latents show turned to heading zero; None if none.
    """

    def __init__(
        self,
        width: int,
        views: int,
        latent: tuple[int, int, int],
        actions: int,
        events: int,
        facing: Facing | None = None,
    ) -> None:
        super().__init__()
        channels, high, wide = latent
        self.facing, self.grid = facing, (min(high, GRID[0]), min(wide, GRID[1]))
        told = max(width // 2, 1)
        self.body = nn.Sequential(
            nn.Conv2d(2 * channels, width, 3, padding=1),
            ResBlock(width, width),
            nn.SiLU(),
            nn.Conv2d(width, told, 1),
        )
        places = self.grid[0] * self.grid[1]
        self.mixed = nn.Sequential(nn.Linear(views * told * places, 2 * width), nn.SiLU())
        self.action = nn.Linear(actions + 1, 2 * width)
        self.out = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), zero_init(nn.Linear(width, events))
        )

    def forward(
        self,
        before: Tensor,
        after: Tensor,
        action: Tensor,
        known: Tensor,
        view_mask: Tensor | None = None,
        yaw: Tensor | None = None,
    ) -> Tensor:
        """Logits `[N, E]`.

        Args:
            before: `[N, V, c, h, w]` latents of the frames that the actions were taken in.
            after: of those that they led to.
            action: `[N, A]`.
            known: `[N]` 1 where the action is known.
            view_mask: `[N, V]` 0 for missing views, which count as zero.
            yaw: `[N, V]` turns of the views, after the actions, away from how latents show them.
        """
        count, views = after.shape[:2]
        pair = torch.cat([after, after - before], dim=2).flatten(0, 1).to(self.action.weight.dtype)
        seen = self.body(pair.contiguous(memory_format=torch.channels_last))
        if yaw is not None:
            seen = turn_panoramas(seen, yaw.flatten())
        # What happens, happens in few places.
        near = functional.adaptive_max_pool2d(seen, self.grid)
        near = near.reshape(count, views, *near.shape[1:])
        if view_mask is not None:
            near = near * view_mask[..., None, None, None].to(near.dtype)
        took = torch.cat([action * known[:, None], known[:, None]], dim=1)
        scale = 1 + self.action(took.to(self.action.weight.dtype))
        logits: Tensor = self.out(self.mixed(near.flatten(1)) * scale)
        return logits.float()

    def along(self, latents: Tensor, steps: FrameSteps) -> Tensor:
        """Logits `[B, T, E]` of the frames that `steps` lead to.

        Args:
            latents: `[B, T + 1, V, c, h, w]` of these frames and the one before the first of them.
            steps: of T frames.
        """
        parts = [latents[:, :-1], latents[:, 1:], steps.action, steps.mask, steps.view_mask]
        if self.facing is not None:
            parts.append(self.facing.yaw(steps.after))
        told: Tensor = self(*(part.flatten(0, 1) for part in parts))
        return told.reshape(*steps.mask.shape, -1)
