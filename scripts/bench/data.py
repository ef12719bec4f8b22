"""Training clips a second from the decoded cache, against other ways to store the same frames.

One collection of TabletopPush is stored as MP4 (the data set itself), decoded cache, HDF5 with lzf
and memory-mapped Arrow with JPEG frames. Each reader delivers the same random clips, as batches
`[B, T, V, H, W, 3]` uint8; rounds alternate between the readers, and medians are compared.

    python scripts/bench/data.py [--episodes 60] [--length 16] [--batch 16] [--rounds 5]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.collection.behaviours import Behaviour
from worldsim.collection.collect import collect
from worldsim.collection.recorder import CollectionConfig
from worldsim.config.compose import build, compose_config
from worldsim.data.cache import CachedDataset, build_cache
from worldsim.data.clips import ClipDataset
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.video import VideoFile

Reader = Callable[[NDArray[np.int64]], Any]
"""From first rows `[B]` of clips to their pixels."""


def main() -> None:
    """Measure, print, and end with one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--length", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        readers, sizes, clips = prepare(Path(folder), options.episodes, options.length)
        rates = measure(readers, clips, options.batch, options.rounds)
    for name, rate in rates.items():
        print(f"{name:<12} {rate:9.0f} clips/s  {sizes[name] / 1e6:8.1f} MB")
    cache = rates["cache"]
    for name in ("HDF5 lzf", "Arrow JPEG"):
        print(f"cache / {name}: {cache / rates[name]:.1f}")
    line = {
        "name": f"training clips of {options.length} frames, three 64x64 views",
        "value": round(cache, 1),
        "unit": "clips/s",
        "ratio": round(cache / rates["MP4"], 1),
        "against": f"decoding the MP4s ({rates['MP4']:.0f} clips/s)",
        "other_ratios": {
            name: round(cache / rates[name], 2) for name in ("HDF5 lzf", "Arrow JPEG")
        },
    }
    print(json.dumps(line))


def prepare(
    folder: Path, episodes: int, length: int
) -> tuple[dict[str, Reader], dict[str, int], ClipDataset]:
    """Collect, write every format, and return readers and sizes in bytes."""
    mixture = compose_config("collect", ["out=unused"]).mixtures.scripted
    behaviours = {str(name): build(Behaviour, node) for name, node in mixture.items()}
    config = CollectionConfig("worldsim/TabletopPush-v0", {"image_size": 64}, behaviours, episodes)
    dataset = collect(config, folder / "set")
    cache = build_cache(folder / "set")
    clips = ClipDataset(cache, length)
    starts = clips.batch(np.arange(len(clips)))
    first = cache.episode_start[starts["episode"].numpy()] + starts["start"].numpy()
    by_row = {int(row): clip for clip, row in enumerate(first)}
    readers = {
        "cache": lambda rows: clips.batch([by_row[int(row)] for row in rows]),
        "MP4": mp4_reader(dataset, cache, length),
        "HDF5 lzf": hdf5_reader(cache, folder / "frames.h5", length),
        "Arrow JPEG": arrow_reader(cache, folder / "frames.arrow", length),
    }
    sizes = {
        "cache": cache.pixels.nbytes,
        "MP4": sum(path.stat().st_size for path in (folder / "set/videos").rglob("*.mp4")),
        "HDF5 lzf": (folder / "frames.h5").stat().st_size,
        "Arrow JPEG": (folder / "frames.arrow").stat().st_size,
    }
    check_equal(readers, cache, first[:: max(len(first) // 5, 1)])
    return readers, sizes, clips


def mp4_reader(dataset: LeRobotDataset, cache: CachedDataset, length: int) -> Reader:
    """Seek and decode; files stay open and share one reformatter each."""
    files: dict[Path, VideoFile] = {}

    def read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        batch = []
        for row in rows:
            episode = int(np.searchsorted(cache.episode_start, row, "right")) - 1
            offset = int(row - cache.episode_start[episode])
            views = []
            for film in dataset.record(episode).videos.values():
                if film.path not in files:
                    files[film.path] = VideoFile(film.path)
                first = round(film.start * dataset.info["fps"]) + offset
                views.append(files[film.path].read(first, length))
            batch.append(np.stack(views, axis=1))
        return np.stack(batch)

    return read


def hdf5_reader(cache: CachedDataset, path: Path, length: int) -> Reader:
    """One chunk a frame, compressed with lzf, as stable-worldmodel's HDF5 files."""
    with h5py.File(path, "w") as file:
        chunk = (1, *cache.pixels.shape[1:])
        file.create_dataset("pixels", data=cache.pixels, chunks=chunk, compression="lzf")
    pixels = h5py.File(path, "r")["pixels"]
    return lambda rows: np.stack([pixels[row : row + length] for row in rows])


def arrow_reader(cache: CachedDataset, path: Path, length: int) -> Reader:
    """One JPEG (quality 95) a frame and view in a memory-mapped Arrow file."""
    views = cache.pixels.shape[1]
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    encoded = [
        [cv2.imencode(".jpg", frame[view], quality)[1].tobytes() for frame in cache.pixels]
        for view in range(views)
    ]
    table = pa.table({str(view): encoded[view] for view in range(views)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    stored = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    columns = [stored[str(view)].combine_chunks() for view in range(views)]

    def image(column: Any, row: int) -> NDArray[Any]:
        buffer = np.frombuffer(column[row].as_buffer(), np.uint8)
        return np.asarray(cv2.imdecode(buffer, cv2.IMREAD_COLOR_BGR))

    def clip(row: int) -> NDArray[Any]:
        frames = [[image(c, row + t) for c in columns] for t in range(length)]
        return np.asarray(frames)

    return lambda rows: np.stack([clip(int(row)) for row in rows])


def check_equal(readers: dict[str, Reader], cache: CachedDataset, rows: NDArray[np.int64]) -> None:
    """All readers must deliver the same frames, JPEG up to its loss."""
    truth = readers["cache"](rows)["pixels"].numpy().astype(int)
    for name in ("MP4", "HDF5 lzf", "Arrow JPEG"):
        error = np.abs(readers[name](rows) - truth).mean()
        limit = 4.0 if name == "Arrow JPEG" else 0.0
        if error > limit:
            raise SystemExit(f"{name} delivers other frames: {error:.2f} grey levels off")


def measure(
    readers: dict[str, Reader], clips: ClipDataset, batch: int, rounds: int, seconds: float = 0.7
) -> dict[str, float]:
    """Median clips a second over rounds in which the readers take turns."""
    rng = np.random.default_rng(0)
    where = clips.batch(np.arange(len(clips)))
    first = clips.cache.episode_start[where["episode"].numpy()] + where["start"].numpy()
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            count, begin = 0, time.perf_counter()
            while time.perf_counter() - begin < seconds:
                read(rng.choice(first, batch))
                count += batch
            rates[name].append(count / (time.perf_counter() - begin))
    return {name: float(np.median(values)) for name, values in rates.items()}


if __name__ == "__main__":
    main()
