"""What somebody else's env keeps in Python: goals, counters, filters, random generators.

MuJoCo's state knows nothing of these, yet they decide what an env shows and does. Attributes that
hold plain values are read and written by their path, through objects of the env's own packages.
"""

import copy
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

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


class Missing:
    """Stands for an attribute that is not there."""


@dataclass(frozen=True)
class Place:
    """Where a value stands: an object's attribute, or an entry of a dict or list."""

    holder: Any
    key: Key

    def get(self) -> Any:
        """What stands there, or `Missing`."""
        entries = self._entries()
        if isinstance(entries, list):
            inside = isinstance(self.key, int) and self.key < len(entries)
            return entries[self.key] if inside else Missing  # type: ignore[index]
        return entries.get(self.key, Missing)

    def set(self, value: Any) -> None:
        """Put `value` there; an entry beyond a list's end is left out."""
        if self.get() is not Missing or not isinstance(self._entries(), list):
            self._entries()[self.key] = value

    def _entries(self) -> Any:
        return self.holder if isinstance(self.holder, dict | list) else vars(self.holder)


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
        found = self._walk()
        return {
            path: copy.deepcopy(value)
            for path, (_, value) in found.items()
            if not is_generator(value)
        }

    def write(self, values: Mapping[Path, Plain]) -> None:
        """Put plain values where they stood; what has no place any more is left out."""
        found = self._walk()
        holders = {path[:-1]: place.holder for path, (place, _) in found.items()}
        for path, value in values.items():
            if path[:-1] not in holders:
                continue
            place = Place(holders[path[:-1]], path[-1])
            now = place.get()
            if (now is Missing or is_plain(now)) and not equal(now, value):
                place.set(copy.deepcopy(value))

    def generators(self) -> dict[Path, Any]:
        """The random generators themselves, by the first path that leads to each."""
        return {path: value for path, (_, value) in self._walk().items() if is_generator(value)}

    def _walk(self) -> dict[Path, tuple[Place, Any]]:
        """Every plain value and generator, with its place; each holder is entered once."""
        found: dict[Path, tuple[Place, Any]] = {}
        seen = {id(self._env)}
        waiting: list[tuple[Path, Any]] = [((), self._env)]
        for path, holder in waiting:
            for place in _places(holder):
                value, inner = place.get(), (*path, place.key)
                if is_generator(value):
                    if id(value) not in seen:
                        seen.add(id(value))
                        found[inner] = (place, value)
                elif is_plain(value):
                    if not isinstance(holder, spaces.Space):
                        found[inner] = (place, value)
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


def _layers(env: Any) -> Iterator[Any]:
    """An env and all that it wraps, envs of other libraries too."""
    while env is not None:
        yield env
        inside = vars(env) if hasattr(env, "__dict__") else {}
        env = inside.get("env", inside.get("_env"))


def _places(holder: Any) -> Iterator[Place]:
    if isinstance(holder, list):
        yield from (Place(holder, index) for index in range(len(holder)))
    elif isinstance(holder, dict):
        yield from (Place(holder, key) for key in list(holder) if isinstance(key, str | int))
    else:
        for name in list(vars(holder)):
            drawing = any(part in name.lower() for part in _DRAWING)
            if not drawing and name.strip("_") not in _DESCRIBING:
                yield Place(holder, name)


def _package(cls: type) -> str:
    return cls.__module__.split(".")[0]
