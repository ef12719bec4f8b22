"""Trains the state estimator of scripted policies, apart from the judge that scores them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from worldsim.config.limits import Count, Seed, Weight
from worldsim.config.values import INLINE, Checked
from worldsim.data.cache import CachedDataset
from worldsim.data.split import episodes_of, hold_one_out
from worldsim.errors import DataError
from worldsim.files import write_figures
from worldsim.imitation.recordings import Augmentation, augment, chosen_rows, episode_weights
from worldsim.models.heads.state_estimator import StateEstimator, StateEstimatorConfig
from worldsim.models.weights import WEIGHTS, load_weights
from worldsim.policies.checkpoints import CheckpointOrNone, find_checkpoint
from worldsim.policies.perception import save_perception
from worldsim.training.batches import Batch, Loss, StepBatches, mix
from worldsim.training.config import FitConfig, RunConfig
from worldsim.training.loop import fit
from worldsim.training.run_folder import RunFolder

READ_AT_ONCE = 512
"""Rows of which an error is measured at a time."""


@dataclass(frozen=True)
class PerceptionTraining(Checked):
    """How a `Perception` is trained.

    Attributes:
        fit: budgets and optimiser.
        policies: {pattern of recording policies' names: weight}; empty takes all episodes, which
            is best, since a policy strays.
        width: channels of the state estimator.
        keypoints: its key points a view.
        hidden: width of its head.
        augmentation: of the frames; no shift, which would move what is to be located.
        start_from: checkpoint of the same shape, of another task say, whose weights to begin with.
        seed: of everything random; another than the judge's.
    """

    fit: Annotated[FitConfig, INLINE] = field(
        default_factory=lambda: FitConfig(max_steps=2000, batch_size=64)
    )
    policies: Mapping[str, Weight] = field(default_factory=dict)
    width: Count = 24
    keypoints: Count = 32
    hidden: Count = 192
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(shift=0))
    start_from: CheckpointOrNone = ""
    seed: Seed = 7_001


def train_perception(
    recordings: CachedDataset,
    config: PerceptionTraining,
    out: Path,
    run: RunConfig | None = None,
) -> dict[str, float]:
    """Train an estimator into `out/perception` and return its mean error on held-out episodes.

    What is held out says `worldsim.data.split`, as for world models.

    The error of every entry of the state is absolute, in its own unit; it also stands in
    `out/perception_error.json`.

    Args:
        recordings: with a simulator's state.
        config: see `PerceptionTraining`.
        out: folder of this run.
        run: threads, precision, logging.

    Raises:
        UsageError: there is no checkpoint `config.start_from`.
        DataError: the data has no state or too few episodes, or that checkpoint has another shape.
    """
    if recordings.spec.state.dim == 0:
        raise DataError("these recordings hold no simulator state to learn to estimate")
    torch.manual_seed(mix(config.seed, "perception"))
    taught, tested = _split(recordings, config)
    network = _network(recordings, config, taught)

    def gather(items: Tensor, generator: torch.Generator) -> Batch:
        rows = taught[items.numpy()]
        return {
            "pixels": torch.from_numpy(np.asarray(recordings.pixels[rows])),
            "state": torch.from_numpy(np.asarray(recordings.state[rows], np.float32)),
        }

    batches = StepBatches(gather, len(taught), config.fit.batch_size, config.seed)
    loss, folder = StateLoss(network, config.augmentation), RunFolder(out)
    run = run or RunConfig()
    fit("perception", network, loss, batches, config.fit, run, folder, config.seed)
    save_perception(out / "perception", network, recordings.spec)
    error = _error(network, recordings, tested)
    write_figures(out / "perception_error.json", error)
    return error


def _split(
    recordings: CachedDataset, config: PerceptionTraining
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from and rows to measure on, of different episodes."""
    weights = episode_weights(recordings.metas, config.policies, only_successes=False)
    rows, episode = chosen_rows(np.asarray(recordings.episode_start), weights)
    usable = np.flatnonzero(weights > 0)
    folds = hold_one_out(np.asarray(recordings.folds)[usable].tolist())
    held_out = usable[episodes_of(folds, "val")]
    if not 0 < len(held_out) < len(usable):
        raise DataError(f"cannot train perception on {len(usable)} episodes; record more")
    apart = np.isin(episode, held_out)
    return rows[~apart], rows[apart]


def _network(
    recordings: CachedDataset, config: PerceptionTraining, rows: NDArray[np.int64]
) -> StateEstimator:
    views, height, width = recordings.pixels.shape[1:4]
    network = StateEstimator(
        StateEstimatorConfig(
            num_views=views,
            state_dim=recordings.spec.state.dim,
            image_size=(height, width),
            width=config.width,
            keypoints=config.keypoints,
            hidden=config.hidden,
        )
    )
    if config.start_from:
        load_weights(network, find_checkpoint(config.start_from) / WEIGHTS)
    state = torch.from_numpy(np.asarray(recordings.state)[rows].astype(np.float64))
    network.set_normaliser(state.mean(0).float(), state.std(0).float())
    return network


class StateLoss:
    """Smooth absolute error of the standardised state."""

    def __init__(self, network: StateEstimator, augmentation: Augmentation) -> None:
        self._network, self._augmentation = network, augmentation

    def __call__(self, batch: Batch, fraction: float, generator: torch.Generator) -> Loss:
        """See `worldsim.training.batches.StageLoss`."""
        network, state = self._network, batch["state"]
        frames = augment(batch["pixels"].cpu(), self._augmentation, generator).to(state.device)
        predicted, _, _ = network.forward_normalised(frames)
        wanted = (state - network.state_mean) / network.state_std
        total = F.smooth_l1_loss(predicted, wanted, beta=0.1)
        return Loss(total, {})


def _error(
    network: StateEstimator, recordings: CachedDataset, rows: NDArray[np.int64]
) -> dict[str, float]:
    """Mean absolute error of every entry of the state, in its unit."""
    estimates = []
    for start in range(0, len(rows), READ_AT_ONCE):
        pixels = np.asarray(recordings.pixels[rows[start : start + READ_AT_ONCE]])
        estimates.append(network.observe(torch.from_numpy(pixels)).state.float().numpy())
    estimate = np.concatenate(estimates)
    error = np.abs(estimate - np.asarray(recordings.state)[rows]).mean(0)
    return dict(zip(recordings.spec.state.names, error.tolist(), strict=True))
