"""Clips: windows of consecutive frames, cut from a decoded cache.

Legend: T frames of a clip, B clips, V views, H W pixels, c h w latent, A action, P proprioception.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from worldsim.data.cache import CachedDataset
from worldsim.data.channels import channels_of
from worldsim.data.memory_sampler import MemorySamplerConfig, remembered_frames
from worldsim.data.split import Split, episodes_of
from worldsim.errors import UsageError


class ClipDataset(Dataset[dict[str, Tensor]]):
    """Every window of `length` frames that lies inside one episode.

    The first window of an episode starts at its first frame, the last ends at its last. Episodes
    shorter than a window give one clip that repeats their last frame, with `frame_mask` and
    `action_mask` False in the padding.

    Items (T leading): `pixels` uint8 `[T, V, H, W, 3]` or `latents` `[T, V, c, h, w]`,
    `agent_pos`, `state`, `action` `[T, A]` (row t leads from frame t to t+1), `action_mask` `[T]`,
    `frame_mask` `[T]`, `view_mask` `[T, V]` (False for a camera that an episode lacks),
    `success`, `progress`, `reward` `[T]`, `intrinsics` `[V, 3, 3]`, `extrinsics` `[V, 4, 4]`,
    `mounted` `[V]`, `rig_known` `[V]`, `episode`, `start` (frame in the episode), and where they
    were recorded `camera_pose` `[T, V, 4, 4]`, `depth` `[T, V, H, W]` in metres, `events` `[T, E]`.
    With a memory sampler, K earlier frames of the episode too: `memory_number` `[K]` in the
    episode, `memory_rows` `[K]` in the cache, `memory_frame_mask` `[K]`, and what the cache has of
    them, as `memory_latents`, `memory_state`.

    Args:
        cache: the frames.
        length: T.
        latents: `[N, V, c, h, w]`, returned instead of pixels if given.
        part: which episodes, see `worldsim.data.split`.
        stride: step between the starts of windows.
        episodes: these and no others; overrides `part`.
        memory: which earlier frames a clip remembers; None has none.

    Raises:
        UsageError: no episode is left, or a size is not positive or does not fit.
    """

    def __init__(
        self,
        cache: CachedDataset,
        length: int,
        latents: NDArray[np.floating] | Tensor | None = None,
        part: Split = "all",
        stride: int = 1,
        episodes: Sequence[int] | None = None,
        memory: MemorySamplerConfig | None = None,
    ) -> None:
        if length < 1 or stride < 1:
            raise UsageError(f"clips need length and stride of 1 or more, got {length}, {stride}")
        if latents is not None and len(latents) != len(cache.pixels):
            raise UsageError(f"{len(latents)} latents for {len(cache.pixels)} frames")
        self.cache, self.length = cache, length
        self.latents, self.memory = latents, memory
        chosen = episodes_of(cache.folds, part) if episodes is None else episodes
        self.episodes = np.asarray(chosen, np.int64)
        if not len(self.episodes):
            raise UsageError(f"{cache.root}: no {part} episode among {cache.num_episodes}")
        self._episode, self._start = self._windows(stride)
        self._views = torch.from_numpy(cache.views_seen)
        self._channels = [c for c, _ in channels_of(cache.spec) if c.in_clips]
        rigs = cache.rigs
        self._rig = {
            "intrinsics": torch.from_numpy(rigs.intrinsics),
            "extrinsics": torch.from_numpy(rigs.extrinsics),
            "mounted": torch.from_numpy(rigs.mounted),
            "rig_known": torch.from_numpy(rigs.known),
        }

    def _windows(self, stride: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Episode and start frame of every window; the last window of an episode is kept."""
        owners, starts = [], []
        for episode in self.episodes:
            rows = self.cache.rows(int(episode))
            last = max(rows.stop - rows.start - self.length, 0)
            begin = np.unique(np.append(np.arange(0, last + 1, stride), last))
            owners.append(np.full(len(begin), episode))
            starts.append(begin)
        return np.concatenate(owners), np.concatenate(starts)

    def __len__(self) -> int:
        return len(self._start)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return {name: value[0] for name, value in self.batch([index]).items()}

    def batch(
        self,
        indices: Sequence[int] | NDArray[np.integer] | Tensor,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Clips `indices` gathered at once: the items' tensors with a leading B.

        Much faster than collating single items: one gather per array.

        Args:
            indices: of clips.
            generator: of what the memory sampler draws; None draws alike every time.
        """
        chosen = np.asarray(indices, np.int64)
        episode, start = self._episode[chosen], self._start[chosen]
        first = self.cache.episode_start[episode] + start
        wanted = first[:, None] + np.arange(self.length)
        stop = self.cache.episode_start[episode + 1]
        rows = np.minimum(wanted, stop[:, None] - 1)
        present = torch.from_numpy(wanted == rows)
        owner = torch.from_numpy(episode)
        clips = self._frames(rows, present, owner)
        if self.memory is not None and self.memory.name != "none":
            draws = torch.Generator().manual_seed(0) if generator is None else generator
            frames, kept = remembered_frames(torch.from_numpy(start), self.memory, draws)
            past = self.cache.episode_start[episode][:, None] + frames.numpy()
            numbers = {"number": frames, "rows": torch.from_numpy(past)}
            remembered = {**numbers, **self._frames(past, kept, owner)}
            clips.update({f"memory_{name}": value for name, value in remembered.items()})
        clips.update({name: values[owner] for name, values in self._rig.items()})
        clips["episode"], clips["start"] = owner, torch.from_numpy(start)
        return clips

    def _frames(self, rows: NDArray[np.int64], present: Tensor, owner: Tensor) -> dict[str, Tensor]:
        """What there is of rows `[B, T]` of episodes `[B]`; `present` where they are no padding."""
        frames = {}
        if self.latents is None:
            frames["pixels"] = gather(self.cache.pixels, rows)
        else:
            frames["latents"] = gather(self.latents, rows)
        for channel in self._channels:
            frames[channel.name] = gather(channel.of(self.cache), rows)
        frames["action_mask"] = frames["action_mask"] & present
        frames["frame_mask"] = present
        frames["view_mask"] = present[..., None] & self._views[owner][:, None]
        return frames


def gather(source: NDArray[np.generic] | Tensor, rows: NDArray[np.int64]) -> Tensor:
    """`source[rows]` as a new tensor `[B, T, ...]`."""
    if isinstance(source, Tensor):
        return source[torch.from_numpy(rows)]
    # Plain ndarray: indexing through np.memmap costs a Python call per result.
    return torch.from_numpy(np.asarray(source).take(rows, axis=0))
