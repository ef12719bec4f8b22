"""Entries of what a source env returns, named in configs: `agent_pos`, `info.block_pose[0:2]`.

`env.agent.pos` is an attribute of the env itself, for those that return little.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError
from worldsim.spec import VectorSpec

Vector = NDArray[np.float32]

WHOLE = "observation"
"""Name of an observation that is one array."""
_INFO, _ENV = "info", "env"
_WRITTEN = re.compile(r"(?P<path>[\w./:-]+)(\[(?P<low>\d*)(?P<colon>:)?(?P<high>\d*)\])?")
_MOST = 4096
"""Numbers that a state may have; what is larger is no state."""


@dataclass(frozen=True, eq=False)
class Returned:
    """What a source's `reset` or `step` returned last.

    Attributes:
        observation: of the source's own form.
        info: with it.
        env: the source itself, without wrappers.
    """

    observation: Any
    info: Mapping[str, Any]
    env: Any = None


@dataclass(frozen=True)
class Entry:
    """One array of what a source returns, or a part of it.

    Attributes:
        text: as it was written.
        path: keys that lead to it; the first is `info` for the info, `env` for attributes.
        part: which of its numbers, flattened.
    """

    text: str
    path: tuple[str, ...]
    part: slice

    @staticmethod
    def parse(text: str) -> "Entry":
        """Read `key`, `info.key`, `env.attribute`, `key.inner[2]` or `key[0:3]`.

        Raises:
            UsageError: it is written otherwise.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise UsageError(f"entry {text!r}; expected KEY, info.KEY, KEY.INNER, or KEY[0:3]")
        low, high = found["low"], found["high"]
        first = int(low) if low else 0
        part = slice(first, int(high) if high else None)
        if low and not found["colon"]:
            part = slice(first, first + 1)
        return Entry(text, tuple(found["path"].split(".")), part)

    @property
    def name(self) -> str:
        """For the numbers it holds."""
        return "_".join(self.path[1:] if self.path[0] in (_INFO, _ENV) else self.path)

    def find(self, returned: Returned) -> Any:
        """The whole value at the path.

        Raises:
            UsageError: there is none; lists what there is.
        """
        path = self.path
        value: Any = returned.observation
        if path[0] == _INFO:
            value, path = returned.info, path[1:]
        elif path[0] == _ENV and not (isinstance(value, Mapping) and _ENV in value):
            return self._attribute(returned.env)
        elif path == (WHOLE,) and not isinstance(value, Mapping):
            path = ()
        for key in path:
            if not isinstance(value, Mapping) or key not in value:
                raise UsageError(
                    f"the env returns no entry {self.text!r}; there are "
                    f"{', '.join(sorted(entries_of(returned))) or 'none'}"
                )
            value = value[key]
        return value

    def _attribute(self, holder: Any) -> Any:
        """What attributes of the env lead to; private ones are nobody's.

        Raises:
            UsageError: there is none.
        """
        for name in self.path[1:]:
            inner = None if name.startswith("_") else getattr(holder, name, None)
            if inner is None or callable(inner):
                raise UsageError(
                    f"entry {self.text!r}: {type(holder).__name__} has no public attribute {name!r}"
                )
            holder = inner
        return holder

    def numbers(self, returned: Returned) -> Vector:
        """Its numbers, flat.

        Raises:
            UsageError: it is absent, or holds other things than numbers.
        """
        found = np.asarray(self.find(returned))
        if found.dtype.kind not in "biuf":
            raise UsageError(f"entry {self.text!r} of the env holds no numbers but {found.dtype}")
        return found.astype(np.float32).ravel()[self.part]


class Readings:
    """Entries one after the other, as one named vector.

    Args:
        entries: as they are written.
        example: what the source returned once; it tells the sizes.

    Raises:
        UsageError: an entry is absent or holds no numbers.
    """

    def __init__(self, entries: Sequence[str], example: Returned) -> None:
        self._entries = [Entry.parse(text) for text in entries]
        names: list[str] = []
        for entry in self._entries:
            size, first = len(entry.numbers(example)), entry.part.start or 0
            names += [f"{entry.name}_{first + i}" for i in range(size)]
        if len(set(names)) < len(names):
            raise UsageError(f"entries {list(entries)} overlap: their numbers are {names}")
        self.spec = VectorSpec(tuple(names), ("1",) * len(names))

    def read(self, returned: Returned) -> Vector:
        """float32 `[spec.dim]`.

        Raises:
            UsageError: an entry is not there now, or has another size.
        """
        parts = [entry.numbers(returned) for entry in self._entries]
        values = np.concatenate([np.zeros(0, np.float32), *parts])
        if len(values) != self.spec.dim:
            raise UsageError(
                f"the env's entries {[entry.text for entry in self._entries]} hold {len(values)} "
                f"numbers now and held {self.spec.dim} at first; all episodes have the same"
            )
        return values


def entries_of(returned: Returned) -> dict[str, NDArray[Any]]:
    """Every array of numbers that a source returned, by the entry that names it."""
    found: dict[str, NDArray[Any]] = {}
    waiting: list[tuple[str, Any]] = [("", returned.observation), (_INFO, returned.info)]
    for name, value in waiting:
        if isinstance(value, Mapping):
            waiting += [(f"{name}.{key}" if name else str(key), value[key]) for key in value]
        elif not isinstance(value, str) and name.partition(".")[0] != "":
            _take(found, name, value)
        elif not name:
            _take(found, WHOLE, value)
    return found


def _take(found: dict[str, NDArray[Any]], name: str, value: Any) -> None:
    """Note a value that is an array of numbers."""
    if isinstance(value, bool | int | float | np.generic | np.ndarray | list | tuple):
        try:
            array = np.asarray(value)
        except ValueError:  # of ragged lists
            return
        if array.dtype.kind in "biuf":
            found[name] = array


def is_image(array: NDArray[Any]) -> bool:
    """Whether an array is a colour picture, uint8 `[H, W, 3]`."""
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[-1] == 3


def is_grey(array: NDArray[Any]) -> bool:
    """Whether an array is a picture of one channel, uint8 `[H, W, 1]`."""
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[-1] == 1


def numbers_of_observation(returned: Returned) -> list[str]:
    """Entries of the observation that are numbers and no pictures."""
    return [
        name
        for name, array in entries_of(returned).items()
        if name.partition(".")[0] != _INFO and array.dtype != np.uint8 and array.size <= _MOST
    ]
