"""Memory Maze (Pasukonis et al., arXiv 2210.13383) with gymnasium's interface.

Its own is that of the gym before gymnasium, and its dm_env cannot be put back to an earlier
episode. So every reset makes a maze anew, of a seed of its own, and that fixes the episode.
"""

import logging
from importlib import import_module
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.envs.foreign_dm import space_of

_CAMERA = "walker/egocentric"


class MemoryMaze(gymnasium.Env[Any, Any]):
    """Walk to the ball in the colour that the picture's edge has, then to the next.

    Observation: `image`, `agent_pos`, `agent_dir`, `target_color`, and what only a simulator
    knows of targets and walls. Info: `camera_position` `[3]`, metres, and `camera_heading`.

    Args:
        size: of the maze, "9x9" to "15x15".
        kwargs: of `memory_maze.tasks`.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": 4,
    }

    def __init__(self, size: str = "9x9", render_mode: str | None = None, **kwargs: Any) -> None:
        make = getattr(import_module("memory_maze.tasks"), f"memory_maze_{size}")
        # The library warns at each reset that a rolling ball has no free joint.
        logging.getLogger("absl").setLevel(logging.ERROR)
        self._make, self._kwargs = make, {"global_observables": True, **kwargs}
        self.render_mode = render_mode
        self._maze = self._made(0)
        self._image: Any = None
        self.action_space = space_of(self._maze.action_spec(), "action")
        self.observation_space = space_of(self._maze.observation_spec(), "observation")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """A new maze; see `gymnasium.Env.reset`."""
        super().reset(seed=seed)
        self._maze.close()
        self._maze = self._made(int(self.np_random.integers(2**31)))
        return self._seen(self._maze.reset().observation), self._told()

    def step(self, action: Any) -> Any:
        """See `gymnasium.Env.step`; an episode's end is that of its time."""
        answer = self._maze.step(int(action))
        over = bool(answer.last())
        ended = over and answer.discount == 0.0
        observation = self._seen(answer.observation)
        return observation, float(answer.reward or 0.0), ended, over and not ended, self._told()

    def render(self) -> Any:
        """The picture that was seen last."""
        return self._image

    def render_depth(self) -> NDArray[np.float32]:
        """Planar depth `[H, W]` of that picture, metres."""
        height, width = self._image.shape[:2]
        found = self._maze.physics.render(height, width, camera_id=_CAMERA, depth=True)
        return np.asarray(found, np.float32)

    def close(self) -> None:
        """Free what the maze holds."""
        self._maze.close()

    def _made(self, seed: int) -> Any:
        maze = self._make(**self._kwargs, seed=seed)
        for target in getattr(getattr(maze, "task", None), "_targets", ()):
            _spare(target)
        return maze

    def _seen(self, observation: Any) -> dict[str, Any]:
        self._image = observation["image"]
        return dict(observation)

    def _told(self) -> dict[str, Any]:
        """Where the camera stands."""
        data = self._maze.physics.named.data
        ahead = -data.cam_xmat[_CAMERA].reshape(3, 3)[:, 2]
        heading = float(np.arctan2(ahead[1], ahead[0]))
        place = np.array(data.cam_xpos[_CAMERA], np.float64)
        return {"camera_position": place, "camera_heading": heading}


def _spare(target: Any) -> None:
    """Let a target go through all contacts one by one only where it is in one of them.

    It does so after every substep, and that takes more time than the physics.
    """
    if not hasattr(target, "_update_activation") or not hasattr(target, "_geom_id"):
        return
    thorough = target._update_activation

    def update(physics: Any) -> None:
        if (physics.data.contact.geom == target._geom_id).any():
            thorough(physics)

    target._update_activation = update
