"""Policies that ignore what they see: random, zero, replay. Floors and probes of a ranking."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.base import POLICIES, FloatArray
from worldsim.policies.randomness import EnvStreams
from worldsim.specs import WorldSpec


@POLICIES.register("random")
class RandomPolicy:
    """Uniform actions within the action limits, each held for a while.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        hold: steps for which a drawn action is kept; independent draws every step would cancel
            out and leave the robot where it is.
    """

    def __init__(self, spec: WorldSpec, name: str = "random", hold: int = 4) -> None:
        if hold < 1:
            raise UsageError(f"random policy: hold must be at least 1, got {hold}")
        self.name = name
        self.n_action_steps = hold
        self._low = np.asarray(spec.action.low, np.float32)
        self._high = np.asarray(spec.action.high, np.float32)
        self._streams = EnvStreams()

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Restart the streams of `env_ids`."""
        self._streams.reset(env_ids, seed)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, hold, A]`, one draw repeated."""
        draws = [self._streams.of(i).uniform(self._low, self._high) for i in env_ids]
        action = np.asarray(draws, np.float32).reshape(len(draws), 1, len(self._low))
        return np.repeat(action, self.n_action_steps, axis=1)


@POLICIES.register("zero")
class ZeroPolicy:
    """Does nothing: what a judge credits it with is its false-success rate.

    Args:
        spec: world it acts in.
        name: shown in rankings.
    """

    def __init__(self, spec: WorldSpec, name: str = "zero") -> None:
        self.name = name
        self.n_action_steps = 1
        self._dim = spec.action.dim

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Nothing is remembered."""

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """Zeros `[N, 1, A]`."""
        return np.zeros((len(env_ids), 1, self._dim), np.float32)


@POLICIES.register("replay")
class ReplayPolicy:
    """Recorded actions again, whatever happens; env i replays recording i modulo their number.

    After the last recorded action it repeats zeros.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        actions: recordings `[T_i, A]`, if they are in memory.
        dataset: LeRobot folder to read them from otherwise.
        episodes: which of its episodes, all when empty.
        columns: which of its columns is the action; see `worldsim.data.selection.read_selection`.
    """

    def __init__(
        self,
        spec: WorldSpec,
        name: str = "replay",
        actions: Sequence[FloatArray] = (),
        dataset: str = "",
        episodes: Sequence[int] = (),
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.n_action_steps = 1
        recorded = list(actions) if len(actions) else _recorded_actions(dataset, episodes, columns)
        self._actions = [spec.action.check(a, f"recording {i}") for i, a in enumerate(recorded)]
        self._dim = spec.action.dim
        self._step: dict[int, int] = {}

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Rewind the recordings of `env_ids`."""
        self._step.update((int(i), 0) for i in env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """The next recorded action of each env, `[N, 1, A]`."""
        chosen = np.zeros((len(env_ids), 1, self._dim), np.float32)
        for row, env_id in enumerate(map(int, env_ids)):
            if env_id not in self._step:
                raise UsageError(f"act was asked for env {env_id} before reset; reset it first")
            recording, step = self._actions[env_id % len(self._actions)], self._step[env_id]
            if step < len(recording):
                chosen[row, 0] = recording[step]
            self._step[env_id] = step + 1
        return chosen


def _recorded_actions(
    dataset: str, episodes: Sequence[int], columns: Mapping[str, Any] | None
) -> list[FloatArray]:
    """Commanded actions of the chosen episodes, each `[T, A]`."""
    from worldsim.data.cache import build_cache
    from worldsim.data.selection import read_selection

    if not dataset:
        raise UsageError("replay policy: give `actions` or the folder of a `dataset`")
    cache = build_cache(Path(dataset), selection=read_selection(columns))
    count = len(cache.episode_start) - 1
    wanted = list(episodes) or list(range(count))
    outside = [i for i in wanted if not 0 <= i < count]
    if outside or not wanted:
        raise UsageError(f"replay policy: {dataset} has {count} episodes, asked for {outside}")
    bounds = [(cache.episode_start[i], cache.episode_start[i + 1]) for i in wanted]
    # The last row of an episode carries no action.
    return [np.asarray(cache.action[low : high - 1], np.float32) for low, high in bounds]
