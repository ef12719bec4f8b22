"""Stage `world`: the denoiser and the heads, on the latents of recorded clips."""

import copy
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from worldsim.data.cache import CachedDataset
from worldsim.data.clips import ClipDataset
from worldsim.errors import UsageError
from worldsim.judge.sampling import tells_progress
from worldsim.memory.base import registered_memories
from worldsim.models.quality import StepQuality
from worldsim.models.weights import WEIGHTS, load_weights
from worldsim.models.world_model import WorldModel
from worldsim.training.batches import Batch, StepBatches, ends_step
from worldsim.training.loop import EmaCallback, Fitted
from worldsim.training.loss import WorldModelLoss
from worldsim.training.losses.clip import hide_rigs, shows_calibration
from worldsim.training.losses.matching import critic_of
from worldsim.training.losses.objective import ObjectiveConfig, success_balance
from worldsim.training.stages.latents import latent_statistics, open_latents
from worldsim.training.stages.stage import Stage, TrainingRun

Validate = Callable[[WorldModel, int], dict[str, float]]
"""A model in evaluation mode on the CPU and the step it is from, to scalars for the logs."""
Measure = Callable[[WorldModel], StepQuality | None]
"""The finished model, in evaluation mode on the CPU, to its quality by number of steps."""

CARRIES_STATE = """
State-assisted: it is given the simulator's state at the start, such as object poses, and carries it
along. No robot knows that state, so its figures say nothing of a model that has to do without.
"""
LEARNT_STATE = """
State-assisted: it learnt to read the simulator's state or progress, which no recording of a robot
tells, though it is not given them when it imagines.
"""
NO_STATE = """
Not state-assisted: it was given frames, proprioception, actions and success, and nothing else of
the simulator.
"""
READS_DEPTH = """
Depth-assisted: its memory reads the simulator's depth, which no camera of a robot tells, so its
figures say nothing of a model that has to do without.
"""
LEARNT_DEPTH = """
Depth-assisted: its depth head learnt from the simulator's depth, though it is not given it when it
imagines.
"""
LEARNT_EVENTS = """
Beside that it learnt to read events that recordings tell ({}), and is not told them when it
imagines.
"""
TOLD_TRUTH = """
Depth-assisted: its memory is an oracle, which is told what is to be seen. It is the upper bound of
an experiment, and no model.
"""


class WorldStage(Stage):
    """Writes `model/`.

    Args:
        run: the run that it belongs to.
        validate: measures the averaged model now and then, and at the end.
        measure: what the finished model is told of its quality by number of steps.
    """

    name = "world"
    needs = ("tokenizer", "latents", "dynamics")

    def __init__(
        self, run: TrainingRun, validate: Validate, measure: Measure | None = None
    ) -> None:
        super().__init__(run)
        self.validate, self.measure = validate, measure

    def make(self) -> dict[str, Any]:
        """Train the model and save it with its card."""
        self.folder.forget("decoder")
        latents = open_latents(self.folder.latents, self.cache)
        known = np.asarray(self.cache.rigs.known)[self.run.training]
        calibration = shows_calibration(known, self.config.plan.dropout)
        labels = has_state_labels(self.cache, self.config.plan.objective)
        fresh = self._new_model()
        deep = has_depth_labels(self.cache, fresh, self.config.plan.objective)
        told = has_event_labels(self.cache, fresh, self.config.plan.objective)
        model = fresh.trained_with(
            calibration=calibration, state_labels=labels, depth_labels=deep, event_labels=told
        )
        self._fit_normalizer(model, latents)
        fitted = self._train(model, latents)
        model.quality = None  # of the model it started from
        model.quality = None if self.measure is None else self.measure(model.cpu().eval())
        model.save_pretrained(self.folder.model, card=model_card(model, fitted, self.cache))
        return fitted.facts()

    def _new_model(self) -> WorldModel:
        """A world model with this run's tokenizer and dynamics in it, frozen."""
        model = self.run.parents.world()
        load_weights(model.tokenizer, self.folder.tokenizer / WEIGHTS)
        load_weights(model.dynamics, self.folder.dynamics / WEIGHTS)
        model.tokenizer.requires_grad_(False)
        model.dynamics.requires_grad_(False)
        model.denoiser.freeze()
        return model

    def _fit_normalizer(self, model: WorldModel, latents: Any) -> None:
        """Statistics of the training episodes, but for what came with the run's parents."""
        if self.config.start_from is not None:
            return
        known = ("latent", "agent_pos") if self.config.transfer_from is not None else ()
        # Latents of a published tokenizer come in the scale that networks on it were trained with.
        if "latent" not in known and self.config.model.tokenizer.weights is None:
            model.normalizer.fit("latent", *latent_statistics(latents, self.run.rows))
        for name, figures in self.cache.statistics(self.run.training).items():
            if name in ("agent_pos", "state") and name not in known:
                mean, std = torch.from_numpy(figures.mean), torch.from_numpy(figures.std)
                model.normalizer.fit(name, mean.float(), std.float())

    def _train(self, model: WorldModel, latents: Any) -> Fitted:
        """Train `model` in place, with a critic beside it where the plan matches distributions."""
        plan, config = self.config.plan, self.config.world_fit
        teacher = self.run.parents.teacher()
        critic = critic_of(teacher) if teacher is not None and plan.matching.share > 0 else None
        balance = success_balance(torch.from_numpy(self.cache.success[self.run.rows.numpy()]))
        clips = ClipDataset(
            self.cache, plan.length, latents, episodes=self.run.training, memory=plan.memory
        )

        def validation(ema: EmaCallback) -> list[Callback]:
            every = self.config.validate_every
            return [Validation(model, ema, self.validate, every, config.accumulate)]

        return self.fit(
            model if critic is None else nn.ModuleDict({"model": model, "critic": critic}),
            WorldModelLoss(model, plan, balance, teacher, critic, config.accumulate),
            StepBatches(
                lambda chosen, draws: _with_known_rigs(clips.batch(chosen, draws)),
                len(clips),
                config.batch_size,
                self.config.seed,
            ),
            config,
            validation,
        )


