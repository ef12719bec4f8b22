"""Train a judge of stops on recorded episodes, and measure it on held-out stops.

Where recordings tell the event `at_goal`, every frame teaches: it says where a stop would meet the
sub-task under way. Elsewhere it learns from the success of recorded stops, and from what follows
from that. Whoever stopped with success was near the thing and faced it. So frames of the same
episode from far away, or turned away on the spot, would have been no success.

Legend: N items, V view, H, W pixels.
"""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.conventions import to_model_video
from worldsim.data.cache import CachedDataset
from worldsim.data.navigation.sub_tasks import stopping, sub_tasks, under_way
from worldsim.errors import DataError
from worldsim.judge.augment import augment
from worldsim.judge.buffer import FrameBuffer, faithful, imagine_again, join_buffers, reconstruct
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
from worldsim.judge.stops import StopJudge, probabilities
from worldsim.judge.validation import JudgedEpisode, calibrate, measure
from worldsim.models.blocks import balanced_loss
from worldsim.models.instructed import GlanceConfig, StopReader, tokenise
from worldsim.spec import WorldSpec

if TYPE_CHECKING:
    from worldsim.models.world_model import WorldModel

AT_GOAL = "at_goal"
"""The event that a stop here would meet the sub-task under way."""
APART = 2.5
"""Metres from a met stop beyond which another place cannot be near the same thing. A stop succeeds
within a metre or so of it, and a straight way is the shortest."""
SPOT, TURNED = 0.3, np.deg2rad(75)
"""Metres within which a place is the same; radians of a turn after which nothing is faced that was.
"""
_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class StopItems:
    """Frames with what was asked, and whether a stop there would meet it.

    Attributes:
        rows: `[N]` rows of the cache.
        asked: N texts.
        met: `[N]`.
        real: `[N]` whether somebody stopped there; else it follows from another stop.
    """

    rows: Rows
    asked: list[str]
    met: NDArray[np.bool_]
    real: NDArray[np.bool_]

    def where(self, mask: NDArray[np.bool_]) -> "StopItems":
        """Those in `mask` `[N]`."""
        asked = [text for text, keep in zip(self.asked, mask, strict=True) if keep]
        return StopItems(self.rows[mask], asked, self.met[mask], self.real[mask])


def stop_items(data: CachedDataset, episodes: list[int]) -> StopItems:
    """What recorded stops teach.

    Of an episode of several sub-tasks success tells that all were met, failure not which was not;
    the latter are left out, unless an event tells.
    """
    if AT_GOAL in data.spec.events:
        return _told_items(data, episodes)
    found: list[tuple[int, str, bool, bool]] = []
    for episode in episodes:
        rows = np.arange(*data.rows(episode).indices(len(data.pixels)))[:-1]
        parts = sub_tasks(data.tasks[episode])
        stops = rows[stopping(data.spec.action, np.asarray(data.action[rows]))][: len(parts)]
        won = bool(np.asarray(data.success[data.rows(episode)]).any())
        if len(stops) < len(parts) or not (won or len(parts) == 1):
            continue
        found += [(int(row), part, won, True) for row, part in zip(stops, parts, strict=True)]
        if won and len(parts) == 1:
            away = _away(data, rows[rows < stops[0]], int(stops[0]))
            found += [(int(row), parts[0], False, False) for row in away]
    if not found:
        return StopItems(np.zeros(0, np.int64), [], np.zeros(0, bool), np.zeros(0, bool))
    rows_, asked, met, real = zip(*found, strict=True)
    return StopItems(np.array(rows_), list(asked), np.array(met), np.array(real))


def _told_items(data: CachedDataset, episodes: list[int]) -> StopItems:
    """Every frame of the episodes at which a sub-task is under way, as the event tells of it."""
    bounds = [data.rows(episode).indices(len(data.pixels)) for episode in episodes]
    rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(*b)[:-1] for b in bounds)])
    rows = rows[np.asarray(data.action_mask, bool)[rows]]
    some, asked = under_way(data, rows)
    rows = rows[some]
    told = np.asarray(data.extras["events"])[rows]
    met = told[:, data.spec.events.index(AT_GOAL)] > 0.5
    return StopItems(rows, asked, met, stopping(data.spec.action, np.asarray(data.action)[rows]))


def _away(data: CachedDataset, rows: Rows, stop: int) -> Rows:
    """Those of `rows` from which a met stop's thing is too far away, or not faced."""
    pose, last = np.asarray(data.agent_pos[rows]), np.asarray(data.agent_pos[stop])
    apart = np.hypot(*(pose[:, :2] - last[:2]).T)
    turned = np.arccos(np.clip(pose[:, 2:4] @ last[2:4], -1, 1))
    return np.asarray(rows[(apart > APART) | ((apart < SPOT) & (turned > TURNED))], np.int64)


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
        self.reader = StopReader(glance, config.hidden)
        self.strayed: float | None = None
        self.buffer = None if model is None else self._altered(model)

    def _altered(self, model: "WorldModel") -> FrameBuffer | None:
        """Frames of items as a model shows them: encoded and decoded, and imagined again."""
        config, rows = self.config, np.unique(self.items.rows)
        stops = np.unique(self.items.rows[self.items.real])
        buffers = []
        if config.buffer_size:
            drawn = self.rng.permutation(rows)[: config.buffer_size]
            buffers.append(reconstruct(model, self.data, np.union1d(drawn, stops)))
        if config.imagined_size:
            again = imagine_again(model, self.data, stops, config.imagined_steps)
            known = again.where(np.isin(again.rows, rows))
            kept, self.strayed = faithful(model, self.data, known, config.strayed)
            buffers.append(kept)
        return join_buffers(buffers) if buffers else None

    def train(self, show_progress: bool = True) -> None:
        """Run all optimiser steps; leaves the network in evaluation mode."""
        optimise(self.reader, self._loss, self.config, show_progress)

    def _draw(self) -> tuple[Rows, list[str], NDArray[np.bool_]]:
        """A batch: met stops, frames from away, failed stops, and met stops of another wording."""
        items, config = self.items, self.config
        met, failed = items.met, ~items.met & items.real
        kinds = [
            (met, config.success_share),
            (~items.met & ~items.real, config.close_share),
            (failed if failed.any() else ~items.met, 1 - config.success_share - config.close_share),
        ]
        chosen = [
            self.rng.choice(np.flatnonzero(mask), int(round(share * config.batch_size)))
            for mask, share in kinds
            if mask.any()
        ]
        index = np.concatenate(chosen)
        asked, said = [items.asked[i] for i in index], items.met[index].copy()
        # Two of five are asked for something else, before the same picture.
        placed = self.rng.permutation(np.flatnonzero(said))
        for place in placed[: 2 * len(placed) // 5]:
            other = items.asked[int(self.rng.integers(len(items.asked)))]
            if other != asked[place]:
                asked[place], said[place] = other, False
        return items.rows[index], asked, said

    def _loss(self) -> Tensor:
        rows, asked, met = self._draw()
        pixels = np.asarray(self.data.pixels[rows])
        if self.buffer is not None and len(self.buffer.rows):
            for place in np.flatnonzero(self.rng.random(len(rows)) < self.config.buffer_share):
                same = np.flatnonzero(self.buffer.rows == rows[place])
                if len(same):
                    pixels[place] = self.buffer.pixels[self.rng.choice(same)]
        frames = augment(to_model_video(pixels), self.config.augment, self.generator)
        # Left and right may be exchanged where no side is named.
        sided = torch.tensor([bool(_SIDE.search(text)) for text in asked])
        mirrored = (torch.rand(len(frames), generator=self.generator) < 0.5) & ~sided
        frames[mirrored] = frames[mirrored].flip(dims=(1, 4))
        logit = self.reader(frames, tokenise(asked, self.reader.glance.config))
        target = torch.from_numpy(met.astype(np.float32))
        return balanced_loss(logit, target)

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


def require_stops(data: CachedDataset) -> StopItems:
    """What the episodes that a judge learns from teach of stops.

    Raises:
        DataError: there is no stop with success, or nothing without.
    """
    items = stop_items(data, episodes_in(data, TRAINED))
    if not items.met.any() or items.met.all():
        raise DataError(
            f"cannot train a judge of stops: {int(items.met.sum())} stops met what was asked, "
            f"{int((~items.met & items.real).sum())} did not; record episodes of both kinds, with "
            "instructions, a column success, and an action `stop`"
        )
    return items
