"""Finding and making the env that a foreign adapter wraps, with clear refusals."""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium
import mujoco

from worldsim.errors import MissingExtraError, UsageError, unknown_name

DEFAULT_LIMIT = 1000
"""Episode length for sources that state none."""

_ROBOTICS_NAMES = ("Fetch", "Hand", "Adroit", "Franka", "PointMaze", "AntMaze")


def make_source(source: str, kwargs: Mapping[str, Any]) -> tuple[gymnasium.Env[Any, Any], int]:
    """Make the env `source` without its own time limit.

    Returns:
        The env, and the episode length its registration states (or `DEFAULT_LIMIT`).

    Raises:
        UsageError: the id is unknown, is no MuJoCo env, or refuses `kwargs`.
        MissingExtraError: the id belongs to gymnasium-robotics, which is not installed.
    """
    _require_registered(source)
    limit = gymnasium.spec(source).max_episode_steps or DEFAULT_LIMIT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            env = gymnasium.make(
                source, max_episode_steps=-1, disable_env_checker=True, **dict(kwargs)
            )
    except (gymnasium.error.Error, TypeError, ModuleNotFoundError) as error:
        raise UsageError(f"env {source!r} with {dict(kwargs)} cannot be made: {error}") from error
    inner: Any = env.unwrapped
    model, data = getattr(inner, "model", None), getattr(inner, "data", None)
    if not isinstance(model, mujoco.MjModel) or not isinstance(data, mujoco.MjData):
        env.close()
        raise UsageError(
            f"{source!r} is no MuJoCo environment ({type(inner).__name__} has no MjModel and "
            "MjData); only MuJoCo-based gymnasium envs, such as Pusher-v5, can be recorded"
        )
    return env, limit


def _require_registered(source: str) -> None:
    if source in gymnasium.registry:
        return
    if ":" in source:
        raise UsageError(
            f"env {source!r}: modules are not imported by name, since ids are also read from data "
            "sets; import the module that registers the env first, and give the id alone"
        )
    if importlib.util.find_spec("gymnasium_robotics") is not None:
        # Importing it prints notices about other envs.
        with contextlib.redirect_stderr(io.StringIO()):
            import gymnasium_robotics

        gymnasium.register_envs(gymnasium_robotics)
    elif source.startswith(_ROBOTICS_NAMES):
        raise MissingExtraError("gymnasium_robotics", "robotics")
    if source not in gymnasium.registry:
        raise unknown_name("env", source, _suggestions())


def _suggestions() -> list[str]:
    """Our own ids, and those that gymnasium and gymnasium-robotics register for current MuJoCo."""
    homes = ("gymnasium.envs.mujoco", "gymnasium_robotics.envs.fetch")
    return [
        name
        for name, spec in gymnasium.registry.items()
        if name.startswith("worldsim/")
        or (str(spec.entry_point).startswith(homes) and name.endswith(("-v4", "-v5")))
    ]
