"""Decoded cache: a data set as memory-mapped arrays, so that training never waits for video.

Legend: N rows (frames) of all episodes end to end, E episodes, V views, H W pixels.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache_writer import RIG_ARRAYS, RigArrays, write_cache
from worldsim.data.channels import channels_of, is_own
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import EpisodeMeta
from worldsim.data.layout import Progress, read_info
from worldsim.data.rows import episode_meta
from worldsim.data.selection import Selection
from worldsim.data.split import folds_by_index
from worldsim.data.statistics import FeatureStatistics, feature_statistics
from worldsim.data.video import Pixels
from worldsim.errors import DataError, UsageError
from worldsim.files import FileLock, atomic_path, disk_errors, is_disk_full, read_json
from worldsim.spec import WorldSpec

FORMAT = 2
"""Raised whenever the layout of the cache changes, so that older ones are rebuilt."""

FOREIGN = "frames by time, measured limits, angles that go on, actions by evidence"
"""What caches of sets that others recorded hold; raised likewise, for these alone."""

VARIABLE = "WORLDSIM_CACHE"
"""Environment variable that names a place for caches."""

BLACK = 12
"""Grey levels up to which a frame is black: video codecs leave some."""


@dataclass(frozen=True, eq=False)
class CachedDataset:
    """A data set in memory-mapped arrays; row t of an episode is observation t and action t.

    Attributes:
        root: the data set it was made from.
        folder: where the arrays lie.
        fingerprint: changes whenever the data set, the image size or the selection does.
        spec: the world, with the cached image sizes.
        pixels: uint8 `[N, V, H, W, 3]`.
        agent_pos: `[N, P]`.
        state: `[N, S]`.
        action: `[N, A]`; zero in each episode's last row.
        action_achieved: `[N, A]`.
        action_mask: `[N]` bool; False in each episode's last row.
        reward: `[N]`, at the row's own observation.
        success: `[N]` bool.
        progress: `[N]`.
        episode_start: `[E + 1]` first row of each episode, then N.
        folds: E folds, which say what is held out; see `worldsim.data.split`.
        metas: E descriptions.
        tasks: E instructions.
        rigs: calibration arrays.
        extras: {name: `[N, ...]`} of the optional channels that were recorded.
    """

    root: Path
    folder: Path
    fingerprint: str
    spec: WorldSpec
    pixels: Pixels
    agent_pos: NDArray[np.float32]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    action_achieved: NDArray[np.float32]
    action_mask: NDArray[np.bool_]
    reward: NDArray[np.float32]
    success: NDArray[np.bool_]
    progress: NDArray[np.float32]
    episode_start: NDArray[np.int64]
    folds: Sequence[int]
    metas: Sequence[EpisodeMeta]
    tasks: Sequence[str]
    rigs: RigArrays
    extras: Mapping[str, NDArray[Any]]

    @property
    def num_episodes(self) -> int:
        """E."""
        return len(self.episode_start) - 1

    @cached_property
    def views_seen(self) -> NDArray[np.bool_]:
        """`[E, V]`: False where a camera is missing, which means black in a whole episode.

        Merged sets pad the cameras that some of their sources lack with black frames.
        """
        seen = np.ones((self.num_episodes, len(self.spec.cameras)), bool)
        for episode in range(self.num_episodes):
            rows = self.rows(episode)
            dark = is_black(self.pixels[rows.start])
            for view in np.flatnonzero(dark):
                seen[episode, view] = not is_black(self.pixels[rows, view : view + 1]).all()
        return seen

    def rows(self, episode: int) -> slice:
        """Rows of an episode."""
        return slice(int(self.episode_start[episode]), int(self.episode_start[episode + 1]))

    def statistics(self, episodes: Sequence[int] | None = None) -> dict[str, FeatureStatistics]:
        """Exact statistics of `agent_pos`, `state` and `action` (real actions only).

        Args:
            episodes: which to count, all by default. Features of width 0 are left out.
        """
        chosen = range(self.num_episodes) if episodes is None else episodes
        rows = np.concatenate([np.arange(*self.rows(i).indices(len(self.pixels))) for i in chosen])
        acted = rows[self.action_mask[rows]]
        parts = {"agent_pos": self.agent_pos[rows], "state": self.state[rows]}
        parts["action"] = self.action[acted]
        return {name: feature_statistics(v) for name, v in parts.items() if v.size}


def build_cache(
    root: Path | str,
    image_size: int | tuple[int, int] | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
    selection: Selection | None = None,
) -> CachedDataset:
    """Open the cache of a data set, building it if it is absent or stale.

    Args:
        root: data set folder.
        image_size: side, or (height, width), that frames are resized to; None keeps their size,
            which must then be one for all cameras.
        folder: where caches live, see `cache_folder`.
        progress: called with (episodes done, episodes) while building.
        selection: which episodes, and which columns are what; each selection has its own cache.

    Raises:
        DataError: the data set is broken.
        UsageError: cameras differ in size and no `image_size` is given, the cache's folder cannot
            be written to, or `selection` names what is not there.
        DiskFullError: no space left; no half cache stays behind.
    """
    root = Path(root)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    chosen = selection or Selection()
    target = cache_folder(root, folder) / _name(size, chosen)
    fingerprint = _fingerprint(root, size, chosen)
    if (cache := _open_fresh(target, root, fingerprint)) is not None:
        return cache
    dataset = LeRobotDataset(root, chosen)  # what is none is refused before a folder is made
    with disk_errors(target.parent), _lock(target):
        # Another process may have built it while this one waited.
        if (cache := _open_fresh(target, root, fingerprint)) is not None:
            return cache
        _sweep(target)
        with atomic_path(target) as temporary:
            temporary.mkdir()
            write_cache(dataset, temporary, size, fingerprint, progress)
        return open_cache(target, root)


def cache_folder(root: Path, folder: Path | str | None = None) -> Path:
    """Where the caches of a data set lie.

    Args:
        root: data set folder.
        folder: place for the caches of any data sets; by default `WORLDSIM_CACHE`, or else
            `<root>/cache`.
    """
    place = folder or os.environ.get(VARIABLE)
    if not place:
        return root / "cache"
    whole = root.resolve()
    return Path(str(place)) / f"{whole.name}-{hashlib.sha256(str(whole).encode()).hexdigest()[:12]}"


def open_cache(folder: Path, root: Path) -> CachedDataset:
    """Map the arrays of a cache written by `build_cache`.

    Raises:
        DataError: it is incomplete.
    """
    note = read_json(folder / "cache.json")
    starts = _load(folder / "episode_start.npy")
    spec = WorldSpec.from_json(note["spec"])
    channels = [channel for channel, _ in channels_of(spec)]
    names = ["pixels", *(channel.name for channel in channels)]
    arrays = {name: _load(folder / f"{name}.npy", mapped=True) for name in names}
    odd = [name for name, array in arrays.items() if len(array) != starts[-1]]
    if odd or len(note["metas"]) != len(starts) - 1:
        raise DataError(f"{folder}: {', '.join(odd) or 'metas'} are not of {starts[-1]} rows")
    count = len(note["tasks"])
    extras = {channel.name: arrays.pop(channel.name) for channel in channels if channel.optional}
    rigs = RigArrays(*(_load(folder / f"rig_{name}.npy") for name in RIG_ARRAYS))
    return CachedDataset(
        root=root,
        folder=folder,
        fingerprint=note["fingerprint"],
        spec=spec,
        episode_start=starts,
        folds=note.get("folds") or folds_by_index(range(count)),  # older caches hold none
        metas=[episode_meta(extras, i, False) for i, extras in enumerate(note["metas"])],
        tasks=note["tasks"],
        rigs=rigs,
        extras=extras,
        **arrays,
    )


def is_black(frames: Pixels) -> NDArray[np.bool_]:
    """Whether frames `[..., H, W, 3]` show nothing but what a codec makes of black."""
    return np.asarray(frames.max(axis=(-3, -2, -1)) <= BLACK)


def _load(path: Path, mapped: bool = False) -> NDArray[Any]:
    """A stored array; what has no element cannot be mapped into memory, and is read."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None)
    except (OSError, ValueError, EOFError) as error:
        if mapped and isinstance(error, ValueError):
            return _load(path)
        raise DataError(f"cannot read {path}: {error}; is it truncated?") from error
    return array


