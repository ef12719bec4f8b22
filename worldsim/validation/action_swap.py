"""Does imagination obey its actions? Episodes exchange action sequences, in both worlds.

From the first frame of episode a, the model imagines the actions of episode b; the simulator
replays the same actions from the same stored start. The model's end effector is compared with the
simulator's, and so are the frames, which no reckoning from the actions can make agree.

Legend: N exchanged drives, T steps, A action, P proprioception, V view, H W pixels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.conventions import stack_views
from worldsim.data.cache import CachedDataset
from worldsim.data.cache_writer import resize
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.rollout.recorded_env import begin_again, recorded_env
from worldsim.sampling.sampler import Sampler, default_steps
from worldsim.spec import EE_POSITION
from worldsim.validation.open_loop import (
    Drive,
    DrivenFrames,
    Float,
    Pixels,
    imagine,
    recorded_actions,
)
from worldsim.validation.video_metrics import psnr_of

Replay = Callable[[int, Float], tuple[Float, Pixels]]
"""Episode whose start to take and actions `[T, A]`, to what the simulator then shows:
`agent_pos` `[T, P]` and uint8 frames `[T, V, H, W, 3]`."""


@dataclass(frozen=True)
class SwapReport:
    """Distances of end effectors in metres, averaged over steps and drives.

    Attributes:
        followed_m: imagined under exchanged actions, from the simulator under the same actions.
        followed_end_m: the same at the last step.
        ignored_m: imagined under exchanged actions, from the simulator under the episode's own
            actions; as large as `effect_m` for a model that obeys.
        effect_m: how far the exchange moves the simulator's end effector.
        seen_m: as `followed_m`, for the hand that the model's head reads off the imagined frames.
        seen_ignored_m: as `ignored_m`, for that hand.
        followed_psnr: dB of imagined frames against the simulator's under the same actions.
        ignored_psnr: dB of imagined frames against the recorded ones, of the episode's own actions.
        drives: N.
        steps: longest T.
    """

    followed_m: float
    followed_end_m: float
    ignored_m: float
    effect_m: float
    seen_m: float
    seen_ignored_m: float
    followed_psnr: float
    ignored_psnr: float
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
    sampling_steps: int | None = None,
    max_steps: int = 0,
) -> SwapReport:
    """Exchange the actions of successive episodes and see where the end effector goes.

    Args:
        model: a world model of the cache's world.
        cache: decoded data set.
        episodes: at least two, none of them trained on.
        replay: the simulator; None builds the env the data set was recorded in.
        sampling_steps: denoising steps a frame; None takes the model's own.
        max_steps: longest drive; 0 is as long as both episodes last.

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
    drives = _exchanged(cache, episodes, max_steps)
    steps = default_steps(model.config) if sampling_steps is None else sampling_steps
    imagined = _imagine_all(model, cache, drives, steps)
    with nullcontext(replay) if replay else simulator_replay(cache) as simulate:
        gaps = [
            _gaps([np.stack(part) for part in parts], drive, cache, simulate, list(columns))
            for parts, drive in zip(imagined, drives, strict=True)
            if parts[0]
        ]
    return _report(gaps, max(len(drive.actions) for drive in drives))


def _report(gaps: Sequence[Mapping[str, NDArray[Any]]], steps: int) -> SwapReport:
    """Means over all steps of all drives; `steps` is the longest drive's."""
    mean = {name: float(np.concatenate([gap[name] for gap in gaps]).mean()) for name in gaps[0]}
    return SwapReport(
        followed_m=mean["followed"],
        followed_end_m=float(np.mean([gap["followed"][-1] for gap in gaps])),
        ignored_m=mean["ignored"],
        effect_m=mean["effect"],
        seen_m=mean["seen"],
        seen_ignored_m=mean["seen_ignored"],
        followed_psnr=psnr_of(mean["followed_frames"]),
        ignored_psnr=psnr_of(mean["ignored_frames"]),
        drives=len(gaps),
        steps=steps,
    )


