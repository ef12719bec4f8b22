"""Finished episodes, each durable by itself, until they are assembled into one data set.

An episode is written under a temporary name and renamed, so a kill at any moment leaves only
whole episodes. Layout: `<root>/.staging/request.json` says what is being collected,
`<root>/.staging/episodes/000012/` holds `rows.parquet`, `meta.parquet` and `video_<view>.mp4`.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldsim.data.assemble import EpisodeSource
from worldsim.data.channels import IMAGES, renamed
from worldsim.data.disk import disk_errors
from worldsim.data.episode import Episode
from worldsim.data.remux import VideoSegment
from worldsim.data.rows import episode_rows, hold_actions, meta_table
from worldsim.data.video import VideoCodec, encode_video
from worldsim.errors import UsageError
from worldsim.files import atomic_path, read_json, write_json
from worldsim.specs import WorldSpec

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
            UsageError: something else is being collected here.
        """
        path = self.folder / "request.json"
        request = json.loads(json.dumps(request))  # tuples become lists, as in the file
        if path.exists():
            earlier = read_json(path)
            changed = sorted(
                key for key in {*earlier, *request} if earlier.get(key) != request.get(key)
            )
            if changed and not self.finished():
                with disk_errors(self.root):
                    write_json(path, request)
            elif changed:
                raise UsageError(
                    f"{self.root} holds an unfinished collection with another "
                    f"{', '.join(changed)}; finish it with its own settings, or collect elsewhere"
                )
        else:
            with disk_errors(self.root):
                write_json(path, request)
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
        target = self.path(index)
        if target.exists():
            return
        with disk_errors(self.root), atomic_path(target) as folder:
            folder.mkdir()
            for view, camera in enumerate(spec.camera_names):
                encode_video(folder / f"video_{view}.mp4", episode.pixels[camera], spec.fps, codec)
            pq.write_table(episode_rows(episode), folder / "rows.parquet")
            meta = meta_table(episode.meta).append_column("task", pa.array([episode.task]))
            pq.write_table(meta, folder / "meta.parquet")

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
                IMAGES + camera: VideoSegment(folder / f"video_{view}.mp4", 0, len(rows))
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


def check_episode(episode: Episode, spec: WorldSpec, where: str) -> None:
    """Compare the arrays of an episode with the spec.

    Raises:
        UsageError: a shape or dtype differs, or a value is not finite; says which.
    """
    rows = episode.length + 1
    wanted: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {
        "agent_pos": (episode.agent_pos, (rows, spec.agent_pos.dim)),
        "state": (episode.state, (rows, spec.state.dim)),
        "action": (episode.action, (rows - 1, spec.action.dim)),
        "action_achieved": (episode.action_achieved, (rows - 1, spec.action.dim)),
        "reward": (episode.reward, (rows,)),
        "success": (episode.success, (rows,)),
        "progress": (episode.progress, (rows,)),
    }
    if episode.length < 1:
        raise UsageError(f"{where}: no action was taken")
    for name, (array, shape) in wanted.items():
        if array.shape != shape:
            raise UsageError(f"{where}: {name} has shape {array.shape}, expected {shape}")
        if not np.isfinite(array).all():
            raise UsageError(f"{where}: {name} holds NaN or infinity")
    for camera in spec.cameras:
        frames = episode.pixels.get(camera.name)
        shape = (rows, camera.height, camera.width, 3)
        if frames is None or frames.shape != shape or frames.dtype != np.uint8:
            given = "nothing" if frames is None else f"{frames.dtype} {frames.shape}"
            raise UsageError(f"{where}: camera {camera.name!r} has {given}, expected uint8 {shape}")
