"""What every importer gives: the world of a source, and its episodes one by one.

Legend: T actions stand between T+1 observations; A action, P proprioception; N rows as a format
counts them, which is T+1, or T where what followed the last action was kept too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.data.columns import Columns
from worldsim.data.video import Pixels
from worldsim.errors import DataError
from worldsim.spec import CameraSpec

Float = NDArray[np.float32]
Frames = Iterator[dict[str, Pixels]]
"""{camera: uint8 [H, W, 3]} of one observation after the other."""


@dataclass(frozen=True)
class SourceOptions:
    """What the user says of a source.

    Attributes:
        columns: which entries are action, proprioception and cameras; what is empty is found.
        fps: frames a second, for formats that do not tell; None takes theirs.
        task: instruction of episodes that have none of their own.
    """

    columns: Columns = field(default_factory=Columns)
    fps: float | None = None
    task: str = ""


@dataclass(frozen=True)
class SourceWorld:
    """What holds for all episodes of a source.

    Attributes:
        fps: frames a second.
        cameras: in view order.
        action: names of the action's entries, or of its choices.
        agent_pos: names of proprioception's entries.
        env_id: what it was recorded in; may be empty.
        discrete: whether an action is one of the choices, one-hot.
    """

    fps: float
    cameras: tuple[CameraSpec, ...]
    action: tuple[str, ...]
    agent_pos: tuple[str, ...] = ()
    env_id: str = ""
    discrete: bool = False


@dataclass(frozen=True, eq=False)
class SourceRows:
    """An episode without its frames.

    Attributes:
        action: `[T, A]`.
        agent_pos: `[T+1, P]`.
        reward: `[T+1]`, each at its own observation.
        success: `[T+1]` whether the task is solved there.
        task: instruction.
        solved: whether the episode counts as a success, as the source says.
        factors: what else is worth keeping, such as where it came from.
        rig: calibration, where the source has it.
    """

    action: Float
    agent_pos: Float
    reward: Float
    success: NDArray[np.bool_]
    task: str
    solved: bool
    factors: Mapping[str, Any] = field(default_factory=dict)
    rig: CameraRig | None = None


class SourceEpisode(Protocol):
    """One episode of a source."""

    @property
    def name(self) -> str:
        """What the source calls it, for messages and for what is stored."""
        ...

    def rows(self) -> SourceRows:
        """Everything but the frames.

        Raises:
            DataError: it cannot be read, or its parts do not fit together.
        """
        ...

    def frames(self) -> Frames:
        """T+1 observations' frames.

        Raises:
            DataError: as above.
        """
        ...


@dataclass(frozen=True, eq=False)
class Source:
    """A source opened for reading."""

    world: SourceWorld
    episodes: Sequence[SourceEpisode]
    close: Callable[[], None] = lambda: None


def rows_of(
    where: str,
    observations: int,
    action: NDArray[Any],
    agent_pos: NDArray[Any] | None = None,
    reward: NDArray[Any] | None = None,
    success: NDArray[Any] | bool | None = None,
    **known: Any,
) -> SourceRows:
    """Rows of an episode whose outcomes follow its actions, as most formats have them.

    Where there is an action for every observation, nobody saw what the last one did. It is left
    out, and a success that it led to counts for the last observation.

    Args:
        where: the episode, for messages.
        observations: how many frames it has.
        action: `[N, A]`.
        agent_pos: `[T+1, P]`, by default of no entries.
        reward: `[N]` after each action.
        success: `[N]` after each action, or of the episode as a whole.
        known: further attributes of `SourceRows`.

    Raises:
        DataError: numbers of rows do not fit, or there is no action.
    """
    steps, count = observations - 1, len(action)
    if steps < 1 or count not in (steps, observations):
        raise DataError(
            f"{where}: {count} actions for {observations} frames; expected as many, or one fewer"
        )
    state = np.zeros((observations, 0)) if agent_pos is None else agent_pos
    if len(state) != observations:
        raise DataError(f"{where}: {len(state)} rows of proprioception for {observations} frames")
    whole = success if isinstance(success, bool) else None
    flags = None if isinstance(success, bool) else success
    solved = after(flags, where, "success", count, observations).astype(bool)
    told = bool(np.any(flags)) if flags is not None else bool(whole)
    solved[-1] = solved[-1] or (told and not solved.any())
    return SourceRows(
        action=np.asarray(action[:steps], np.float32),
        agent_pos=np.asarray(state, np.float32),
        reward=after(reward, where, "reward", count, observations).astype(np.float32),
        success=solved,
        task=str(known.pop("task", "")),
        solved=told,
        **known,
    )


def after(
    values: NDArray[Any] | None, where: str, name: str, actions: int, observations: int
) -> NDArray[Any]:
    """`[T+1]` at each observation of what followed the action before it; zeros are unknown.

    Raises:
        DataError: there are not as many as actions.
    """
    shifted = np.zeros(observations)
    if values is not None:
        if len(values) != actions:
            raise DataError(f"{where}: {len(values)} values of {name} for {actions} actions")
        shifted[1:] = np.asarray(values, float).reshape(actions)[: observations - 1]
    return shifted


def sparse_success(reward: NDArray[Any] | None) -> NDArray[np.bool_] | None:
    """`[N]` success where rewards are 0 and 1 alone, as of sparse tasks; None where they tell none.

    Rewards of other values say how well, not whether.
    """
    if reward is None or not np.isin(reward, (0, 1)).all():
        return None
    flags: NDArray[np.bool_] = np.asarray(reward, bool)
    return flags
