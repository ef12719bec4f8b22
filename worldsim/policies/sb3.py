"""stable-baselines3 models as policies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.conventions import Observation
from worldsim.errors import (
    DataError,
    MissingExtraError,
    SpecMismatchError,
    UsageError,
    unknown_name,
)
from worldsim.policies.base import POLICIES, FloatArray
from worldsim.spec import WorldSpec

ALGORITHMS = ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")


def flatten_observation(observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Our observation as stable-baselines3 takes it: flat, without text.

    Returns:
        `pixels_<camera>` uint8 `[..., H, W, 3]` for each camera, and `agent_pos` `[..., P]`.
    """
    flat = {f"pixels_{name}": np.asarray(view) for name, view in observation["pixels"].items()}
    return {**flat, "agent_pos": np.asarray(observation["agent_pos"], np.float32)}


@POLICIES.register("sb3")
class SB3Policy:
    """The deterministic action of a stable-baselines3 model, one a call.

    The model reads the keys of `flatten_observation` (as trained through
    `worldsim.envs.sb3_vec_env.SB3VecEnv`), any subset of them, or `agent_pos` alone as a Box.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        model: a model in memory.
        path: or a zip file that stable-baselines3 saved.
        algorithm: which class saved that file: A2C, DDPG, PPO, SAC, TD3.
        allow_pickle: must be True to load `path`. WARNING: such a file holds pickled objects, and
            unpickling runs whatever code its author put in. Allow it only for files you made
            yourself or whose author you trust as you trust the code you run.

    Raises:
        UsageError: neither or both of model and path, or a path without `allow_pickle`.
        SpecMismatchError: the model's spaces are not this world's.
    """

    n_action_steps = 1

    def __init__(
        self,
        spec: WorldSpec,
        name: str = "sb3",
        model: Any = None,
        path: str = "",
        algorithm: str = "PPO",
        allow_pickle: bool = False,
    ) -> None:
        if (model is None) == (not path):
            raise UsageError("sb3 policy: give either a model in memory or the path of its zip")
        self.name = name
        self._model = model if model is not None else _load(path, algorithm, allow_pickle)
        self._keys = _check_spaces(self._model, spec)
        self._shape = (1, spec.action.dim)

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Nothing is remembered."""

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """Actions `[N, 1, A]`."""
        flat = flatten_observation(observation)
        given = {key: flat[key] for key in self._keys} if self._keys else flat["agent_pos"]
        action, _ = self._model.predict(given, deterministic=True)
        return np.asarray(action, np.float32).reshape(len(env_ids), *self._shape)


def _load(path: str, algorithm: str, allow_pickle: bool) -> Any:
    if not allow_pickle:
        raise UsageError(
            f"loading {path} unpickles it, which can run any code its author put in. If you trust "
            "this file as you trust code that you run, set allow_pickle=true; or load the model "
            "yourself and pass it as `model`"
        )
    if algorithm not in ALGORITHMS:
        raise unknown_name("stable-baselines3 algorithm", algorithm, ALGORITHMS)
    if not Path(path).is_file():
        raise DataError(f"no such file: {path}")
    try:
        import stable_baselines3
    except ImportError as error:
        raise MissingExtraError("stable_baselines3", "rl") from error
    try:
        return getattr(stable_baselines3, algorithm).load(path, device="cpu")
    except Exception as error:  # a broken zip raises whatever its pieces raise
        raise DataError(f"cannot load {path} as a {algorithm} model: {error}") from error


def _check_spaces(model: Any, spec: WorldSpec) -> list[str]:
    """Keys that the model reads; none for a model that reads `agent_pos` as it is."""
    action = getattr(model.action_space, "shape", None)
    if action != (spec.action.dim,):
        raise SpecMismatchError(
            f"the sb3 model acts in {model.action_space}, the environment takes "
            f"{spec.action.dim} values ({', '.join(spec.action.names)})"
        )
    agent_shape = (spec.agent_pos.dim,)
    spaces = getattr(model.observation_space, "spaces", None)
    if spaces is None:
        if model.observation_space.shape != agent_shape:
            raise SpecMismatchError(
                f"the sb3 model reads {model.observation_space}, expected agent_pos {agent_shape} "
                "or a Dict as SB3VecEnv gives"
            )
        return []
    offered: dict[str, tuple[int, ...]] = {
        f"pixels_{c.name}": (c.height, c.width, 3) for c in spec.cameras
    }
    offered["agent_pos"] = agent_shape
    for key, space in spaces.items():
        # While training, stable-baselines3 moves channels of images to the front.
        shape = offered.get(key)
        if shape is None or sorted(space.shape) != sorted(shape):
            raise SpecMismatchError(
                f"the sb3 model reads {key!r} of shape {space.shape}; the environment offers "
                f"{offered}"
            )
    return list(spaces)
