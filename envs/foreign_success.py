"""Success and progress of foreign envs: as a goal env tells, by the user's rule, as reported."""

import inspect
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.config.compose import build
from worldsim.config.values import Checked
from worldsim.envs.foreign_attributes import public_method
from worldsim.envs.foreign_spec import Readout, goal_spec
from worldsim.errors import QualityWarning, UsageError

Outcome = tuple[bool, float]
"""Success, and progress in [0, 1]."""


@dataclass(frozen=True)
class SuccessRule(Checked):
    """Success for envs that report none under its usual names: a number that is above a bound.

    Progress runs from the first step's value (0) to `above` (1). The default suits a number that
    is true or false.

    Attributes:
        key: entry of the info.
        method: of the env, called without arguments after each step.
        of: "reward" of a step, or "end": whether the env itself ended the episode, not its clock.
        above: the bound.
    """

    key: str | None = None
    method: str | None = None
    of: Literal["reward", "end"] | None = None
    above: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(one is not None for one in (self.key, self.method, self.of)) != 1:
            raise UsageError("give one of key (of the info), method (of the env), of (reward, end)")


@dataclass(frozen=True)
class Stepped:
    """What a step of the source says of success.

    Attributes:
        reward: of that step.
        ended: whether the env ended the episode; running out of time is no end.
        info: of that step.
    """

    reward: float
    ended: bool
    info: Mapping[str, Any]


SuccessRequest = Mapping[str, Any] | Literal[False] | None
"""A rule; None: as the env itself reports it; False: nothing counts as success."""

_REPORTED = ("is_success", "success")
_TELLING = re.compile("succe|solved|complete|achieved|reached|done|won", re.IGNORECASE)
"""Names under which envs report success as a number."""
_NOT_SUCCESS = re.compile("truncat|terminat|timeout|time_limit|TimeLimit|fail", re.IGNORECASE)


class Task:
    """Judges one episode at a time; poses in `data` are up to date."""

    def reset(self) -> None:
        """Forget the last episode."""

    def outcome(self) -> Outcome:
        """The outcome of an episode's first observation."""
        return False, 0.0

    def after_step(self, stepped: Stepped) -> Outcome:
        """The outcome after a step of the source."""
        return self.outcome()

    def get_extras(self) -> dict[str, Any]:
        """What the physics state does not hold, as JSON types."""
        return {}

    def set_extras(self, extras: Mapping[str, Any]) -> None:
        """Restore `get_extras` output."""


def make_task(env: gymnasium.Env[Any, Any], request: SuccessRequest) -> Task:
    """Choose the judge of an env.

    Args:
        env: the source env.
        request: what counts as success.

    Raises:
        UsageError: the request is no rule.
    """
    if request is None and is_goal_env(env):
        return GoalTask(env)
    if isinstance(request, Mapping):
        return RuleTask(env, build(SuccessRule, dict(request), "success"))
    if request is not None and request is not False:
        raise UsageError(
            f"success is {request!r}; expected {{key: NAME, above: NUMBER}}, {{method: NAME}}, "
            "{of: reward, above: NUMBER}, {of: end}, null for what the env reports, or false for "
            "an env without success"
        )
    return ReportedTask() if request is None else Task()


