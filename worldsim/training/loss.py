"""The world model's loss: diffusion forcing, rollouts, distillation, distribution matching.

Before `rollout.start` of training every batch is diffusion forcing. From then on `rollout.share`
of the batches are rollouts of the model itself. `matching.share` of these are compared with a
teacher's distribution, the others with the recorded frames. Where the plan distils,
`distillation.share` of all batches do that instead.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from torch import Tensor

from worldsim.config.limits import MOST, between
from worldsim.config.values import Checked
from worldsim.data.memory_sampler import MemorySamplerConfig
from worldsim.diffusion.flow import add_noise
from worldsim.errors import UsageError
from worldsim.memory.base import MemoryConfig, registered_memories
from worldsim.models.denoisers.base import Denoiser
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.world_model import WorldModel
from worldsim.training.batches import Batch, Loss
from worldsim.training.losses.clip import Clip, DropoutConfig, clip_readings, prepare_clip
from worldsim.training.losses.distillation import DistillationConfig, distil
from worldsim.training.losses.dynamics import stride_loss
from worldsim.training.losses.matching import MatchingConfig, match_rollout
from worldsim.training.losses.noise_levels import NoiseConfig, noise_policy
from worldsim.training.losses.objective import (
    LossMaskConfig,
    ObjectiveConfig,
    frame_error,
    frame_weights,
    level_weight,
    loss_mask,
    place_weight,
    weighted_error,
)
from worldsim.training.losses.photometric import clip_photometric
from worldsim.training.losses.self_rollout import Rolled, RolloutConfig, self_rollout


@dataclass(frozen=True)
class PlanConfig(Checked):
    """Attributes:
    length: T, frames of a training clip.
    noise: levels of diffusion forcing.
    rollout: the model's own rollouts.
    loss_mask: frames the loss counts.
    objective: the losses.
    dropout: hidden actions and views.
    distillation: to fewer steps, of the model that training starts from.
    matching: of the rollouts' distribution with that of the model that training starts from.
    memory: which earlier frames a clip's memory holds.
    """

    length: Annotated[int, between(2, MOST)] = 10
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    loss_mask: LossMaskConfig = field(default_factory=LossMaskConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    dropout: DropoutConfig = field(default_factory=DropoutConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    memory: MemorySamplerConfig = field(default_factory=MemorySamplerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = {
            "rollout": self.rollout.chunk if self.rollout.start < 1 else 0,
            "distillation": self.distillation.chunk if self.distillation.name != "none" else 0,
        }
        for part, chunk in parts.items():
            if self.length < 1 + chunk:
                raise UsageError(
                    f"length is {self.length}; {part}.chunk={chunk} needs {1 + chunk} or more"
                )

    def require_memory(self, kept: MemoryConfig) -> None:
        """Refuse to sample frames for a memory that tells nothing.

        Raises:
            UsageError: see above.
        """
        if self.memory.name != "none" and not registered_memories().get(kept.name).tells:
            raise UsageError(
                f"plan.memory.name={self.memory.name} samples frames for a memory and "
                f"model.memory.name={kept.name} tells nothing; name another memory, or "
                "plan.memory.name=none"
            )

    @property
    def has_teacher(self) -> bool:
        """Whether the model that training starts from goes on as a frozen teacher."""
        return self.distillation.name != "none" or self.matching.share > 0

    def ladder(self, before: TrainedLadder) -> TrainedLadder:
        """What a model knows of noise levels after this plan, from what it knew before."""
        rolls = self.rollout.start < 1 and min(self.rollout.share, self.rollout.rolling) > 0
        both_ways = self.rollout.bidirectional and rolls
        known = replace(before, bidirectional=before.bidirectional or both_ways)
        distilled = self.distillation
        if distilled.name == "none" or not distilled.share:
            return known
        return replace(
            known,
            rungs=distilled.rungs,
            shift=distilled.shift,
            jumps_to_end=distilled.name == "consistency",
        )


def student_of(teacher: WorldModel, plan: PlanConfig) -> WorldModel:
    """A copy to be trained by `plan`, which begins as the teacher; for `ctm` one that is told which
    level a frame is to be taken to.

    Raises:
        UsageError: the plan distils a model that is not shown pure noise.
    """
    name = plan.distillation.name
    if name != "none" and not teacher.config.denoiser.pure_noise:
        raise UsageError(
            f"plan.distillation.name={name} teaches what becomes of pure noise, and this model was "
            "made with model.denoiser.pure_noise=false, which hides it; distil a model with "
            "model.denoiser.pure_noise=true, or take plan.distillation.name=none: this one needs "
            "a single step as it is"
        )
    jumps = None if name == "none" else name == "ctm"
    return teacher.trained_on(plan.ladder(teacher.config.ladder), jumps=jumps).requires_grad_(True)


class WorldModelLoss:
    """`StageLoss` of the world stage.

    Args:
        model: the world model in training.
        config: the plan.
        success_weight: how much more a success counts than a failure.
        teacher: frozen; needed where the plan has one.
        critic: trained along; needed where the plan matches distributions.
        accumulate: micro-batches of an optimiser step.

    Raises:
        UsageError: teacher or critic are missing.
    """

    def __init__(
        self,
        model: WorldModel,
        config: PlanConfig,
        success_weight: float,
        teacher: WorldModel | None = None,
        critic: Denoiser | None = None,
        accumulate: int = 1,
    ) -> None:
        self.model, self.config, self.success_weight = model, config, success_weight
        self.teacher, self.critic, self.accumulate = teacher, critic, accumulate
        self.draw_levels, self.draw_mask = noise_policy(config.noise), loss_mask(config.loss_mask)
        if config.has_teacher and teacher is None:
            raise UsageError("plan.distillation and plan.matching need a teacher")
        if config.matching.share > 0 and critic is None:
            raise UsageError("plan.matching needs a critic")
        config.require_memory(model.config.memory)

    def __call__(self, batch: Batch, fraction: float, generator: torch.Generator) -> Loss:
        """Loss of one batch of recorded clips, by one of the four branches below."""
        config = self.config
        clip = prepare_clip(self.model, batch, config.dropout, generator, config.memory, fraction)
        loss = self._branch(clip, batch, fraction, generator)
        return self._with_geometry(loss, clip, generator)

    def _with_geometry(self, loss: Loss, clip: Clip, generator: torch.Generator) -> Loss:
        """The loss with what poses alone teach the heads of depth and strides."""
        config, model = self.config.objective, self.model
        parts: dict[str, tuple[float, Tensor]] = {}
        if model.depth_head is not None and config.photometric > 0:
            depth = clip_photometric(model, model.depth_head, clip, generator)
            parts["read_photometric"] = config.photometric, depth
        if model.stride_head is not None and config.stride > 0:
            parts["read_stride"] = config.stride, stride_loss(model, clip, generator)
        if not parts:
            return loss
        total = loss.total + sum(weight * value for weight, value in parts.values())
        return Loss(total, loss.logs | {name: value.detach() for name, (_, value) in parts.items()})

    def _branch(
        self, clip: Clip, batch: Batch, fraction: float, generator: torch.Generator
    ) -> Loss:
        if int(batch["micro_step"]) % self.config.objective.readings_every:
            clip = replace(clip, targets={})
        if self.teacher is not None:
            self.teacher.to(clip.x0.device)
            distillation = self.config.distillation
            if distillation.name != "none" and _chance(distillation.share, generator):
                return self.distillation(clip, self.teacher, generator)
        # This is drawn before `start` too, so that what follows is drawn alike.
        chosen = _chance(self.config.rollout.share, generator)
        if not chosen or fraction < self.config.rollout.start:
            return self.diffusion_forcing(clip, generator)
        if self.critic is not None and _chance(self.config.matching.share, generator):
            step = int(batch["micro_step"]) // self.accumulate
            return self.matching(clip, fraction, step, generator)
        return self.rollout(clip, fraction, generator)

    def diffusion_forcing(self, clip: Clip, generator: torch.Generator) -> Loss:
        """Predict every frame of the clip from its own level of noise."""
        sigma = self.draw_levels(clip.shape, generator).to(clip.x0.device)
        noise = torch.randn(clip.x0.shape, generator=generator).to(clip.x0.device)
        x = add_noise(clip.x0, noise, sigma) * clip.view_mask[..., None, None, None]
        predicted = self.model.denoiser(x, sigma, clip.whole(self.model).cond)
        frames = self.draw_mask(clip.shape, generator).to(clip.x0.device)
        levels = level_weight(sigma, self.config.objective)
        loss = self._compare("denoise", clip, predicted, 0, frames * levels)
        full = frame_error(predicted, clip.x0, frames * (sigma >= 1.0))
        return Loss(loss.total, loss.logs | {"denoise_full": full})

    def rollout(self, clip: Clip, fraction: float, generator: torch.Generator) -> Loss:
        """Regress the model's own rollout to the recorded frames."""
        rolled = self_rollout(self.model, clip, self.config.rollout, fraction, generator)
        frames = self._frames_of(rolled, clip, generator)
        loss = self._compare("rollout", clip, rolled.predicted, rolled.first, frames)
        weight = self.config.objective.stride
        if self.model.stride_head is None or weight == 0:
            return loss
        own = stride_loss(self.model, clip, generator, rolled.predicted, rolled.first)
        return Loss(loss.total + weight * own, loss.logs | {"rollout_stride": own.detach()})

    def distillation(self, clip: Clip, teacher: WorldModel, generator: torch.Generator) -> Loss:
        """Agree with itself along the teacher's flow."""
        clip = clip.whole(self.model)
        made = distil(self.model, teacher, clip, self.config.distillation, generator)
        frames = torch.ones(made.predicted.shape[:2], device=clip.x0.device)
        return self._compare("distil", clip, made.predicted, made.first, frames, made.target)

    def matching(self, clip: Clip, fraction: float, step: int, generator: torch.Generator) -> Loss:
        """Fit the critic to a rollout; in every n-th step, move the rollout to the teacher's."""
        assert self.teacher is not None and self.critic is not None
        config = self.config.matching
        with torch.set_grad_enabled(step % config.every == 0):
            rolled = self_rollout(self.model, clip, self.config.rollout, fraction, generator)
        frames = self._frames_of(rolled, clip, generator)
        frames = frames * clip.frame_mask[:, rolled.first : rolled.first + frames.shape[1]]
        made = match_rollout(
            rolled, frames, clip, self.teacher.denoiser, self.critic, config, generator
        )
        logs = {"critic": made.critic.detach(), "critic_gap": made.gap}
        if made.student is None:
            return Loss(made.critic, logs)
        logs["match"] = made.student.detach()
        return Loss(made.critic + config.weight * made.student, logs)

    def _frames_of(self, rolled: Rolled, clip: Clip, generator: torch.Generator) -> Tensor:
        """`[B, K]` 1 for the frames of a rollout that count."""
        shape = (clip.shape[0], rolled.predicted.shape[1])
        return self.draw_mask(shape, generator).to(clip.x0.device)

    def _compare(
        self,
        name: str,
        clip: Clip,
        predicted: Tensor,
        first: int,
        frames: Tensor,
        target: Tensor | None = None,
    ) -> Loss:
        """Errors of predicted latents and of what heads read off them, logged under `name`.

        Args:
            name: of the branch.
            clip: what was recorded.
            predicted: `[B, K, V, c, h, w]` clean estimates of K frames.
            first: number in the clip of the first of them.
            frames: `[B, K]` their weights.
            target: what they should be; None for the recorded latents.
        """
        config, span = self.config.objective, slice(first, first + predicted.shape[1])
        seen, frames = clip.view_mask[:, span], frames * clip.frame_mask[:, span]
        places = place_weight(clip.x0, clip.view_mask * clip.frame_mask[..., None], config)
        weight = places[:, span] * frame_weights(frames, seen)
        wanted = clip.x0[:, span] if target is None else target
        error = weighted_error(predicted, wanted, weight, config.absolute)
        logs = {name: error.detach()}
        if not clip.targets:
            return Loss(error, logs)
        given = (self.model, clip, name, predicted, first, frames, config)
        terms, told = clip_readings(*given, self.success_weight)
        return Loss(sum(terms, error), logs | told)


def _chance(share: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < share
