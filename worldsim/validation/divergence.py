"""How far the simulator runs away from itself: the same actions from starts a hair apart.

No model can be asked to stay nearer to the simulator than this, so errors of places are stated in
multiples of it too.

Legend: T steps, S state, P proprioception.
"""

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.poses import position_entries
from worldsim.data.cache import CachedDataset
from worldsim.rollout.recorded_env import begin_again, recorded_env
from worldsim.validation.open_loop import recorded_actions

Float = NDArray[np.float64]
SHIFT = 5e-4
"""Standard deviation of the disturbance of a start: metres for free bodies, radians for joints."""


def divergence(
    cache: CachedDataset, episodes: Sequence[int], max_steps: int = 0, seed: int = 0
) -> dict[str, Float]:
    """Mean distance in metres between recorded and disturbed runs at each step.

    Args:
        cache: a data set recorded in a simulator, with initial states.
        episodes: which to repeat.
        max_steps: longest; 0 is whole episodes.
        seed: of the disturbances.

    Returns:
        For each position of the state, `[T]`; NaN where no episode lasts so long. A state without
        positions, as of a real robot's data, needs no simulator and gives nothing.

    Raises:
        DataError: the data set names no env, or lacks initial states.
    """
    groups = {
        name: list(axes.values()) for name, axes in position_entries(cache.spec.state).items()
    }
    if not groups:
        return {}
    actions = [recorded_actions(cache, episode, max_steps) for episode in episodes]
    longest = max((len(each) for each in actions), default=0)
    sums = {name: np.zeros(longest) for name in groups}
    count = np.zeros(longest)
    rng = np.random.default_rng(seed)
    # Nobody looks: the smallest pictures cost least.
    with recorded_env(cache, image_size=8) as env:
        for episode, each in zip(episodes, actions, strict=True):
            _begin(env, cache, episode, rng)
            first = cache.rows(episode).start + 1
            for step, action in enumerate(each):
                state = np.asarray(
                    env.step(cache.spec.action.command(action))[4]["state"], np.float64
                )
                gap = state - cache.state[first + step]
                for name, entries in groups.items():
                    sums[name][step] += np.linalg.norm(gap[entries])
                count[step] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: total / count for name, total in sums.items()}


def _begin(env: Any, cache: CachedDataset, episode: int, rng: np.random.Generator) -> None:
    """Put the env to the episode's start, every joint that is no actuated one disturbed."""
    begin_again(env, cache, episode)
    model, data = env.model, env.data
    driven = {int(model.actuator_trnid[i, 0]) for i in range(model.nu)}
    for joint in range(model.njnt):
        if joint in driven:
            continue
        place = int(model.jnt_qposadr[joint])
        free = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE
        # In the plane: a body pressed into the ground would jump.
        data.qpos[place : place + (2 if free else 1)] += rng.normal(0.0, SHIFT, 2 if free else 1)
    mujoco.mj_forward(model, data)
