"""LeRobot data sets as other recorders write them, made without worldsim's writer.

The grey level of every frame tells its camera, episode and row. A set is described first, so that
a test can spoil any table or frame of it, and then written.
"""

import io
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[np.uint8]
TOP = "observation.images.top"
LEVELS, STEP = 28, 8


def code_of(camera: int, episode: int, row: int) -> int:
    """What a frame's grey level tells."""
    return (row + 7 * episode + 15 * camera) % LEVELS


def picture(code: int, size: tuple[int, int]) -> Frames:
    """Grey of a level, with a red corner for an edge."""
    frame = np.full((*size, 3), 16 + STEP * code, np.uint8)
    frame[: size[0] // 4, : size[1] // 4] = (200, 30, 30)
    return frame


def codes(frames: Frames) -> list[int]:
    """The codes of frames `[N, H, W, 3]`, whatever a video codec made of them."""
    levels = np.median(frames[:, frames.shape[1] // 2 :].astype(float), axis=(1, 2, 3))
    return [round((level - 16) / STEP) for level in levels]


class ForeignSet:
    """A data set to be spoilt and written.

    Attributes:
        info: info.json.
        rows: one mapping of column to values an episode.
        episodes: rows of the episodes table.
        films: camera to frames `[T, H, W, 3]` of each episode, or stored images.
    """

    def __init__(
        self,
        version: str = "v3.0",
        cameras: Sequence[str] = (TOP,),
        lengths: Sequence[int] = (6, 5, 7),
        fps: float = 10,
        kind: str = "video",
        size: tuple[int, int] = (32, 48),
        state: bool = True,
    ) -> None:
        self.version, self.cameras, self.kind, self.fps = version, list(cameras), kind, fps
        self.lengths = list(lengths)
        self.film_rate: float = fps
        self.codec, self.pixels = "libx264", "yuv420p"
        self.tasks = ["push it"]
        rng = np.random.default_rng(0)
        self.rows = [self._rows(rng, episode, state) for episode in range(len(self.lengths))]
        self.films: dict[str, list[Any]] = {
            camera: [
                np.stack([picture(code_of(c, e, row), size) for row in range(length)])
                for e, length in enumerate(self.lengths)
            ]
            for c, camera in enumerate(self.cameras)
        }
        self.info = self._info(size, state)
        self.episodes = [self._episode(episode) for episode in range(len(self.lengths))]

    @property
    def starts(self) -> list[int]:
        """Global index of each episode's first row."""
        return [sum(self.lengths[:episode]) for episode in range(len(self.lengths))]

    def _rows(self, rng: np.random.Generator, episode: int, state: bool) -> dict[str, Any]:
        count = self.lengths[episode]
        action = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
        rows = {
            "action": action.tolist(),
            "next.success": [row >= count - 2 and episode % 2 == 0 for row in range(count)],
            "timestamp": (np.arange(count) / self.fps).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, episode),
            "index": np.arange(count) + self.starts[episode],
            "task_index": np.zeros(count, np.int64),
        }
        return rows | ({"observation.state": np.cumsum(action, axis=0).tolist()} if state else {})

    def _info(self, size: tuple[int, int], state: bool) -> dict[str, Any]:
        shapes = {
            "action": ("float32", 3),
            "next.success": ("bool", 1),
            "timestamp": ("float32", 1),
        }
        shapes |= {"observation.state": ("float32", 3)} if state else {}
        counters = ("frame_index", "episode_index", "index", "task_index")
        shapes |= {name: ("int64", 1) for name in counters}
        features: dict[str, Any] = {
            camera: {
                "dtype": self.kind,
                "shape": [*size, 3],
                "names": ["height", "width", "channel"],
            }
            for camera in self.cameras
        }
        for name, (kind, width) in shapes.items():
            features[name] = {"dtype": kind, "shape": [width], "names": None}
        third = self.version == "v3.0"
        place = "chunk-{chunk_index:03d}/file-{file_index:03d}"
        own = "episode_{episode_index:06d}"
        return {
            "codebase_version": self.version,
            "robot_type": "so101",
            "fps": self.fps,
            "chunks_size": 1000,
            "total_episodes": len(self.lengths),
            "total_frames": sum(self.lengths),
            "total_tasks": 1,
            "features": features,
            "data_path": f"data/{place}.parquet"
            if third
            else "data/chunk-{episode_chunk:03d}/" + own + ".parquet",
            "video_path": "videos/{video_key}/" + place + ".mp4"
            if third
            else "videos/chunk-{episode_chunk:03d}/{video_key}/" + own + ".mp4",
        }

    def _episode(self, episode: int) -> dict[str, Any]:
        start, length = self.starts[episode], self.lengths[episode]
        row: dict[str, Any] = {"episode_index": episode, "tasks": self.tasks, "length": length}
        if self.version != "v3.0":
            return row
        ranges = {"dataset_from_index": start, "dataset_to_index": start + length}
        row |= ranges | {"data/chunk_index": 0, "data/file_index": 0}
        for camera in self.cameras if self.kind == "video" else ():
            times = (start / self.fps, (start + length) / self.fps)
            slot: dict[str, Any] = {"chunk_index": 0, "file_index": 0}
            slot |= {"from_timestamp": times[0], "to_timestamp": times[1]}
            row |= {f"videos/{camera}/{name}": value for name, value in slot.items()}
        return row

    def write(self, root: Path) -> Path:
        """Write everything below `root`, which is returned."""
        third = self.version == "v3.0"
        tables = [pa.table(self._with_images(e, rows)) for e, rows in enumerate(self.rows)]
        if third:
            _parquet(root / "data/chunk-000/file-000.parquet", pa.concat_tables(tables))
            table = pa.Table.from_pylist(self.episodes)
            _parquet(root / "meta/episodes/chunk-000/file-000.parquet", table)
            tasks = pa.table({"task_index": range(len(self.tasks)), "task": self.tasks})
            _parquet(root / "meta/tasks.parquet", tasks)
        else:
            for episode, table in enumerate(tables):
                _parquet(root / f"data/chunk-000/episode_{episode:06d}.parquet", table)
            _lines(root / "meta/episodes.jsonl", self.episodes)
            described = [{"task_index": i, "task": text} for i, text in enumerate(self.tasks)]
            _lines(root / "meta/tasks.jsonl", described)
        for camera in self.cameras if self.kind == "video" else ():
            films, folder = self.films[camera], root / "videos"
            if third:
                path = folder / camera / "chunk-000/file-000.mp4"
                write_film(path, np.concatenate(films), self.film_rate, self.codec, self.pixels)
            for episode, film in enumerate([] if third else films):
                path = folder / "chunk-000" / camera / f"episode_{episode:06d}.mp4"
                write_film(path, film, self.film_rate, self.codec, self.pixels)
        (root / "meta/info.json").write_text(json.dumps(self.info))
        return root

    def _with_images(self, episode: int, rows: dict[str, Any]) -> dict[str, Any]:
        if self.kind == "video":
            return rows
        images = {
            camera: [
                {"bytes": each if isinstance(each, bytes) else png(each), "path": None}
                for each in films[episode]
            ]
            for camera, films in self.films.items()
        }
        return rows | images


def png(frame: NDArray[Any]) -> bytes:
    """An image as bytes; 16-bit arrays `[H, W]` stay of 16 bits."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


def write_film(
    path: Path, frames: NDArray[Any], fps: float, codec: str = "libx264", pixels: str = "yuv420p"
) -> None:
    """Encode as other recorders do, with few key frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"g": "10", "crf": "10"} if codec != "ffv1" else {}
    with av.open(str(path), "w") as container:
        rate = Fraction(fps).limit_denominator(100_000)
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        form = "rgb24" if frames.ndim == 4 else "gray16le"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=form)))
        container.mux(stream.encode())


def _parquet(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
