"""Distillation to few steps: a student whose estimates agree along the teacher's flow.

For the frames behind recorded, nearly clean history (as every sampler has it), a teacher takes a
noisy frame one rung down its flow; the student, from there, says where the flow ends, and learns to
say the same from where the frame was.

- `consistency` (Consistency Models, 2303.01469, algorithm 2, behind recorded history): the end is
  the clean frame.
- `ctm` (Consistency Trajectory Models, 2310.02279, in clean-frame terms): the end is any lower
  level, which the network is told; so one network serves every number of steps that divides the
  ladder.

The student's own weights, without gradients, stand for their slow average, as Improved Consistency
Training (2310.14189) found best.

Legend: B batch, T frames, V views, c h w latent, H given frames, K frames of a chunk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from worldsim.config.limits import Count, OneOf, Positive, Share, Steps
from worldsim.config.values import Checked
from worldsim.diffusion.flow import add_noise, per_frame, sampling_sigmas, step_down
from worldsim.diffusion.schedule import autoregressive
from worldsim.errors import UsageError
from worldsim.models.denoisers.attention import KeyValueContext
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.world_model import WorldModel
from worldsim.registry import Registry
from worldsim.training.losses.clip import Clip
from worldsim.training.losses.self_rollout import given_frames


@dataclass(frozen=True)
class DistillationConfig(Checked):
    """Attributes:
    name: `none`, or a registered distillation: consistency, ctm.
    share: of batches that distil; the others stay what the plan's other parts make of them.
    rungs: of the even ladder that is distilled; steps that divide it can be sampled with.
    shift: moves its levels toward noise.
    chunk: K, frames that go down it together.
    history: most frames given; H is uniform from 1 to this.
    history_level: noise level put on the given frames, uniform from 0 to this.
    first_share: share of frames put at the top rung, where every sampler begins.
    """

    name: Annotated[str, OneOf(lambda: ("none", *DISTILLATIONS))] = "none"
    share: Share = 0.7
    rungs: Steps = 12
    shift: Positive = 1.0
    chunk: Count = 1
    history: Count = 6
    history_level: Share = 0.05
    first_share: Share = 0.25


@dataclass(frozen=True, eq=False)
class Noised:
    """A chunk on its way down, behind its history.

    Attributes:
        x: `[B, K, V, c, h, w]` at `high`.
        high: `[B, K]` the level it is at.
        low: `[B, K]` one rung lower.
        goal: `[B, K]` level at which the flow is to end, at most `low`.
        cond: conditions of its frames.
    """

    x: Tensor
    high: Tensor
    low: Tensor
    goal: Tensor
    cond: Conditioning


Estimate = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Clean estimate of x at levels `[B, K]`, to be taken to other levels `[B, K]`."""

Goal = Callable[[Tensor, int, torch.Generator], Tensor]
"""Rung at which the flow ends, from the rung `[B, K]` that it is at and their number."""
DISTILLATIONS: Registry[Goal] = Registry("distillation")


@DISTILLATIONS.register("consistency")
def to_the_end(rung: Tensor, rungs: int, generator: torch.Generator) -> Tensor:
    """Down to the clean frame."""
    return torch.full_like(rung, rungs)


@DISTILLATIONS.register("ctm")
def to_any_rung(rung: Tensor, rungs: int, generator: torch.Generator) -> Tensor:
    """To a uniformly chosen lower rung."""
    below = torch.rand(rung.shape, generator=generator).to(rung.device) * (rungs - rung)
    return rung + 1 + below.long().clamp(max=rungs - 1)


@dataclass(frozen=True, eq=False)
class Distilled:
    """Attributes:
    predicted: `[B, K, V, c, h, w]` the student's clean estimates, with gradients.
    target: the same, to agree with.
    first: H, the number in the clip of the first of their frames.
    """

    predicted: Tensor
    target: Tensor
    first: int


def distil(
    student: WorldModel,
    teacher: WorldModel,
    clip: Clip,
    config: DistillationConfig,
    generator: torch.Generator,
) -> Distilled:
    """One chunk of a clip, by student and teacher.

    Raises:
        UsageError: the clip is too short for a given frame and a chunk.
    """
    frames = clip.shape[1]
    if frames < 1 + config.chunk:
        raise UsageError(
            f"plan.length is {frames}; distilling chunks of {config.chunk} needs "
            f"{1 + config.chunk} or more"
        )
    most = min(config.history, frames - config.chunk, student.config.sink + student.config.recent)
    first = int(torch.randint(1, most + 1, (), generator=generator))
    noised = _noised(clip, first, config, generator)
    # Both see the same history, each through its own keys and values.
    history = generator.get_state()
    guide = _estimator(teacher, clip, first, config, noised.cond, generator)
    generator.set_state(history)
    learner = _estimator(student, clip, first, config, noised.cond, generator)
    predicted = learner(noised.x, noised.high, noised.goal)
    with torch.no_grad():
        target = clean_target(noised, guide, learner)
    return Distilled(predicted, target, first)


def clean_target(noised: Noised, teacher: Estimate, student: Estimate) -> Tensor:
    """The clean estimate from which `step_down` leads from `high` to where the flow ends at `goal`.

    The teacher's flow to `low`, then the student's jump from there.
    """
    x, high, low, goal = noised.x, noised.high, noised.low, noised.goal
    lower = step_down(x, teacher(x, high, high), high, low)
    there = (goal >= low)[..., None, None, None, None]
    end = torch.where(there, lower, step_down(lower, student(lower, low, goal), low, goal))
    kept = per_frame(goal / high).to(x.dtype)
    return (end - kept * x) / (1 - kept)


def _noised(
    clip: Clip, first: int, config: DistillationConfig, generator: torch.Generator
) -> Noised:
    """The chunk after `first` given frames, on a rung of its own in each clip."""
    span = slice(first, first + config.chunk)
    x0, device = clip.x0[:, span], clip.x0.device
    ladder = sampling_sigmas(config.rungs, config.shift).to(device)
    shape = (len(x0), 1)
    rung = torch.randint(config.rungs, shape, generator=generator)
    top = torch.rand(shape, generator=generator) < config.first_share
    rung = torch.where(top, torch.zeros_like(rung), rung).to(device)
    goal = DISTILLATIONS.get(config.name)(rung, config.rungs, generator)
    rung, goal = rung.expand(-1, config.chunk), goal.expand(-1, config.chunk)
    noise = torch.randn(x0.shape, generator=generator).to(device)
    high = ladder[rung]
    seen = clip.view_mask[:, span, :, None, None, None]
    cond = clip.cond.frames(span.start, span.stop)
    return Noised(add_noise(x0, noise, high) * seen, high, ladder[rung + 1], ladder[goal], cond)


def _estimator(
    model: WorldModel,
    clip: Clip,
    first: int,
    config: DistillationConfig,
    cond: Conditioning,
    generator: torch.Generator,
) -> Estimate:
    """The model's clean estimates of a chunk behind the first frames of a clip."""
    schedule = autoregressive((1.0, 0.0), config.chunk)
    state = given_frames(model, clip, first, schedule, config.history_level, generator)
    context: KeyValueContext = state.context
    seen = cond.view_mask[..., None, None, None]

    def estimate(x: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
        out: Tensor = model.denoiser(x, sigma, cond, context=context, target=target)
        return out * seen.to(out.dtype)

    return estimate
