"""dm_env environments as gymnasium ones: DeepMind's control suite and what follows its protocol.

The protocol is told by its methods, so that dm_env itself need not be installed. A dm_env has no
seed of its own; the adapter seeds every random generator that it finds inside.
"""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from worldsim.errors import UsageError

_METHODS = ("reset", "step", "action_spec", "observation_spec")


def speaks_dm_env(env: Any) -> bool:
    """Whether an object has the methods of a `dm_env.Environment`."""
    return all(callable(getattr(env, name, None)) for name in _METHODS)


class DmEnv(gymnasium.Env[Any, Any]):
    """A dm_env source. Terminated where its last step has discount 0, else truncated there.

    Args:
        env: the source.

    Raises:
        UsageError: a spec of its actions or observations is of an unknown kind.
    """

    def __init__(self, env: Any) -> None:
        self._env = env
        self.action_space = space_of(env.action_spec(), "action")
        self.observation_space = space_of(env.observation_spec(), "observation")
        draws = callable(getattr(env, "render", None))
        self.metadata = {"render_modes": ["rgb_array"] if draws else []}
        self.render_mode = "rgb_array" if draws else None

    @property
    def physics(self) -> Any:
        """Where a suite's env keeps its MuJoCo model; None elsewhere."""
        return getattr(self._env, "physics", None)

    @property
    def dt(self) -> float | None:
        """Seconds of a step, where the source tells them."""
        tell: Callable[[], float] | None = getattr(self._env, "control_timestep", None)
        return None if tell is None else float(tell())

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """See `gymnasium.Env.reset`."""
        super().reset(seed=seed)
        return self._env.reset().observation, {}

    def step(self, action: Any) -> Any:
        """See `gymnasium.Env.step`; the discount stands in the info."""
        timestep = self._env.step(action)
        over = bool(timestep.last())
        discount = 1.0 if timestep.discount is None else float(timestep.discount)
        ended = over and discount == 0.0
        reward = 0.0 if timestep.reward is None else float(timestep.reward)
        return timestep.observation, reward, ended, over and not ended, {"discount": discount}

    def render(self) -> Any:
        """What the source's own `render` draws."""
        return self._env.render()

    def close(self) -> None:
        """Close the source."""
        close = getattr(self._env, "close", None)
        if close is not None:
            close()


def space_of(spec: Any, name: str) -> spaces.Space[Any]:
    """The gymnasium space of a dm_env spec, or of a mapping or list of them.

    Raises:
        UsageError: it is neither an array's nor a choice's.
    """
    if isinstance(spec, Mapping):
        parts = {str(key): space_of(part, f"{name}.{key}") for key, part in spec.items()}
        return spaces.Dict(parts)
    if isinstance(spec, list | tuple):
        return spaces.Tuple([space_of(part, f"{name}.{i}") for i, part in enumerate(spec)])
    if hasattr(spec, "num_values"):
        return spaces.Discrete(int(spec.num_values))
    shape, dtype = getattr(spec, "shape", None), getattr(spec, "dtype", None)
    if shape is None or dtype is None or np.dtype(dtype).kind not in "biuf":
        raise UsageError(f"the dm_env's {name} spec is {spec}; expected arrays or choices")
    kind: Any = np.uint8 if np.dtype(dtype).kind == "b" else np.dtype(dtype)
    least: float = -np.inf
    most: float = np.inf
    if np.dtype(kind).kind in "iu":
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
    low = np.broadcast_to(getattr(spec, "minimum", least), shape).astype(kind)
    high = np.broadcast_to(getattr(spec, "maximum", most), shape).astype(kind)
    return spaces.Box(low, high, tuple(shape), kind)
