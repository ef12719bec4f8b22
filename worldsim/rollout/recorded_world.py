"""A world that goes its recorded way whatever is done: policies are asked, not obeyed.

What a policy would have done beside what was done, on held-out recordings, is its validation
action error: the cheap proxy that a ranking in imagination has to beat.

Legend: E episodes, T actions, N rows still running, V view, H, W pixels, P proprioception,
A action.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache_writer import resize, resized_spec
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.selection import Selection
from worldsim.data.split import episodes_of
from worldsim.envs.imagination.start import Start
from worldsim.errors import UsageError
from worldsim.judge.judge import Judge
from worldsim.rollout.episodes import RolloutBatch, World
from worldsim.rollout.worlds import TimeStep

Float = NDArray[np.float32]

MOST_EPISODES = 64
EXPERT = "expert"
"""Behaviour of the collection mixture that is taken alone where a data set tells of it."""


class RecordedWorld:
    """Held-out recorded successes, shown frame by frame; there is no judge.

    Of recordings that tell who acted, those of the expert alone are shown.

    Args:
        kind: name of the world.
        root: a LeRobot data set.
        size: (height, width) that frames are resized to, as the world model's were.
        selection: which columns are what.

    Attributes:
        starts: the E starts.
        max_steps: actions of the longest episode.

    Raises:
        UsageError: no held-out episode succeeded.
        DataError: the data set cannot be read.
    """

    judge: Judge | None = None
    tells_progress = False

    def __init__(
        self,
        kind: World,
        root: Path,
        size: tuple[int, int],
        selection: Selection | None = None,
    ) -> None:
        self.kind, self._data = kind, LeRobotDataset(root, selection)
        self.spec = resized_spec(self._data, size)
        metas = {i: self._data.meta(i) for i in episodes_of(self._data.folds, "val")}
        won = [i for i, m in metas.items() if m.success and self._data.record(i).length > 1]
        experts = [i for i in won if metas[i].behaviour == EXPERT]
        self._episodes = (experts or won)[:MOST_EPISODES]
        if not self._episodes:
            raise UsageError(
                f"{root}: none of its {len(metas)} held-out episodes succeeded, so there is no "
                "expert's action to compare with; give a data set with successes"
            )
        self._shown: dict[int, dict[str, NDArray[Any]]] = {}

    @cached_property
    def starts(self) -> list[Start]:
        """See the attribute; frames and instructions are read here, episode by episode."""
        found = []
        for number, episode in enumerate(self._episodes):
            recorded = self._read(number)
            task = self._data.task(episode)
            found.append(Start(recorded["pixels"][0], recorded["agent_pos"][0], task))
        return found

    @property
    def max_steps(self) -> int:
        """See the attribute."""
        return max(self._data.record(episode).length for episode in self._episodes) - 1

    def start(self, starts: Sequence[Start], ids: Sequence[int], seed: int) -> TimeStep:
        """See `BatchWorld`; ids are places among `starts`."""
        self._rows, self._step = list(ids), 0
        return self._timestep()

    def step(self, actions: Float) -> TimeStep:
        """See `BatchWorld`; the actions change nothing."""
        self._step += 1
        return self._timestep()

    def select(self, rows: Sequence[int]) -> None:
        """See `BatchWorld`."""
        self._rows = [self._rows[row] for row in rows]

    def _timestep(self) -> TimeStep:
        shown = [self._read(row) for row in self._rows]
        at = self._step
        none = np.full(self.spec.action.dim, np.nan, np.float32)
        return TimeStep(
            pixels=np.stack([each["pixels"][at] for each in shown]),
            agent_pos=np.stack([each["agent_pos"][at] for each in shown]),
            success=np.array([bool(each["success"][: at + 1].any()) for each in shown]),
            progress=None,
            done=np.array([at + 1 >= len(each["agent_pos"]) for each in shown]),
            expert=np.stack([each["action"][at - 1] if at else none for each in shown]),
        )

    def _read(self, number: int) -> dict[str, NDArray[Any]]:
        """`pixels [T+1,V,H,W,3]`, `agent_pos [T+1,P]`, `success [T+1]`, `action [T+1,A]`; actions
        that are not valid are NaN."""
        if number not in self._shown:
            episode, camera = self._episodes[number], self.spec.cameras[0]
            arrays, names = self._data.arrays(episode), self.spec.camera_names
            views = [self._data.each_frame(episode, name) for name in names]
            frames = [
                np.stack([resize(view, camera.height, camera.width) for view in moment])
                for moment in zip(*views, strict=True)
            ]
            known = np.asarray(arrays["action_mask"], bool)[:, None]
            self._shown[number] = {
                "pixels": np.stack(frames),
                "agent_pos": np.asarray(arrays["agent_pos"], np.float32),
                "success": np.asarray(arrays["success"], bool),
                "action": np.where(known, arrays["action"], np.nan).astype(np.float32),
            }
        return self._shown[number]


def action_errors(batch: RolloutBatch) -> NDArray[np.float64]:
    """Mean distance of a policy's actions to the recorded ones, of each episode `[E]`.

    The distance is the mean absolute difference of the entries, normalised as the spec says. An
    episode in which the policy broke off is NaN.

    Raises:
        UsageError: the batch follows no recording.
    """
    found = []
    for trajectory, error in zip(batch.trajectories, batch.errors, strict=True):
        if error is not None:
            found.append(np.nan)
            continue
        if trajectory.expert is None:
            raise UsageError(f"rollouts in {batch.world} follow no recording")
        apart = np.abs(trajectory.action - trajectory.expert[1:]).mean(axis=-1)
        known = np.isfinite(apart)
        found.append(float(apart[known].mean()) if known.any() else np.nan)
    return np.array(found, np.float64)
