"""Finding and making the env that a foreign adapter wraps, with clear refusals."""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium

from worldsim.conventions import plain_rate
from worldsim.envs.global_draws import GlobalDraws
from worldsim.envs.physics import physics_of, read_attribute
from worldsim.errors import MissingExtraError, UsageError, unknown_name

DEFAULT_LIMIT = 1000
"""Episode length for sources that state none."""

_FASTEST = 10_000.0
"""Hz beyond which a clock is taken to stand still."""
_ROBOTICS_NAMES = ("Fetch", "Hand", "Adroit", "Franka", "PointMaze", "AntMaze")


def make_source(
    source: str, kwargs: Mapping[str, Any], draws: GlobalDraws
) -> tuple[gymnasium.Env[Any, Any], int]:
    """Make the env `source` without its own time limit, and reset it: some compile only then.

    Args:
        source: its gymnasium id.
        kwargs: for its constructor.
        draws: its own state of the global generators.

    Returns:
        The env, and the episode length its registration states (or `DEFAULT_LIMIT`).

    Raises:
        UsageError: the id is unknown, is no MuJoCo env, or refuses `kwargs`.
        MissingExtraError: the id belongs to gymnasium-robotics, which is not installed.
    """
    _require_registered(source)
    limit = gymnasium.spec(source).max_episode_steps or DEFAULT_LIMIT
    try:
        with warnings.catch_warnings(), draws:
            warnings.simplefilter("ignore", DeprecationWarning)
            env = gymnasium.make(
                source, max_episode_steps=-1, disable_env_checker=True, **dict(kwargs)
            )
            env.reset(seed=0)
    except Exception as error:  # whatever somebody else's constructor raises
        raise UsageError(
            f"env {source!r} with source_kwargs {dict(kwargs)} cannot be made and reset: "
            f"{type(error).__name__}: {error}"
        ) from error
    if physics_of(env.unwrapped) is None:
        env.close()
        raise UsageError(
            f"{source!r} is no MuJoCo environment ({type(env.unwrapped).__name__} has no MjModel "
            "and MjData); only MuJoCo-based gymnasium envs, such as Pusher-v5, can be recorded"
        )
    return env, limit


def control_rate(
    env: gymnasium.Env[Any, Any], source: str, requested: float | None, draws: GlobalDraws
) -> float:
    """How often an env acts, in Hz: as requested, as its `dt` says, else as its clock runs.

    Reading the clock takes one step; the env needs a reset after it.

    Raises:
        UsageError: no clock runs, or the rate is no positive number.
    """
    seconds = read_attribute(env.unwrapped, "dt")
    if requested is not None:
        rate = float(requested)
    elif isinstance(seconds, int | float) and seconds > 0:
        rate = 1.0 / float(seconds)
    else:
        rate = 1.0 / max(_step_seconds(env, draws), 1e-9)
        if rate > _FASTEST:
            raise UsageError(
                f"{source} does not tell how often it acts (no `dt`, and its simulation time does "
                "not advance with a step); say it in Hz with env.fps"
            )
    return plain_rate(rate)


def _step_seconds(env: gymnasium.Env[Any, Any], draws: GlobalDraws) -> float:
    """Simulated seconds that one step takes."""
    box: Any = env.action_space
    before = physics_of(env.unwrapped)
    with draws:
        start = 0.0 if before is None else float(before[1].time)
        env.step(((box.low + box.high) / 2).astype(box.dtype))
    after = physics_of(env.unwrapped)
    return 0.0 if after is None else float(after[1].time) - start


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