def _exchanged(cache: CachedDataset, episodes: Sequence[int], max_steps: int) -> list[Drive]:
    """Each episode's start under the next one's actions, as long as both last."""
    own = [recorded_actions(cache, episode, max_steps) for episode in episodes]
    other = [*own[1:], own[0]]
    return [
        Drive(episode, given[: min(len(mine), len(given))], noise_id)
        for noise_id, (episode, mine, given) in enumerate(zip(episodes, own, other, strict=True))
    ]


def _imagine_all(
    model: WorldModel, cache: CachedDataset, drives: list[Drive], sampling_steps: int
) -> list[tuple[list[NDArray[Any]], ...]]:
    """Of every drive T steps of the model's hand, of the hand in its frames, and the frames."""
    imagined: list[tuple[list[NDArray[Any]], ...]] = [([], [], []) for _ in drives]
    for frames in imagine(model, cache, drives, Sampler.of(model, sampling_steps)):
        seen = _hand_in(frames, model)
        parts: tuple[NDArray[Any], ...] = (frames.agent_pos, seen, frames.pixels)
        for row, drive in enumerate(frames.drives):
            for kept, part in zip(imagined[drive], parts, strict=True):
                kept.append(part[row])
    return imagined


@torch.inference_mode()
def _hand_in(frames: DrivenFrames, model: WorldModel) -> Float:
    """Proprioception `[N, P]` as the model's head reads it off imagined frames."""
    latents = model.encode(torch.from_numpy(frames.pixels), torch.from_numpy(frames.agent_pos))
    read: Float = model.read_state(latents[:, None]).agent_pos[:, 0].cpu().numpy()
    return read


def _gaps(
    imagined: list[NDArray[Any]],
    drive: Drive,
    cache: CachedDataset,
    simulate: Replay,
    columns: list[int],
) -> dict[str, NDArray[Any]]:
    """Distances in metres and mean squared pixel errors, each `[T]`."""
    path, seen_path, film = imagined
    simulated, shown = simulate(drive.episode, drive.actions)
    start = cache.rows(drive.episode).start + 1
    rows = slice(start, start + len(drive.actions))
    recorded, seen = np.asarray(cache.agent_pos[rows]), np.asarray(cache.pixels[rows])

    def distance(left: Float, right: Float) -> NDArray[Any]:
        return np.asarray(np.linalg.norm((left - right)[:, columns], axis=-1))

    def error(left: Pixels, right: Pixels) -> NDArray[Any]:
        gap = left.astype(np.float64) - right.astype(np.float64)
        return np.asarray(np.square(gap).mean(axis=(1, 2, 3, 4)))

    return {
        "followed": distance(path, simulated),
        "ignored": distance(path, recorded),
        "effect": distance(simulated, recorded),
        "seen": distance(seen_path, simulated),
        "seen_ignored": distance(seen_path, recorded),
        "followed_frames": error(film, shown),
        "ignored_frames": error(film, seen),
    }


@contextmanager
def simulator_replay(cache: CachedDataset) -> Iterator[Replay]:
    """Replay in the env that the data set names, from the stored initial states; closes it.

    Raises:
        DataError: the data set names no env.
    """
    with recorded_env(cache) as env:

        def replay(episode: int, actions: Float) -> tuple[Float, Pixels]:
            begin_again(env, cache, episode)
            path, film = [], []
            for action in actions:
                # Past the env's own end: what is asked is where the hand goes, not how it scores.
                observation = env.step(cache.spec.action.command(action))[0]
                path.append(np.asarray(observation["agent_pos"], np.float32))
                shown = stack_views(observation["pixels"], cache.spec.camera_names)
                film.append(np.stack([resize(view, *cache.pixels.shape[2:4]) for view in shown]))
            return np.stack(path), np.stack(film)

        yield replay
