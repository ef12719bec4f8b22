"""Rollout results made up from verdicts, for tests that roll nothing out."""

import numpy as np
from numpy.typing import ArrayLike

from worldsim.rollout.batch import RolloutBatch
from worldsim.rollout.trajectory import Trajectory, World


def one_step(success: bool, speed: float = 0.0) -> Trajectory:
    """One action along x, after which the world and a judge give a verdict."""
    ends = np.array([0, success])
    return Trajectory(
        agent_pos=np.array([[0.0], [speed]], np.float32),
        action=np.full((1, 1), speed, np.float32),
        success=ends.astype(bool),
        progress=ends.astype(np.float32),
        judged=ends.astype(bool),
    )


def made_up_batch(
    policy: str, world: World, success: ArrayLike, speeds: ArrayLike = 0.0
) -> RolloutBatch:
    """One-step episodes with these verdicts `[N]`, and these path lengths `[N]`."""
    won, fast = np.broadcast_arrays(np.asarray(success, bool), np.asarray(speeds, float))
    return RolloutBatch(
        policy=policy,
        world=world,
        start_ids=tuple(range(len(won))),
        trajectories=tuple(one_step(bool(w), float(v)) for w, v in zip(won, fast, strict=True)),
        errors=(None,) * len(won),
        horizon=1,
        position=(0,),
    )
