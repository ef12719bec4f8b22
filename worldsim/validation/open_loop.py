"""Open loop: the model imagines recorded episodes from their first frame under given actions.

Legend: N episodes, K horizons (steps from the first frame), V views, H W pixels, A action,
P proprioception, S state, E events.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.diffusion.schedule import Schedule
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.rollout.record import RolloutRecord
from worldsim.sampling.replay import recorded_extras, recorded_rig
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream

Float = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Drive:
    """A start and the actions to imagine from it.

    Attributes:
        episode: whose first frame to start from.
        actions: `[T, A]`.
        noise_id: names the noise; drives that share it are sampled with the same noise.
    """

    episode: int
    actions: Float
    noise_id: int


@dataclass(frozen=True, eq=False)
class DrivenFrames:
    """One imagined step of the drives that still run.

    Attributes:
        horizon: steps from the first frame, from 1.
        drives: their numbers `[n]`.
        pixels: uint8 `[n, V, H, W, 3]`.
        agent_pos: `[n, P]` where the model takes the hand to be.
        state: `[n, S]` where it takes the scene to be.
        events: `[n, E]` probability of each event of the world, as the model's head reads it off
            the step; None without such a head.
    """

    horizon: int
    drives: NDArray[np.int64]
    pixels: Pixels
    agent_pos: Float
    state: Float
    events: Float | None = None


def acting(cache: CachedDataset, episodes: Sequence[int]) -> list[int]:
    """Those of the episodes in which there is an action to imagine under."""
    lengths = np.diff(cache.episode_start)
    return [episode for episode in episodes if lengths[episode] > 1]


def recorded_actions(cache: CachedDataset, episode: int, most: int = 0) -> Float:
    """The actions `[T, A]` of an episode, the first `most` of them if that is not 0."""
    rows = cache.rows(episode)
    length = rows.stop - rows.start - 1
    count = min(length, most) if most else length
    return np.asarray(cache.action[rows.start : rows.start + count])


def actions_of_another(actions: Sequence[Float]) -> list[Float]:
    """Each episode gets the next one's actions, repeated from their start where too short.

    Raises:
        UsageError: there are fewer than two episodes to exchange actions between.
    """
    if len(actions) < 2:
        raise UsageError("shuffled actions need at least two episodes")
    shifted = [*actions[1:], actions[0]]
    return [
        np.take(other, np.arange(len(own)), axis=0, mode="wrap")
        for own, other in zip(actions, shifted, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class PairedDrives:
    """Episodes under their own actions and, if there are two, under exchanged ones.

    Attributes:
        drives: `samples` for each episode under its own, then one under the next one's actions;
            the number of a drive modulo that of the episodes is its episode's place.
        truthful: how many of them, the first, are under their own actions.
        horizons: length of the longest.
    """

    drives: list[Drive]
    truthful: int
    horizons: int


def paired_drives(
    cache: CachedDataset,
    episodes: Sequence[int],
    max_steps: int = 0,
    samples: int = 1,
    exchanged: int = 0,
) -> PairedDrives:
    """Drives of an open-loop comparison; the samples of an episode differ in their noise.

    Args:
        cache: decoded data set.
        episodes: which of it.
        max_steps: longest drive; 0 is whole episodes.
        samples: drives of each episode under its own actions.
        exchanged: how many of the episodes, the first, are also driven by another's actions; 0 is
            all of them. A single episode has no other to exchange with.

    Raises:
        UsageError: there is no episode.
    """
    if not episodes:
        raise UsageError("open loop needs an episode, and there is none")
    own = [recorded_actions(cache, episode, max_steps) for episode in episodes]
    others = actions_of_another(own)[: exchanged or None] if len(own) > 1 else []
    count = len(own)
    drives = [
        Drive(episode, actions, place + count * sample)
        for group, times in ((own, samples), (others, 1))
        for sample in range(times)
        for place, (episode, actions) in enumerate(zip(episodes[: len(group)], group, strict=True))
    ]
    return PairedDrives(drives, count * samples, max(len(actions) for actions in own))


def imagine(
    model: WorldModel,
    cache: CachedDataset,
    drives: Sequence[Drive],
    sampler: Sampler | None = None,
    seed: int = 0,
) -> Iterator[DrivenFrames]:
    """Imagine all drives as one batch; those that end drop out and cost nothing more.

    Args:
        model: a world model of the cache's world.
        cache: decoded data set.
        drives: starts and actions.
        sampler: of the stream; None is autoregressive, frame by frame.
        seed: of sampling noise.

    Raises:
        SpecMismatchError: model and data describe different worlds.
    """
    model.spec.require_compatible(cache.spec, "the model", f"data set {cache.root}")
    lengths = np.array([len(drive.actions) for drive in drives], dtype=np.int64)
    running = np.flatnonzero(lengths)
    if not len(running):
        return
    sampler = sampler or Sampler.default(model)
    stream = _begun(Stream.of(model, sampler), cache, [drives[int(i)] for i in running], seed)
    horizon = 0
    while len(running):
        chunk = stream.step()
        if chunk is None:
            continue
        for frame in range(chunk.latents.shape[1]):
            horizon += 1
            alive = np.flatnonzero(lengths[running] >= horizon)
            yield DrivenFrames(
                horizon,
                running[alive],
                stream.show(
                    chunk.latents[alive, frame], alive.tolist(), chunk.agent_pos[alive, frame]
                ),
                chunk.agent_pos[alive, frame].cpu().numpy(),
                chunk.state[alive, frame].float().cpu().numpy(),
                None if chunk.events is None else chunk.events[alive, frame].cpu().numpy(),
            )
            if horizon == lengths[running].max():
                return
        alive = np.flatnonzero(lengths[running] > horizon)
        if len(alive) < len(running):
            stream.select(alive.tolist())
            running = running[alive]


def _begun(stream: Stream, cache: CachedDataset, drives: Sequence[Drive], seed: int) -> Stream:
    """`stream` at the first frames of `drives`, with all of their actions to come."""
    episodes = np.array([drive.episode for drive in drives])
    rows = cache.episode_start[episodes]
    stream.reset(
        np.asarray(cache.pixels[rows]),
        np.asarray(cache.agent_pos[rows]),
        recorded_rig(cache.rigs, episodes),
        env_ids=[drive.noise_id for drive in drives],
        seed=seed,
        state=np.asarray(cache.state[rows]),
        views=cache.views_seen[episodes],
        extras=recorded_extras(cache, rows, stream.spec),
    )
    filler = stream.model.spec.action.nearest_to_zero
    stream.push(_padded([drive.actions for drive in drives], stream.schedule, filler))
    return stream


def _padded(actions: Sequence[Float], schedule: Schedule, filler: Float) -> Float:
    """Actions `[N, T, A]` of one length, and so many `filler` `[A]` more that the schedule never
    runs dry."""
    longest = max(len(each) for each in actions)
    spare = (schedule.most_in_flight + schedule.most_emitted) * schedule.chunk
    padded = np.tile(filler, (len(actions), longest + spare, 1)).astype(np.float32)
    for row, each in enumerate(actions):
        padded[row, : len(each)] = each
    return padded


def open_loop_records(
    model: WorldModel,
    cache: CachedDataset,
    episodes: Sequence[int],
    sampler: Sampler | None = None,
    max_steps: int = 0,
    called: str = "episode",
) -> list[RolloutRecord]:
    """Truth and imagination of `episodes` from their first frames under their own actions.

    `called` is what a title calls them.
    """
    drives = [
        Drive(episode, recorded_actions(cache, episode, max_steps), noise_id)
        for noise_id, episode in enumerate(episodes)
    ]
    films = [[np.asarray(cache.pixels[cache.rows(drive.episode).start])] for drive in drives]
    for frames in imagine(model, cache, drives, sampler):
        for drive, pixels in zip(frames.drives, frames.pixels, strict=True):
            films[drive].append(pixels)
    records = []
    for drive, film in zip(drives, films, strict=True):
        start = cache.rows(drive.episode).start
        rows = slice(start, start + len(film))
        records.append(
            RolloutRecord(
                cameras=cache.spec.camera_names,
                fps=cache.spec.fps,
                title=f"{called} {drive.episode}, open loop",
                truth=np.asarray(cache.pixels[rows]),
                imagined=np.stack(film),
                actions=drive.actions,
                truth_success=np.asarray(cache.success[rows]).astype(bool),
            )
        )
    return records
