"""A small made-up world: two 16x16 cameras, three action dimensions, a moving square."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.data.episode import EpisodeMeta
from worldsim.data.split import folds_by_index
from worldsim.spec import ActionSpec, CameraSpec, VectorSpec, WorldSpec

SIZE = 16
CAMERAS = ("left", "right")


def make_spec(fps: int = 10, action_dim: int = 3, size: int = SIZE) -> WorldSpec:
    """Spec of the made-up world."""
    names = tuple(f"a{i}" for i in range(action_dim))
    one = (1.0,) * action_dim
    action = ActionSpec(names, tuple(-x for x in one), one, ("m",) * action_dim, one)
    return WorldSpec(
        fps,
        tuple(CameraSpec(name, size, size) for name in CAMERAS),
        action,
        VectorSpec(("x", "y", "z", "w"), ("m", "m", "m", "m")),
        VectorSpec(("square_row", "square_column"), ("m", "m")),
    )


def draw(place: NDArray[np.float32], size: int = SIZE) -> NDArray[np.uint8]:
    """A white square at `place` `[N, 2]` in [0, 1]: uint8 `[N, V, H, W, 3]`, same in both views."""
    corner = (np.asarray(place)[:, :, None] * (size - 4)).round()
    inside = (np.arange(size) >= corner) & (np.arange(size) < corner + 4)
    picture = (inside[:, 0, :, None] & inside[:, 1, None, :]).astype(np.uint8) * 200 + 30
    return np.repeat(np.repeat(picture[:, None, :, :, None], 2, axis=1), 3, axis=-1)


def make_observation(rows: int, seed: int = 0) -> dict[str, Any]:
    """A random batched observation of the made-up world."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (len(CAMERAS), rows, SIZE, SIZE, 3), np.uint8, endpoint=True)
    return {
        "pixels": dict(zip(CAMERAS, pixels, strict=True)),
        "agent_pos": rng.normal(size=(rows, 4)).astype(np.float32),
        "task": [f"task {i}" for i in range(rows)],
    }


def take(observation: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    """Some rows of a batched observation."""
    return {
        "pixels": {name: view[rows] for name, view in observation["pixels"].items()},
        "agent_pos": observation["agent_pos"][rows],
        "task": [observation["task"][i] for i in rows],
    }


@dataclass(frozen=True, eq=False)
class MadeUpRecordings:
    """What of a `CachedDataset` policies learn from; see `make_recordings`."""

    spec: WorldSpec
    pixels: NDArray[np.uint8]
    agent_pos: NDArray[np.float32]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    action_mask: NDArray[np.bool_]
    episode_start: NDArray[np.int64]
    metas: tuple[EpisodeMeta, ...]
    folds: list[int]


def make_recordings(
    episodes: int = 12, length: int = 6, policies: tuple[str, ...] = ("expert", "noisy")
) -> CachedDataset:
    """`episodes` of `length` actions; action = (row, column of the square, 0), scaled to [-1, 1].

    Recording policies take turns; those named "bad" never succeed.
    """
    rng = np.random.default_rng(5)
    rows = episodes * (length + 1)
    place = rng.uniform(size=(rows, 2)).astype(np.float32)
    action = np.concatenate([place * 2 - 1, np.zeros((rows, 1), np.float32)], axis=1)
    mask = np.ones(rows, bool)
    start = np.arange(episodes + 1) * (length + 1)
    mask[start[1:] - 1] = False
    action[~mask] = 0
    names = [policies[i % len(policies)] for i in range(episodes)]
    metas = tuple(EpisodeMeta("made-up", i, n, success=n != "bad") for i, n in enumerate(names))
    agent = rng.normal(size=(rows, 4)).astype(np.float32)
    folds = folds_by_index(range(episodes))
    made = MadeUpRecordings(
        make_spec(), draw(place), agent, place, action, mask, start, metas, folds
    )
    return cast(CachedDataset, made)


class FirstNumbers:
    """An expert whose action is the first numbers of the state, and one more each time."""

    def __init__(self) -> None:
        self._asked = 0

    def get_action(self, state: Any) -> Any:
        """`[5]`."""
        self._asked += 1
        return [*state[:4], 0.01 * self._asked]
