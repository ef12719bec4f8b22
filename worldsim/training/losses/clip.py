"""A batch of recorded clips as the world model sees it: normalised, with views dropped.

Legend: B batch, T frames, K predicted frames, V views, c h w latent, E events.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.config.limits import Share
from worldsim.config.values import Checked
from worldsim.data.memory_sampler import MemorySamplerConfig
from worldsim.memory.base import Memory
from worldsim.models.conditioners.steps import FrameSteps
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.heads.depth import depth_loss
from worldsim.models.recall import recall, recall_clip, recorded_memory, remember
from worldsim.models.world_model import WorldModel
from worldsim.training.batches import Batch, stream
from worldsim.training.losses.events import event_losses, require_events
from worldsim.training.losses.objective import ObjectiveConfig, reading_losses
from worldsim.training.losses.remembered import noised, thinned


@dataclass(frozen=True, eq=False)
class Clip:
    """Attributes:
    x0: `[B, T, V, c, h, w]` clean latents, unit variance; missing views are zero.
    cond: actions and maps of the T frames; row t leads to frame t. What a memory tells of them is
        lacking, see `recalled`.
    targets: normalised `agent_pos`, `state`, and `success`, `progress` `[B, T]`; `events`
        `[B, T, E]` where they were recorded and there is a head; empty where no readings are taken.
    view_mask: `[B, T, V]`.
    frame_mask: `[B, T]` 0 in the padding of episodes shorter than the clip.
    steps: that lead to the frames.
    memory: as it was before the clip; None if the model keeps none.
    depth: `[B, T, V, H, W]` where it was recorded.
    """

    x0: Tensor
    cond: Conditioning
    targets: dict[str, Tensor]
    view_mask: Tensor
    frame_mask: Tensor
    steps: FrameSteps
    memory: Memory | None
    depth: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)."""
        return self.x0.shape[0], self.x0.shape[1]

    @torch.no_grad()
    def recalled(self, model: WorldModel, frames: int) -> tuple[Conditioning, Memory | None]:
        """Conditions of the first `frames` frames, of each of which the memory tells once it has
        seen those before it; and the memory that has seen all of them."""
        if self.memory is None:
            return self.cond.frames(0, frames), None
        depth = None if self.depth is None else self.depth[:, :frames]
        steps, shown = self.steps.frames(0, frames), self.x0[:, :frames]
        seen = self.frame_mask[:, :frames]
        view, memory = recall_clip(model, self.memory, steps, shown, seen, depth)
        with torch.autocast(self.x0.device.type, enabled=False):
            return model.condition_frames(steps, view), memory

    def whole(self, model: WorldModel) -> "Clip":
        """The clip with what the memory tells of all its frames, as they were recorded."""
        return replace(self, cond=self.recalled(model, self.shape[1])[0])

    def show(self, model: WorldModel, memory: Memory, start: int, frames: Tensor) -> None:
        """Have `memory` take in a model's own `frames` `[B, K, V, c, h, w]` from `start` on."""
        stop = start + frames.shape[1]
        if stop > start:
            count = self.frame_mask[:, start:stop].sum(1).long()
            remember(model, memory, self.steps.frames(start, stop), frames.float(), count)

    def conditions(
        self, model: WorldModel, memory: Memory | None, start: int, stop: int
    ) -> Conditioning:
        """Conditions of frames start..stop-1, of which `memory` tells instead of the recording's.

        What the clip lacks, such as hidden actions, is lacking here too.
        """
        if memory is None:
            return self.cond.frames(start, stop)
        steps = self.steps.frames(start, stop)
        with torch.no_grad(), torch.autocast(self.x0.device.type, enabled=False):
            return model.condition_frames(steps, recall(model, memory, steps))


@dataclass(frozen=True)
class DropoutConfig(Checked):
    """Attributes:
    action: chance that a clip's actions are hidden.
    view: chance that a clip lacks a view; one view always stays.
    rig: chance that a clip's cameras are uncalibrated, as those of a start may be.
    """

    action: Share = 0.05
    view: Share = 0.05
    rig: Share = 0.05


