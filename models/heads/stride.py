"""How far a step takes an agent among walls, read off the frame that it stands in.

A command says where an agent wants to go; walls say where it comes to. Dynamics know the command
alone. This head looks where the step leads: the panorama is turned so that the step goes to its
middle, and what is seen there tells how the way is cut short and slides along. So the same walls
stop it in the same way whatever way it faces.

Legend: N frames, c h w latent, D state, A action. Metres.
"""

import torch
from torch import Tensor, nn

from worldsim.cameras.facing import turn_panoramas
from worldsim.models.blocks import ResBlock, zero_init

SEEN = 0.5
"""Share of the panorama about the way that is looked at."""


class StrideHead(nn.Module):
    """Convolutions, a turn, and an MLP over what lies ahead.

    Args:
        width: channels.
        latent: (c, h, w).
    """

    def __init__(self, width: int, latent: tuple[int, int, int]) -> None:
        super().__init__()
        channels, high, wide = latent
        self.ahead = max(round(SEEN * wide), 1)
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            ResBlock(width, width),
            nn.SiLU(),
            nn.Conv2d(width, width // 2, 1),
        )
        inputs = width // 2 * high * self.ahead + 1
        self.mix = nn.Sequential(
            nn.Linear(inputs, 4 * width),
            nn.SiLU(),
            nn.Linear(4 * width, 2 * width),
            nn.SiLU(),
            zero_init(nn.Linear(2 * width, 2)),
        )

    def forward(self, latents: Tensor, way: Tensor, scale: Tensor) -> Tensor:
        """Where an agent comes to, of frames of one panorama.

        Args:
            latents: `[N, c, h, w]`.
            way: `[N, 2]` metres that the command alone would take it, right and ahead of the
                panorama's middle.
            scale: metres of a typical step.

        Returns:
            `[N, 2]` metres.
        """
        images = latents.to(next(self.parameters()).dtype)
        seen = self.body(images.contiguous(memory_format=torch.channels_last)).float()
        bearing = torch.atan2(way[:, 0], way[:, 1])
        turned = turn_panoramas(seen, -bearing)
        first = (turned.shape[-1] - self.ahead) // 2
        near = turned[..., first : first + self.ahead].flatten(1)
        long = way.norm(dim=-1, keepdim=True)
        told = scale * self.mix(torch.cat([near, long / scale], dim=1).to(images.dtype)).float()
        ahead = way / long.clamp_min(1e-6)
        aside = torch.stack([ahead[:, 1], -ahead[:, 0]], dim=-1)
        found = way + told[:, :1] * ahead + told[:, 1:] * aside
        # Who stays where it is meets no wall.
        return torch.where(long > 1e-3 * scale, found, way)
