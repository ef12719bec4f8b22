"""Gymnasium environments: tabletop simulators, foreign MuJoCo envs and imagination."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.wrappers import OrderEnforcing

from worldsim.config.values import check_arguments
from worldsim.envs.gl import choose_backend
from worldsim.errors import unknown_name

choose_backend()

ENTRY_POINTS = {
    "worldsim/TabletopReach-v0": "worldsim.envs.tabletop.reach:TabletopReach",
    "worldsim/TabletopPush-v0": "worldsim.envs.tabletop.push:TabletopPush",
    "worldsim/TabletopPickPlace-v0": "worldsim.envs.tabletop.pick_place:TabletopPickPlace",
    "worldsim/TabletopDrawer-v0": "worldsim.envs.tabletop.drawer:TabletopDrawer",
    "worldsim/TabletopShuttle-v0": "worldsim.envs.tabletop.shuttle:TabletopShuttle",
    "worldsim/Foreign-v0": "worldsim.envs.foreign:ForeignMujocoEnv",
    "worldsim/Imagination-v0": "worldsim.envs.imagination:ImaginationEnv",
}
VECTOR_ENTRY_POINTS = {
    "worldsim/Imagination-v0": "worldsim.envs.imagination:ImaginationVectorEnv",
}

for _env_id, _entry_point in ENTRY_POINTS.items():
    if _env_id not in gymnasium.registry:
        gymnasium.register(
            _env_id,
            entry_point=_entry_point,
            vector_entry_point=VECTOR_ENTRY_POINTS.get(_env_id),
        )


def check_env(
    env_id: str, kwargs: Mapping[str, Any], where: str = "env"
) -> tuple[str, Callable[..., Any]]:
    """Hold an env's arguments to what its constructor takes, without making it.

    Args:
        env_id: as `make` takes it.
        kwargs: for the constructor.
        where: key of the node that they stand in, for messages.

    Returns:
        The id under which the env is registered here, and its constructor.

    Raises:
        UsageError: the id is unknown, or the constructor refuses an argument; names it.
    """
    ours = env_id in ENTRY_POINTS
    if not ours and (env_id.startswith("worldsim/") or f"worldsim/{env_id}" in ENTRY_POINTS):
        raise unknown_name(f"{where}.id", env_id, ENTRY_POINTS)
    registered = env_id if ours else "worldsim/Foreign-v0"
    creator = load_env_creator(ENTRY_POINTS[registered])
    check_arguments(creator, kwargs, where, reserved=() if ours else ("source",))
    return registered, creator


def make(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment with worldsim's interface.

    Args:
        env_id: an id of worldsim, such as "worldsim/TabletopPush-v0"; any other is that of a
            MuJoCo-based gymnasium env, which is wrapped in `ForeignMujocoEnv`.
        kwargs: passed to the constructor.

    Raises:
        UsageError: the id is unknown, or the constructor refuses an argument.
    """
    registered, creator = check_env(env_id, kwargs)
    # Not `gymnasium.make`: it keeps `max_episode_steps` to itself, so that the env would not know.
    spec = deepcopy(gymnasium.spec(registered))
    arguments = kwargs if registered == env_id else {"source": env_id, **kwargs}
    env = creator(**arguments)
    assert isinstance(env, gymnasium.Env)
    spec.kwargs = arguments
    env.unwrapped.spec = spec
    return OrderEnforcing(env)
