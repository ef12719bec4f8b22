"""The spaces of observations: images, proprioception, and instructions in any alphabet."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from worldsim.errors import UsageError
from worldsim.spec import WorldSpec

MOST_CHARACTERS = 4096
SAMPLED = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ,.'()-0123456789"


def observation_space(spec: WorldSpec, bound: float = np.inf) -> spaces.Dict:
    """`pixels` {camera: uint8 [H, W, 3]}, `agent_pos` `[P]` within plus and minus `bound`, `task`.

    Of a world known by its data alone, `agent_pos` is unbounded.
    """
    views: dict[str, spaces.Space[Any]] = {
        camera.name: spaces.Box(0, 255, (camera.height, camera.width, 3), np.uint8)
        for camera in spec.cameras
    }
    agent_pos = spaces.Box(-bound, bound, (spec.agent_pos.dim,), np.float32)
    return spaces.Dict({"pixels": spaces.Dict(views), "agent_pos": agent_pos, "task": TaskText()})


class EveryCharacter(Sequence[str]):
    """All Unicode characters, by their code points; nothing is stored."""

    def __len__(self) -> int:
        return sys.maxunicode + 1

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return chr(index)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and len(value) == 1

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
