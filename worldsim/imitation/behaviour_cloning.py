"""Behaviour cloning: trains one network and keeps checkpoints of it along the way.

Legend: N batch, K actions of a chunk, A action, M rows to learn from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.config.limits import Count, Seed, Weight
from worldsim.config.values import INLINE, Checked
from worldsim.data.cache import CachedDataset
from worldsim.errors import UsageError
from worldsim.imitation.ladder import check_ladder, keeping, ladder_folders
from worldsim.imitation.recordings import (
    Augmentation,
    augment,
    chosen_rows,
    chunk_targets,
    episode_weights,
)
from worldsim.models.behaviour import BehaviourConfig, BehaviourNet
from worldsim.models.weights import WEIGHTS, load_weights
from worldsim.policies.behaviour_cloning import save_behaviour
from worldsim.policies.checkpoints import CheckpointOrNone, find_checkpoint
from worldsim.training.batches import Batch, Loss, StepBatches, mix
from worldsim.training.config import FitConfig, RunConfig
from worldsim.training.loop import fit
from worldsim.training.run_folder import RunFolder


@dataclass(frozen=True)
class BehaviourTraining(Checked):
    """How a ladder of behaviour-cloned policies is trained.

    Attributes:
        fit: budgets and optimiser.
        ladder: optimiser steps at which a checkpoint is kept, rising; each at most the last step.
        policies: {pattern of recording policies' names: weight}; others are left out.
        only_successes: learn from episodes that solved the task only.
        chunk: K, actions predicted at once.
        n_action_steps: how many of them the policy executes.
        width: channels of the network's convolutions.
        keypoints: its key points a view.
        hidden: width of its head.
        first_actions: extra weight of the actions that are executed, against the rest of the
            chunk, which only teaches to look ahead.
        augmentation: of the frames.
        start_from: checkpoint of the same shape, of another task say, whose weights to begin with.
        seed: of everything random.
    """

    fit: Annotated[FitConfig, INLINE] = field(
        default_factory=lambda: FitConfig(max_steps=2000, batch_size=64)
    )
    ladder: tuple[Count, ...] = (500, 1000, 2000)
    policies: Mapping[str, Weight] = field(default_factory=dict)
    only_successes: bool = True
    chunk: Count = 8
    n_action_steps: Count = 2
    width: Count = 48
    keypoints: Count = 32
    hidden: Count = 256
    first_actions: Weight = 2.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    start_from: CheckpointOrNone = ""
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ladder(self.ladder, self.fit, "behaviour cloning")
        if self.n_action_steps > self.chunk:
            raise UsageError(
                f"n_action_steps={self.n_action_steps} must be from 1 to chunk={self.chunk}"
            )


def train_behaviour(
    recordings: CachedDataset,
    config: BehaviourTraining,
    out: Path,
    run: RunConfig | None = None,
) -> list[Path]:
    """Train a network and return its ladder's folders, `out/behaviour/step_000500` and so on.

    An interrupted training goes on where its last checkpoint was. The same data, config and
    machine give the same weights.

    Args:
        recordings: what to learn from.
        config: see `BehaviourTraining`.
        out: folder of this run.
        run: threads, precision, logging.

    Raises:
        UsageError: there is no checkpoint `config.start_from`.
        DataError: the data holds no episode to learn from, or that checkpoint has another shape.
    """
    torch.manual_seed(mix(config.seed, "behaviour"))
    lesson = Lesson.of(recordings, config)
    network = _network(recordings, config, lesson)
    folders = ladder_folders(out / "behaviour", config.ladder)

    def save(folder: Path) -> None:
        save_behaviour(folder, network, recordings.spec, config.n_action_steps)

    batches = StepBatches(lesson.gather, len(lesson.rows), config.fit.batch_size, config.seed)
    loss, folder = ChunkLoss(network, config), RunFolder(out)
    run = run or RunConfig()
    kept = keeping(folders, save)
    fit("behaviour", network, loss, batches, config.fit, run, folder, config.seed, kept)
    return list(folders.values())


def _network(
    recordings: CachedDataset, config: BehaviourTraining, lesson: "Lesson"
) -> BehaviourNet:
    views, height, width = recordings.pixels.shape[1:4]
    shape = BehaviourConfig(
        num_views=views,
        agent_dim=recordings.agent_pos.shape[1],
        action_dim=recordings.action.shape[1],
        chunk=config.chunk,
        image_size=(height, width),
        width=config.width,
        keypoints=config.keypoints,
        hidden=config.hidden,
    )
    network = BehaviourNet(shape)
    if config.start_from:
        load_weights(network, find_checkpoint(config.start_from) / WEIGHTS)
    agent = torch.from_numpy(np.asarray(recordings.agent_pos)[lesson.rows])
    network.set_normaliser(agent.mean(0), agent.std(0))
    return network


@dataclass(frozen=True, eq=False)
class Lesson:
    """Rows to learn from and what follows them.

    Attributes:
        recordings: the data.
        rows: `[M]` rows of the cache.
        ahead: `[M, K]` rows whose actions are to be predicted.
        valid: `[M, K]` whether those actions exist.
        weight: `[M]`.
    """

    recordings: CachedDataset
    rows: NDArray[np.int64]
    ahead: NDArray[np.int64]
    valid: NDArray[np.bool_]
    weight: NDArray[np.float32]

    @staticmethod
    def of(recordings: CachedDataset, config: BehaviourTraining) -> "Lesson":
        """Choose the rows of `recordings` that `config` asks for."""
        weights = episode_weights(recordings.metas, config.policies, config.only_successes)
        rows, episode = chosen_rows(np.asarray(recordings.episode_start), weights)
        ahead, valid = chunk_targets(recordings, rows, episode, config.chunk)
        acted = valid[:, 0]
        rows, episode, ahead, valid = rows[acted], episode[acted], ahead[acted], valid[acted]
        return Lesson(recordings, rows, ahead, valid, weights[episode])

    def gather(self, items: Tensor, generator: torch.Generator) -> Batch:
        """Items `[N]` as uint8 pixels `[N, V, H, W, 3]`, agent_pos, action `[N, K, A]`, weight."""
        chosen = items.numpy()
        rows, data = self.rows[chosen], self.recordings
        return {
            "pixels": torch.from_numpy(np.asarray(data.pixels[rows])),
            "agent_pos": torch.from_numpy(np.asarray(data.agent_pos[rows], np.float32)),
            "action": torch.from_numpy(np.asarray(data.action[self.ahead[chosen]], np.float32)),
            "weight": torch.from_numpy(self.valid[chosen] * self.weight[chosen, None]),
        }


class ChunkLoss:
    """Mean absolute error of the predicted chunk, weighted by action and by recording."""

    def __init__(self, network: BehaviourNet, config: BehaviourTraining) -> None:
        self._network = network
        self._augmentation = config.augmentation
        executed = torch.arange(config.chunk) < config.n_action_steps
        self._emphasis = 1.0 + executed * (config.first_actions - 1.0)

    def __call__(self, batch: Batch, fraction: float, generator: torch.Generator) -> Loss:
        """See `worldsim.training.batches.StageLoss`."""
        weight = batch["weight"] * self._emphasis.to(batch["weight"].device)
        frames = augment(batch["pixels"].cpu(), self._augmentation, generator)
        predicted = self._network(frames.to(weight.device), batch["agent_pos"])
        error = (predicted - batch["action"]).abs().mean(-1)
        total = (error * weight).sum() / weight.sum().clamp_min(1e-6)
        return Loss(total, {"first_action": error[:, 0].detach().mean()})
