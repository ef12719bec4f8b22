"""Finished episodes, each durable by itself, until they are assembled into one data set.

An episode is written under a temporary name and renamed, so a kill at any moment leaves only
whole episodes. Layout: `<root>/.staging/request.json` says what is being collected,
`<root>/.staging/episodes/000012/` holds `rows.parquet`, `meta.parquet` and `video_<view>.mp4`.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldsim.data.assemble import EpisodeSource
from worldsim.data.channels import IMAGES, channels_of, renamed
from worldsim.data.episode import Episode
from worldsim.data.rows import episode_rows, hold_actions, meta_table
from worldsim.data.video import Pixels, VideoCodec
from worldsim.data.video_writer import VideoSegment, VideoWriter
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.files import atomic_path, disk_errors, read_json, write_json
from worldsim.spec import WorldSpec

STAGING = ".staging"


class Staging:
    """The staging area of a data set being written at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / STAGING
        self.episodes = self.folder / "episodes"

    def open(self, request: dict[str, Any]) -> None:
        """Start, or continue what an earlier run with the same `request` left.

        Raises:
            UsageError: something else is being collected here; names what differs.
        """
        path = self.folder / "request.json"
        request = json.loads(json.dumps(request))  # tuples become lists, as in the file
        if not path.exists() or not self.finished():
            write_json(path, request)
        elif changes := _changes(read_json(path), request):
            raise UsageError(
                f"{self.root} holds an unfinished collection with another {'; '.join(changes)}; "
                "finish it with the recorded settings, or collect into another folder"
            )
        self.episodes.mkdir(exist_ok=True)
        for leftover in self.episodes.glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def finished(self) -> list[int]:
        """Indices of the episodes that are whole."""
        if not self.episodes.exists():
            return []
        return sorted(int(entry.name) for entry in self.episodes.iterdir() if entry.name.isdigit())

    def path(self, index: int) -> Path:
        """Folder of episode `index`."""
        return self.episodes / f"{index:06d}"

    def add(self, index: int, episode: Episode, spec: WorldSpec, codec: VideoCodec) -> None:
        """Write episode `index` whole or not at all; an index already there stays as it is.

        Raises:
            UsageError: the episode does not fit `spec`.
            DiskFullError: no space left.
        """
        check_episode(episode, spec, f"episode {index}")
        for camera in spec.cameras:
            shape = (episode.length + 1, camera.height, camera.width, 3)
            pixels = episode.pixels.get(camera.name)
            check_pixels(pixels, shape, camera.name, f"episode {index}")
        if self.path(index).exists():
            return
        with self.begin(index, spec, codec) as staged:
            for frames in zip(*(episode.pixels[c] for c in spec.camera_names), strict=True):
                staged.write(dict(zip(spec.camera_names, frames, strict=True)))
            staged.finish(episode)

    @contextmanager
    def begin(self, index: int, spec: WorldSpec, codec: VideoCodec) -> "Iterator[StagedEpisode]":
        """Write episode `index` as it happens; it is there once the context ends without error.

        Raises:
            DiskFullError: no space left.
        """
        with disk_errors(self.root), atomic_path(self.path(index)) as folder, ExitStack() as open_:
            folder.mkdir()
            writers = {
                camera: open_.enter_context(VideoWriter(folder / video_name(view), spec.fps, codec))
                for view, camera in enumerate(spec.camera_names)
            }
            yield StagedEpisode(folder, spec, writers)

    def source(self, index: int, spec: WorldSpec, fold: int) -> EpisodeSource:
        """Episode `index`, ready for assembly into `fold`."""
        folder = self.path(index)
        rows = hold_actions(renamed(pq.read_table(folder / "rows.parquet")))
        meta = pq.read_table(folder / "meta.parquet")
        return EpisodeSource(
            rows=rows,
            tasks=(meta["task"][0].as_py(),),
            task_of_row=np.zeros(len(rows), np.int64),
            extras=meta.drop_columns(["task"]),
            videos={
                IMAGES + camera: VideoSegment(folder / video_name(view), 0, len(rows))
                for view, camera in enumerate(spec.camera_names)
            },
            fold=fold,
        )

    def clear(self) -> None:
        """Remove the staging area."""
        if self.folder.exists():
            doomed = self.folder.with_name(f".done.{os.getpid()}.tmp")
            os.replace(self.folder, doomed)  # never half a staging area under its own name
            shutil.rmtree(doomed, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class StagedEpisode:
    """An episode being written; made by `Staging.begin`."""

    folder: Path
    spec: WorldSpec
    writers: Mapping[str, VideoWriter]

    def write(self, frames: Mapping[str, Pixels]) -> None:
        """Append the frames of one observation, {camera: uint8 [H, W, 3]}.

        Raises:
            UsageError: a camera is missing, or its frame is not what the spec says.
        """
        for camera in self.spec.cameras:
            shape = (camera.height, camera.width, 3)
            frame = check_pixels(frames.get(camera.name), shape, camera.name, "frames")
            self.writers[camera.name].write(frame)

    def finish(self, episode: Episode) -> None:
        """Write everything but the frames, which `write` was given.

        Raises:
            UsageError: the episode does not fit the spec, or has other frames than observations.
        """
        check_episode(episode, self.spec, "recorded")
        counts = {writer.count for writer in self.writers.values()}
        if counts - {episode.length + 1}:
            raise UsageError(f"{sorted(counts)} frames for {episode.length + 1} observations")
        pq.write_table(episode_rows(episode, self.spec), self.folder / "rows.parquet")
        meta = meta_table(episode.meta).append_column("task", pa.array([episode.task]))
        pq.write_table(meta, self.folder / "meta.parquet")


def changed_settings(recorded: Any, asked: Any, key: str = "") -> list[str]:
    """What differs between two settings, nested mappings included, with both values."""
    if isinstance(recorded, Mapping) and isinstance(asked, Mapping):
        parts = ((name, f"{key}.{name}" if key else name) for name in sorted({*recorded, *asked}))
        return [
            change
            for name, path in parts
            for change in changed_settings(recorded.get(name), asked.get(name), path)
        ]
    if recorded == asked:
        return []
    return [f"{key} (recorded {json.dumps(recorded)}, asked {json.dumps(asked)})"]


def _changes(earlier: dict[str, Any], request: dict[str, Any]) -> list[str]:
    """What differs between two requests; settings first, since env and spec follow from them."""
    before, now = earlier.get("collection"), request["collection"]
    if before and now and (changes := changed_settings(before, now)):
        return changes
    spec = earlier.get("spec")
    same = {"spec": request["spec"]} if _same_world(spec, request["spec"]) else {}
    return changed_settings({**earlier, **same}, request)


def _same_world(earlier: Any, now: dict[str, Any]) -> bool:
    """Whether two specs are one but for carriers of cameras, which earlier ones do not say."""
    try:
        before, after = WorldSpec.from_json(earlier), WorldSpec.from_json(now)
    except SpecMismatchError:
        return False
    return before.agrees(after, "cameras") and replace(before, cameras=after.cameras) == after


def video_name(view: int) -> str:
    """File of a staged episode's camera."""
    return f"video_{view}.mp4"


def check_episode(episode: Episode, spec: WorldSpec, where: str) -> None:
    """Compare the arrays of an episode, frames aside, with the spec.

    Raises:
        UsageError: a shape or dtype differs, or a value is not finite; says which.
    """
    if episode.length < 1:
        raise UsageError(f"{where}: no action was taken")
    recorded = channels_of(spec)
    if strange := set(episode.extras) - {channel.name for channel, _ in recorded}:
        raise UsageError(
            f"{where}: {', '.join(sorted(strange))} of extras is nothing that this world records; "
            "say so in its spec"
        )
    for channel, shape in recorded:
        array = channel.of(episode)
        expected = (episode.length + (channel.per == "frame"), *shape)
        if array.shape != expected:
            raise UsageError(
                f"{where}: {channel.name} has shape {array.shape}, expected {expected}"
            )
        if not np.isfinite(array).all():
            raise UsageError(f"{where}: {channel.name} holds NaN or infinity")


def check_pixels(pixels: Pixels | None, shape: tuple[int, ...], camera: str, where: str) -> Pixels:
    """The given pixels, refused unless they are uint8 of `shape`."""
    if pixels is None or pixels.shape != shape or pixels.dtype != np.uint8:
        given = "nothing" if pixels is None else f"{pixels.dtype} {pixels.shape}"
        raise UsageError(f"{where}: camera {camera!r} has {given}, expected uint8 {shape}")
    return pixels