def _name(size: tuple[int, int] | None, selection: Selection) -> str:
    """Folder of a cache, by image size and what was selected."""
    name = "native" if size is None else f"{size[0]}x{size[1]}"
    digest = hashlib.sha256(selection.key.encode()).hexdigest()[:12]
    return f"{name}-{digest}" if selection.key else name


def _fingerprint(root: Path, size: tuple[int, int] | None, selection: Selection) -> str:
    """Hash over names, sizes and times of all files of the data set, and over what is taken."""
    files = sorted(
        path for part in ("meta", "data", "videos") for path in (root / part).glob("**/*.*")
    )
    entries = [
        (str(path.relative_to(root)), (stat := path.stat()).st_size, stat.st_mtime_ns)
        for path in files
    ]
    foreign = [] if is_own(read_info(root)) else [FOREIGN]
    chosen = [selection.key] if selection.key else []
    taken = [FORMAT, size, entries, *foreign, *chosen]
    return hashlib.sha256(json.dumps(taken).encode()).hexdigest()


def _lock(target: Path) -> FileLock:
    """Make the folder of the cache `target` and lock out others who would build it.

    Raises:
        UsageError: nothing can be written there.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(target.with_name(f".{target.name}.lock"))
    except OSError as error:
        if is_disk_full(error, target.parent):
            raise
        raise UsageError(
            f"the decoded cache cannot be written to {target.parent} ({error.strerror}); "
            f"name a folder that can be written to, with cache=FOLDER or {VARIABLE}"
        ) from error


def _sweep(target: Path) -> None:
    """Remove what killed builds of `target` left behind; its lock is held."""
    for leftover in target.parent.glob(f".{target.name}.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def _open_fresh(folder: Path, root: Path, fingerprint: str) -> CachedDataset | None:
    """The cache in `folder`, None if it is absent, stale or damaged."""
    try:
        if read_json(folder / "cache.json")["fingerprint"] != fingerprint:
            return None
        return open_cache(folder, root)
    except (DataError, KeyError, TypeError, OSError):
        return None
