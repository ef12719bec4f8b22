"""A denoiser of one's own: one convolutional block, which attends to nothing."""

import torch
from torch import Tensor, nn

from worldsim.models.blocks import zero_init
from worldsim.models.denoisers.attention import FrameOrder, KeyValueContext
from worldsim.models.denoisers.base import (
    ContextShape,
    Denoiser,
    DenoiserConfig,
    DenoiserShape,
    register_denoiser,
)
from worldsim.models.denoisers.conditioning import Conditioning, FrameConditioner, Levels

NAME = "plain"


@register_denoiser(NAME)
class Plain(Denoiser):
    """Sees the frame, its predecessors and the maps; the context keeps no keys for it."""

    def __init__(self, config: DenoiserConfig, shape: DenoiserShape) -> None:
        super().__init__(config, shape)
        self.conditioner = FrameConditioner(
            shape.action_dim, shape.state_dim, shape.views, config.width, jumps=config.jumps
        )
        self.enter = nn.Conv2d(self.input_channels, config.width, 3, padding=1)
        self.leave = zero_init(nn.Conv2d(config.width, shape.channels, 3, padding=1))

    @property
    def context_shape(self) -> ContextShape:
        return ContextShape(layers=0, tokens=0, heads=0, head_dim=0)

    def residual(
        self,
        inputs: Tensor,
        levels: Levels,
        cond: Conditioning,
        order: FrameOrder,
        context: KeyValueContext | None,
        write: int,
    ) -> Tensor:
        told = self.conditioner(levels, cond).flatten(0, 2)[..., None, None]
        out: Tensor = self.leave(torch.nn.functional.silu(self.enter(inputs.flatten(0, 2)) + told))
        return out.reshape(*inputs.shape[:3], *out.shape[1:])
