"""Policies that ignore what they see: random, zero, replay. Floors and probes of a ranking."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldsim.config.limits import Count
from worldsim.config.values import check_arguments
from worldsim.conventions import Observation
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.policies.base import POLICIES, EnvMemory, EnvStreams, FloatArray
from worldsim.spec import EE_POSITION, ActionKind, WorldSpec


@POLICIES.register("random")
class RandomPolicy:
    """Uniform actions within the action limits or among the choices, each held for a while.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        hold: steps for which a drawn action is kept; independent draws every step would cancel
            out and leave the robot where it is.
    """

    action_kinds: tuple[ActionKind, ...] = ("box", "discrete")

    def __init__(self, spec: WorldSpec, name: str = "random", hold: Count = 4) -> None:
        check_arguments(RandomPolicy, {"hold": hold}, name)
        self.name = name
        self.n_action_steps = hold
        self._action = spec.action
        self._low = np.asarray(spec.action.low, np.float32)
        self._high = np.asarray(spec.action.high, np.float32)
        self._streams = EnvStreams()

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Restart the streams of `env_ids`."""
        self._streams.reset(env_ids, seed)

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop the streams of `env_ids`."""
        self._streams.forget(env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, hold, A]`, one draw repeated."""
        draws = [self._streams[i].uniform(self._low, self._high) for i in env_ids]
        action = np.asarray(draws, np.float32).reshape(len(draws), 1, len(self._low))
        if self._action.kind == "discrete":
            action = self._action.clip(action)
        return np.repeat(action, self.n_action_steps, axis=1)


STILL = ("stop", "stay", "noop")
"""Names of choices that leave the robot where it is."""


@POLICIES.register("zero")
class ZeroPolicy:
    """Zero actions, or where actions are absolute and the pose can be read, the pose at first; of
    choices the one that stays.

    Where that keeps the robot still (`keeps_still`), what a judge credits it with is its
    false-success rate.

    Args:
        spec: world it acts in.
        name: shown in rankings.

    Raises:
        SpecMismatchError: actions are choices, and none of them stays.
    """

    action_kinds: tuple[ActionKind, ...] = ("box", "discrete")

    def __init__(self, spec: WorldSpec, name: str = "zero") -> None:
        self.name = name
        self.n_action_steps = 1
        self._action = spec.action
        self._still = np.zeros(spec.action.dim, np.float32)
        if spec.action.kind == "discrete":
            staying = [place for place, each in enumerate(spec.action.names) if each in STILL]
            if not staying:
                raise SpecMismatchError(
                    f"policy {name!r} (kind 'zero') does nothing, and each of the choices "
                    f"({', '.join(spec.action.names)}) does something: none is called "
                    f"{', '.join(STILL[:-1])} or {STILL[-1]}; use another policy"
                )
            self._still[staying[0]] = 1.0
        self._columns = held_columns(spec)
        self._held: EnvMemory[FloatArray] = EnvMemory()

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Take the pose to be held from the next observation of `env_ids`."""
        self.forget(env_ids)

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop the poses of `env_ids`."""
        self._held.forget(env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, 1, A]`."""
        if self._columns is None:
            return np.tile(self._still, (len(env_ids), 1, 1))
        scale = np.asarray(self._action.scale, np.float32)
        poses = np.asarray(observation["agent_pos"], np.float32)[:, self._columns] / scale
        held = [self._held.setdefault(int(i), row) for i, row in zip(env_ids, poses, strict=True)]
        return self._action.check(np.stack(held), self.name)[:, None]


def held_columns(spec: WorldSpec) -> list[int] | None:
    """The entry of `agent_pos` that each dimension of an absolute action moves to.

    They are told by their names; three metres in the world are the end effector's place. None if
    actions are not absolute, or some dimension has no such entry.
    """
    action, agent_pos = spec.action, spec.agent_pos
    if action.mode != "absolute":
        return None
    names = list(action.names)
    if action.frame == "world" and action.units[:3] == ("m",) * 3:
        names[:3] = EE_POSITION
    found = agent_pos.indices(*names)
    if found is None or any(
        agent_pos.units[i] != u for i, u in zip(found, action.units, strict=True)
    ):
        return None
    return list(found)


def keeps_still(spec: WorldSpec) -> bool:
    """Whether `ZeroPolicy` is known to leave the robot where it is."""
    if spec.action.kind == "discrete":
        return any(name in STILL for name in spec.action.names)
    return spec.action.mode == "delta" or held_columns(spec) is not None


@POLICIES.register("replay")
class ReplayPolicy:
    """Recorded actions again, whatever happens; env i replays recording i modulo their number.

    After the last recorded action it repeats zeros, or that action where actions are absolute or
    choices.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        actions: recordings `[T_i, A]`, if they are in memory.
        dataset: LeRobot folder to read them from otherwise.
        episodes: which of its episodes, all when empty.
        columns: which of its columns is the action; see `worldsim.data.selection.ColumnOptions`.
    """

    action_kinds: tuple[ActionKind, ...] = ("box", "discrete")

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
        self._stays = spec.action.mode == "absolute" or spec.action.kind == "discrete"
        self._step: EnvMemory[int] = EnvMemory()

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Rewind the recordings of `env_ids`."""
        self._step.update((int(i), 0) for i in env_ids)

    def forget(self, env_ids: Sequence[int]) -> None:
        """Put the recordings of `env_ids` away."""
        self._step.forget(env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """The next recorded action of each env, `[N, 1, A]`."""
        chosen = np.zeros((len(env_ids), 1, self._dim), np.float32)
        for row, env_id in enumerate(map(int, env_ids)):
            recording, step = self._actions[env_id % len(self._actions)], self._step[env_id]
            if step < len(recording):
                chosen[row, 0] = recording[step]
            elif self._stays and len(recording):
                chosen[row, 0] = recording[-1]
            self._step[env_id] = step + 1
        return chosen


def _recorded_actions(
    dataset: str, episodes: Sequence[int], columns: Mapping[str, Any] | None
) -> list[FloatArray]:
    """Commanded actions of the chosen episodes, each `[T, A]`."""
    from worldsim.data.dataset import LeRobotDataset
    from worldsim.data.selection import read_selection

    if not dataset:
        raise UsageError("replay policy: give `actions` or the folder of a `dataset`")
    recorded = LeRobotDataset(dataset, read_selection(columns))
    wanted = [recorded.place(i) for i in episodes] or range(recorded.num_episodes)
    # The last row of an episode carries no action.
    return [recorded.arrays(i)["action"][:-1] for i in wanted]
