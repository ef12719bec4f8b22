"""Each kind of damage is found, with file and episode; sound sets pass."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldsim.data.faults import Fault, raise_faults
from worldsim.data.verify import verify
from worldsim.data.video_writer import encode_video
from worldsim.errors import DataError

DATA = "data/chunk-000/file-000.parquet"
FRONT = "videos/observation.images.front/chunk-000/file-000.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


@pytest.fixture
def root(tmp_path: Path, write_set: Callable[..., Path]) -> Path:
    return write_set(tmp_path / "set")


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite a parquet file through pandas-free column lists."""
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def replace(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], Any]:
    def apply(table: Any) -> Any:
        column = table[name].combine_chunks()
        values = np.array(column.to_pylist())
        place = table.column_names.index(name)
        changed = pa.array(change(values).tolist(), column.type)
        return table.set_column(place, name, changed)

    return apply


def only(faults: list[Fault], file: str, episode: int | None, text: str) -> None:
    match = [f for f in faults if f.file == file and f.episode == episode and text in f.message]
    assert match, f"expected {file}, {episode}, {text!r}; found {[str(f) for f in faults]}"


def test_a_sound_set_has_no_fault(root: Path) -> None:
    assert verify(root) == []
    raise_faults(root, [])


def test_truncated_video(root: Path) -> None:
    (root / FRONT).write_bytes((root / FRONT).read_bytes()[:-300])
    faults = verify(root)
    assert [f.episode for f in faults] == [0, 1, 2, 3, 4] and {f.file for f in faults} == {FRONT}
    only(faults, FRONT, 3, "truncated")
    with pytest.raises(DataError, match=r"5 faults: videos/.*file-000.mp4, episode 0"):
        raise_faults(root, faults)


def test_video_with_missing_frames(root: Path) -> None:
    total = json.loads((root / "meta/info.json").read_text())["total_frames"]
    encode_video(root / FRONT, np.zeros((total - 2, 32, 32, 3), np.uint8), 10)
    faults = verify(root)
    only(faults, FRONT, 4, f"the file holds {total - 2}")
    assert len(faults) == 1


def test_damaged_frames_inside_a_video(root: Path) -> None:
    content = bytearray((root / FRONT).read_bytes())
    start = content.index(b"mdat") + 4
    content[start + 1500 : start + 1900] = bytes(400)
    (root / FRONT).write_bytes(content)
    faults = verify(root)
    assert faults and all(f.file == FRONT for f in faults)
    assert verify(root, decode=False) == [], "counting frames alone cannot see it"


def test_wrong_fps(root: Path) -> None:
    total = json.loads((root / "meta/info.json").read_text())["total_frames"]
    encode_video(root / FRONT, np.zeros((total, 32, 32, 3), np.uint8), 15)
    only(verify(root), FRONT, None, "runs at 15 fps, info.json says 10")
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps({**info, "fps": 15}))
    only(verify(root), DATA, 2, "timestamps run at 10 fps, info.json says 15")


def test_wrong_size(root: Path) -> None:
    total = json.loads((root / "meta/info.json").read_text())["total_frames"]
    encode_video(root / FRONT, np.zeros((total, 64, 32, 3), np.uint8), 10)
    only(verify(root), FRONT, None, "frames are (64, 32)")


def test_missing_rows(root: Path) -> None:
    edit(root / DATA, lambda table: table.slice(0, len(table) - 3))
    faults = verify(root)
    only(faults, DATA, 4, "the episodes table says")
    assert len(faults) == 1


def test_truncated_parquet(root: Path) -> None:
    (root / DATA).write_bytes((root / DATA).read_bytes()[:-50])
    only(verify(root), DATA, 0, "truncated")


def test_nan_action(root: Path) -> None:
    def poison(values: np.ndarray) -> np.ndarray:
        values[2] = np.nan
        return values

    edit(root / DATA, replace("action", poison))
    faults = verify(root)
    only(faults, DATA, 0, "action holds NaN or infinity, first in frame 2")
    assert len(faults) == 1


def test_wrong_counts(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(
        json.dumps({**info, "total_episodes": 6, "total_frames": 1})
    )
    faults = verify(root)
    only(faults, "meta/info.json", None, "total_episodes is 6, but there are 5")
    only(faults, "meta/info.json", None, "total_frames is 1")


def test_missing_episode(root: Path) -> None:
    edit(root / EPISODES, lambda table: pa.concat_tables([table.slice(0, 2), table.slice(3)]))
    only(verify(root), "meta/episodes", None, "gaps: 2 to 2")


def test_shifted_video_offset(root: Path) -> None:
    def shift(values: np.ndarray) -> np.ndarray:
        values[2] += 0.1
        return values

    edit(root / EPISODES, replace("videos/observation.images.front/from_timestamp", shift))
    only(verify(root), FRONT, 3, "lasts until")


def test_scrambled_bookkeeping(root: Path) -> None:
    edit(root / DATA, replace("frame_index", lambda values: values[::-1].copy()))
    only(verify(root), DATA, 1, "frame_index does not count up")
    edit(root / DATA, replace("task_index", lambda values: values + 7))
    only(verify(root), DATA, 0, "is in no tasks file")


def test_missing_files(root: Path) -> None:
    (root / FRONT).unlink()
    only(verify(root), FRONT, 0, "no such video")
    (root / "meta/tasks.parquet").unlink()
    only(verify(root), "meta", None, "no such file")
