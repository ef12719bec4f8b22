"""What gymnasium's registration says of an env: how other processes know it, and its horizon.

`gymnasium.make(id, max_episode_steps=80)` tells the env nothing: it wraps it in a `TimeLimit`,
which can end an episode before the env does and never after. An env with a horizon of its own has
to look at the call that makes it.
"""

import sys
from collections.abc import Mapping, Sequence
from copy import copy
from importlib import import_module
from multiprocessing.reduction import ForkingPickler
from types import FrameType
from typing import Any, Self

import gymnasium
from gymnasium.envs.registration import EnvSpec, make

from worldsim.errors import UsageError


def registration_of(env_id: str, kwargs: Mapping[str, Any]) -> EnvSpec | None:
    """How an env id is registered here, in a form that travels; None if it cannot or need not.

    A class of an importable module travels by name. One of the main script does not: other
    processes have another main module.

    Args:
        env_id: as `worldsim.envs.make` takes it.
        kwargs: of the env; `source` names what `worldsim/Foreign-v0` wraps.
    """
    found = gymnasium.registry.get(str(kwargs.get("source", env_id)))
    if found is None:
        return None
    spec = copy(found)
    if callable(spec.entry_point):
        spec.entry_point = _name_of(spec.entry_point)
    try:
        ForkingPickler.dumps(spec)
    except Exception:  # whatever an argument raises that does not travel
        return None
    return spec if spec.entry_point is not None else None


def adopt(spec: EnvSpec | None) -> None:
    """Register what another process passed on, unless the id is known here already."""
    if spec is not None and spec.id not in gymnasium.registry:
        gymnasium.registry[spec.id] = spec


def _name_of(maker: Any) -> str | None:
    """`module:name` of a class or function, if that leads to it from anywhere."""
    module, name = getattr(maker, "__module__", None), getattr(maker, "__qualname__", "")
    if module in (None, "__main__", "__mp_main__"):
        return None
    try:
        found = getattr(import_module(str(module)), name, None)
    except ImportError:
        return None
    return f"{module}:{name}" if found is maker else None


def reset_options(options: Mapping[str, Any] | None, known: Sequence[str]) -> dict[str, Any]:
    """The options of a `reset`.

    Raises:
        UsageError: one of them is not `known`.
    """
    given = dict(options or {})
    if unknown := sorted(set(given) - set(known)):
        raise UsageError(f"reset options {unknown} are unknown; known: {', '.join(known)}")
    return given


_MAKE = make.__code__


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
    if caller.f_code is not _MAKE:
        return None
    named, steps = (caller.f_locals.get(name) for name in ("id", "max_episode_steps"))
    if steps is None:
        # An id may name the module that registers it, as in "worldsim.envs:worldsim/Foreign-v0".
        if not isinstance(named, EnvSpec):
            named = gymnasium.spec(str(named).rpartition(":")[2])
        steps = named.max_episode_steps
    # -1 asks for no TimeLimit; what else is no count gymnasium refuses by itself.
    return steps if isinstance(steps, int) and steps > 0 else None
