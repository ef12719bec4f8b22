"""Finding and making the env that a foreign adapter wraps, with clear refusals."""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from worldsim.conventions import plain_rate
from worldsim.envs.foreign_dm import DmEnv, speaks_dm_env
from worldsim.envs.foreign_worlds import adapted, register_world, usual_arguments
from worldsim.envs.global_draws import GlobalDraws
from worldsim.envs.physics import physics_of, read_attribute
from worldsim.errors import MissingExtraError, UsageError, WorldsimError, unknown_name

DEFAULT_LIMIT = 1000
"""Episode length for sources that state none."""

_FASTEST = 10_000.0
"""Hz beyond which a clock is taken to stand still."""
_ROBOTICS_NAMES = ("Fetch", "Hand", "Adroit", "Franka", "PointMaze", "AntMaze")


def make_source(
    source: str, kwargs: Mapping[str, Any], draws: GlobalDraws
) -> tuple[gymnasium.Env[Any, Any], int]:
    """Make the env `source` without its own time limit, and reset it: some compile only then.

    One without physics of MuJoCo is asked to draw itself.

    Args:
        source: its gymnasium id. What is registered may also be, or make, a dm_env.
        kwargs: for its constructor.
        draws: its own state of the global generators.

    Returns:
        The env, and the episode length its registration states (or `DEFAULT_LIMIT`).

    Raises:
        UsageError: the id is unknown, or refuses `kwargs`.
        MissingExtraError: the id belongs to a package that is not installed.
    """
    _require_registered(source)
    kwargs = {**usual_arguments(source), **kwargs}
    limit = gymnasium.spec(source).max_episode_steps or DEFAULT_LIMIT
    env = _make_and_reset(source, kwargs, draws)
    drawn = "render_mode" in kwargs or env.render_mode is not None
    modes = (env.metadata or {}).get("render_modes") or ()
    if physics_of(env.unwrapped) is None and not drawn and "rgb_array" in modes:
        env.close()
        env = _make_and_reset(source, {**kwargs, "render_mode": "rgb_array"}, draws)
    return env, limit


def _make_and_reset(
    source: str, kwargs: Mapping[str, Any], draws: GlobalDraws
) -> gymnasium.Env[Any, Any]:
    """Make an env and reset it.

    Raises:
        UsageError: it raised.
    """
    spec = copy(gymnasium.spec(source))
    try:
        if spec.entry_point is not None and not _is_env_class(spec.entry_point):
            spec.entry_point = partial(_create, spec.entry_point)
        with warnings.catch_warnings(), draws:
            warnings.simplefilter("ignore", DeprecationWarning)
            env: gymnasium.Env[Any, Any] = gymnasium.make(
                spec, max_episode_steps=-1, disable_env_checker=True, **dict(kwargs)
            )
            env.reset(seed=0)
    except Exception as error:  # whatever somebody else's constructor raises
        raise UsageError(
            f"env {source!r} with source_kwargs {dict(kwargs)} cannot be made and reset: "
            f"{type(error).__name__}: {error}"
        ) from error
    return adapted(source, env)


def _is_env_class(creator: Any) -> bool:
    found = load_env_creator(creator) if isinstance(creator, str) else creator
    return isinstance(found, type) and issubclass(found, gymnasium.Env)


def _create(creator: Any, **kwargs: Any) -> Any:
    """What a registered function or class makes; a dm_env as a gymnasium env."""
    env = (load_env_creator(creator) if isinstance(creator, str) else creator)(**kwargs)
    return DmEnv(env) if not isinstance(env, gymnasium.Env) and speaks_dm_env(env) else env


def ask(call: Callable[[], Any], draws: GlobalDraws, failed: str) -> Any:
    """What a source answers, with the global generators as it left them.

    Args:
        call: asks it.
        draws: its own state of the global generators.
        failed: said before what it raises.

    Raises:
        WorldsimError: it raised.
    """
    try:
        with draws:
            return call()
    except WorldsimError:
        raise
    except Exception as error:  # whatever somebody else's env raises
        raise WorldsimError(f"{failed}: {type(error).__name__}: {error}") from error


def control_rate(
    env: gymnasium.Env[Any, Any], source: str, requested: float | None, draws: GlobalDraws
) -> float:
    """How often an env acts, in Hz: as requested, as its `dt` says, else as its clock runs.

    Where there is no MuJoCo, `render_fps` goes before `dt`, which may be a substep's.

    Reading the clock takes one step; the env needs a reset after it.

    Raises:
        UsageError: no clock runs, or the rate is no positive number.
    """
    seconds, frames = read_attribute(env.unwrapped, "dt"), None
    if physics_of(env.unwrapped) is None:
        frames = (env.metadata or {}).get("render_fps")
    if requested is not None:
        rate = float(requested)
    elif isinstance(frames, int | float) and frames > 0:
        rate = float(frames)
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
    before = physics_of(env.unwrapped)
    if before is None:
        return 0.0
    with draws:
        start = float(before[1].time)
        env.action_space.seed(0)
        env.step(env.action_space.sample())
    after = physics_of(env.unwrapped)
    return 0.0 if after is None else float(after[1].time) - start


def _require_registered(source: str) -> None:
    if source in gymnasium.registry:
        return
    if ":" in source:
        raise UsageError(
            f"env {source!r}: modules are not imported by name, since ids are also read from data "
            "sets; give env.import=MODULE on the command line (worldsim.envs.import_modules in "
            "Python), and the id alone"
        )
    register_world(source)
    if importlib.util.find_spec("gymnasium_robotics") is not None:
        # Importing it prints notices about other envs.
        with contextlib.redirect_stderr(io.StringIO()):
            import gymnasium_robotics

        gymnasium.register_envs(gymnasium_robotics)
    elif source.startswith(_ROBOTICS_NAMES):
        raise MissingExtraError("gymnasium_robotics", "robotics")
    if source not in gymnasium.registry:
        raise UsageError(
            f"{unknown_name('env', source, _suggestions())}. A module that registers another is "
            "named by env.import=MODULE, or by parts=[MODULE] where data names the env"
        )


def _suggestions() -> list[str]:
    """Our own ids, and those that gymnasium and gymnasium-robotics register for current MuJoCo."""
    homes = ("gymnasium.envs.mujoco", "gymnasium_robotics.envs.fetch")
    return [
        name
        for name, spec in gymnasium.registry.items()
        if name.startswith("worldsim/")
        or (str(spec.entry_point).startswith(homes) and name.endswith(("-v4", "-v5")))
    ]
