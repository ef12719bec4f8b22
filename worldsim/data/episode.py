"""One recorded episode in memory: T actions between T+1 observations."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig

Float = NDArray[np.float32]


@dataclass(frozen=True)
class EpisodeMeta:
    """What is known of an episode as a whole.

    Attributes:
        env_id: gymnasium id it was recorded in.
        seed: seed given to `env.reset`.
        policy: name of the policy that acted.
        factors: factors of variation, as sampled.
        success: whether the task was ever solved.
        initial_state: flat float64 simulator state (`env.get_state()["physics"]`); may be empty.
        rig: camera calibration, or None if unknown.
        behaviour: role the policy had in the collection ("expert", "noisy", ...); may be empty.
    """

    env_id: str
    seed: int
    policy: str
    success: bool
    factors: dict[str, Any] = field(default_factory=dict)
    initial_state: tuple[float, ...] = ()
    rig: CameraRig | None = None
    behaviour: str = ""


@dataclass(frozen=True, eq=False)
class Episode:
    """Arrays of one episode. Row t: observation t, then action t, then observation t+1.

    Attributes:
        pixels: {camera: uint8 [T+1, H, W, 3]}; empty where the frames went to a film at once.
        agent_pos: `[T+1, P]` proprioception.
        state: `[T+1, S]` privileged state; S may be 0.
        action: `[T, A]` commanded, normalised.
        action_achieved: `[T, A]` what the robot did, same units as `action`.
        reward: `[T+1]`; reward[t+1] follows action t, reward[0] is 0.
        success: `[T+1]` bool per observation.
        progress: `[T+1]` in [0, 1].
        task: instruction text.
        extras: {name: `[T+1, ...]`} of the optional channels that the world records; see
            `worldsim.data.channels.CHANNELS`.
    """

    pixels: dict[str, NDArray[np.uint8]]
    agent_pos: Float
    state: Float
    action: Float
    action_achieved: Float
    reward: Float
    success: NDArray[np.bool_]
    progress: Float
    task: str
    meta: EpisodeMeta
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @staticmethod
    def of(
        arrays: Mapping[str, NDArray[Any]],
        pixels: dict[str, NDArray[np.uint8]],
        task: str,
        meta: EpisodeMeta,
    ) -> "Episode":
        """An episode whose `arrays` are given by name; those that are no attribute are extras."""
        needed = {each.name for each in fields(Episode)} & set(arrays)
        extras = {name: arrays[name] for name in arrays if name not in needed}
        own = {name: arrays[name] for name in needed}
        return Episode(pixels, **own, task=task, meta=meta, extras=extras)

    @property
    def length(self) -> int:
        """T, the number of actions."""
        return len(self.action)

    @property
    def action_mask(self) -> NDArray[np.bool_]:
        """`[T+1]` whether an action was taken at a row's observation: not at the last."""
        return np.arange(self.length + 1) < self.length
