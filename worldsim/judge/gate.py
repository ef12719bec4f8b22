"""Which imagined rollouts can be relied on: the limit of a gate, and inverse dynamics for one kind.

A rollout is past its limit once the error of its steps, averaged over a few, exceeds what all but
a few held-out replays stay below (SC3-Eval, 2606.18610, ends rollouts by the error of recovered
actions). What errors there are, `worldsim.judge.gates` says.

Legend: N rows or episodes, T steps, V view, c latent channels, h, w latent size, A action.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from dacite import DaciteError, from_dict
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from worldsim.data.cache import CachedDataset
from worldsim.errors import DataError
from worldsim.files import read_json, write_json
from worldsim.judge.sampling import CALIBRATED, TRAINED, JudgeConfig, Rows, episodes_in
from worldsim.models.heads.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from worldsim.models.world_model import WorldModel

Float = NDArray[np.float32]

FOLDER, LIMIT = "gate", "gate.json"
"""Folder of inverse dynamics below a judge's, and the file in any gate's that holds the limit."""
INVERSE_DYNAMICS = "inverse_dynamics"
"""A kind of gate; the others are in `worldsim.judge.gates`."""

WINDOW = 5
"""Steps over which errors are averaged: one odd frame is no reason to give a rollout up."""
LEAST_SPREAD = 1e-2
"""Of a normalised action; entries that never change would otherwise decide everything."""
BATCH = 64


@dataclass(frozen=True)
class GateLimit:
    """Where a rollout stops being reliable.

    Attributes:
        limit: action error, averaged over `window` steps.
        window: steps.
        quantile: share of the held-out replays that stay below.
        replays: how many there were.
        model: fingerprint of the world model's weights.
        sampling_steps: denoising steps a frame in the replays; None where that was not noted.
        kind: what the errors are of, see `worldsim.judge.gates`.
    """

    limit: float
    window: int
    quantile: float
    replays: int
    model: str | None
    sampling_steps: int | None = None
    kind: str = INVERSE_DYNAMICS

    def crossing(self, error: Float) -> int | None:
        """The observation at which errors `[T+1]` (the first NaN) pass the limit; None: never."""
        past = np.flatnonzero(windowed(error[1:], self.window) > self.limit)
        return int(past[0]) + 1 if len(past) else None

    def save(self, folder: Path) -> None:
        """Write the limit."""
        write_json(folder / LIMIT, asdict(self))

    @staticmethod
    def of_folder(folder: Path, model: str | None, steps: int) -> "GateLimit | None":
        """The limit in a gate's folder; None without one that holds for these rollouts.

        Args:
            folder: of one kind of gate, below the judge's.
            model: fingerprint of the weights of the world model that imagines.
            steps: its denoising steps a frame.

        Raises:
            DataError: the file is damaged.
        """
        path = folder / LIMIT
        if not path.is_file():
            return None
        try:
            found = from_dict(GateLimit, read_json(path))
        except (DaciteError, TypeError) as error:
            raise DataError(f"{path} does not describe a gate: {error}") from error
        return found if (found.model, found.sampling_steps) == (model, steps) else None


def windowed(error: Float, window: int) -> Float:
    """Means over the last `window` of errors `[T]`, over fewer at the start."""
    total = np.cumsum(np.concatenate([[0.0], np.asarray(error, np.float64)]))
    ends = np.arange(1, len(error) + 1)
    begins = np.maximum(ends - window, 0)
    return np.asarray((total[ends] - total[begins]) / (ends - begins), np.float32)


def choose_limit(
    errors: Sequence[Float],
    quantile: float,
    model: str | None,
    steps: int,
    kind: str = INVERSE_DYNAMICS,
) -> GateLimit:
    """The limit that a share `quantile` of held-out replays, errors `[T]` each, stays below.

    Args:
        errors: of the replays.
        quantile: see above.
        model: fingerprint of the weights that imagined them.
        steps: denoising steps a frame that they were imagined with.
        kind: of the gate.
    """
    worst = [float(windowed(each, WINDOW).max()) for each in errors if len(each)]
    limit = float(np.quantile(worst, quantile))
    return GateLimit(limit, WINDOW, quantile, len(worst), model, steps, kind)


@torch.enable_grad()
def train_inverse_dynamics(
    model: WorldModel, data: CachedDataset, config: JudgeConfig
) -> InverseDynamics:
    """Learn to recover actions from recorded frames as the tokenizer encodes them.

    The spread of what is left is that on the episodes by which thresholds are chosen.

    Args:
        model: whose latents are read.
        data: the recordings.
        config: `gate_steps`, `buffer_size` and the seed.
    """
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    before, after, action = _pairs(model, data, TRAINED, config.buffer_size, rng)
    views, channels, height, width = before.shape[1:]
    shape = InverseDynamicsConfig((views, channels, height, width), action.shape[1])
    network = InverseDynamics(shape)
    network.action_mean.copy_(action.mean(0))
    network.action_std.copy_(action.std(0).clamp_min(LEAST_SPREAD))
    target = (action - network.action_mean) / network.action_std
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.gate_steps
    )
    for _ in range(config.gate_steps):
        rows = torch.from_numpy(rng.integers(len(target), size=min(BATCH, len(target))))
        said = network.standardised(before[rows], after[rows])
        loss = F.smooth_l1_loss(said, target[rows], beta=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.eval().requires_grad_(False)
    held = _pairs(model, data, (CALIBRATED,), config.buffer_size // 4, rng)
    left = network(*held[:2]) - held[2]
    network.spread.copy_(left.square().mean(0).sqrt().clamp_min(LEAST_SPREAD))
    return network


def _pairs(
    model: WorldModel,
    data: CachedDataset,
    folds: tuple[int, ...],
    most: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents `[N, V, c, h, w]` of two frames in a row, twice, and the action `[N, A]` between."""
    bounds = np.asarray(data.episode_start)
    spans = [np.arange(bounds[e], bounds[e + 1] - 1) for e in episodes_in(data, folds)]
    rows = np.concatenate([*spans, np.zeros(0, np.int64)]).astype(np.int64)
    if not len(rows):
        raise DataError(f"no held-out steps in folds {folds} to learn a gate from; collect more")
    rows = np.sort(rng.permutation(rows)[: max(most // 2, 1)])
    action = torch.from_numpy(np.asarray(data.action[rows], np.float32))
    return encoded(model, data, rows), encoded(model, data, rows + 1), action


def encoded(model: WorldModel, data: CachedDataset, rows: Rows) -> Tensor:
    """Latents `[N, V, c, h, w]` of recorded frames."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            pixels = torch.from_numpy(np.asarray(data.pixels[rows[start : start + BATCH]]))
            agent = torch.from_numpy(np.asarray(data.agent_pos[rows[start : start + BATCH]]))
            parts.append(model.encode(pixels[:, None], agent[:, None])[:, 0].float().cpu().numpy())
    # Made anew out of that mode, in which no tensor can be trained on.
    return torch.from_numpy(np.concatenate(parts))
