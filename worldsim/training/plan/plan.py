"""A training plan put together: one loss for the world stage.

Before `rollout.start` of training every batch is diffusion forcing; from then on `rollout.share`
of the batches are self-rollouts regressed to the simulator's frames. Where the plan distils,
`distillation.share` of all batches do that instead.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from torch import Tensor

from worldsim.config.limits import MOST, between
from worldsim.config.values import Checked
from worldsim.diffusion.flow import add_noise
from worldsim.errors import UsageError
from worldsim.models.denoisers.base import Denoiser
from worldsim.models.heads.state import StateReading
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.world_model import WorldModel
from worldsim.training.batches import Batch
from worldsim.training.plan.clip import Clip, DropoutConfig, prepare_clip
from worldsim.training.plan.distillation import DistillationConfig, distil
from worldsim.training.plan.matching import MatchingConfig, match_rollout
from worldsim.training.plan.noise import NoiseConfig, draw_levels
from worldsim.training.plan.objective import (
    ObjectiveConfig,
    frame_weights,
    level_weight,
    place_weight,
    reading_losses,
    weighted_error,
)
from worldsim.training.plan.rollout import RolloutConfig, self_rollout
from worldsim.training.plan.window import WindowConfig, select_frames
from worldsim.training.stage import Loss


@dataclass(frozen=True)
class PlanConfig(Checked):
    """Attributes:
    length: T, frames of a training clip.
    noise: levels of diffusion forcing.
    rollout: the model's own rollouts.
    window: frames the loss counts.
    objective: the losses.
    dropout: hidden actions and views.
    distillation: to fewer steps, of the model that training starts from.
    matching: of the rollouts' distribution with that of the model that training starts from.
    """

    length: Annotated[int, between(2, MOST)] = 10
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    dropout: DropoutConfig = field(default_factory=DropoutConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)

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
    level a frame is to be taken to."""
    name = plan.distillation.name
    jumps = None if name == "none" else name == "ctm"
    return teacher.trained_on(plan.ladder(teacher.config.ladder), jumps=jumps).requires_grad_(True)


