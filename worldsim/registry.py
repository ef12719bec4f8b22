"""Names to constructors. Configs and downloaded files name entries here, never Python classes."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from worldsim.errors import UnknownNameError, unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """A closed set of named entries of one kind.

    Args:
        kind: what the entries are, for error messages ("denoiser", "policy").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files its argument under `name`; a second use of a name is an error."""

        def file(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return file

    def get(self, name: str) -> T:
        """The entry under `name`.

        Raises:
            UnknownNameError: no such name; the message lists the known ones.
        """
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries, UnknownNameError)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries
