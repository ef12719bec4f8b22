"""Env ids that this process registered, made known to processes that it starts."""

from collections.abc import Mapping
from copy import copy
from importlib import import_module
from multiprocessing.reduction import ForkingPickler
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec


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