@torch.no_grad()
def prepare_clip(
    model: WorldModel,
    batch: Batch,
    dropout: DropoutConfig,
    generator: torch.Generator,
    remembered: MemorySamplerConfig | None = None,
    fraction: float = 1.0,
) -> Clip:
    """Normalise recorded clips, build their conditions, drop actions, views and calibration.

    Args:
        model: the world model.
        batch: of `worldsim.data.clips`.
        dropout: chances.
        generator: of the draws.
        remembered: what of their memories is dropped, see `worldsim.training.losses.remembered`;
            None leaves them whole.
        fraction: of training that is done.
    """
    x0 = model.normalizer.normalize("latent", batch["latents"].float())
    view_mask = batch["view_mask"].float() * _kept_views(batch["view_mask"], dropout, generator)
    x0 = x0 * view_mask[..., None, None, None]
    keep = _kept(x0.shape[0], dropout.action, generator).to(x0.device)
    # A stream of its own: whatever the chance, all else is drawn as without it.
    draws = stream(generator.initial_seed(), "rig")
    batch = hide_rigs(batch, _kept(x0.shape[0], dropout.rig, draws))
    blur = None
    if remembered is not None and model.remembers:
        draws = stream(generator.initial_seed(), "memory")
        batch = thinned(batch, remembered, fraction, draws)
        blur = partial(noised, config=remembered, generator=draws)
    # Poses and rays need full precision whatever the networks run in.
    with torch.autocast(x0.device.type, enabled=False):
        steps = FrameSteps.of({**batch, "view_mask": view_mask}, model.dynamics).acted(keep)
        depth = model.turned_depth(batch.get("depth"), steps.after)
        memory = None
        if model.remembers:
            memory = recorded_memory(model, batch, view_mask[:, 0], blur)
        cond = model.condition_frames(steps)
    there, targets = batch["frame_mask"].float(), _targets(model, batch)
    return Clip(x0, cond, targets, view_mask, there, steps, memory, depth)


def _targets(model: WorldModel, batch: Batch) -> dict[str, Tensor]:
    """What heads shall read off the frames, see `Clip`."""
    targets = {
        name: model.normalizer.normalize(name, batch[name].float())
        for name in ("agent_pos", "state")
    }
    targets |= {name: batch[name].float() for name in ("success", "progress")}
    if model.event_head is not None and "events" in batch:
        targets["events"] = batch["events"].float()
    return targets


def hide_rigs(batch: Batch, keep: Tensor) -> Batch:
    """The batch with unknown cameras where `keep` `[B]` or `[B, V]` is 0.

    Zero intrinsics are how a model tells them (`WorldModel.rig`), in training as in imagination.
    """
    if "intrinsics" not in batch:
        return batch
    known = keep.to(batch["intrinsics"]).reshape(len(keep), -1, 1, 1)
    return {**batch, "intrinsics": batch["intrinsics"] * known}


def shows_calibration(known: NDArray[np.bool_], dropout: DropoutConfig) -> bool:
    """Whether training ever shows calibrated cameras, of episodes that know theirs `[E, V]`."""
    return bool(known.all(axis=1).any()) and dropout.rig < 1


def _kept(count: int, chance: float, generator: torch.Generator) -> Tensor:
    """`[B]` of 0 and 1, 0 with this chance."""
    return (torch.rand(count, generator=generator) >= chance).float()


def _kept_views(mask: Tensor, dropout: DropoutConfig, generator: torch.Generator) -> Tensor:
    """`[B, 1, V]` of 0 and 1; a view chosen at random survives every draw."""
    batch, _, views = mask.shape
    kept = torch.rand(batch, views, generator=generator) >= dropout.view
    survivor = torch.randint(views, (batch, 1), generator=generator)
    return kept.scatter(1, survivor, True).float()[:, None].to(mask.device)


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
        require_events(model, clip)
        seen, made = event_losses(model.event_head, clip, predicted, first, frames)
        terms.append(config.events * (seen + config.on_predictions * made))
        logs |= {"read_events": seen.detach(), f"read_events_{name}": made.detach()}
    return terms, logs
