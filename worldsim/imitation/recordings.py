"""Which rows of a cache a policy network learns from, and frames made less clean.

Augmented, it also reads frames that a model imagined.

Legend: N rows of the cache, M chosen rows, K actions of a chunk, A action, V view, H, W pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from worldsim.config.limits import Share, Weight, Whole
from worldsim.config.values import Checked
from worldsim.data.cache import CachedDataset
from worldsim.data.episode import EpisodeMeta
from worldsim.errors import DataError


def episode_weights(
    metas: Sequence[EpisodeMeta], weights: Mapping[str, float], only_successes: bool
) -> NDArray[np.float32]:
    """`[E]` weight of each episode; 0 leaves it out.

    Args:
        metas: the episodes.
        weights: {pattern of recording policies' names, as in a shell: weight}; the first pattern
            that matches counts, and none means 0. An empty map gives every episode weight 1.
        only_successes: leave out episodes that never solved the task.

    Raises:
        DataError: nothing is left; the message lists the policies in the data.
    """

    def weight(meta: EpisodeMeta) -> float:
        if only_successes and not meta.success:
            return 0.0
        matching = (value for pattern, value in weights.items() if fnmatch(meta.policy, pattern))
        return next(matching, 0.0 if weights else 1.0)

    result = np.asarray([weight(meta) for meta in metas], np.float32)
    if not (result > 0).any():
        raise DataError(
            f"no episode to learn from: policies {sorted({meta.policy for meta in metas})} of "
            f"{len(metas)} episodes, looked for {dict(weights)}"
            + (" that succeeded" if only_successes else "")
        )
    return result


def chosen_rows(
    episode_start: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows `[M]` of the episodes of positive weight, and the episode `[M]` of each."""
    lengths = np.diff(episode_start)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.flatnonzero(weights[episode] > 0)
    return rows, episode[rows]


def chunk_targets(
    recordings: CachedDataset, rows: NDArray[np.int64], episode: NDArray[np.int64], chunk: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows `[M, K]` whose actions follow each row, and whether each exists in its episode."""
    ahead = rows[:, None] + np.arange(chunk)
    end = np.asarray(recordings.episode_start)[episode + 1][:, None]
    inside = ahead < end
    clipped = np.minimum(ahead, end - 1)
    return clipped, inside & np.asarray(recordings.action_mask, bool)[clipped]


@dataclass(frozen=True)
class Augmentation(Checked):
    """Strengths of the random changes; 0 switches one off.

    Attributes:
        shift: greatest shift in pixels, drawn per view (random crop of the edge-padded frame:
            Yarats et al. 2021, "Image augmentation is all you need", section 3.1).
        gain: greatest relative change of a colour channel's contrast.
        bias: greatest shift of a colour channel, in pixel values of [-1, 1].
        blur: share of the rows mixed with their 3x3 mean, as autoencoders blur.
    """

    shift: Whole = 1
    gain: Weight = 0.1
    bias: Weight = 0.06
    blur: Share = 0.5


def augment(pixels: Tensor, config: Augmentation, generator: torch.Generator) -> Tensor:
    """uint8 `[N, V, H, W, 3]` to changed float frames `[N, V, 3, H, W]` around [-1, 1]."""
    rows, views = pixels.shape[:2]
    images = _shifted(pixels.flatten(0, 1), config.shift, generator)
    frames = rearrange(images, "(n v) h w c -> n v c h w", n=rows).float() / 127.5 - 1.0

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    frames = frames * (1 + config.gain * uniform(rows, views, 3, 1, 1))
    frames = frames + config.bias * uniform(rows, views, 3, 1, 1)
    chosen = torch.rand((rows, 1, 1, 1, 1), generator=generator) < config.blur
    amount = torch.rand((rows, 1, 1, 1, 1), generator=generator) * chosen
    mean = F.avg_pool2d(frames.flatten(0, 1), 3, stride=1, padding=1, count_include_pad=False)
    return frames.lerp(mean.view_as(frames), amount)


def _shifted(images: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    """Each of the uint8 images `[M, H, W, 3]` moved by up to `limit` pixels, edges repeated."""
    if limit == 0:
        return images
    count, height, width, _ = images.shape
    moves = torch.randint(-limit, limit + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + moves[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + moves[1]).clamp(0, width - 1)
    each = torch.arange(count)[:, None, None]
    return images[each, rows[:, :, None], columns[:, None, :]]
