"""Train a judge of stops on recorded episodes, and measure it on held-out stops.

Beside its verdict the network learns whether the thing is seen and where it lies, where recordings
tell so: these are labels, which it is never shown.

Legend: N items, V view, H, W pixels.
"""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from worldsim.conventions import to_model_video
from worldsim.data.cache import CachedDataset
from worldsim.errors import DataError
from worldsim.judge.augment import augment
from worldsim.judge.buffer import FrameBuffer, faithful, imagine_again, join_buffers, reconstruct
from worldsim.judge.judge import Judgement
from worldsim.judge.optimise import optimise
from worldsim.judge.report import VerdictRule
from worldsim.judge.sampling import (
    CALIBRATED,
    REPORTED,
    JudgeConfig,
    Rows,
    episodes_in,
)
from worldsim.judge.stop_items import StopItems, require_stops, stop_items
from worldsim.judge.stops import StopJudge, probabilities
from worldsim.judge.validation import JudgedEpisode, calibrate, measure
from worldsim.models.blocks import balanced_loss
from worldsim.models.instructed import GlanceConfig, tokenise
from worldsim.models.padding import surround_convolutions
from worldsim.models.stop_reader import StopReader
from worldsim.spec import WorldSpec

if TYPE_CHECKING:
    from worldsim.models.world_model import WorldModel

SEEN_WEIGHT, OFFSET_WEIGHT = 0.5, 0.5
"""Weights of the losses of what is told beside the verdict; an offset's is in metres."""
ELSE = 0.25
"""Share of met stops that are asked for something else, before the same picture."""
_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


