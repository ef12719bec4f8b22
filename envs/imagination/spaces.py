"""Observation and action spaces of a world, as its simulator env has them."""

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.envs.task_space import TaskText
from worldsim.spec import WorldSpec


def observation_space(spec: WorldSpec) -> spaces.Dict:
    """`pixels` {camera: uint8 [H, W, 3]}, `agent_pos` `[P]` unbounded, `task` text.

    For worlds known by their data alone; where there is a simulator, its own space is taken.
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
            "task": TaskText(),
        }
    )


def clip_agent_pos(agent_pos: NDArray[np.float32], space: spaces.Dict) -> NDArray[np.float32]:
    """An imagined `agent_pos` `[..., P]` within the bounds of the observation space."""
    box = space["agent_pos"]
    assert isinstance(box, spaces.Box)
    return np.clip(agent_pos, box.low, box.high).astype(np.float32)
