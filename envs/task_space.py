"""The space of instructions: any text, in any alphabet."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, overload

from gymnasium import spaces

from worldsim.errors import UsageError

MOST_CHARACTERS = 4096
SAMPLED = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ,.'()-0123456789"


class EveryCharacter(Sequence[str]):
    """All Unicode characters, by their code points; nothing is stored."""

    def __len__(self) -> int:
        return sys.maxunicode + 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [chr(point) for point in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return chr(index)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and len(value) == 1

    def __iter__(self) -> Iterator[str]:
        return map(chr, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EveryCharacter)

    def __hash__(self) -> int:
        return hash(EveryCharacter)


class TaskText(spaces.Text):
    """Texts of up to `MOST_CHARACTERS` characters, the empty one included.

    A `gymnasium.spaces.Text` that keeps no table of its characters: a character's number is its
    code point. Flattening, shared memory and batching work as for any `Text`. Samples are of
    Latin letters, digits and common punctuation.
    """

    def __init__(self) -> None:
        super().__init__(MOST_CHARACTERS, min_length=0, charset=SAMPLED)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A random text.

        Args:
            mask: (length or None, None).
            probability: likewise.

        Raises:
            UsageError: characters were to be masked or weighted.
        """
        length, characters = mask or probability or (None, None)
        if characters is not None:
            raise UsageError("TaskText has no list of characters that could be masked or weighted")
        if length is None:
            length = self.np_random.integers(self.max_length + 1)
        return "".join(self.np_random.choice(list(SAMPLED), size=int(length)))

    @property
    def character_set(self) -> Any:
        """All of them."""
        return EveryCharacter()

    @property
    def character_list(self) -> Any:
        """All of them, by number."""
        return EveryCharacter()

    def character_index(self, char: str) -> Any:
        """Its code point."""
        return ord(char)

    def __repr__(self) -> str:
        return f"TaskText({self.min_length}, {self.max_length})"
