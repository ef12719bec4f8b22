"""Imitation of agents that walk: what they saw, the way they came and what was asked, to choices.

Trains one network and keeps checkpoints of it along the way, then a memory beside it (MGDM).

Legend: N batch, T looks of a history, V view, H, W pixels, R poses of a trail, M rows, A choices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from worldsim.cameras.poses import frame_of
from worldsim.config.limits import Count, Seed, Share, Weight, Whole
from worldsim.config.values import INLINE, Checked
from worldsim.data.cache import CachedDataset
from worldsim.data.navigation.sub_tasks import can_stop, stopping, under_way
from worldsim.errors import DataError
from worldsim.imitation.ladder import check_ladder, keeping, ladder_folders
from worldsim.imitation.recordings import Augmentation, augment, chosen_rows, episode_weights
from worldsim.models.instructed import (
    GlanceConfig,
    InstructedConfig,
    InstructedNet,
    relative_poses,
    tokenise,
)
from worldsim.policies.instructed import save_instructed
from worldsim.training.batches import Batch, Loss, StepBatches, mix
from worldsim.training.config import FitConfig, RunConfig
from worldsim.training.loop import fit
from worldsim.training.run_folder import RunFolder


@dataclass(frozen=True)
class WalkingTraining(Checked):
    """How a ladder of instructed networks is trained.

    Attributes:
        fit: budgets and optimiser.
        ladder: optimiser steps at which a checkpoint is kept, rising.
        policies: {pattern of recording policies' names: weight}; others are left out.
        only_successes: learn from episodes that met what was asked only.
        width: channels of the network's convolutions.
        keypoints: its key points a view.
        hidden: width of its head.
        history: looks around that it reads, the present one counted.
        stride: steps between them.
        trail: latest poses that it is told.
        stops: share of each batch that are stops, which are rare and decide.
        augmentation: of the frames; no shift, which would turn the agent.
        memory_slots: memories that the MGDM variant keeps before it blurs them; 0 trains none.
        memory_steps: optimiser steps of its memory, beside the finished network.
        bank: recorded steps that it retrieves from.
        seed: of everything random.
    """

    fit: Annotated[FitConfig, INLINE] = field(
        default_factory=lambda: FitConfig(max_steps=1200, batch_size=48)
    )
    ladder: tuple[Count, ...] = (300, 600, 1200)
    policies: Mapping[str, Weight] = field(default_factory=dict)
    only_successes: bool = True
    width: Count = 24
    keypoints: Count = 16
    hidden: Count = 128
    history: Count = 2
    stride: Count = 3
    trail: Count = 8
    stops: Share = 0.15
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(shift=0))
    memory_slots: Whole = 12
    memory_steps: Count = 300
    bank: Count = 1500
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ladder(self.ladder, self.fit, "walking")


@dataclass(frozen=True, eq=False)
class WalkingLesson:
    """Rows to learn from.

    Attributes:
        recordings: the data.
        rows: `[M]` rows of the cache at which somebody acted.
        first: `[M]` first row of the episode of each.
        asked: M texts, the sub-task under way.
        stops: `[M]` whether the action there is to stop.
        weight: `[M]`.
        plane: columns of `agent_pos` that are x, y, cosine and sine.
    """

    recordings: CachedDataset
    rows: NDArray[np.int64]
    first: NDArray[np.int64]
    asked: list[str]
    stops: NDArray[np.bool_]
    weight: NDArray[np.float32]
    plane: list[int]

    @staticmethod
    def of(recordings: CachedDataset, config: WalkingTraining) -> "WalkingLesson":
        """Choose the rows of `recordings` that `config` asks for.

        Raises:
            DataError: actions are no choices among which one stops, or nobody tells a pose.
        """
        spec = recordings.spec
        frame = frame_of(spec.agent_pos)
        if spec.action.kind != "discrete" or not can_stop(spec.action) or frame is None:
            raise DataError(
                f"walking is learnt from choices with a stop and from poses; these recordings have "
                f"actions {spec.action.names} and proprioception {spec.agent_pos.names}"
            )
        if frame.heading is None:
            raise DataError(f"proprioception {spec.agent_pos.names} names no heading")
        weights = episode_weights(recordings.metas, config.policies, config.only_successes)
        rows, episode = chosen_rows(np.asarray(recordings.episode_start), weights)
        acted = np.asarray(recordings.action_mask, bool)[rows]
        rows, episode = rows[acted], episode[acted]
        first = np.asarray(recordings.episode_start)[episode]
        stops = stopping(spec.action, np.asarray(recordings.action)[rows])
        keep, asked = under_way(recordings, rows)
        plane = [*frame.plane, *frame.heading]
        whose = rows[keep], first[keep]
        return WalkingLesson(recordings, *whose, asked, stops[keep], weights[episode][keep], plane)

    def shape(self, config: WalkingTraining) -> InstructedConfig:
        """Of the network that learns it."""
        views, height, width = self.recordings.pixels.shape[1:4]
        glance = GlanceConfig(views, (height, width), config.width, config.keypoints)
        dims = config.history, config.stride, config.trail, config.hidden
        return InstructedConfig(glance, self.recordings.spec.action.dim, *dims)

    def gather(self, index: NDArray[np.int64], shape: InstructedConfig) -> Batch:
        """Items as uint8 pixels `[N, T, V, H, W, 3]`, trail, words, choice and weight."""
        data, rows, first = self.recordings, self.rows[index], self.first[index]
        seen = np.array([shape.rows(int(r - f)) for r, f in zip(rows, first, strict=True)])
        looks = first[:, None] + seen
        back = np.arange(shape.trail, -1, -1)
        trail = np.maximum(rows[:, None] - back, first[:, None])
        poses = torch.from_numpy(np.asarray(data.agent_pos[trail], np.float32)[..., self.plane])
        choice = np.asarray(data.action[rows]).argmax(axis=-1)
        return {
            "pixels": torch.from_numpy(np.asarray(data.pixels[looks])),
            "trail": relative_poses(poses, shape.trail),
            "tokens": tokenise([self.asked[i] for i in index], shape.glance),
            "choice": torch.from_numpy(choice),
            "weight": torch.from_numpy(self.weight[index]),
        }


def train_walking(
    recordings: CachedDataset, config: WalkingTraining, out: Path, run: RunConfig | None = None
) -> list[Path]:
    """Train a network and return its ladder's folders, `out/walking/step_000300` and so on.

    With `memory_slots` an MGDM variant of the last one is the last folder, `out/walking/mgdm`.

    Args:
        recordings: what to learn from.
        config: see `WalkingTraining`.
        out: folder of this run.
        run: threads, precision, logging.

    Raises:
        DataError: the data holds no episode to learn from, or no agent that walks.
    """
    torch.manual_seed(mix(config.seed, "walking"))
    lesson = WalkingLesson.of(recordings, config)
    shape = lesson.shape(config)
    network = InstructedNet(shape)
    folders = ladder_folders(out / "walking", config.ladder)
    kept = keeping(folders, lambda folder: save_instructed(folder, network, recordings.spec))
    batches = _batches(lesson, config, shape)
    loss, place = ChoiceLoss(network, config.augmentation), RunFolder(out)
    run = run or RunConfig()
    fit("walking", network, loss, batches, config.fit, run, place, config.seed, kept)
    found = list(folders.values())
    if config.memory_slots:
        from worldsim.imitation.remembering import train_memory

        found.append(train_memory(lesson, config, found[-1], out / "walking" / "mgdm"))
    return found


def _batches(
    lesson: WalkingLesson, config: WalkingTraining, shape: InstructedConfig
) -> StepBatches:
    """Items of a lesson, of which a share are stops."""
    stops = np.flatnonzero(lesson.stops)

    def gather(items: Tensor, generator: torch.Generator) -> Batch:
        index = items.numpy().copy()
        drawn = torch.rand(len(index), generator=generator) < config.stops
        if len(stops):
            again = torch.randint(len(stops), (len(index),), generator=generator).numpy()
            index = np.where(drawn.numpy(), stops[again], index)
        return lesson.gather(index, shape)

    return StepBatches(gather, len(lesson.rows), config.fit.batch_size, config.seed)


class ChoiceLoss:
    """Cross entropy of the choice that was recorded, weighted by recording."""

    def __init__(self, network: InstructedNet, augmentation: Augmentation) -> None:
        self._network, self._augmentation = network, augmentation

    def __call__(self, batch: Batch, fraction: float, generator: torch.Generator) -> Loss:
        """See `worldsim.training.batches.StageLoss`."""
        weight, pixels = batch["weight"], batch["pixels"]
        frames = augment(pixels.flatten(1, 2).cpu(), self._augmentation, generator)
        frames = frames.view(*pixels.shape[:3], *frames.shape[2:]).to(weight.device)
        logits = self._network(frames, batch["trail"], batch["tokens"])
        error = F.cross_entropy(logits, batch["choice"], reduction="none")
        total = (error * weight).sum() / weight.sum().clamp_min(1e-6)
        right = (logits.argmax(dim=-1) == batch["choice"]).float().mean()
        return Loss(total, {"right": right.detach()})
