"""What gymnasium's registration says of an env: how other processes know it, and its horizon.

`gymnasium.make(id, max_episode_steps=80)` tells the env nothing: it wraps it in a `TimeLimit`,
which can end an episode before the env does and never after. An env with a horizon of its own has
to look at the call that makes it.
"""

import operator
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import FrameType
from typing import Any, Self

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, make
from numpy.typing import NDArray

from worldsim.errors import EXTRAS, MissingExtraError, UsageError

_IMPORTED: list[str] = []
"""Modules that the user's own command had imported, for other processes to import too."""


@dataclass(frozen=True)
class Registration:
    """How other processes come to know an env.

    Attributes:
        modules: to be imported first, as `import_modules` takes them.
        spec: to be registered, unless importing did; None if it need not or cannot travel.
    """

    modules: tuple[str, ...]
    spec: EnvSpec | None


def import_modules(modules: Sequence[str]) -> None:
    """Import modules that register envs: the user's own command or code asks for it, never data.

    Args:
        modules: `package.module`, looked for in the current folder too, or `path/to/file.py`.

    Raises:
        UsageError: there is no such module, or it does not run.
    """
    for name in modules:
        folder, module, known = Path.cwd(), name, name
        if name.endswith(".py"):
            file = Path(name).resolve()
            if not file.is_file():
                raise UsageError(f"cannot import {name}: no such file")
            folder, module, known = file.parent, file.stem, str(file)
        if str(folder) not in sys.path:  # last, so that it shadows nothing
            sys.path.append(str(folder))
        try:
            found = import_module(module)
        except Exception as error:  # whatever a module of others raises
            if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
                raise MissingExtraError(str(error.name), EXTRAS[error.name]) from error
            raise UsageError(
                f"cannot import {name}: {type(error).__name__}: {error}; expected a module that "
                "registers an env and can be imported here, or a file.py"
            ) from error
        if name.endswith(".py") and str(Path(str(found.__file__)).resolve()) != known:
            raise UsageError(
                f"cannot import {name}: another module is called {module!r}, {found.__file__}; "
                "rename the file"
            )
        if known not in _IMPORTED:
            _IMPORTED.append(known)


def registration_of(env_id: str, kwargs: Mapping[str, Any]) -> Registration:
    """How an env id is registered here, in a form that travels.

    A class of an importable module travels by name. One of the main script does not: other
    processes have another main module.

    Args:
        env_id: as `worldsim.envs.make` takes it.
        kwargs: of the env; `source` names what `worldsim/Foreign-v0` wraps.
    """
    found = gymnasium.registry.get(str(kwargs.get("source", env_id)))
    return Registration(tuple(_IMPORTED), None if found is None else _travelling(found))


def _travelling(found: EnvSpec) -> EnvSpec | None:
    """A registration that can be sent to another process; None if it cannot."""
    spec = copy(found)
    if callable(spec.entry_point):
        spec.entry_point = _name_of(spec.entry_point)
    try:
        ForkingPickler.dumps(spec)
    except Exception:  # whatever an argument raises that does not travel
        return None
    return spec if spec.entry_point is not None else None


def adopt(registration: Registration) -> None:
    """Import and register what another process passed on, unless the id is known here already.

    Raises:
        UsageError: a module cannot be imported here.
    """
    import_modules(registration.modules)
    spec = registration.spec
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
        UsageError: they are no mapping, or one of them is not `known` or of another kind.
    """
    if options is not None and not isinstance(options, Mapping):
        raise UsageError(f"reset options are {options!r}; expected a mapping, or None")
    given = dict(options or {})
    if unknown := sorted(set(given) - set(known)):
        raise UsageError(f"reset options {unknown} are unknown; known: {', '.join(known)}")
    for name, kind in (("factors", Mapping), ("task", str)):
        if given.get(name) is not None and not isinstance(given[name], kind):
            expected = "a mapping" if kind is Mapping else "a text"
            raise UsageError(f"reset option {name!r} is {given[name]!r}; expected {expected}")
    return given


def given_state(state: Any, where: str) -> dict[str, Any]:
    """A simulator's state as a caller gives it back, with its parts of the kinds that they have.

    Args:
        state: what `get_state` gave, perhaps as JSON keeps it; parts may be left out.
        where: whose state it is, for messages.

    Raises:
        UsageError: it is no mapping, or a part is of another kind.
    """
    if not isinstance(state, Mapping):
        raise UsageError(
            f"state of {where}: it is {state!r}; expected a mapping as get_state() gives it, with "
            "physics, seed and step"
        )
    found = dict(state)
    for name in ("extras", "factors", "scene"):
        if found.get(name) is not None and not isinstance(found[name], Mapping):
            raise UsageError(f"state of {where}: {name} is {found[name]!r}; expected a mapping")
    for name in ("seed", "step"):
        if (value := found.get(name)) is not None:
            found[name] = _counted(value, f"state of {where}: {name}")
    for name in ("commands", "readings"):
        if name in found:
            rows = found[name] if isinstance(found[name], list | tuple) else [found[name]]
            found[name] = [_numbers(row, f"state of {where}: {name}") for row in rows]
    if found.get("physics") is not None:
        found["physics"] = _numbers(found["physics"], f"state of {where}: physics")
    return found


def _counted(value: Any, what: str) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if count < 0 or isinstance(value, bool):
        raise UsageError(f"{what} is {value!r}; expected a whole number from 0")
    return count


def _numbers(value: Any, what: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what} is {value!r}; expected numbers") from error
    if array.ndim != 1:
        raise UsageError(f"{what} has shape {array.shape}; expected a flat list of numbers")
    return array


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
