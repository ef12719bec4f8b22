"""Train a judge on the simulated episodes of a cache and measure it on held-out ones."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from worldsim.data.cache import CachedDataset
from worldsim.data.layout import read_info, recorded_in
from worldsim.errors import DataError
from worldsim.hardware import has_fast_bf16
from worldsim.judge.augment import augment
from worldsim.judge.buffer import FrameBuffer, faithful, imagine_again, join_buffers, reconstruct
from worldsim.judge.gate import INVERSE_DYNAMICS, choose_limit, train_inverse_dynamics
from worldsim.judge.gates import GATES, RESAMPLING, InverseDynamicsGate, RolloutGate
from worldsim.judge.imagined import measure_imagined
from worldsim.judge.judge import LearnedJudge, read_pixels
from worldsim.judge.optimise import optimise
from worldsim.judge.report import EnvReference
from worldsim.judge.resampling import ResamplingGate, require_noise
from worldsim.judge.sampling import (
    CALIBRATED,
    REPORTED,
    STOPS,
    JudgeConfig,
    Rows,
    draw_rows,
    episodes_in,
    taught_rows,
    tells_progress,
)
from worldsim.judge.stops import StopJudge
from worldsim.judge.stops_training import StopTrainer
from worldsim.judge.validation import JudgedEpisode, calibrate, measure
from worldsim.models.blocks import balanced_loss
from worldsim.models.heads.state_estimator import StateEstimator, StateEstimatorConfig
from worldsim.sampling.sampler import default_steps
from worldsim.spec import WorldSpec

if TYPE_CHECKING:
    from worldsim.models.world_model import WorldModel


def train_judge(
    data: CachedDataset,
    spec: WorldSpec,
    config: JudgeConfig,
    out: Path,
    *,
    model: "WorldModel | None" = None,
    weights: str | None = None,
    source: str = "",
    env: EnvReference | None = None,
    show_progress: bool = True,
) -> LearnedJudge | StopJudge:
    """Train, calibrate and measure a judge, and save it in `out`.

    Args:
        data: the recordings.
        spec: the world it was recorded in.
        config: size and training.
        out: folder to write.
        model: if given, part of the training frames are shown as it shows them, and the judge is
            measured on held-out episodes that it imagines.
        weights: fingerprint of the model's weights, for the report.
        source: name of the data for the report.
        env: the simulator that the data came from.
        show_progress: draw a bar.

    Raises:
        DataError: too few episodes, or only one outcome among them.
        UsageError: draws are asked for of a model whose frames do not depend on noise.
    """
    if model is not None and config.gate_draws:
        require_noise(model.config, default_steps(model.config), "judge.gate_draws")
    make = StopTrainer if config.kind == STOPS else JudgeTrainer
    trainer = make(data, spec, config, model)
    trainer.train(show_progress)
    judge: LearnedJudge | StopJudge = trainer.judge(source)
    judge.env = env
    if model is not None:
        _measure(judge, model, data, config, weights, out)
    judge.save_pretrained(out)
    return judge


def _measure(
    judge: LearnedJudge | StopJudge,
    model: "WorldModel",
    data: CachedDataset,
    config: JudgeConfig,
    weights: str | None,
    out: Path,
) -> None:
    """Note the judge's error on frames that `model` imagines, and save gates for its rollouts."""
    for kind in GATES:
        shutil.rmtree(out / GATES.get(kind).folder, ignore_errors=True)  # of another model
    wanted = config.gate_steps and config.replays and episodes_in(data, (CALIBRATED,))
    gates: dict[str, RolloutGate] = {}
    if wanted:
        network = train_inverse_dynamics(model, data, config)
        gates[INVERSE_DYNAMICS] = InverseDynamicsGate(network)
    if config.gate_draws:
        gates[RESAMPLING] = ResamplingGate(judge, config.gate_draws)
    found = measure_imagined(judge, model, data, config, weights, tuple(gates.values()))
    if found is None:
        return
    judge.report = replace(judge.report, imagined=found.report)
    steps = found.report.sampling_steps
    for (kind, gate), readings in zip(gates.items(), found.readings, strict=True):
        folder, errors = out / GATES.get(kind).folder, gate.fit(readings)
        gate.save(folder)
        choose_limit(errors, config.gate_quantile, weights, steps, kind).save(folder)


def env_of(dataset: Path) -> EnvReference | None:
    """The simulator a data set says it was recorded in, or None."""
    found = recorded_in(read_info(dataset))
    return EnvReference(str(found["id"]), dict(found.get("kwargs") or {})) if found else None