class TrainingPlan:
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
        if config.has_teacher and teacher is None:
            raise UsageError("plan.distillation and plan.matching need a teacher")
        if config.matching.share > 0 and critic is None:
            raise UsageError("plan.matching needs a critic")

    def __call__(self, batch: Batch, fraction: float, generator: torch.Generator) -> Loss:
        """Loss of one batch of recorded clips."""
        clip = prepare_clip(self.model, batch, self.config.dropout, generator)
        rollout, distillation = self.config.rollout, self.config.distillation
        if self.teacher is not None:
            self.teacher.to(clip.x0.device)
            if distillation.name != "none" and _chance(distillation.share, generator):
                return self.distillation_loss(clip, self.teacher, generator)
        coin = float(torch.rand((), generator=generator))
        if fraction >= rollout.start and coin < rollout.share:
            if self.critic is not None and _chance(self.config.matching.share, generator):
                step = int(batch["micro_step"]) // self.accumulate
                return self.matching_loss(clip, fraction, step, generator)
            return self.rollout_loss(clip, fraction, generator)
        return self.diffusion_loss(clip, generator)

    def diffusion_loss(self, clip: Clip, generator: torch.Generator) -> Loss:
        """Diffusion forcing: predict every frame from its own level of noise."""
        sigma = draw_levels(self.config.noise, clip.shape, generator).to(clip.x0.device)
        noise = torch.randn(clip.x0.shape, generator=generator).to(clip.x0.device)
        x = add_noise(clip.x0, noise, sigma) * clip.view_mask[..., None, None, None]
        predicted = self.model.denoiser(x, sigma, clip.cond)
        frames = select_frames(self.config.window, clip.shape, generator).to(clip.x0.device)
        objective = self.config.objective
        levels = level_weight(sigma, objective.weighting, objective.least_level)
        loss = self._losses(clip, predicted, 0, frames * levels, "denoise")
        logs = loss.logs | {"denoise_full": _error_at(predicted, clip.x0, frames, sigma >= 1.0)}
        return Loss(loss.total, logs)

    def rollout_loss(self, clip: Clip, fraction: float, generator: torch.Generator) -> Loss:
        """Regression of the model's own rollout to the recorded frames."""
        rolled = self_rollout(self.model, clip, self.config.rollout, fraction, generator)
        shape = (clip.shape[0], rolled.predicted.shape[1])
        frames = select_frames(self.config.window, shape, generator).to(clip.x0.device)
        return self._losses(clip, rolled.predicted, rolled.first, frames, "rollout")

    def distillation_loss(
        self, clip: Clip, teacher: WorldModel, generator: torch.Generator
    ) -> Loss:
        """Agreement along the teacher's flow."""
        made = distil(self.model, teacher, clip, self.config.distillation, generator)
        frames = torch.ones(made.predicted.shape[:2], device=clip.x0.device)
        return self._losses(clip, made.predicted, made.first, frames, "distil", made.target)

    def matching_loss(
        self, clip: Clip, fraction: float, step: int, generator: torch.Generator
    ) -> Loss:
        """The critic's error on a rollout and, in every n-th step, where the rollout should go."""
        assert self.teacher is not None and self.critic is not None
        config = self.config.matching
        with torch.set_grad_enabled(step % config.every == 0):
            rolled = self_rollout(self.model, clip, self.config.rollout, fraction, generator)
        shape = (clip.shape[0], rolled.predicted.shape[1])
        frames = select_frames(self.config.window, shape, generator).to(clip.x0.device)
        frames = frames * clip.frame_mask[:, rolled.first : rolled.first + shape[1]]
        made = match_rollout(
            rolled, frames, clip, self.teacher.denoiser, self.critic, config, generator
        )
        logs = {"critic": made.critic.detach(), "critic_gap": made.gap}
        if made.student is None:
            return Loss(made.critic, logs)
        return Loss(
            made.critic + config.weight * made.student, logs | {"match": made.student.detach()}
        )

    def _losses(
        self,
        clip: Clip,
        predicted: Tensor,
        first: int,
        frames: Tensor,
        name: str,
        target: Tensor | None = None,
    ) -> Loss:
        """Errors of frames `first` to `first + K` of the clip, against `target` or else what was
        recorded, and of what is read off them."""
        objective = self.config.objective
        span = slice(first, first + predicted.shape[1])
        present = clip.view_mask * clip.frame_mask[..., None]
        places = place_weight(clip.x0, present, objective)[:, span]
        frames = frames * clip.frame_mask[:, span]
        weight = places * frame_weights(frames, clip.view_mask[:, span])
        wanted = clip.x0[:, span] if target is None else target
        error = weighted_error(predicted, wanted, weight, objective.absolute)
        targets = {key: value[:, span] for key, value in clip.targets.items()}
        seen = self.model.head(clip.x0, clip.view_mask)
        recorded = self._reading(seen, clip.targets, clip.frame_mask)
        imagined = self._reading(
            self.model.head(predicted, clip.view_mask[:, span]), targets, (frames > 0).float()
        )
        total = error + recorded.total + objective.on_predictions * imagined.total
        logs = {name: error.detach()}
        logs |= {f"read_{key}": value for key, value in recorded.logs.items()}
        logs |= {f"read_{key}_{name}": value for key, value in imagined.logs.items()}
        return Loss(total, logs)

    def _reading(self, reading: StateReading, targets: dict[str, Tensor], frames: Tensor) -> Loss:
        return reading_losses(reading, targets, frames, self.config.objective, self.success_weight)


def _chance(share: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < share


@torch.no_grad()
def _error_at(predicted: Tensor, target: Tensor, frames: Tensor, chosen: Tensor) -> Tensor:
    """Plain mean squared error of the `chosen` `[B, T]` frames."""
    each = (predicted.float() - target).square().mean(dim=(2, 3, 4, 5))
    weight = frames * chosen
    return (each * weight).sum() / weight.sum().clamp_min(1e-6)
