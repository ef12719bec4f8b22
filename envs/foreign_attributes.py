"""What somebody else's env keeps in Python: goals, counters, filters, random generators.

MuJoCo's state knows nothing of these, yet they decide what an env shows and does. Attributes that
hold plain values are read and written by their path, through objects of the env's own packages.
"""

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from worldsim.errors import UsageError

Key = str | int
Path = tuple[Key, ...]
Plain = Any
"""None, bool, int, float, str, an array of these, or lists, tuples and dicts of them."""
Values = dict[Path, Plain]

_SCALARS = (type(None), bool, int, float, complex, str, np.generic)
_LARGEST = 1_000_000
_DEEPEST = 12
_DRAWING = ("render", "viewer")
"""Parts of names of attributes that only draw."""
_DESCRIBING = ("spec", "metadata")


class Attributes:
    """The plain values and the random generators that belong to an env.

    Args:
        env: the env with its gymnasium wrappers.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._env = env
        classes = [cls for layer in _layers(env) for cls in type(layer).__mro__]
        self._packages = {_package(cls) for cls in classes} - {"builtins", "typing", "abc"}

    def read(self) -> Values:
        """Copies of all plain values, by path."""
        return {
            path: copy.deepcopy(value)
            for path, (_, value) in self._walk().items()
            if not is_generator(value)
        }

    def write(self, values: Mapping[Path, Plain]) -> None:
        """Put plain values where they stood; what has no place any more is left out."""
        holders = {path[:-1]: entries for path, (entries, _) in self._walk().items()}
        for path, value in values.items():
            entries, key = holders.get(path[:-1]), path[-1]
            if entries is None or (isinstance(entries, list) and not _is_inside(entries, key)):
                continue
            new = isinstance(entries, dict) and key not in entries
            if new or (is_plain(entries[key]) and not equal(entries[key], value)):
                entries[key] = copy.deepcopy(value)

    def generators(self) -> dict[Path, Any]:
        """The random generators themselves, by the first path that leads to each."""
        return {path: value for path, (_, value) in self._walk().items() if is_generator(value)}

    def _walk(self) -> dict[Path, tuple[Any, Any]]:
        """Every plain value and generator, with the dict or list that it is an entry of.

        Attributes of an object are entries of its `__dict__`; each holder is entered once.
        """
        found: dict[Path, tuple[Any, Any]] = {}
        seen = {id(self._env)}
        waiting: list[tuple[Path, Any]] = [((), self._env)]
        for path, holder in waiting:
            entries: Any = holder if isinstance(holder, dict | list) else vars(holder)
            for key in _keys(holder):
                value, inner = entries[key], (*path, key)
                if is_generator(value):
                    if id(value) not in seen:
                        seen.add(id(value))
                        found[inner] = (entries, value)
                elif is_plain(value):
                    if not isinstance(holder, spaces.Space):
                        found[inner] = (entries, value)
                elif self._is_ours(value) and id(value) not in seen and len(path) < _DEEPEST:
                    seen.add(id(value))
                    waiting.append((inner, value))
        return found

    def _is_ours(self, value: Any) -> bool:
        if isinstance(value, dict | list | spaces.Space):
            return True
        if isinstance(value, type) or not hasattr(value, "__dict__"):
            return False
        return _package(type(value)) in self._packages


def is_generator(value: Any) -> bool:
    """Whether a value is a random generator with a state; the process's global one is nobody's."""
    if value is np.random.mtrand._rand or isinstance(value, random.SystemRandom):
        return False
    return isinstance(value, np.random.Generator | np.random.RandomState | random.Random)


def is_plain(value: Any, depth: int = 4) -> bool:
    """Whether a value is data that can be copied; arrays that MuJoCo owns are not."""
    if isinstance(value, _SCALARS):
        return True
    if isinstance(value, np.ndarray):
        owner = value
        while isinstance(owner, np.ndarray) and owner.base is not None:
            owner = owner.base
        known = value.dtype.kind in "biufcSU" and value.size <= _LARGEST
        return isinstance(owner, np.ndarray) and known
    if depth == 0:
        return False
    if type(value) in (list, tuple):
        return len(value) <= 1000 and all(is_plain(item, depth - 1) for item in value)
    if type(value) is dict:
        return len(value) <= 1000 and all(
            isinstance(key, str | int) and is_plain(item, depth - 1) for key, item in value.items()
        )
    return False


def equal(one: Any, other: Any) -> bool:
    """Whether two plain values are the same, NaN included."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
            return False
        numeric = one.dtype.kind in "fc" and other.dtype.kind in "fc"
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=numeric)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other or (one != one and other != other))


def public_method(env: Any, name: str, where: str) -> Callable[[], Any]:
    """A method of an env that a config names; such names are also read from data sets.

    Raises:
        UsageError: there is none, or it is not for others to call.
    """
    method = None if name.startswith("_") else getattr(env, name, None)
    if not callable(method):
        raise UsageError(f"{where}: {type(env).__name__} has no public method {name!r}")
    found: Callable[[], Any] = method
    return found


def _layers(env: Any) -> Iterator[Any]:
    """An env and all that it wraps, envs of other libraries too."""
    while env is not None:
        yield env
        inside = vars(env) if hasattr(env, "__dict__") else {}
        env = inside.get("env", inside.get("_env"))


def _keys(holder: Any) -> list[Key]:
    """Keys of what an object, dict or list holds, without what only draws or describes."""
    if isinstance(holder, list):
        return list(range(len(holder)))
    if isinstance(holder, dict):
        return [key for key in holder if isinstance(key, str | int)]
    return [
        name
        for name in vars(holder)
        if not any(part in name.lower() for part in _DRAWING) and name.strip("_") not in _DESCRIBING
    ]


def _is_inside(entries: list[Any], key: Key) -> bool:
    return isinstance(key, int) and key < len(entries)


def _package(cls: type) -> str:
    return cls.__module__.split(".")[0]
