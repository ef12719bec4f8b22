"""A gymnasium VectorEnv as a stable-baselines3 VecEnv, which that library lacks (its issue 1745).

stable-baselines3 resets a finished env within the step that finished it, and finds the last
observation in `infos[i]["terminal_observation"]`. This adapter gives it that from an env of
either SAME_STEP or NEXT_STEP autoreset, or with autoreset DISABLED.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import getitem
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from worldsim.errors import MissingExtraError, UsageError

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise MissingExtraError("stable_baselines3", "rl") from error

Flat = dict[str, np.ndarray] | np.ndarray


class SB3VecEnv(VecEnv):
    """Flattens observations, drops text, and reports ends as stable-baselines3 expects.

    An observation {"pixels": {camera: image}, "agent_pos": vector, "task": text} becomes
    {"pixels_<camera>": image, "agent_pos": vector}; a Box stays a Box.

    Args:
        env: with DISABLED or SAME_STEP autoreset. NEXT_STEP costs an ignored step an episode,
            which stable-baselines3 would learn from, and is refused.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        self.env = env
        self._mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        if self._mode is AutoresetMode.NEXT_STEP:
            raise UsageError(
                "SB3VecEnv needs an env with autoreset SAME_STEP or DISABLED, got NEXT_STEP; make "
                "the vector env with autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP"
            )
        self._actions: np.ndarray | None = None
        self.render_mode = getattr(env, "render_mode", None)
        super().__init__(
            env.num_envs, flatten_space(env.single_observation_space), env.single_action_space
        )

    def reset(self) -> Flat:
        """Start all envs, with the seeds given to `seed` if any."""
        seeds = [None if seed is None else int(seed) for seed in self._seeds]
        # Vector envs take one seed an env, though the base class is annotated with one for all.
        given: Any = seeds if any(s is not None for s in seeds) else None
        observation, infos = self.env.reset(seed=given)
        self._reset_seeds()
        self.reset_infos = [_row(infos, i) for i in range(self.num_envs)]
        return self._flatten(observation)

    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions `[N, A]` for `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[Flat, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Flat observations, rewards float32 `[N]`, dones `[N]`, and an info per env."""
        observation, reward, terminated, truncated, infos = self.env.step(self._actions)
        dones = np.asarray(terminated | truncated)
        rows = [_row(infos, i) for i in range(self.num_envs)]
        final = [self._final(observation, rows[i], i) for i in range(self.num_envs) if dones[i]]
        if dones.any() and self._mode is AutoresetMode.DISABLED:
            observation, reset_infos = self.env.reset(options={"reset_mask": dones})
        else:
            reset_infos = infos
        for index, last in zip(np.flatnonzero(dones), final, strict=True):
            ended = rows[index].pop("final_info", None)
            self.reset_infos[index] = _row(reset_infos, int(index))
            rows[index] = dict(ended) if ended is not None else rows[index]
            rows[index]["terminal_observation"] = last
            rows[index]["TimeLimit.truncated"] = bool(truncated[index] and not terminated[index])
        return self._flatten(observation), np.asarray(reward, np.float32), dones, rows

    def close(self) -> None:
        """Close the wrapped env."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The wrapped env's attribute, the same for each env asked for."""
        return [getattr(self.env, attr_name)] * len(self._targets(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the wrapped env; only for all envs at once.

        Raises:
            UsageError: `indices` is a part of the envs.
        """
        self._require_all(indices, f"set {attr_name!r}")
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the wrapped env once; its result stands for each env asked for.

        Raises:
            UsageError: `indices` is a part of the envs.
        """
        self._require_all(indices, f"call {method_name!r}")
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result] * len(self._targets(indices))

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """A vector env is batched as it stands: no env of it has a wrapper of its own."""
        return [False] * len(self._targets(indices))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Rendered frames, one an env."""
        frames = self.env.render()
        return [None] * self.num_envs if frames is None else [np.asarray(f) for f in frames]

    def _flatten(self, observation: Any) -> Flat:
        return flatten_value(self.env.single_observation_space, observation)

    def _final(self, observation: Any, info: Mapping[str, Any], index: int) -> Flat:
        """The last observation of an episode that just ended."""
        space = self.env.single_observation_space
        if self._mode is AutoresetMode.SAME_STEP:
            return flatten_value(space, info["final_obs"])
        flat = flatten_value(space, observation)
        if isinstance(flat, dict):
            return {key: value[index].copy() for key, value in flat.items()}
        return np.asarray(flat[index].copy())

    def _targets(self, indices: Any) -> list[int]:
        return list(self._get_indices(indices))

    def _require_all(self, indices: Any, what: str) -> None:
        if len(self._targets(indices)) != self.num_envs:
            raise UsageError(f"cannot {what} on some envs only: they are one batched object")


def flatten_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of `flatten_value`'s results.

    Raises:
        UsageError: nothing but text is left.
    """
    if not isinstance(space, spaces.Dict):
        return space
    flat = {name: part for name, part, _ in _parts(space)}
    if not flat:
        raise UsageError(f"the observation space {space} holds nothing but text")
    return spaces.Dict(flat)


def flatten_value(space: spaces.Space[Any], value: Any) -> Flat:
    """An observation of `space`, or a batch of them, with nested keys joined and text dropped."""
    if not isinstance(space, spaces.Dict):
        return np.asarray(value)
    return {name: np.asarray(reduce(getitem, path, value)) for name, _, path in _parts(space)}


def _parts(space: spaces.Dict) -> Iterator[tuple[str, spaces.Space[Any], tuple[str, ...]]]:
    """Flat name, space, and keys of all parts but text."""
    for key, part in space.spaces.items():
        if isinstance(part, spaces.Dict):
            for name, inner in part.spaces.items():
                yield f"{key}_{name}", inner, (key, name)
        elif not isinstance(part, spaces.Text):
            yield key, part, (key,)


def _row(infos: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Entry `index` of a vector env's infos, without what that env did not report."""
    row: dict[str, Any] = {}
    for key, value in infos.items():
        if key.startswith("_"):
            continue
        present = infos.get(f"_{key}")
        if present is not None and not present[index]:
            continue
        row[key] = _row(value, index) if isinstance(value, Mapping) else value[index]
    return row
