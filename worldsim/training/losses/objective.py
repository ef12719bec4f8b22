"""What the world model's losses count and how: frames, weights, errors.

Legend: B batch, T frames, V views, c h w latent, P proprioception, S state.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from worldsim.config.limits import Count, OneOf, Positive, Weight
from worldsim.config.values import Checked
from worldsim.models.heads.state import StateReading
from worldsim.registry import Registry
from worldsim.training.batches import Loss

Weighting = Literal["x0", "velocity"]


@dataclass(frozen=True)
class ObjectiveConfig(Checked):
    """Attributes:
    absolute: weight of the absolute error of latents beside the squared one, which settles on the
        mean of what may come; the absolute error on the median, which leaves alone what stays.
    weighting: `x0` counts clean-frame errors alike at all levels; `velocity` is flow matching,
        whose error in velocity is the clean-frame error over the level.
    least_level: level below which `velocity` stops growing.
    motion: how much all that moves in a view counts together, against all of the view counted
        evenly; 0 counts every place alike.
    motion_threshold: change of a latent, in its standard deviations, that counts as moving.
    motion_share: least share of a view that is taken to move, which bounds the weight of a place.
    foreground: the same for all that is seldom seen where it is, moving or not; `motion_threshold`
        and `motion_share` hold for it too.
    agent_pos: weight of the proprioception reading.
    state: weight of the privileged-state reading.
    success: weight of the success reading.
    progress: weight of the progress reading.
    depth: weight of the depth reading, where the model has a depth head and the data hold depth.
    photometric: weight of the depth reading's photometric error, which needs poses and no depth.
    stride: weight of how far steps take the agent, where the model has a head for that.
    events: weight of what happens at a frame, where the model has a head for that.
    on_predictions: factor of the readings taken off predicted frames, through which the denoiser
        learns to put things where the simulator has them.
    readings_every: in every n-th batch readings are taken; the others train the denoiser alone,
        which where latents are many takes a third less time.
    """

    absolute: Weight = 0.0
    weighting: Weighting = "x0"
    least_level: Positive = 0.2
    motion: Weight = 4.0
    motion_threshold: Positive = 0.5
    motion_share: Positive = 0.5
    foreground: Weight = 0.0
    agent_pos: Weight = 0.3
    state: Weight = 0.3
    success: Weight = 0.05
    progress: Weight = 0.1
    depth: Weight = 0.1
    photometric: Weight = 0.0
    stride: Weight = 0.3
    events: Weight = 0.5
    on_predictions: Weight = 0.3
    readings_every: Count = 1


def motion_weight(
    x0: Tensor, present: Tensor, strength: float, threshold: float, least_share: float
) -> Tensor:
    """Weights `[B, T, V, 1, h, w]`: 1 where still, more where something moves.

    A place moves at frame t if its latent differs from frame t-1's or t+1's, so that both where a
    thing was and where it is going count. What moves in a view shares the weight `strength`
    between its places: a camera on the wrist sees everything move, one that looks at the table a
    few small things, and those few are what a rollout is about. Computed from recorded latents
    `[B, T, V, c, h, w]`; shares are of the whole batch.
    """
    change = (x0[:, 1:] - x0[:, :-1]).abs().mean(dim=3, keepdim=True)
    change = change * (present[:, 1:] * present[:, :-1])
    still = torch.zeros_like(change[:, :1])
    largest = torch.maximum(torch.cat([still, change], 1), torch.cat([change, still], 1))
    return 1.0 + strength * _shared(largest / threshold, present, least_share)


def foreground_weight(
    x0: Tensor, present: Tensor, strength: float, threshold: float, least_share: float
) -> Tensor:
    """Weights `[B, T, V, 1, h, w]`: 1 at background, more at what is seldom seen at its place.

    Background is the median of a place over the batch, which is of episodes drawn at random. A
    thing that rests is a few places that never count as moving, yet a policy steers by them.
    Arguments as of `motion_weight`.
    """
    apart = (x0 - background_of(x0, present)).abs().mean(dim=3, keepdim=True) * present
    return 1.0 + strength * _shared(apart / threshold, present, least_share)


def background_of(x0: Tensor, present: Tensor) -> Tensor:
    """`[V, c, h, w]` the median of each place over a batch `[B, T, V, c, h, w]`.

    Args:
        x0: recorded latents.
        present: broadcastable to x0, 0 where they mean nothing.
    """
    known = x0.masked_fill(present == 0, torch.nan).flatten(0, 1)
    return known.nanmedian(dim=0).values.nan_to_num()


def _shared(degree: Tensor, present: Tensor, least_share: float) -> Tensor:
    """Degrees `[B, T, V, 1, h, w]`, cut at 1, over the share of their view that they make up."""
    bounded, over = degree.clamp(max=1.0), (0, 1, 3, 4, 5)
    there = present.mean(dim=over, keepdim=True).clamp_min(torch.finfo(degree.dtype).tiny)
    share = bounded.mean(dim=over, keepdim=True) / there
    return bounded / share.clamp_min(least_share)


def place_weight(x0: Tensor, present: Tensor, config: ObjectiveConfig) -> Tensor:
    """Weights `[B, T, V, 1, h, w]` of both kinds together: 1 where nothing is and nothing moves.

    Args:
        x0: recorded latents `[B, T, V, c, h, w]`.
        present: `[B, T, V]`, 0 for padding and missing cameras, whose latents mean nothing.
        config: strengths and thresholds.
    """
    bounds = (config.motion_threshold, config.motion_share)
    present = present[..., None, None, None].to(x0.dtype)
    weight = motion_weight(x0, present, config.motion, *bounds)
    if config.foreground > 0:
        weight = weight + foreground_weight(x0, present, config.foreground, *bounds) - 1.0
    return weight


def level_weight(sigma: Tensor, config: ObjectiveConfig) -> Tensor:
    """Weight `[B, T]` of a squared clean-frame error at each level."""
    if config.weighting == "x0":
        return torch.ones_like(sigma)
    return sigma.clamp_min(config.least_level).pow(-2)


def weighted_error(predicted: Tensor, target: Tensor, weight: Tensor, absolute: float) -> Tensor:
    """Mean of squared and, times `absolute`, absolute errors; 0 if all weights are 0.

    Weights broadcast to `[B, T, V, c, h, w]`.
    """
    gap = predicted.float() - target.float()
    each = gap.square() + absolute * gap.abs()
    weight = weight.expand_as(each)
    return (each * weight).sum() / weight.sum().clamp_min(1e-6)


@torch.no_grad()
def frame_error(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Plain mean squared error of the frames that `weight` `[B, T]` chooses; 0 without any."""
    each = (predicted.float() - target).square().mean(dim=(2, 3, 4, 5))
    return (each * weight).sum() / weight.sum().clamp_min(1e-6)


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