class StopTrainer:
    """The training loop's state: network, items, altered frames, random numbers.

    Args:
        data: recordings of agents that stop.
        spec: their world.
        config: size and training.
        model: if given, part of the frames are shown as it shows them.

    Raises:
        DataError: no stop with success, or none without.
    """

    def __init__(
        self,
        data: CachedDataset,
        spec: WorldSpec,
        config: JudgeConfig,
        model: "WorldModel | None" = None,
    ) -> None:
        self.data, self.spec, self.config = data, spec, config
        self.items = require_stops(data)
        self.rng = np.random.default_rng(config.seed)
        self.generator = torch.Generator().manual_seed(config.seed)
        torch.manual_seed(config.seed)
        views, height, width = data.pixels.shape[1:4]
        glance = GlanceConfig(views, (height, width), config.width, config.keypoints)
        self.reader = surround_convolutions(StopReader(glance, config.hidden), spec.cameras)
        self.strayed: float | None = None
        self.buffer = None if model is None else self._altered(model)

    def _altered(self, model: "WorldModel") -> FrameBuffer | None:
        """Frames of items as a model shows them: encoded and decoded, and imagined again."""
        config, items, buffers = self.config, self.items, []
        if config.buffer_size:
            drawn = self.rng.permutation(items.rows)[: config.buffer_size]
            telling = items.rows[items.met | items.real]
            buffers.append(reconstruct(model, self.data, np.union1d(drawn, telling)))
        if config.imagined_size:
            stops = self.rng.permutation(items.rows[items.real])
            stops = np.sort(stops[: -(-config.imagined_size // config.imagined_steps)])
            again = imagine_again(model, self.data, stops, config.imagined_steps)
            known = again.where(np.isin(again.rows, items.rows))
            kept, self.strayed = faithful(model, self.data, known, config.strayed)
            buffers.append(kept)
        return join_buffers(buffers) if buffers else None

    def train(self, show_progress: bool = True) -> None:
        """Run all optimiser steps; leaves the network in evaluation mode."""
        optimise(self.reader, self._loss, self.config, show_progress)

    def _draw(self) -> StopItems:
        """A batch: what is met, what is not though it is seen, failed stops, and anything else.

        Some of what is met is asked for by another wording, and not met any more.
        """
        items, config = self.items, self.config
        missed, rest = ~items.met, 1 - config.success_share - config.close_share
        failed = missed & items.real
        close = missed & (items.seen > 0.5) if (items.seen > 0.5).any() else missed & ~items.real
        kinds = [(items.met, config.success_share), (close, config.close_share)]
        kinds += [(failed if failed.any() else missed, rest / 2), (missed, rest / 2)]
        chosen = [
            self.rng.choice(np.flatnonzero(mask), int(round(share * config.batch_size)))
            for mask, share in kinds
            if mask.any()
        ]
        batch = items.at(np.concatenate(chosen))
        placed = self.rng.permutation(np.flatnonzero(batch.met))
        for place in placed[: int(ELSE * len(placed))]:
            other = items.asked[int(self.rng.integers(len(items.asked)))]
            if other != batch.asked[place]:
                batch.asked[place], batch.met[place] = other, False
                batch.seen[place], batch.offset[place] = np.nan, np.nan
        return batch

    def _loss(self) -> Tensor:
        batch = self._draw()
        frames = augment(
            to_model_video(self._pixels(batch.rows)), self.config.augment, self.generator
        )
        # Left and right may be exchanged where no side is named.
        sided = torch.tensor([bool(_SIDE.search(text)) for text in batch.asked])
        mirrored = (torch.rand(len(frames), generator=self.generator) < 0.5) & ~sided
        frames[mirrored] = frames[mirrored].flip(dims=(1, 4))
        read = self.reader(frames, tokenise(batch.asked, self.reader.config))
        loss = balanced_loss(read.met, torch.from_numpy(batch.met.astype(np.float32)))
        seen, offset = torch.from_numpy(batch.seen), torch.from_numpy(batch.offset)
        told, there = ~seen.isnan(), ~offset[:, 0].isnan()
        if told.any():
            loss = loss + SEEN_WEIGHT * balanced_loss(read.seen[told], seen[told])
        if there.any():
            offset[mirrored, 1] *= -1
            apart = F.smooth_l1_loss(read.offset[there], offset[there])
            loss = loss + OFFSET_WEIGHT * apart
        return loss

    def _pixels(self, rows: Rows) -> NDArray[np.uint8]:
        """uint8 `[N, V, H, W, 3]`, some as the world model shows them."""
        pixels = np.asarray(self.data.pixels[rows])
        if self.buffer is not None and len(self.buffer.rows):
            for place in np.flatnonzero(self.rng.random(len(rows)) < self.config.buffer_share):
                same = np.flatnonzero(self.buffer.rows == rows[place])
                if len(same):
                    pixels[place] = self.buffer.pixels[self.rng.choice(same)]
        return pixels

    def judge(self, source: str) -> StopJudge:
        """Choose the threshold, measure on held-out stops, and wrap up.

        Raises:
            DataError: there is no held-out stop.
        """
        calibration, reported = (self._judged(fold) for fold in (CALIBRATED, REPORTED))
        if not reported:
            raise DataError("no held-out stop to measure the judge on; collect more episodes")
        rule = calibrate(calibration, (1,)) if calibration else VerdictRule()
        report = measure(reported, rule, (), source)
        # It tells no progress, and first frames are no stops.
        report = replace(report, progress_error=None, first_frames=0, strayed=self.strayed)
        return StopJudge(self.reader, self.spec, rule, report)

    def _judged(self, fold: int) -> list[JudgedEpisode]:
        """Each real stop of a fold as an episode of its own: a frame, then that of the stop."""
        items = stop_items(self.data, episodes_in(self.data, (fold,)))
        items = items.where(items.real)
        if not len(items.rows):
            return []
        read = probabilities(self.reader, np.asarray(self.data.pixels[items.rows]), items.asked)
        nothing = np.zeros((2, 0), np.float32)
        zeros = np.zeros(2, np.float32)
        return [
            JudgedEpisode(
                np.array([False, met]),
                zeros,
                nothing,
                Judgement(np.array([0.0, value], np.float32), zeros, nothing),
            )
            for met, value in zip(items.met, read, strict=True)
        ]
