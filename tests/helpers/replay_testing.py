"""Recordings of the nano world that decide in their last frames, and a judge that is told them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from worldsim_testing import nano_spec, nano_start

from worldsim.judge.judge import Judgement, JudgeTracker, ObservedFrame
from worldsim.judge.report import VerdictRule
from worldsim.judge.sampling import REPORTED

LENGTHS = (7, 7, 3, 6, 6)
WON = (True, False, True, False, True)
"""The first frame of the last episode is a success already: nothing is decided there."""


def recorded(folds: int = REPORTED) -> Any:
    """Episodes whose last frame decides; the action that leads to a success is marked by 1."""
    bounds, count = np.cumsum([0, *LENGTHS]), len(LENGTHS)
    rows, rng = nano_start(int(bounds[-1])), np.random.default_rng(0)
    action = rng.uniform(-0.5, 0.5, (bounds[-1], 5)).astype(np.float32)
    success = np.zeros(bounds[-1], bool)
    success[[bounds[i + 1] - 1 for i in range(count) if WON[i]]] = True
    success[bounds[-2]] = True
    action[bounds[1:] - 1] = 0
    action[np.flatnonzero(success[1:]), 0] = 1
    rig = {name: rows[name][:count] for name in ("intrinsics", "extrinsics", "mounted")}
    return SimpleNamespace(
        spec=nano_spec(),
        extras={},
        folds=[folds] * count,
        pixels=rows["pixels"],
        agent_pos=rows["agent_pos"],
        action=action,
        episode_start=bounds,
        state=rng.uniform(-0.1, 0.1, (bounds[-1], 2)).astype(np.float32),
        success=success,
        tasks=["reach the cube"] * count,
        progress=np.zeros(bounds[-1], np.float32),
        rigs=SimpleNamespace(**rig, known=np.ones((count, 3), bool)),
        views_seen=np.ones((count, 3), bool),
    )


class Scripted:
    """A judge that says what a function of the action says; it notes how many frames it saw."""

    def __init__(self, says: Any) -> None:
        self.says, self.rule, self.seen = says, VerdictRule(0.5, 1), 0

    def tracker(self, num_episodes: int) -> JudgeTracker:
        return JudgeTracker(self.rule, num_episodes)

    def read(self, observation: ObservedFrame, action: np.ndarray | None) -> Judgement:
        assert action is not None and len(action) == len(observation.pixels)
        assert observation.agent_pos.shape == (len(action), nano_spec().agent_pos.dim)
        self.seen += len(action)
        value = np.array([self.says(each) for each in action], np.float32)
        return Judgement(value, value, np.zeros((len(action), 2), np.float32))
