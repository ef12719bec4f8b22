"""Rollout plan: the model's own short rollouts, as the sampler makes them, with gradients.

The pass that commits the previous frame to the context also takes the first denoising step of the
next, exactly as `worldsim.streaming.imagination` does; gradients reach one frame back through the
keys of that pass, frames older than that and earlier denoising steps are detached (Self Forcing,
2506.08009, detaches the whole cache). Hand and scene are where they were recorded: the denoiser
learns to show what it is told, whatever its own frames have become.

Legend: B batch, T frames, V views, c h w latent, H given frames, K imagined frames.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.diffusion.flow import as_history, per_frame, step_down
from worldsim.diffusion.ladder import sampling_ladder
from worldsim.errors import UsageError
from worldsim.models.conditioning import Conditioning
from worldsim.models.world_model import WorldModel
from worldsim.streaming.context import Context, new_context
from worldsim.training.plan.clip import Clip


@dataclass(frozen=True)
class RolloutConfig:
    """Attributes:
    start: fraction of training from which rollouts are trained on; 1 means never.
    share: share of batches from then on that are rollouts; the others stay plain diffusion.
    frames: K at the start of that phase.
    frames_end: K at the end of training; grows linearly between.
    history: most frames given before a rollout; H is uniform from 1 to this.
    most_steps: denoising steps a frame are uniform from 1 to this.
    history_level: noise level put on the given frames, uniform from 0 to this.
    """

    start: float = 1.0
    share: float = 1.0
    frames: int = 4
    frames_end: int = 4
    history: int = 4
    most_steps: int = 2
    history_level: float = 0.05

    def __post_init__(self) -> None:
        counts = (self.frames, self.frames_end, self.history, self.most_steps)
        if min(counts) < 1 or not 0 <= self.start <= 1 or not 0 <= self.share <= 1:
            raise UsageError(
                f"rollout: counts must be 1 or more, start and share in [0, 1], got {self}"
            )

    def length(self, fraction: float) -> int:
        """K after `fraction` of training."""
        span = max(1.0 - self.start, 1e-9)
        done = min(max((fraction - self.start) / span, 0.0), 1.0)
        return round(self.frames + done * (self.frames_end - self.frames))


@dataclass(frozen=True, eq=False)
class Rolled:
    """Attributes:
    predicted: `[B, K, V, c, h, w]` imagined clean frames, with gradients.
    first: H, the number in the clip of the first of them.
    """

    predicted: Tensor
    first: int


def self_rollout(
    model: WorldModel,
    clip: Clip,
    config: RolloutConfig,
    fraction: float,
    generator: torch.Generator,
) -> Rolled:
    """Imagine the last frames of a clip from its first ones under its recorded actions.

    Raises:
        UsageError: the clip is too short for a given and an imagined frame.
    """
    batch, frames = clip.shape
    if frames < 2:
        raise UsageError(f"plan.length is {frames}; a rollout needs clips of 2 frames or more")
    count = min(config.length(fraction), frames - 1)
    most = min(config.history, frames - count)
    first = int(torch.randint(1, most + 1, (), generator=generator))
    steps = int(torch.randint(1, config.most_steps + 1, (), generator=generator))
    roll = Roll(model, clip, config, steps, generator)
    roll.given(first)
    predicted = [roll.next(number) for number in range(first, first + count)]
    return Rolled(torch.cat(predicted, dim=1), first)


class Roll:
    """A rollout in the making: context and the newest frame."""

    def __init__(
        self,
        model: WorldModel,
        clip: Clip,
        config: RolloutConfig,
        steps: int,
        generator: torch.Generator,
    ) -> None:
        self.model, self.clip, self.config, self.generator = model, clip, config, generator
        self.ladder = sampling_ladder(steps).to(clip.x0.device)
        self.context: Context = new_context(
            clip.shape[0],
            model.denoiser.context_shape,
            (model.views, *model.latent_shape),
            sink=model.config.sink,
            recent=model.config.recent,
            device=clip.x0.device,
        )

    def noise(self, like: Tensor) -> Tensor:
        """Unit noise, drawn on the CPU so that it is the same everywhere."""
        return torch.randn(like.shape, generator=self.generator).to(like.device)

    @torch.no_grad()
    def given(self, first: int) -> None:
        """Commit all but the last of the `first` given frames; that one is pending."""
        x0 = self.clip.x0[:, :first]
        drawn = torch.rand(x0.shape[:2], generator=self.generator).to(x0.device)
        noise = self.config.history_level * drawn
        # Labelled as the sampler labels what it re-reads, and never cleaner than that.
        levels = noise.clamp_min(self.model.config.history_sigma)
        seen = (1 - per_frame(levels)) * x0 + per_frame(noise) * self.noise(x0)
        if first > 1:
            past, marks = seen[:, :-1], levels[:, :-1]
            cond = self.clip.cond.frames(0, first - 1)
            self.model.denoiser(past, marks, cond, context=self.context, write=first - 1)
            self.context.commit(past, marks)
        self.pending, self.level = seen[:, -1:], levels[:, -1:]
        self.pending_cond = self.clip.cond.frames(first - 1, first)

    def next(self, number: int) -> Tensor:
        """Imagine frame `number` of the clip, `[B, 1, V, c, h, w]`."""
        cond = self.clip.cond.frames(number, number + 1)
        x = self.noise(self.pending)
        steps = len(self.ladder) - 1
        for index in range(steps):
            sigma = self.ladder[index].expand(x.shape[0], 1)
            with torch.set_grad_enabled(index == steps - 1):
                x0 = self._denoise(x, sigma, cond, first=index == 0)
            if index < steps - 1:
                x = step_down(x, x0, sigma, self.ladder[index + 1].expand_as(sigma))
        x0 = x0 * self.clip.view_mask[:, number : number + 1, :, None, None, None]
        mark = self.model.config.history_sigma
        self.pending, self.level = as_history(x0.detach(), mark), x0.new_full((len(x0), 1), mark)
        self.pending_cond = cond
        return x0

    def _denoise(self, x: Tensor, sigma: Tensor, cond: Conditioning, first: bool) -> Tensor:
        position = self.context.count[:, None]
        if not first:
            alone: Tensor = self.model.denoiser(x, sigma, cond, position, self.context)
            return alone
        both: Tensor = self.model.denoiser(
            torch.cat([self.pending, x], dim=1),
            torch.cat([self.level, sigma], dim=1),
            self.pending_cond.then(cond),
            position + torch.arange(2, device=x.device),
            self.context,
            write=1,
        )
        self.context.commit(self.pending.detach(), self.level)
        return both[:, 1:]
