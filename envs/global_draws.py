"""A private state of the process's global random generators, `random` and `numpy.random`.

Somebody else's env may draw from the globals. With a state of its own it repeats what a seed gave,
whoever else draws in the process, and the caller's own draws do not depend on the env.
"""

import random
from typing import Any

import numpy as np

DrawState = dict[str, Any]


class GlobalDraws:
    """A context manager: inside, the globals are this object's; after it, the caller's again.

    Args:
        seed: None draws one from the operating system.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed(seed)
        self._callers: DrawState | None = None

    def seed(self, seed: int | None) -> None:
        """Begin anew; call it outside of the context."""
        sequence = np.random.SeedSequence(seed)
        legacy = np.random.RandomState(np.random.MT19937(sequence))
        self._state: DrawState = {
            "numpy": legacy.get_state(legacy=False),
            "python": random.Random(int(sequence.generate_state(1)[0])).getstate(),
        }

    def get_state(self) -> DrawState:
        """Where this object's draws stand."""
        return dict(self._state)

    def set_state(self, state: DrawState) -> None:
        """Restore `get_state` output; call it outside of the context."""
        self._state = dict(state)

    def __enter__(self) -> "GlobalDraws":
        self._callers = _get()
        _set(self._state)
        return self

    def __exit__(self, *error: object) -> None:
        assert self._callers is not None
        self._state = _get()
        _set(self._callers)


def _get() -> DrawState:
    return {"numpy": np.random.get_state(legacy=False), "python": random.getstate()}


def _set(state: DrawState) -> None:
    np.random.set_state(state["numpy"])
    random.setstate(state["python"])
