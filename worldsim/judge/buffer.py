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

    def where(self, mask: NDArray[np.bool_]) -> "FrameBuffer":
        """Those in `mask` `[N]`."""
        return FrameBuffer(self.rows[mask], self.pixels[mask])

    def find(self, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Places `[N]` of `rows` `[N]` in a buffer whose rows rise, and which of them are there."""
        place = np.searchsorted(self.rows, rows)
        there = place < len(self.rows)
        there[there] = self.rows[place[there]] == rows[there]
        return place, there


def reconstruct(
    model: WorldModel, data: CachedDataset, rows: Rows, batch_size: int = 64
) -> FrameBuffer:
    """Frames encoded and decoded by the model's tokenizer: the best that imagination can look."""
    rows = np.sort(rows)
    parts: list[NDArray[np.uint8]] = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            pixels = torch.from_numpy(np.asarray(data.pixels[part]))[:, None]
            agent = torch.from_numpy(np.asarray(data.agent_pos[part]))[:, None]
            decoded = model.decode(model.encode(pixels, agent), state=agent)
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


def imagine_episodes(
    model: WorldModel,
    recorded: CachedDataset,
    episodes: Sequence[int],
    guided: bool,
    batch_size: int = 64,
) -> FrameBuffer:
    """All frames of recorded episodes, imagined from their first ones under their actions.

    Args:
        model: the world model.
        recorded: the data set.
        episodes: their numbers.
        guided: see `replay_recorded`.
        batch_size: streams side by side.

    Returns:
        The frames, none of which is a first one, by rising row.
    """
    spans = [recorded.rows(episode).indices(len(recorded.pixels))[:2] for episode in episodes]
    bounds = np.array([span for span in spans if span[1] - span[0] > 1], np.int64).reshape(-1, 2)
    bounds = bounds[np.argsort(bounds[:, 0] - bounds[:, 1], kind="stable")]
    rows, frames = [np.zeros(0, np.int64)], [np.asarray(recorded.pixels[:0])]
    for begin, end in (bounds[i : i + batch_size].T for i in range(0, len(bounds), batch_size)):
        replay = replay_recorded(model, recorded, begin, end - begin - 1, guided)
        for reached, stream in replay:
            rows.append(reached)
            frames.append(stream.pixels())
    whole = np.concatenate(rows)
    order = np.argsort(whole)
    return FrameBuffer(whole[order], np.concatenate(frames)[order])


SQUARES = 8
"""Frames are compared in so many squares a side: a small thing fills one, and hardly moves the mean
of a frame."""
LEAST_ERROR = 10.0
"""Grey levels that a tokenizer is taken to miss at least, as one of latents at an eighth of the
side does: the finer it shows a frame, the less its error tells how far one may stray unharmed."""


def strayed(
    model: WorldModel, recorded: CachedDataset, buffer: FrameBuffer, limit: float
) -> NDArray[np.bool_]:
    """Which imagined frames `[N]` no longer show what their row records, so that its labels lie.

    The distance of two frames is that of the square where they differ most, over the views whose
    cameras stand still, where there are any: one that rides sees a millimetre as many pixels, so
    its view differs long before things are elsewhere. It is measured in distances of the row's
    frame as the tokenizer alone shows it.

    Args:
        model: the world model that imagined.
        recorded: the data set.
        buffer: imagined frames.
        limit: distance beyond which a frame strayed.
    """
    rows, place = np.unique(buffer.rows, return_inverse=True)
    shown = reconstruct(model, recorded, rows).pixels
    found = np.zeros(len(buffer.rows), bool)
    still = [view for view, each in enumerate(model.spec.cameras) if each.carrier is None]
    views = still or list(range(len(model.spec.cameras)))
    for row, frame in enumerate(shown):
        imagined = np.flatnonzero(place == row)
        truth = np.asarray(recorded.pixels[rows[row]])[views]
        scale = max(float(_distance(frame[None, views], truth)[0]), LEAST_ERROR)
        found[imagined] = _distance(buffer.pixels[imagined][:, views], truth) > limit * scale
    return found


def faithful(
    model: WorldModel, recorded: CachedDataset, buffer: FrameBuffer, limit: float
) -> tuple[FrameBuffer, float | None]:
    """The imagined frames that did not stray, and the share of those that did, None of none.

    Args are those of `strayed`.
    """
    if not len(buffer.rows):
        return buffer, None
    lost = strayed(model, recorded, buffer, limit)
    return buffer.where(~lost), float(lost.mean())


def _distance(frames: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey levels `[n]` by which `[n, V, H, W, 3]` miss `[V, H, W, 3]` in their worst square."""
    height, width = truth.shape[1:3]
    high, wide = max(height // SQUARES, 1), max(width // SQUARES, 1)
    rows, columns = height // high, width // wide
    gap = np.abs(frames.astype(np.float32) - truth).mean(-1)[:, :, : rows * high, : columns * wide]
    squares = gap.reshape(len(frames), len(truth), rows, high, columns, wide).mean((3, 5))
    return np.asarray(squares.max((1, 2, 3)), np.float32)


def join_buffers(buffers: Sequence[FrameBuffer]) -> FrameBuffer:
    """All frames of the given banks, of which there is at least one."""
    return FrameBuffer(
        np.concatenate([buffer.rows for buffer in buffers]),
        np.concatenate([buffer.pixels for buffer in buffers]),
    )
