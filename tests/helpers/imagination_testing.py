"""A judge with random weights over the nano world, and start sources for it."""

from functools import cache
from typing import Any

import numpy as np
import torch
from worldsim_testing import CAMERAS, SIZE, nano_model, nano_spec, nano_start

from worldsim.cameras.rig import CameraRig
from worldsim.envs.imagination import FrameStarts, ImaginationEnv, ImaginationVectorEnv, Start
from worldsim.judge.judge import LearnedJudge
from worldsim.judge.report import JudgeReport, VerdictRule
from worldsim.models.heads.state_estimator import StateEstimator, StateEstimatorConfig

REPORT = JudgeReport(9, 10, 8, 10, 0.01, 0.1, 0, 10, "nano")


@cache
def nano_judge(threshold: float = 0.999) -> LearnedJudge:
    """By default it never says success; with a low threshold it always does."""
    torch.manual_seed(1)
    estimator = StateEstimator(
        StateEstimatorConfig(len(CAMERAS), 2, (SIZE, SIZE), width=8, keypoints=4)
    )
    return LearnedJudge(estimator.eval(), nano_spec(), VerdictRule(threshold, 1), REPORT)


def nano_starts(count: int = 4) -> list[Start]:
    rows = nano_start(count)
    return [
        Start(
            rows["pixels"][i],
            rows["agent_pos"][i],
            f"push the block {i}",
            CameraRig(CAMERAS, rows["intrinsics"][i], rows["extrinsics"][i], rows["mounted"][i]),
        )
        for i in range(count)
    ]


def nano_env(**kwargs: Any) -> ImaginationEnv:
    given = {"sampling_steps": 1, "max_episode_steps": 3} | kwargs
    judge = given.pop("judge", nano_judge())
    return ImaginationEnv(nano_model(), judge, FrameStarts(nano_starts(), nano_spec()), **given)


def nano_vector_env(num_envs: int, **kwargs: Any) -> ImaginationVectorEnv:
    given = {"sampling_steps": 1, "max_episode_steps": 3} | kwargs
    judge = given.pop("judge", nano_judge())
    starts = given.pop("starts", FrameStarts(nano_starts(), nano_spec()))
    return ImaginationVectorEnv(num_envs, nano_model(), judge, starts, **given)


def random_actions(steps: int, num_envs: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (steps, num_envs, 5)).astype(np.float32)
