"""Success, progress and privileged state of foreign envs: goal envs, reward rules, or none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.envs.foreign_spec import Readout, goal_spec
from worldsim.errors import UsageError

Outcome = tuple[bool, float]
"""Success, and progress in [0, 1]."""


@dataclass(frozen=True)
class SuccessRule:
    """Success for envs that report none: `info[key] > above`.

    Progress runs from the first step's value (0) to `above` (1).
    """

    key: str
    above: float


class Task(Protocol):
    """Judges one episode at a time; poses in `data` are up to date."""

    state: Readout

    def reset(self, data: mujoco.MjData) -> None:
        """Forget the last episode."""
        ...

    def at_reset(self, data: mujoco.MjData) -> Outcome:
        """The outcome of the first observation."""
        ...

    def after_step(self, data: mujoco.MjData, info: Mapping[str, Any]) -> Outcome:
        """The outcome after a step whose source info was `info`."""
        ...

    def get_extras(self) -> dict[str, Any]:
        """What the physics state does not hold, as JSON types."""
        ...

    def set_extras(self, extras: Mapping[str, Any], data: mujoco.MjData) -> None:
        """Restore `get_extras` output."""
        ...


def make_task(env: gymnasium.Env[Any, Any], rule: SuccessRule | None, everything: Readout) -> Task:
    """Choose the judge of an env.

    Args:
        env: the source env.
        rule: a rule from the config, or None.
        everything: positions and velocities of all joints.
    """
    if rule is None and getattr(env.unwrapped, "goal", None) is not None:
        return GoalTask(env)
    return InfoTask(everything, rule)


class GoalTask:
    """A goal env of gymnasium-robotics: success is the env's own, progress is distance covered."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._env = cast(Any, env.unwrapped)
        self._start = 0.0
        size = int(env.observation_space["desired_goal"].shape[0])  # type: ignore[index]
        self.state = Readout(goal_spec(size), self._read)

    def reset(self, data: mujoco.MjData) -> None:
        """See `Task`."""
        self._start = self._distance()

    def at_reset(self, data: mujoco.MjData) -> Outcome:
        """See `Task`."""
        return self._outcome()

    def after_step(self, data: mujoco.MjData, info: Mapping[str, Any]) -> Outcome:
        """See `Task`."""
        return self._outcome()

    def get_extras(self) -> dict[str, Any]:
        """The desired goal and the distance at the start."""
        return {"goal": np.asarray(self._env.goal).tolist(), "start_distance": self._start}

    def set_extras(self, extras: Mapping[str, Any], data: mujoco.MjData) -> None:
        """See `Task`."""
        if "goal" in extras:
            self._env.goal = np.asarray(extras["goal"], np.float64)
        self._start = float(extras.get("start_distance", self._distance()))

    def _outcome(self) -> Outcome:
        achieved = self._achieved()
        success = bool(self._env._is_success(achieved, self._env.goal))
        if success:
            return True, 1.0
        covered = 1.0 - self._distance() / max(self._start, 1e-9)
        return False, float(np.clip(covered, 0.0, 1.0))

    def _distance(self) -> float:
        return float(np.linalg.norm(self._achieved() - self._env.goal))

    def _achieved(self) -> NDArray[np.float64]:
        return np.asarray(self._env._get_obs()["achieved_goal"], np.float64)

    def _read(self, data: mujoco.MjData) -> NDArray[np.float32]:
        return np.concatenate([self._achieved(), self._env.goal]).astype(np.float32)


class InfoTask:
    """Success from the source's own info, or from a rule on one of its numbers."""

    def __init__(self, everything: Readout, rule: SuccessRule | None) -> None:
        self.state = everything
        self._rule = rule
        self._first: float | None = None

    def reset(self, data: mujoco.MjData) -> None:
        """See `Task`."""
        self._first = None

    def at_reset(self, data: mujoco.MjData) -> Outcome:
        """See `Task`."""
        return False, 0.0

    def after_step(self, data: mujoco.MjData, info: Mapping[str, Any]) -> Outcome:
        """See `Task`.

        Raises:
            UsageError: the rule's key is not in the source's info.
        """
        if self._rule is None:
            success = bool(info.get("is_success", info.get("success", False)))
            return success, float(success)
        return self._judge(self._value(info, self._rule.key), self._rule.above)

    def get_extras(self) -> dict[str, Any]:
        """The first value of the rule's number."""
        return {"first": self._first}

    def set_extras(self, extras: Mapping[str, Any], data: mujoco.MjData) -> None:
        """See `Task`."""
        first = extras.get("first")
        self._first = None if first is None else float(first)

    def _judge(self, value: float, above: float) -> Outcome:
        if self._first is None:
            self._first = value
        if value > above:
            return True, 1.0
        covered = (value - self._first) / max(above - self._first, 1e-9)
        return False, float(np.clip(covered, 0.0, 1.0))

    def _value(self, info: Mapping[str, Any], key: str) -> float:
        numbers = sorted(name for name, value in info.items() if np.isscalar(value))
        if key not in numbers:
            raise UsageError(f"success.key {key!r} is not in the env's info; it has {numbers}")
        return float(cast(Any, info[key]))
