"""Losses of the world model: pure functions of tensors.

Legend: B batch, T frames, V views, c h w latent, P proprioception, S state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from worldsim.errors import UsageError
from worldsim.models.heads import StateReading
from worldsim.training.stage import Loss

Weighting = Literal["x0", "velocity"]


@dataclass(frozen=True)
class ObjectiveConfig:
    """Attributes:
    weighting: `x0` counts clean-frame errors alike at all levels; `velocity` is flow matching,
        whose error in velocity is the clean-frame error over the level.
    least_level: level below which `velocity` stops growing.
    motion: extra weight of what moves; what stands still counts 1.
    motion_threshold: change of a latent, in its standard deviations, that counts as moving.
    agent_pos: weight of the proprioception reading.
    state: weight of the privileged-state reading.
    success: weight of the success reading.
    progress: weight of the progress reading.
    on_predictions: factor of the readings taken off predicted frames, through which the denoiser
        learns to put things where the simulator has them.
    """

    weighting: Weighting = "x0"
    least_level: float = 0.2
    motion: float = 4.0
    motion_threshold: float = 0.5
    agent_pos: float = 0.3
    state: float = 0.3
    success: float = 0.05
    progress: float = 0.1
    on_predictions: float = 0.3

    def __post_init__(self) -> None:
        if self.least_level <= 0 or self.motion_threshold <= 0 or self.motion < 0:
            raise UsageError(
                f"objective: least_level and motion_threshold must be positive, got {self}"
            )


def motion_weight(x0: Tensor, strength: float, threshold: float) -> Tensor:
    """Weights `[B, T, V, 1, h, w]`: 1 where still, 1 + strength where something moves.

    A place moves at frame t if its latent differs from frame t-1's or t+1's, so that both where a
    thing was and where it is going count. Computed from recorded latents `[B, T, V, c, h, w]`.
    """
    change = (x0[:, 1:] - x0[:, :-1]).abs().mean(dim=3, keepdim=True)
    still = torch.zeros_like(change[:, :1])
    largest = torch.maximum(torch.cat([still, change], 1), torch.cat([change, still], 1))
    return 1.0 + strength * (largest / threshold).clamp(max=1.0)


def level_weight(sigma: Tensor, weighting: Weighting, least_level: float) -> Tensor:
    """Weight `[B, T]` of a squared clean-frame error at each level."""
    if weighting == "x0":
        return torch.ones_like(sigma)
    return sigma.clamp_min(least_level).pow(-2)


def weighted_mse(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error under weights that broadcast to `[B, T, V, c, h, w]`; 0 if all are 0."""
    squared = (predicted.float() - target.float()).square()
    weight = weight.expand_as(squared)
    return (squared * weight).sum() / weight.sum().clamp_min(1e-6)


def frame_weights(frames: Tensor, view_mask: Tensor) -> Tensor:
    """`[B, T]` and `[B, T, V]` to `[B, T, V, 1, 1, 1]`."""
    return (frames[:, :, None] * view_mask)[..., None, None, None]


def reading_losses(
    reading: StateReading,
    targets: Mapping[str, Tensor],
    frames: Tensor,
    config: ObjectiveConfig,
    success_weight: float,
) -> Loss:
    """Errors of a reading in normalised units, weighted and summed.

    Args:
        reading: normalised `agent_pos [B,T,P]`, `state [B,T,S]`, and logits `[B,T]`.
        targets: the same in normalised units, `success` and `progress` in [0, 1]. A state that
            was not recorded (S = 0) adds nothing.
        frames: `[B, T]` weights.
        config: weights of the terms.
        success_weight: how much more a success counts than a failure, to balance rare ones.
    """
    total = frames.sum().clamp_min(1e-6)

    def vector(predicted: Tensor, target: Tensor) -> Tensor:
        if not target.shape[-1]:
            return frames.new_zeros(())
        return (
            F.smooth_l1_loss(predicted, target, reduction="none").mean(-1) * frames
        ).sum() / total

    success = F.binary_cross_entropy_with_logits(
        reading.success_logit,
        targets["success"],
        reduction="none",
        pos_weight=frames.new_tensor(success_weight),
    )
    parts = {
        "agent_pos": vector(reading.agent_pos, targets["agent_pos"]),
        "state": vector(reading.state, targets["state"]),
        "success": (success * frames).sum() / total,
        "progress": ((reading.progress - targets["progress"]).square() * frames).sum() / total,
    }
    weighted = [getattr(config, name) * value for name, value in parts.items()]
    return Loss(torch.stack(weighted).sum(), {name: v.detach() for name, v in parts.items()})


def success_balance(success: Tensor, most: float = 20.0) -> float:
    """Failures per success among recorded frames, at most `most`; 1 if there is no success."""
    positives = float(success.float().sum())
    if positives == 0:
        return 1.0
    return min(max((success.numel() - positives) / positives, 1.0), most)
