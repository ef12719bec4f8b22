"""Judges and rollout results made up from numbers, for tests that roll nothing out."""

import numpy as np
from numpy.typing import ArrayLike

from worldsim.judge.report import JudgeReport
from worldsim.rollout.episodes import RolloutBatch, Trajectory, World


def judge_report(
    true_positives: int,
    positives: int,
    true_negatives: int,
    negatives: int,
    state_error_m: float | None = None,
) -> JudgeReport:
    """A judge of these counts that takes none of 100 first frames for a success."""
    return JudgeReport(
        *(true_positives, positives, true_negatives, negatives),
        state_error_m=state_error_m,
        progress_error=None,
        first_frame_false_successes=0,
        first_frames=100,
    )


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
