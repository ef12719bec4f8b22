"""Rollout plan: the model's own rollouts, as a sampler makes them, with gradients in some passes.

Rollouts run on the engine that streams run on (`worldsim.sampling.chunk_sampler`), under the
autoregressive schedule (Self Forcing, 2506.08009) or the rolling one (Rolling Forcing, 2509.25161).
What a pass leaves behind is detached, as both have it, unless `through` says otherwise; gradients
reach one chunk back, through the keys of the clean frames that lead a pass. Hand and scene are
where they were recorded: the denoiser learns to show what it is told, whatever its own frames have
become.

Legend: B batch, T frames, V views, c h w latent, H given frames, K imagined frames, S steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from worldsim.config.limits import Count, Share, Steps
from worldsim.config.values import Checked
from worldsim.diffusion.flow import per_frame, sampling_sigmas
from worldsim.diffusion.schedule import Schedule, autoregressive, rolling
from worldsim.errors import UsageError
from worldsim.memory.base import Memory
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.world_model import WorldModel
from worldsim.sampling.chunk_sampler import ChunkSampler, SamplerState, new_sampler_state
from worldsim.sampling.sampler import Solver
from worldsim.training.losses.clip import Clip
from worldsim.training.losses.objective import background_of


@dataclass(frozen=True)
class RolloutConfig(Checked):
    """Attributes:
    start: fraction of training from which rollouts are trained on; 1 means never.
    share: share of batches from then on that are rollouts; the others stay plain diffusion.
    frames: K at the start of that phase.
    frames_end: K at the end of training; grows linearly between.
    history: most frames given before a rollout; H is uniform from 1 to this.
    history_level: noise level put on the given frames, uniform from 0 to this.
    fade: in half of the rollouts the given frames are faded towards the background, by a share
        uniform from 0 to this. A model whose frames fade a little at every step learns to restore
        what they show, while the recording still tells where it is (drift simulated by corrupting
        history: Helios, 2603.04379).
    most_steps: S of the ladder.
    exit: of autoregressive rollouts, `shorter` draws S uniformly from 1 to `most_steps`; `random`
        keeps the ladder and leaves it for the clean estimate after a random step (Self Forcing).
    chunk: frames that go down the ladder together.
    rolling: share of rollouts under the rolling schedule; Rolling Forcing mixes half and half.
    bidirectional: whether frames in state see the later ones too, in rolling rollouts.
    solver: how chunks go down a rung.
    through: passes that gradients reach back through the frames a rollout made of itself; 1 trains
        every pass on its own. More needs `most_steps` 1: of several steps of a chunk the last alone
        has gradients, and the first takes in the frames before. A push too slow for one frame's
        error to count shows in later ones (unrolled training, with gradients and without:
        2402.12971).
    """

    start: Share = 1.0
    share: Share = 1.0
    frames: Count = 4
    frames_end: Count = 4
    history: Count = 4
    history_level: Share = 0.05
    fade: Share = 0.0
    most_steps: Steps = 2
    exit: Literal["shorter", "random"] = "shorter"
    chunk: Count = 1
    rolling: Share = 0.0
    bidirectional: bool = False
    solver: Solver = "ode"
    through: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.through > 1 and self.most_steps > 1:
            raise UsageError(
                f"through is {self.through} and most_steps is {self.most_steps}; gradients pass "
                "from frame to frame only where each is made in one step, since of several the "
                "last alone has them. Set plan.rollout.most_steps=1, or plan.rollout.through=1"
            )

    def length(self, fraction: float) -> int:
        """K after `fraction` of training."""
        span = max(1.0 - self.start, 1e-9)
        done = min(max((fraction - self.start) / span, 0.0), 1.0)
        return round(self.frames + done * (self.frames_end - self.frames))

    def schedule(self, generator: torch.Generator) -> Schedule:
        """The schedule of one rollout."""
        if float(torch.rand((), generator=generator)) < self.rolling:
            ladder = tuple(sampling_sigmas(self.most_steps).tolist())
            return rolling(ladder, self.chunk, bidirectional=self.bidirectional)
        steps = int(torch.randint(1, self.most_steps + 1, (), generator=generator))
        if self.exit == "shorter":
            return autoregressive(tuple(sampling_sigmas(steps).tolist()), self.chunk)
        ladder = tuple(sampling_sigmas(self.most_steps).tolist())
        return autoregressive((*ladder[:steps], 0.0), self.chunk)


@dataclass(frozen=True, eq=False)
class Rolled:
    """Attributes:
    predicted: `[B, K, V, c, h, w]` imagined clean frames, with gradients.
    first: H, the number in the clip of the first of them.
    cond: conditions of the H + K frames, as the memory of this rollout told them.
    """

    predicted: Tensor
    first: int
    cond: Conditioning


def gradient_passes(schedule: Schedule, chunks: int, offset: int) -> list[dict[int, int]]:
    """For each pass, {place among its chunks: chunk} of those whose estimate is trained on.

    Autoregressive: the pass that finishes a chunk. Otherwise every S-th pass, from `offset` on:
    a chunk is in flight for S successive passes, so these tile the stream (Rolling Forcing,
    section on training).
    """
    steps = schedule.steps
    if schedule.slope == steps:
        return [
            {place: c for place, c in enumerate(row.chunks) if c in row.emit}
            for row in schedule.rows(chunks)
        ]
    return [
        dict(enumerate(row.chunks)) if number % steps == offset else {}
        for number, row in enumerate(schedule.rows(chunks))
    ]


def self_rollout(
    model: WorldModel,
    clip: Clip,
    config: RolloutConfig,
    fraction: float,
    generator: torch.Generator,
) -> Rolled:
    """Imagine the last frames of a clip from its first ones under its recorded actions.

    Raises:
        UsageError: the clip is too short for a given frame and an imagined chunk.
    """
    frames, chunk = clip.shape[1], config.chunk
    if frames < 1 + chunk:
        raise UsageError(
            f"plan.length is {frames}; a rollout of chunks of {chunk} needs {1 + chunk} or more"
        )
    count = max(min(config.length(fraction), frames - 1) // chunk, 1) * chunk
    most = min(config.history, frames - count, model.config.sink + model.config.recent)
    first = int(torch.randint(1, most + 1, (), generator=generator))
    schedule = config.schedule(generator)
    offset = int(torch.randint(schedule.steps, (), generator=generator))
    given = clip if config.fade == 0 else faded(clip, config.fade, generator)
    told, memory = clip.recalled(model, first)
    given = replace(given, cond=told)
    state = given_frames(model, given, first, schedule, config.history_level, generator)

    def noise(names: list[tuple[int, ...]], shape: Sequence[int]) -> Tensor:
        return torch.randn(len(names), *shape, generator=generator)

    sampler = ChunkSampler(
        model.denoiser,
        schedule,
        model.config.history_sigma,
        config.solver,
        noise=noise,
        detached=config.through == 1,
    )
    rolled = _rolled(
        model, sampler, state, clip, memory, first, count // chunk, offset, config.through
    )
    return replace(rolled, cond=told.then(rolled.cond))


def _rolled(
    model: WorldModel,
    sampler: ChunkSampler,
    state: SamplerState,
    clip: Clip,
    memory: Memory | None,
    first: int,
    chunks: int,
    offset: int,
    through: int,
) -> Rolled:
    """Estimates of the passes that carry gradients, in order of frames, and their conditions.

    A memory takes in the model's own frames as it finishes them, as in a stream.
    """
    schedule, size = sampler.schedule, sampler.schedule.chunk
    estimates: dict[int, Tensor] = {}
    shown, cond = [], clip.cond.frames(first, first + size * chunks)
    trained = gradient_passes(schedule, chunks, offset)
    for number, (row, chosen) in enumerate(zip(schedule.rows(chunks), trained, strict=True)):
        if number % through == 0:
            state.context.detach()
            state.x, state.recent = state.x.detach(), state.recent.detach()
        start, stop = first + size * row.chunks.start, first + size * row.chunks.stop
        steps = tuple(schedule.sigmas.index(level) for level in row.sigma)
        recalled = clip.conditions(model, memory, start, stop)
        with torch.set_grad_enabled(bool(chosen) and torch.is_grad_enabled()):
            x0 = sampler.denoise(state, recalled, steps)
        for place, each in chosen.items():
            estimates[each] = x0[:, place * size : (place + 1) * size]
        if memory is not None:
            finished = size * len(row.emit)
            clip.show(model, memory, start, x0[:, :finished])
            shown.append(recalled.frames(0, finished))
    if memory is not None:
        cond = reduce(Conditioning.then, shown)
    predicted = torch.cat([estimates[number] for number in range(chunks)], dim=1)
    return Rolled(predicted, first, cond)


@torch.no_grad()
def faded(clip: Clip, most: float, generator: torch.Generator) -> Clip:
    """The clip, half of its rows by up to `most` nearer to the background of all of them."""
    draws = torch.rand(2, clip.shape[0], generator=generator).to(clip.x0.device)
    share = most * draws[0] * (draws[1] < 0.5)
    present = (clip.view_mask * clip.frame_mask[..., None])[..., None, None, None]
    apart = background_of(clip.x0, present) - clip.x0
    return replace(clip, x0=clip.x0 + share[:, None, None, None, None, None] * apart * present)


@torch.no_grad()
def given_frames(
    model: WorldModel,
    clip: Clip,
    first: int,
    schedule: Schedule,
    history_level: float,
    generator: torch.Generator,
) -> SamplerState:
    """A state that has the first H frames of a clip, somewhat noised, behind it."""
    x0, cond = clip.x0[:, :first], clip.cond.frames(0, first)
    noise = history_level * torch.rand(x0.shape[:2], generator=generator).to(x0.device)
    # Labelled as the sampler labels what it re-reads, and never cleaner than that.
    levels = noise.clamp_min(model.config.history_sigma)
    grain = torch.randn(x0.shape, generator=generator).to(x0.device)
    seen = (1 - per_frame(levels)) * x0 + per_frame(noise) * grain
    keys = [(0, row) for row in range(len(x0))]
    state = new_sampler_state(model, schedule, x0, cond, keys, uncommitted=0)
    if model.denoiser.context_shape.reads_frames:
        model.denoiser(seen, levels, cond, context=state.context, write=first)
    state.context.commit(seen, levels)
    return state