def is_goal_env(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether an env works as gymnasium-robotics' goal envs do; an attribute `goal` says little."""
    space, inner = env.observation_space, cast(Any, env.unwrapped)
    if not isinstance(space, spaces.Dict) or getattr(inner, "goal", None) is None:
        return False
    goals = [space.spaces.get(f"{kind}_goal") for kind in ("achieved", "desired")]
    if not all(isinstance(goal, spaces.Box) and len(goal.shape) == 1 for goal in goals):
        return False
    return _takes(inner, "_is_success", 2) and _takes(inner, "_get_obs", 0)


def _takes(holder: Any, method: str, arguments: int) -> bool:
    """Whether an object has a method that can be called with so many arguments."""
    try:
        inspect.signature(getattr(holder, method)).bind(*range(arguments))
    except (AttributeError, TypeError, ValueError):
        return False
    return True


class GoalTask(Task):
    """A goal env of gymnasium-robotics: success is the env's own, progress is distance covered."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._env = cast(Any, env.unwrapped)
        self._start = 0.0
        self._size = int(env.observation_space["desired_goal"].shape[0])  # type: ignore[index]

    @property
    def goals(self) -> Readout:
        """Achieved and desired goal, the privileged state of a goal env."""
        return Readout(goal_spec(self._size), self._read)

    def reset(self) -> None:
        """See `Task`."""
        self._start = self._distance()

    def outcome(self) -> Outcome:
        """See `Task`."""
        if self._env._is_success(self._achieved(), self._env.goal):
            return True, 1.0
        covered = 1.0 - self._distance() / max(self._start, 1e-9)
        return False, float(np.clip(covered, 0.0, 1.0))

    def get_extras(self) -> dict[str, Any]:
        """The desired goal and the distance at the start."""
        return {"goal": np.asarray(self._env.goal).tolist(), "start_distance": self._start}

    def set_extras(self, extras: Mapping[str, Any]) -> None:
        """See `Task`."""
        if "goal" in extras:
            self._env.goal = np.asarray(extras["goal"], np.float64)
        self._start = float(extras.get("start_distance", self._distance()))

    def _distance(self) -> float:
        return float(np.linalg.norm(self._achieved() - self._env.goal))

    def _achieved(self) -> NDArray[np.float64]:
        return np.asarray(self._env._get_obs()["achieved_goal"], np.float64)

    def _read(self, data: mujoco.MjData) -> NDArray[np.float32]:
        return np.concatenate([self._achieved(), self._env.goal]).astype(np.float32)


class RuleTask(Task):
    """Success by the user's rule."""

    def __init__(self, env: gymnasium.Env[Any, Any], rule: SuccessRule) -> None:
        self._env, self._rule = cast(Any, env.unwrapped), rule
        self._first: float | None = None
        if rule.method is not None:
            public_method(self._env, rule.method, "success.method")

    def reset(self) -> None:
        """See `Task`."""
        self._first = None

    def after_step(self, stepped: Stepped) -> Outcome:
        """See `Task`.

        Raises:
            UsageError: the rule's key is not in the source's info, or its method gives no number.
        """
        value, above = self._value(stepped), self._rule.above
        if self._first is None:
            self._first = value
        if value > above:
            return True, 1.0
        covered = (value - self._first) / max(above - self._first, 1e-9)
        return False, float(np.clip(covered, 0.0, 1.0))

    def _value(self, stepped: Stepped) -> float:
        rule = self._rule
        if rule.of is not None:
            return stepped.reward if rule.of == "reward" else float(stepped.ended)
        if rule.method is not None:
            name, numbers = rule.method, _numbers({rule.method: getattr(self._env, rule.method)()})
        else:
            name, numbers = str(rule.key), _numbers(stepped.info)
        if name not in numbers:
            if rule.method is not None:
                raise UsageError(f"success.method {name!r} of the env gives no number")
            raise UsageError(
                f"success.key {name!r} is not in the env's info; it has {sorted(numbers) or 'none'}"
            )
        return numbers[name]

    def get_extras(self) -> dict[str, Any]:
        """The first value of the rule's number."""
        return {"first": self._first}

    def set_extras(self, extras: Mapping[str, Any]) -> None:
        """See `Task`."""
        first = extras.get("first")
        self._first = None if first is None else float(first)


class ReportedTask(Task):
    """Success as the source's info calls it: `is_success` or `success`."""

    _warned = False

    def after_step(self, stepped: Stepped) -> Outcome:
        """See `Task`.

        Raises:
            UsageError: only the user can say which of the info's entries is success.
        """
        info = stepped.info
        key = next((name for name in _REPORTED if name in info), None)
        if key is not None:
            success = bool(np.all(info[key]))
            return success, float(success)
        if not self._warned:
            self._warned = True
            _ask_for_success(info)
        return False, 0.0


def _numbers(info: Mapping[str, Any]) -> dict[str, float]:
    """Entries that are one number, true and false among them."""
    found = {}
    for name, value in info.items():
        array = np.asarray(value) if isinstance(value, bool | int | float | np.generic) else value
        if isinstance(array, np.ndarray) and array.size == 1 and array.dtype.kind in "biuf":
            found[str(name)] = float(array.item())
    return found


def _ask_for_success(info: Mapping[str, Any]) -> None:
    """The info has no success under its usual names: say what it has.

    Raises:
        UsageError: an entry looks like success under another name.
    """
    numbers = _numbers(info)
    likely = [
        name
        for name in numbers
        if not _NOT_SUCCESS.search(name)
        and (_TELLING.search(name) or isinstance(info[name], bool | np.bool_))
    ]
    if likely:
        raise UsageError(
            f"the env's info has no {' or '.join(map(repr, _REPORTED))}, but {', '.join(likely)}; "
            f"say which one is success, as in 'env.success={{key: {likely[0]}}}', or say that none "
            "is, with env.success=false"
        )
    warnings.warn(
        f"the env's info has no {' or '.join(map(repr, _REPORTED))}: every episode counts as a "
        f"failure; its numbers are {', '.join(sorted(numbers)) or 'none'}. A rule makes success of "
        "one, as in 'env.success={key: NAME, above: NUMBER}', and 'env.success={of: reward, above: "
        "NUMBER}' of the reward; env.success=false says there is none",
        QualityWarning,
        stacklevel=2,
    )
