"""Loss of the stride head: where recorded actions took the agent, seen from the frame before.

Legend: B clips, T frames.
"""

import torch
from torch import Tensor
from torch.nn import functional

from worldsim.models.recall import frame_cameras
from worldsim.models.walking import walk
from worldsim.models.world_model import WorldModel
from worldsim.training.losses.clip import Clip

BLUR = 0.1
"""Noise on recorded latents, since a model's own frames are not as clean."""


def stride_loss(model: WorldModel, clip: Clip, generator: torch.Generator) -> Tensor:
    """Mean distance, in typical steps, of where the agent came to from where the head says."""
    assert model.facing is not None
    plane = list(model.facing.frame.plane)
    frames = slice(0, clip.shape[1] - 1)
    later = clip.steps.frames(1, clip.shape[1])
    with torch.no_grad(), torch.autocast(clip.x0.device.type, enabled=False):
        cameras = frame_cameras(model, clip.steps).pose[:, frames]
    grain = torch.randn(clip.x0[:, frames].shape, generator=generator).to(clip.x0)
    latents = clip.x0[:, frames] + BLUR * grain
    parts = (latents, cameras, later.before, later.action, later.mask)
    told = walk(model, *(part.flatten(0, 1) for part in parts))
    gap = told[:, plane] - later.after.flatten(0, 1)[:, plane]
    scale = model.dynamics.step_size[plane].mean()
    known = (later.mask * clip.frame_mask[:, 1:]).flatten()
    each = functional.smooth_l1_loss(gap / scale, torch.zeros_like(gap), reduction="none").sum(-1)
    return (each * known).sum() / known.sum().clamp_min(1e-6)
