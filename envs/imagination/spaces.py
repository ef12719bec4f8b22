"""Observation and action spaces of a world, as its simulator env has them."""

import numpy as np
from gymnasium import spaces

from worldsim.specs import WorldSpec

TASK_LENGTH = 128
TASK_CHARSET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .,-"


def observation_space(spec: WorldSpec, task: spaces.Text | None = None) -> spaces.Dict:
    """`pixels` {camera: uint8 [H, W, 3]}, `agent_pos` `[P]`, `task` text.

    Args:
        spec: cameras and proprioception.
        task: the simulator's text space; None takes that of the tabletop envs.
    """
    return spaces.Dict(
        {
            "pixels": spaces.Dict(
                {
                    camera.name: spaces.Box(0, 255, (camera.height, camera.width, 3), np.uint8)
                    for camera in spec.cameras
                }
            ),
            "agent_pos": spaces.Box(-np.inf, np.inf, (spec.agent_pos.dim,), np.float32),
            "task": task or spaces.Text(max_length=TASK_LENGTH, charset=TASK_CHARSET),
        }
    )


def action_space(spec: WorldSpec) -> spaces.Box:
    """The normalised action, `[A]`."""
    return spaces.Box(
        np.asarray(spec.action.low, np.float32), np.asarray(spec.action.high, np.float32)
    )
