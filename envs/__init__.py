"""Gymnasium environments: tabletop simulators, foreign MuJoCo envs and imagination."""

from copy import deepcopy
from inspect import signature
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.wrappers import OrderEnforcing

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


def make(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment with worldsim's interface.

    Args:
        env_id: an id of worldsim, such as "worldsim/TabletopPush-v0"; any other is that of a
            MuJoCo-based gymnasium env, which is wrapped in `ForeignMujocoEnv`.
        kwargs: passed to the constructor.

    Raises:
        UsageError: the id is unknown, or the constructor refuses an argument.
    """
    ours = env_id in ENTRY_POINTS
    if not ours and (env_id.startswith("worldsim/") or f"worldsim/{env_id}" in ENTRY_POINTS):
        raise unknown_name("env", env_id, ENTRY_POINTS)
    registered, arguments = env_id, kwargs
    if not ours:
        registered, arguments = "worldsim/Foreign-v0", {"source": env_id, **kwargs}
    # Not `gymnasium.make`: it keeps `max_episode_steps` to itself, so that the env would not know.
    spec = deepcopy(gymnasium.spec(registered))
    creator = load_env_creator(ENTRY_POINTS[registered])
    known = signature(creator).parameters
    for name in arguments:
        if name not in known:
            raise unknown_name(f"argument of env {env_id!r}", name, known)
    env = creator(**arguments)
    assert isinstance(env, gymnasium.Env)
    spec.kwargs = arguments
    env.unwrapped.spec = spec
    return OrderEnforcing(env)
