"""Gymnasium environments: tabletop simulators, those of others, and imagination.

An env of one's own that speaks worldsim's interface by itself is taken as it is. Its class says so
by `worldsim_interface = True`, and has what `docs/simulators.md` lists.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.wrappers import OrderEnforcing

from worldsim.config.values import check_arguments
from worldsim.envs.gl import choose_backend
from worldsim.envs.registration import import_modules as import_modules
from worldsim.errors import UsageError, unknown_name

choose_backend()

_PARTS = ("reset", "step", "render", "get_state", "set_state", "camera_rig")
"""What the class of an env of worldsim's interface has; instances have `spec_world` and
`max_episode_steps` too."""

ENTRY_POINTS = {
    "worldsim/TabletopReach-v0": "worldsim.envs.tabletop.reach:TabletopReach",
    "worldsim/TabletopPush-v0": "worldsim.envs.tabletop.push:TabletopPush",
    "worldsim/TabletopPickPlace-v0": "worldsim.envs.tabletop.pick_place:TabletopPickPlace",
    "worldsim/TabletopDrawer-v0": "worldsim.envs.tabletop.drawer:TabletopDrawer",
    "worldsim/TabletopShuttle-v0": "worldsim.envs.tabletop.shuttle:TabletopShuttle",
    "worldsim/IndoorNav-v0": "worldsim.envs.indoor.env:IndoorNav",
    "worldsim/HabitatNav-v0": "worldsim.envs.habitat.env:HabitatNav",
    "worldsim/Street-v0": "worldsim.envs.street.env:Street",
    "worldsim/Foreign-v0": "worldsim.envs.foreign:ForeignEnv",
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
    if not ours and (own := _own(env_id)) is not None:
        check_arguments(own, kwargs, where)
        return env_id, own
    registered = env_id if ours else "worldsim/Foreign-v0"
    creator = load_env_creator(ENTRY_POINTS[registered])
    check_arguments(creator, kwargs, where, reserved=() if ours else ("source",))
    return registered, creator


def _own(env_id: str) -> type | None:
    """The class of a registered env that speaks worldsim's interface; None of any other env.

    Raises:
        UsageError: it says that it does, and lacks a part of it.
    """
    spec = gymnasium.registry.get(env_id)
    entry = None if spec is None else spec.entry_point
    if isinstance(entry, str) and entry.partition(":")[0].split(".")[0] == "gymnasium":
        return None
    try:
        found = load_env_creator(entry) if isinstance(entry, str) else entry
    except (ImportError, AttributeError):  # told where the env is made
        return None
    if not isinstance(found, type) or not getattr(found, "worldsim_interface", False):
        return None
    if lacking := [name for name in _PARTS if not hasattr(found, name)]:
        raise UsageError(
            f"{env_id} says that it speaks worldsim's interface, but {found.__name__} lacks "
            f"{', '.join(lacking)}; docs/simulators.md lists what it needs"
        )
    return found


def make(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment with worldsim's interface.

    Args:
        env_id: an id of worldsim, such as "worldsim/TabletopPush-v0"; any other is that of a
            gymnasium env, which is wrapped in `ForeignEnv` unless it speaks the interface itself.
        kwargs: passed to the constructor.

    Raises:
        UsageError: the id is unknown, or the constructor refuses an argument.
    """
    registered, creator = check_env(env_id, kwargs)
    # Not `gymnasium.make`: it keeps `max_episode_steps` to itself, so that the env would not know.
    spec = deepcopy(gymnasium.spec(registered))
    arguments = {**spec.kwargs, **kwargs}
    if registered != env_id:
        arguments["source"] = env_id
    env = creator(**arguments)
    assert isinstance(env, gymnasium.Env)
    spec.kwargs = arguments
    env.unwrapped.spec = spec
    return OrderEnforcing(env)
