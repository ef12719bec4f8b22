"""What is lost by events that a head reads, off recorded frames and those that the model makes.

Legend: B batch, T frames, K predicted frames, V views, c h w latent, E events.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.models.blocks import balanced_loss
from worldsim.models.heads.events import EventHead
from worldsim.models.world_model import WorldModel

if TYPE_CHECKING:
    from worldsim.training.losses.clip import Clip


def event_losses(
    head: EventHead, clip: "Clip", predicted: Tensor, first: int, frames: Tensor
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


def require_events(model: WorldModel, clip: "Clip") -> None:
    """Refuse clips that do not tell what the head reads."""
    told, expected = clip.targets.get("events"), len(model.spec.events)
    found = 0 if told is None else told.shape[-1]
    if found != expected:
        raise UsageError(
            f"clips tell {found} events and the event head reads {expected} "
            f"({', '.join(model.spec.events)}); train on a data set that tells these, or set "
            "plan.objective.events=0"
        )
