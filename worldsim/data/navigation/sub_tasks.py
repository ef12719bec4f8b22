"""Instructions of several sub-tasks, and the actions that close one.

An agent that walks closes the sub-task under way by `stop`, met or not (LH-VLN). Whoever follows
an instruction counts its own stops; nothing else tells which part of the text is current.

Legend: N rows, A action.
"""

import re

import numpy as np
from numpy.typing import NDArray

from worldsim.spec import ActionSpec

STOP = "stop"
STILL = 0.05
"""Share of a full step and of a full turn below which a continuous action is to stop."""
_THEN = re.compile(r"[,;.]?\s+(?:and\s+)?then\s+|;\s*|\.\s+", re.IGNORECASE)


def sub_tasks(instruction: str) -> tuple[str, ...]:
    """Parts of an instruction, in order; one whose words join none is a part itself.

    Parts are told by "then", semicolons and full stops.
    """
    parts = [part.strip(" ,;.") for part in _THEN.split(instruction)]
    return tuple(part for part in parts if part) or (instruction,)


def can_stop(action: ActionSpec) -> bool:
    """Whether an action can close a sub-task: a choice `stop`, or a body that can rest."""
    return STOP in action.names or action.names == ("forward", "turn")


def stopping(action: ActionSpec, actions: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which actions `[N, A]` are to stop, `[N]`.

    A continuous one is where both its parts are almost nothing (habitat-lab `VelocityAction`).
    """
    if STOP in action.names:
        return np.asarray(actions.argmax(axis=-1) == action.names.index(STOP))
    if not can_stop(action):
        return np.zeros(len(actions), bool)
    return np.asarray((np.abs(actions) < STILL).all(axis=-1))