def has_state_labels(cache: CachedDataset, objective: ObjectiveConfig) -> bool:
    """Whether the data tell the simulator's state or progress, and the loss counts its reading."""
    state = objective.state > 0 and cache.spec.state.dim > 0
    return state or (objective.progress > 0 and tells_progress(cache))


def has_depth_labels(cache: CachedDataset, model: WorldModel, objective: ObjectiveConfig) -> bool:
    """Whether the data tell the simulator's depth, and the loss counts the reading of a head."""
    return model.depth_head is not None and cache.spec.depth is not None and objective.depth > 0


def has_event_labels(cache: CachedDataset, model: WorldModel, objective: ObjectiveConfig) -> bool:
    """Whether the loss counts the reading of an event head, whose events the data then tell.

    Raises:
        UsageError: they tell others.
    """
    if model.event_head is None or not objective.events:
        return False
    told, read = cache.spec.events, model.spec.events
    if told == read:
        return True
    raise UsageError(
        f"the data set tells the events {', '.join(told) or 'none'}, and the model reads "
        f"{', '.join(read)}; give a data set that tells these, or set plan.objective.events=0"
    )


def _with_known_rigs(batch: Batch) -> Batch:
    """Unknown cameras have placeholders in a data set's cache."""
    return hide_rigs(batch, batch["rig_known"])


class Validation(Callback):
    """Calls `validate` every `every` optimiser steps and when training ends.

    Args:
        model: the model in training.
        ema: its averaged weights, which are the ones measured.
        validate: the measurement.
        every: optimiser steps between; 0 measures at the end only.
        accumulate: micro-batches of an optimiser step.
    """

    def __init__(
        self, model: WorldModel, ema: EmaCallback, validate: Validate, every: int, accumulate: int
    ) -> None:
        self.model, self.ema, self.validate = model, ema, validate
        self.every, self.accumulate = every, accumulate

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Measure when due."""
        step = trainer.global_step
        due = trainer.should_stop or (self.every > 0 and step % self.every == 0)
        if not due or not ends_step(batch, self.accumulate):
            return
        with self.ema.applied():
            averaged = copy.deepcopy(self.model).cpu().eval().requires_grad_(False)
        scalars = self.validate(averaged, step)
        if scalars:
            row = {f"val_{name}": value for name, value in scalars.items()}
            for logger in trainer.loggers:
                logger.log_metrics(row, step)


def _assistance(model: WorldModel) -> str:
    """What a card says of the simulator's state, events and depth."""
    learnt = LEARNT_STATE if model.state_assisted else NO_STATE
    said = CARRIES_STATE if model.dynamics.state_dim > 0 else learnt
    if model.config.event_labels:
        said += LEARNT_EVENTS.format(", ".join(model.spec.events))
    if not model.depth_assisted:
        return said
    if registered_memories().get(model.config.memory.name).told_truth:
        return said + TOLD_TRUTH
    return said + (LEARNT_DEPTH if model.config.depth_labels else READS_DEPTH)


def model_card(model: WorldModel, fitted: Fitted, cache: CachedDataset) -> str:
    """README.md of a trained model: what it is, what it was trained on, and its last losses."""
    spec = model.spec
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    losses = "\n".join(f"| {name} | {value:.4f} |" for name, value in fitted.logs.items())
    return f"""# worldsim world model

{millions:.1f} M parameters, backbone `{model.config.denoiser.name}`, {spec.fps:g} Hz, cameras
{", ".join(f"`{c.name}` {c.height}x{c.width}" for c in spec.cameras)};
actions {", ".join(f"`{name}`" for name in spec.action.names)}.
{_assistance(model)}
Trained with `worldsim train` on {cache.num_episodes} episodes ({len(cache.pixels)} frames):
{fitted.steps} steps in {fitted.seconds:.0f} s. Load it with `WorldModel.from_pretrained(folder)`.

| last training loss | value |
| --- | --- |
{losses}
"""
