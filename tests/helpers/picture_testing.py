"""Small envs without MuJoCo: a dot on a line, seen from above, with actions of several kinds.

The dot's place is kept where nobody finds it, so that no state can be restored.
"""

import itertools
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

SIDE = 16
_COUNT = itertools.count()


class Hidden:
    """A place that belongs to no env: attributes of other packages' objects are not walked."""

    __slots__ = ("place",)

    def __init__(self) -> None:
        self.place = 0.0


class DotEnv(gymnasium.Env[Any, Any]):
    """A white dot at `place` in [0, 1]; actions push it by up to 0.2."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    action_space: spaces.Space[Any] = spaces.Box(-0.2, 0.2, (1,), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._hidden, self.given = Hidden(), []  # type: ignore[var-annotated]
        self.observation_space = spaces.Dict(
            {
                "view": spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8),
                "agent_pos": spaces.Box(-1, 2, (1,), np.float64),
                "target": spaces.Box(0, 1, (2,), np.float64),
            }
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._hidden.place = float(self.np_random.uniform(0.1, 0.4))
        self.target = self.np_random.uniform(0.6, 0.9, 2)
        return self._observe(), {"goal_text": f"to {self.target[0]:.2f}"}

    def step(self, action: Any) -> Any:
        self.given.append(action)
        self._hidden.place = float(np.clip(self._hidden.place + self.moved(action), 0.0, 1.0))
        reached = self.solved()
        return self._observe(), self._hidden.place, reached, False, {"reached": reached}

    def moved(self, action: Any) -> float:
        """How far an action pushes."""
        return float(np.ravel(action)[0])

    def solved(self) -> bool:
        """Whether the dot is at the target."""
        return bool(self._hidden.place > self.target[0])

    def say(self) -> str:
        """The instruction of this episode."""
        return f"push it past {self.target[0]:.1f}"

    def render(self) -> Any:
        return np.repeat(np.repeat(self._observe()["view"], 2, axis=0), 2, axis=1)

    def _observe(self) -> dict[str, Any]:
        view = np.zeros((SIDE, SIDE, 3), np.uint8)
        column = int(self._hidden.place * (SIDE - 1))
        view[4:8, max(column - 1, 0) : column + 2] = 255
        return {"view": view, "agent_pos": np.array([self._hidden.place]), "target": self.target}


class DictDot(DotEnv):
    """An arm that pushes, a switch that lets it, and a gear."""

    action_space = spaces.Dict(
        {
            "arm": spaces.Box(-0.2, 0.2, (1, 2), np.float32),
            "gear": spaces.Discrete(3, start=1),
            "on": spaces.MultiBinary(1),
        }
    )

    def moved(self, action: Any) -> float:
        return float(action["arm"][0, 0] * action["gear"] * action["on"][0])


class ChoiceDot(DotEnv):
    """Left, stay, right."""

    action_space = spaces.Discrete(3, start=-1)

    def moved(self, action: Any) -> float:
        return 0.15 * int(action)


class PlaceDot(DotEnv):
    """The action is the place to go to, in per cent."""

    action_space = spaces.Box(0.0, 100.0, (1,), np.float32)

    def moved(self, action: Any) -> float:
        return float(action[0]) / 100.0 - self._hidden.place

    def _observe(self) -> dict[str, Any]:
        return {**super()._observe(), "agent_pos": np.array([100.0 * self._hidden.place])}


class BareDot(DotEnv):
    """Observes two numbers, and draws itself when asked."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.observation_space = spaces.Box(-1, 2, (2,), np.float64)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        _, info = super().reset(seed=seed)
        return np.array([self._hidden.place, self.target[0]]), info

    def step(self, action: Any) -> Any:
        _, *rest = super().step(action)
        return np.array([self._hidden.place, self.target[0]]), *rest


class Forgetful(DotEnv):
    """Begins where the operating system says."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.np_random = np.random.default_rng()
        return super().reset()


class DmDot:
    """What dm_env asks for, without dm_env; the start comes from a generator of its own."""

    def __init__(self, limit: int = 50) -> None:
        self._random, self._limit = np.random.RandomState(), limit
        self._place, self._steps = 0.0, 0

    def action_spec(self) -> Any:
        return SimpleNamespace(
            shape=(1,), dtype=np.dtype(np.float64), minimum=-0.2, maximum=np.array([0.2])
        )

    def observation_spec(self) -> Any:
        image = SimpleNamespace(shape=(SIDE, SIDE, 3), dtype=np.dtype(np.uint8))
        return {"view": image, "place": SimpleNamespace(shape=(), dtype=np.dtype(float))}

    def control_timestep(self) -> float:
        return 0.05

    def reset(self) -> Any:
        self._place, self._steps = self._random.uniform(0.1, 0.4), 0
        return self._timestep(None)

    def step(self, action: Any) -> Any:
        self._place, self._steps = self._place + float(action[0]), self._steps + 1
        return self._timestep(self._place)

    def _timestep(self, reward: float | None) -> Any:
        view = np.full((SIDE, SIDE, 3), int(200 * np.clip(self._place, 0, 1)), np.uint8)
        solved = self._place > 0.9
        last = solved or self._steps >= self._limit
        return SimpleNamespace(
            observation={"view": view, "place": np.float64(self._place)},
            reward=reward,
            discount=0.0 if solved else 1.0,
            last=lambda: last,
        )


class DotExpert:
    """Knows where the target is and goes there."""

    def __init__(self, stride: float = 1.0) -> None:
        self.stride = stride

    def get_action(self, state: Any) -> Any:
        """Right, while the target is there; beyond the limits, which the policy clips."""
        return [self.stride * 5.0]


def register(cls: Any, limit: int = 40) -> str:
    """Register an env under an id of its own, and return that."""
    env_id = f"Dot{cls.__name__}{next(_COUNT)}-v0"
    gymnasium.register(env_id, f"{cls.__module__}:{cls.__name__}", max_episode_steps=limit)
    return env_id
