"""Films of open-loop imagination: the simulator above, imagination below."""

from collections.abc import Sequence

import numpy as np

from worldsim.data.cache import CachedDataset
from worldsim.models.world_model import WorldModel
from worldsim.rollout.record import RolloutRecord
from worldsim.sampling.sampler import Sampler
from worldsim.validation.open_loop import Drive, imagine, recorded_actions


def open_loop_records(
    model: WorldModel,
    cache: CachedDataset,
    episodes: Sequence[int],
    sampler: Sampler | None = None,
    max_steps: int = 0,
) -> list[RolloutRecord]:
    """Truth and imagination of `episodes` from their first frames under their own actions."""
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
                title=f"episode {drive.episode}, open loop",
                truth=np.asarray(cache.pixels[rows]),
                imagined=np.stack(film),
                actions=drive.actions,
                truth_success=np.asarray(cache.success[rows]).astype(bool),
            )
        )
    return records
