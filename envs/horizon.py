"""How long episodes last where `gymnasium.make` is asked for another length than an env's own.

`gymnasium.make(id, max_episode_steps=80)` tells the env nothing: it wraps it in a `TimeLimit`,
which can end an episode before the env does and never after. An env with a horizon of its own has
to look at the call that makes it.
"""

import sys
from types import FrameType
from typing import Any, Self

import gymnasium
from gymnasium.envs import registration

MAKE = registration.make.__code__


class HasHorizon:
    """Mixin of envs with a horizon; stands before `gymnasium.Env` among the bases.

    Attributes:
        asked_steps: `max_episode_steps` of the `gymnasium.make` that makes this env, or of the
            registration that it follows; None without one.
    """

    asked_steps: int | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        env = super().__new__(cls)
        env.asked_steps = _asked(sys._getframe(1))
        return env


def _asked(caller: FrameType) -> int | None:
    if caller.f_code is not MAKE:
        return None
    named, steps = (caller.f_locals.get(name) for name in ("id", "max_episode_steps"))
    if steps is None:
        # An id may name the module that registers it, as in "worldsim.envs:worldsim/Foreign-v0".
        if not isinstance(named, registration.EnvSpec):
            named = gymnasium.spec(str(named).rpartition(":")[2])
        steps = named.max_episode_steps
    # -1 asks for no TimeLimit; what else is no count gymnasium refuses by itself.
    return steps if isinstance(steps, int) and steps > 0 else None
