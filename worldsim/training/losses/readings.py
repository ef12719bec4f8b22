"""What is lost by what heads read, off recorded frames and off those that the model makes itself.

Legend: B batch, T frames, K predicted frames, V views, c h w latent, E events.
"""

from functools import partial

import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.models.blocks import balanced_loss
from worldsim.models.heads.depth import depth_loss
from worldsim.models.heads.events import EventHead
from worldsim.models.world_model import WorldModel
from worldsim.training.losses.clip import Clip
from worldsim.training.losses.objective import ObjectiveConfig, reading_losses


def clip_readings(
    model: WorldModel,
    clip: Clip,
    name: str,
    predicted: Tensor,
    first: int,
    frames: Tensor,
    config: ObjectiveConfig,
    success_weight: float,
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Weighted terms to be added to a loss, in this order, and what they are logged as.

    Args:
        model: whose heads read.
        clip: what was recorded, with targets.
        name: of the predictions, for the logs.
        predicted: `[B, K, V, c, h, w]` clean estimates of K frames.
        first: number in the clip of the first of them.
        frames: `[B, K]` their weights; 0 where they do not count.
        config: weights of the terms.
        success_weight: see `reading_losses`.

    Raises:
        UsageError: there is an event head to be taught, and the clip does not tell its events.
    """
    span = slice(first, first + predicted.shape[1])
    read = partial(reading_losses, config=config, success_weight=success_weight)
    recorded = read(model.head(clip.x0, clip.view_mask), clip.targets, clip.frame_mask)
    targets = {key: value[:, span] for key, value in clip.targets.items()}
    imagined = read(model.head(predicted, clip.view_mask[:, span]), targets, (frames > 0).float())
    logs = {f"read_{key}": value for key, value in recorded.logs.items()}
    logs |= {f"read_{key}_{name}": value for key, value in imagined.logs.items()}
    terms = [recorded.total, config.on_predictions * imagined.total]
    if model.depth_head is not None and clip.depth is not None and config.depth > 0:
        there = clip.view_mask * clip.frame_mask[..., None]
        depth = depth_loss(model.depth_head(clip.x0), clip.depth, there)
        terms.append(config.depth * depth)
        logs["read_depth"] = depth.detach()
    if model.event_head is not None and config.events > 0:
        _require_events(model, clip)
        seen, made = event_losses(model.event_head, clip, predicted, first, frames)
        terms.append(config.events * (seen + config.on_predictions * made))
        logs |= {"read_events": seen.detach(), f"read_events_{name}": made.detach()}
    return terms, logs


def event_losses(
    head: EventHead, clip: Clip, predicted: Tensor, first: int, frames: Tensor
) -> tuple[Tensor, Tensor]:
    """What is lost by events read off recorded frames, and off predicted ones.

    The frame before the first predicted one is the recorded one, where the clip holds it.

    Args:
        head: that reads.
        clip: what was recorded, with `events` among its targets.
        predicted: `[B, K, V, c, h, w]` clean estimates of K frames.
        first: number in the clip of the first of them.
        frames: `[B, K]` their weights; 0 where they do not count.
    """
    told, length = clip.targets["events"], clip.shape[1]
    steps = clip.steps.frames(1, length)
    seen = _lost(head.along(clip.x0, steps), told[:, 1:], clip.frame_mask[:, 1:])
    start, stop = max(first, 1), first + predicted.shape[1]
    if start == stop:
        return seen, torch.zeros_like(seen)
    shown = torch.cat([clip.x0[:, start - 1 : first].to(predicted), predicted], dim=1)
    logit = head.along(shown, clip.steps.frames(start, stop))
    made = _lost(logit, told[:, start:stop], (frames[:, start - first :] > 0).float())
    return seen, made


def _lost(logit: Tensor, told: Tensor, there: Tensor) -> Tensor:
    """Loss of logits `[B, K, E]`, of frames that count `[B, K]`."""
    return balanced_loss(logit.flatten(0, 1), told.flatten(0, 1), there.flatten())


def _require_events(model: WorldModel, clip: Clip) -> None:
    """Refuse clips that do not tell what the head reads."""
    told, expected = clip.targets.get("events"), len(model.spec.events)
    found = 0 if told is None else told.shape[-1]
    if found != expected:
        raise UsageError(
            f"clips tell {found} events and the event head reads {expected} "
            f"({', '.join(model.spec.events)}); train on a data set that tells these, or set "
            "plan.objective.events=0"
        )