@dataclass(frozen=True)
class LossMaskConfig(Checked):
    """Attributes:
    name: registered mask.
    frames: K of `last` and `random`.
    """

    name: Annotated[str, OneOf(lambda: LOSS_MASKS)] = "all"
    frames: Count = 4


Frames = Callable[[tuple[int, int], torch.Generator], Tensor]
"""Weights `[B, T]` of the frames of a batch of clips, from its shape and randomness."""
MaskRow = Callable[[LossMaskConfig, tuple[int, int], torch.Generator], Tensor]
LOSS_MASKS: Registry[MaskRow] = Registry("loss mask")


def loss_mask(config: LossMaskConfig) -> Frames:
    """What draws the weights, 0 or 1, of the frames of clips.

    Raises:
        UsageError: no such mask.
    """
    return partial(LOSS_MASKS.get(config.name), config)


@LOSS_MASKS.register("all")
def mask_all(config: LossMaskConfig, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Every frame."""
    return torch.ones(shape)


@LOSS_MASKS.register("last")
def mask_last(config: LossMaskConfig, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """The last K frames."""
    return (torch.arange(shape[1]) >= shape[1] - config.frames).float().expand(shape)


@LOSS_MASKS.register("random")
def mask_random(
    config: LossMaskConfig, shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """K successive frames at a uniform place of each clip (Self-Forcing++, 2510.02283)."""
    places = max(shape[1] - config.frames, 0) + 1
    start = torch.randint(places, (shape[0], 1), generator=generator)
    frame = torch.arange(shape[1])
    return ((frame >= start) & (frame < start + config.frames)).float()
