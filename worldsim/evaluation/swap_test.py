"""Does imagination obey its actions? Episodes exchange action sequences, in both worlds.

From the first frame of episode a, the model imagines the actions of episode b; the simulator
replays the same actions from the same stored start. The end effector that the model's head reads
off the imagined frames is compared with the simulator's.

Legend: N exchanged drives, T steps, A action, P proprioception.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.errors import DataError, UsageError
from worldsim.evaluation.open_loop import Drive, Float, imagine, recorded_actions
from worldsim.models.world_model import WorldModel
from worldsim.specs import EE_POSITION

Replay = Callable[[int, Float], Float]
"""Episode whose start to take and actions `[T, A]`, to simulated `agent_pos` `[T, P]`."""


@dataclass(frozen=True)
class SwapReport:
    """Distances of end effectors in metres, averaged over steps and drives.

    Attributes:
        followed_m: imagined under exchanged actions, from the simulator under the same actions.
        followed_end_m: the same at the last step.
        ignored_m: imagined under exchanged actions, from the simulator under the episode's own
            actions; as large as `effect_m` for a model that obeys.
        effect_m: how far the exchange moves the simulator's end effector.
        drives: N.
        steps: longest T.
    """

    followed_m: float
    followed_end_m: float
    ignored_m: float
    effect_m: float
    drives: int
    steps: int

    @property
    def obedience(self) -> float:
        """1 - followed / effect: 1 follows exactly, 0 or less is no better than ignoring."""
        return 1.0 - self.followed_m / max(self.effect_m, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """All figures and the obedience."""
        return asdict(self) | {"obedience": self.obedience}


def swap_test(
    model: WorldModel,
    cache: CachedDataset,
    episodes: Sequence[int],
    replay: Replay | None = None,
    sampling_steps: int = 2,
    max_steps: int = 0,
    seed: int = 0,
) -> SwapReport:
    """Exchange the actions of successive episodes and see where the end effector goes.

    Args:
        model: a world model of the cache's world.
        cache: decoded data set.
        episodes: at least two, none of them trained on.
        replay: the simulator; None builds the env the data set was recorded in.
        sampling_steps: denoising steps a frame.
        max_steps: longest drive; 0 is as long as both episodes last.
        seed: of sampling noise.

    Raises:
        UsageError: fewer than two episodes, or a world without an end-effector position.
        DataError: the data set does not say which env it is from, or lacks initial states.
    """
    columns = cache.spec.agent_pos.indices(*EE_POSITION)
    if columns is None or len(episodes) < 2:
        raise UsageError(
            "the swap test needs two episodes and an agent_pos with entries "
            f"{EE_POSITION}; got {len(episodes)} episodes and {cache.spec.agent_pos.names}"
        )
    simulate = replay or simulator_replay(cache)
    own = [recorded_actions(cache, episode, max_steps) for episode in episodes]
    drives = []
    for noise_id, episode in enumerate(episodes):
        length = min(len(own[noise_id]), len(own[(noise_id + 1) % len(own)]))
        drives.append(Drive(episode, own[(noise_id + 1) % len(own)][:length], noise_id))
    imagined: list[list[Float]] = [[] for _ in drives]
    for frames in imagine(model, cache, drives, sampling_steps, seed):
        for drive, agent_pos in zip(frames.drives, frames.agent_pos, strict=True):
            imagined[drive].append(agent_pos[list(columns)])
    gaps = [
        _gaps(np.stack(path), drive, cache, simulate, list(columns))
        for path, drive in zip(imagined, drives, strict=True)
        if path
    ]
    followed, ignored, effect = (np.concatenate([g[i] for g in gaps]) for i in range(3))
    return SwapReport(
        followed_m=float(followed.mean()),
        followed_end_m=float(np.mean([gap[0][-1] for gap in gaps])),
        ignored_m=float(ignored.mean()),
        effect_m=float(effect.mean()),
        drives=len(gaps),
        steps=max(len(drive.actions) for drive in drives),
    )


def _gaps(
    imagined: Float, drive: Drive, cache: CachedDataset, simulate: Replay, columns: list[int]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Distances `[T]`: imagined to simulated, imagined to recorded, simulated to recorded."""
    simulated = simulate(drive.episode, drive.actions)[:, columns]
    start = cache.rows(drive.episode).start + 1
    recorded = np.asarray(cache.agent_pos[start : start + len(drive.actions)])[:, columns]

    def distance(left: Float, right: Float) -> NDArray[Any]:
        return np.asarray(np.linalg.norm(left - right, axis=-1))

    return (
        distance(imagined, simulated),
        distance(imagined, recorded),
        distance(simulated, recorded),
    )


def simulator_replay(cache: CachedDataset) -> Replay:
    """Replay in the env that the data set names, from the stored initial states.

    Raises:
        DataError: the data set names no env.
    """
    from worldsim.data.dataset import LeRobotDataset
    from worldsim.envs import make

    info = LeRobotDataset(cache.root).env_info
    if not info.get("id"):
        raise DataError(f"{cache.root} does not say which environment it was recorded in")
    env = make(str(info["id"]), **dict(info.get("kwargs") or {}))

    def replay(episode: int, actions: Float) -> Float:
        meta = cache.metas[episode]
        if not meta.initial_state:
            raise DataError(f"{cache.root}: episode {episode} has no stored initial state")
        physics = np.asarray(meta.initial_state, np.float64)
        state = {"physics": physics, "factors": meta.factors}
        env.reset(seed=meta.seed, options={"initial_state": state})
        path = []
        for action in actions:
            # Past the env's own end: what is asked is where the hand goes, not how it scores.
            observation = env.unwrapped.step(action)[0]
            path.append(np.asarray(observation["agent_pos"], np.float32))
        return np.stack(path)

    return replay
