"""Frames of recorded episodes as a world model shows them, with the labels of the truth.

Either only encoded and decoded, the best that imagination can look, or imagined again along the
recording (`worldsim.sampling.replay`).

Legend: N rows, V view, H, W pixels, E episodes, S state.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.models.world_model import WorldModel
from worldsim.sampling.replay import Rows, replay_recorded


@dataclass(frozen=True, eq=False)
class FrameBuffer:
    """Altered versions of some rows of a cache.

    Attributes:
        rows: `[N]` rows of the cache, whose labels the frames keep.
        pixels: uint8 `[N, V, H, W, 3]`.
    """

    rows: Rows
    pixels: NDArray[np.uint8]


def reconstruct(
    model: WorldModel, data: CachedDataset, rows: Rows, batch_size: int = 64
) -> FrameBuffer:
    """Frames encoded and decoded by the model's tokenizer: the best that imagination can look."""
    rows = np.sort(rows)
    parts: list[NDArray[np.uint8]] = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            pixels = torch.from_numpy(np.asarray(data.pixels[rows[start : start + batch_size]]))
            decoded = model.decode(model.encode(pixels[:, None]))
            parts.append(decoded[:, 0].cpu().numpy())
    return FrameBuffer(rows, np.concatenate(parts))


def imagine_again(
    model: WorldModel, recorded: CachedDataset, rows: Rows, steps: int, batch_size: int = 64
) -> FrameBuffer:
    """Frames imagined from `steps` observations before each of `rows`, along the recording.

    Every frame on the way is kept too. Rows of episodes that are too short are left out.

    Args:
        model: the world model.
        recorded: the data set.
        rows: those of its rows to arrive at.
        steps: how far to imagine, at least 1.
        batch_size: streams side by side.
    """
    bounds = np.asarray(recorded.episode_start)
    episodes = np.searchsorted(bounds, rows, side="right") - 1
    long_enough = bounds[episodes + 1] - bounds[episodes] > steps
    rows, episodes = rows[long_enough], episodes[long_enough]
    if not len(rows):
        return FrameBuffer(rows, np.asarray(recorded.pixels[:0]))
    begin = np.maximum(rows - steps, bounds[episodes])
    parts = [
        _imagine(model, recorded, begin[part], steps)
        for part in (slice(i, i + batch_size) for i in range(0, len(rows), batch_size))
    ]
    return join_buffers(parts)


def _imagine(model: WorldModel, recorded: CachedDataset, begin: Rows, steps: int) -> FrameBuffer:
    seen = [
        (rows, stream.pixels()) for rows, stream in replay_recorded(model, recorded, begin, steps)
    ]
    rows, frames = zip(*seen, strict=True)
    return FrameBuffer(np.concatenate(rows), np.concatenate(frames))


def join_buffers(buffers: Sequence[FrameBuffer]) -> FrameBuffer:
    """All frames of the given banks, of which there is at least one."""
    return FrameBuffer(
        np.concatenate([buffer.rows for buffer in buffers]),
        np.concatenate([buffer.pixels for buffer in buffers]),
    )