class JudgeTrainer:
    """The training loop's state: estimator, rows, frame buffer, random numbers."""

    def __init__(
        self,
        data: CachedDataset,
        spec: WorldSpec,
        config: JudgeConfig,
        model: "WorldModel | None" = None,
    ) -> None:
        self.data, self.spec, self.config = data, spec, config
        self.kinds = taught_rows(data, config)
        self.rng = np.random.default_rng(config.seed)
        self.generator = torch.Generator().manual_seed(config.seed)
        torch.manual_seed(config.seed)
        self.estimator = StateEstimator(self._estimator_config())
        rows = np.concatenate([self.kinds.success, self.kinds.close, self.kinds.other])
        state = torch.from_numpy(np.asarray(data.state)[rows].astype(np.float64))
        if state.shape[1]:
            self.estimator.set_normaliser(state.mean(0).float(), state.std(0).float())
        self.strayed: float | None = None
        self.buffer = None if model is None else self._make_buffer(model)

    def _estimator_config(self) -> StateEstimatorConfig:
        views, height, width = self.data.pixels.shape[1:4]
        config = self.config
        return StateEstimatorConfig(
            num_views=views,
            state_dim=self.data.state.shape[1],
            image_size=(height, width),
            width=config.width,
            keypoints=config.keypoints,
            hidden=config.hidden,
        )

    def _make_buffer(self, model: "WorldModel") -> FrameBuffer | None:
        """Frames as `model` shows them, drawn by kind as the batches are."""
        config, buffers = self.config, []
        if count := config.buffer_size // config.batch_size:
            buffers.append(reconstruct(model, self.data, np.unique(self._draw(count))))
        per_stream = config.imagined_steps * config.batch_size
        count = -(-config.imagined_size // per_stream)
        if count and isinstance(self.data, CachedDataset):
            rows = self._draw(count)
            buffers.append(self._imagined(model, rows))
        return join_buffers(buffers) if buffers else None

    def _imagined(self, model: "WorldModel", rows: Rows) -> FrameBuffer:
        """Imagined frames on the way to `rows` that still show what their labels say."""
        buffer = imagine_again(model, self.data, rows, self.config.imagined_steps)
        kept, self.strayed = faithful(model, self.data, buffer, self.config.strayed)
        return kept

    def _draw(self, batches: int) -> Rows:
        """Rows of several batches."""
        return np.concatenate(
            [draw_rows(self.kinds, self.config, self.rng) for _ in range(batches)]
        )

    def train(self, show_progress: bool = True) -> None:
        """Run all optimiser steps; leaves the state estimator in evaluation mode."""
        optimise(self.estimator, self._loss, self.config, show_progress)

    def _batch(self) -> tuple[Tensor, Rows]:
        """uint8 frames `[N, V, 3, H, W]` and the rows that label them."""
        rows = draw_rows(self.kinds, self.config, self.rng)
        pixels = np.asarray(self.data.pixels[rows])
        if self.buffer is not None:
            count = int(round(self.config.buffer_share * len(rows)))
            slots = self.rng.choice(len(rows), count, replace=False)
            # Success by success: most frames on the way to one are failures, and would teach that
            # whatever looks imagined fails.
            succeeded, buffered = (
                np.asarray(self.data.success)[r] for r in (rows, self.buffer.rows)
            )
            for outcome in (False, True):
                alike = slots[succeeded[slots] == outcome]
                pool = np.flatnonzero(buffered == outcome)
                if len(alike) and len(pool):
                    entries = self.rng.choice(pool, len(alike))
                    rows[alike] = self.buffer.rows[entries]
                    pixels[alike] = self.buffer.pixels[entries]
        return torch.from_numpy(pixels).permute(0, 1, 4, 2, 3), rows

    def _loss(self) -> Tensor:
        frames, rows = self._batch()
        data = self.data
        success = torch.from_numpy(np.asarray(data.success[rows]).astype(np.float32))
        progress = torch.from_numpy(np.asarray(data.progress[rows], dtype=np.float32))
        target = torch.from_numpy(np.asarray(data.state[rows], dtype=np.float32))
        target = (target - self.estimator.state_mean) / self.estimator.state_std
        video = augment(frames.float() / 127.5 - 1, self.config.augment, self.generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16()):
            state, logit, progress_logit = self.estimator.forward_normalised(video)
        loss = balanced_loss(logit, success)
        loss = loss + F.binary_cross_entropy_with_logits(progress_logit, progress)
        if state.shape[1]:
            loss = loss + self.config.state_weight * F.smooth_l1_loss(state, target, beta=0.1)
        return loss

    def judge(self, source: str) -> LearnedJudge:
        """Choose the verdict rule, measure, and wrap up.

        Raises:
            DataError: there are no held-out episodes.
        """
        metres = self.spec.state.indices_in_metres()
        calibration = self._judged(episodes_in(self.data, (CALIBRATED,)))
        reported = self._judged(episodes_in(self.data, (REPORTED,)))
        if not reported:
            raise DataError("no held-out episodes to measure the judge on; collect at least ten")
        rule = calibrate(calibration, self.config.holds)
        report = replace(measure(reported, rule, metres, source), strayed=self.strayed)
        if not tells_progress(self.data):  # nothing was learnt, however well zeros are met
            report = replace(report, progress_error=None)
        return LearnedJudge(self.estimator, self.spec, rule, report)

    def _judged(self, episodes: list[int]) -> list[JudgedEpisode]:
        starts = self.data.episode_start
        judged = []
        for episode in episodes:
            rows = slice(int(starts[episode]), int(starts[episode + 1]))
            judged.append(
                JudgedEpisode(
                    np.asarray(self.data.success[rows]),
                    np.asarray(self.data.progress[rows]),
                    np.asarray(self.data.state[rows]),
                    read_pixels(self.estimator, self.data.pixels[rows]),
                )
            )
        return judged
