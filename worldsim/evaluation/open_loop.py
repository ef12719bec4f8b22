"""Open loop: the model imagines recorded episodes from their first frame under given actions.

Legend: N episodes, K horizons (steps from the first frame), V views, H W pixels, A action,
P proprioception, S state.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.streaming.imagination import Imagination

Float = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Drive:
    """A start and the actions to imagine from it.

    Attributes:
        episode: whose first frame to start from.
        actions: `[T, A]`.
        noise_id: names the noise; drives that share it are sampled with the same noise.
    """

    episode: int
    actions: Float
    noise_id: int


@dataclass(frozen=True, eq=False)
class DrivenFrames:
    """One imagined step of the drives that still run.

    Attributes:
        horizon: steps from the first frame, from 1.
        drives: their numbers `[n]`.
        pixels: uint8 `[n, V, H, W, 3]`.
        agent_pos: `[n, P]` where the model takes the hand to be.
        state: `[n, S]` where it takes the scene to be.
    """

    horizon: int
    drives: NDArray[np.int64]
    pixels: Pixels
    agent_pos: Float
    state: Float


def recorded_actions(cache: CachedDataset, episode: int, most: int = 0) -> Float:
    """The actions `[T, A]` of an episode, the first `most` of them if that is not 0."""
    rows = cache.rows(episode)
    length = rows.stop - rows.start - 1
    count = min(length, most) if most else length
    return np.asarray(cache.action[rows.start : rows.start + count])


def actions_of_another(actions: Sequence[Float]) -> list[Float]:
    """Each episode gets the next one's actions, repeated from their start where too short.

    Raises:
        UsageError: there are fewer than two episodes to exchange actions between.
    """
    if len(actions) < 2:
        raise UsageError("shuffled actions need at least two episodes")
    shifted = [*actions[1:], actions[0]]
    return [
        np.take(other, np.arange(len(own)), axis=0, mode="wrap")
        for own, other in zip(actions, shifted, strict=True)
    ]


def imagine(
    model: WorldModel,
    cache: CachedDataset,
    drives: Sequence[Drive],
    sampling_steps: int = 2,
    seed: int = 0,
) -> Iterator[DrivenFrames]:
    """Imagine all drives as one batch; those that end drop out and cost nothing more.

    Raises:
        SpecMismatchError: model and data describe different worlds.
    """
    model.spec.require_compatible(cache.spec, "the model", f"data set {cache.root}")
    lengths = [len(drive.actions) for drive in drives]
    running = [i for i, length in enumerate(lengths) if length]
    if not running:
        return
    imagination = Imagination(model, sampling_steps)
    episodes = np.array([drives[i].episode for i in running])
    rows = cache.episode_start[episodes]
    imagination.reset(
        np.asarray(cache.pixels[rows]),
        np.asarray(cache.agent_pos[rows]),
        _rig(cache, episodes),
        env_ids=[drives[i].noise_id for i in running],
        seed=seed,
        state=np.asarray(cache.state[rows]),
    )
    for horizon in range(1, max(lengths) + 1):
        alive = [row for row, i in enumerate(running) if lengths[i] >= horizon]
        if len(alive) < len(running):
            imagination.select(alive)
            running = [running[row] for row in alive]
        frame = imagination.step(np.stack([drives[i].actions[horizon - 1] for i in running]))
        yield DrivenFrames(
            horizon,
            np.asarray(running),
            imagination.pixels(),
            frame.agent_pos.numpy(),
            frame.state.float().numpy(),
        )


def _rig(cache: CachedDataset, episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]] | None:
    """Calibration of the episodes, or None if any camera of theirs is unknown."""
    rigs = cache.rigs
    if not rigs.known[episodes].all():
        return None
    return {
        "intrinsics": rigs.intrinsics[episodes],
        "extrinsics": rigs.extrinsics[episodes],
        "mounted": rigs.mounted[episodes],
    }
