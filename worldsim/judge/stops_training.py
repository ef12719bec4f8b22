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
from worldsim.judge.buffer import FrameBuffer, imagine_episodes, reconstruct
from worldsim.judge.judge import Judgement
from worldsim.judge.optimise import optimise
from worldsim.judge.report import VerdictRule
from worldsim.judge.sampling import (
    CALIBRATED,
    REPORTED,
    TRAINED,
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
        self.model, self.own = model, None if model is None else self._imagined(model)
        self.encoded = None if model is None or not config.buffer_size else self._encoded(model)
        self.kinds = self._kinds(np.ones(len(self.items.rows), bool))
        self.own_kinds = [] if self.own is None else self._kinds(self.own.find(self.items.rows)[1])

    def _encoded(self, model: "WorldModel") -> FrameBuffer:
        """Frames of items, those that tell most among them, as the tokenizer shows them."""
        items = self.items
        drawn = self.rng.permutation(items.rows)[: self.config.buffer_size]
        return reconstruct(model, self.data, np.union1d(drawn, items.rows[items.met | items.real]))

    def _imagined(self, model: "WorldModel") -> FrameBuffer | None:
        """Whole episodes of those that teach, as a ranking would see them.

        An agent stands where it was recorded, so labels hold whatever a frame shows. Of what was
        never seen it shows nothing: there the network learns how often such stops are met.
        """
        frames, chosen = self.config.imagined_size, []
        for episode in self.rng.permutation(episodes_in(self.data, TRAINED)).tolist():
            if frames <= 0:
                break
            chosen.append(int(episode))
            span = self.data.rows(int(episode))
            frames -= span.stop - span.start
        return imagine_episodes(model, self.data, chosen, guided=True) if chosen else None

    def train(self, show_progress: bool = True) -> None:
        """Run all optimiser steps; leaves the network in evaluation mode."""
        optimise(self.reader, self._loss, self.config, show_progress)

    def _draw(self) -> tuple[StopItems, NDArray[np.bool_]]:
        """A batch, and which of its items are shown as the model imagines them.

        Some of what is met is asked for by another wording, and not met any more.
        """
        items, config = self.items, self.config
        count = round(config.buffer_share * config.batch_size) if self.own_kinds else 0
        parts = (self.kinds, config.batch_size - count), (self.own_kinds, count)
        none = np.zeros(0, np.int64)
        drawn = [
            np.concatenate(
                [none, *(self.rng.choice(some, round(share * n)) for some, share in kinds)]
            )
            for kinds, n in parts
        ]
        batch = items.at(np.concatenate(drawn))
        placed = self.rng.permutation(np.flatnonzero(batch.met))
        for place in placed[: int(ELSE * len(placed))]:
            other = items.asked[int(self.rng.integers(len(items.asked)))]
            if other != batch.asked[place]:
                batch.asked[place], batch.met[place] = other, False
                batch.seen[place], batch.offset[place] = np.nan, np.nan
        return batch, np.arange(len(batch.rows)) >= len(drawn[0])

    def _kinds(self, among: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], float]]:
        """Items in `among` by kind, and the share of each in a batch: what is met, what is not
        though it is seen, failed stops, and anything else."""
        items, config = self.items, self.config
        missed, rest = among & ~items.met, 1 - config.success_share - config.close_share
        failed, seen = missed & items.real, among & (items.seen > 0.5)
        close = missed & (items.seen > 0.5) if seen.any() else missed & ~items.real
        kinds = [(among & items.met, config.success_share), (close, config.close_share)]
        kinds += [(failed if failed.any() else missed, rest / 2), (missed, rest / 2)]
        return [(np.flatnonzero(mask), share) for mask, share in kinds if mask.any()]

    def _loss(self) -> Tensor:
        batch, own = self._draw()
        pixels = self._pixels(batch.rows, own)
        frames = augment(to_model_video(pixels), self.config.augment, self.generator)
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

    def _pixels(self, rows: Rows, own: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """uint8 `[N, V, H, W, 3]`: those in `own` imagined, some of the others encoded."""
        pixels = np.asarray(self.data.pixels[rows])
        share = self.rng.random(len(rows)) < self.config.buffer_share
        for buffer, some in ((self.encoded, share & ~own), (self.own, own)):
            if buffer is not None:
                place, there = buffer.find(rows)
                some = some & there
                pixels[some] = buffer.pixels[place[some]]
        return pixels

    def judge(self, source: str) -> StopJudge:
        """Choose the threshold, measure on held-out recorded stops, and wrap up.

        The threshold is chosen where it is used: on stops that the model imagines, if there is one.

        Raises:
            DataError: there is no held-out stop.
        """
        reported = self._judged(self._stops(REPORTED))
        if not reported:
            raise DataError("no held-out stop to measure the judge on; collect more episodes")
        calibration = self._judged(*self._used(CALIBRATED))
        rule = calibrate(calibration, (1,)) if calibration else VerdictRule()
        report = measure(reported, rule, (), source)
        # It tells no progress, and first frames are no stops.
        report = replace(report, progress_error=None, first_frames=0)
        return StopJudge(self.reader, self.spec, rule, report)

    def _stops(self, fold: int) -> StopItems:
        """Recorded stops of a fold."""
        items = stop_items(self.data, episodes_in(self.data, (fold,)))
        return items.where(items.real)

    def _used(self, fold: int) -> tuple[StopItems, NDArray[np.uint8] | None]:
        """Stops of a fold, and the frames off which rankings would judge them.

        The world model imagines them from first frames on, agents where it takes them.
        """
        items = self._stops(fold)
        if self.model is None or not self.config.imagined_size or not len(items.rows):
            return items, None
        seen = imagine_episodes(self.model, self.data, episodes_in(self.data, (fold,)), False)
        # A judge reads the frame that follows the action; it was recorded in the row before.
        place, there = seen.find(items.rows + 1)
        return items.where(there), seen.pixels[place[there]]

    def _judged(
        self, items: StopItems, pixels: NDArray[np.uint8] | None = None
    ) -> list[JudgedEpisode]:
        """Each stop as an episode of its own: a frame, then that of the stop, as recorded or as
        told."""
        if not len(items.rows):
            return []
        shown = np.asarray(self.data.pixels[items.rows]) if pixels is None else pixels
        read = probabilities(self.reader, shown, items.asked)
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
