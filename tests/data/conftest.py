"""Small worlds and episodes whose pixels say which episode and frame they are."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.data.writer import LeRobotWriter
from worldsim.spec import ActionSpec, CameraSpec, VectorSpec, WorldSpec

MakeEpisode = Callable[..., Episode]


@pytest.fixture(scope="session")
def spec() -> WorldSpec:
    """Two cameras of different size at 10 Hz."""
    return WorldSpec(
        fps=10,
        cameras=(CameraSpec("front", 32, 32), CameraSpec("wrist", 32, 48)),
        action=ActionSpec(
            ("dx", "dy"), (-1.0, -1.0), (1.0, 1.0), ("m", "m"), (0.05, 0.05), "delta", "world"
        ),
        agent_pos=VectorSpec(("x", "y", "z"), ("m", "m", "m")),
        state=VectorSpec(("object_x", "object_y"), ("m", "m")),
    )


@pytest.fixture(scope="session")
def make_episode(spec: WorldSpec) -> MakeEpisode:
    """Episode `index` of a given length; red codes the episode, green the frame."""

    def make(index: int, steps: int | None = None, task: str | None = None) -> Episode:
        rng = np.random.default_rng(index)
        count = int(rng.integers(4, 12)) if steps is None else steps
        floats: Callable[[int, int], NDArray[np.float32]] = lambda rows, width: (  # noqa: E731
            rng.uniform(-1, 1, (rows, width)).astype(np.float32)
        )
        rig = CameraRig(
            spec.camera_names,
            np.tile(np.array([[30, 0, 16], [0, 30, 16], [0, 0, 1]], np.float32), (2, 1, 1)),
            np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)),
            np.array([False, True]),
        )
        return Episode(
            pixels={c.name: coded_frames(index, count + 1, c) for c in spec.cameras},
            agent_pos=floats(count + 1, 3),
            state=floats(count + 1, 2),
            action=floats(count, 2),
            action_achieved=floats(count, 2),
            reward=floats(count + 1, 1)[:, 0],
            success=rng.random(count + 1) > 0.7,
            progress=rng.random(count + 1).astype(np.float32),
            task=f"task {index % 2}" if task is None else task,
            meta=EpisodeMeta(
                env_id="test/World-v0",
                seed=1000 + index,
                policy="tester",
                success=bool(index % 2),
                factors={"size": [0.02 * index]},
                initial_state=tuple(float(x) for x in rng.normal(size=3)),
                rig=rig,
                behaviour="expert" if index % 3 else "play",
            ),
        )

    return make


def coded_frames(index: int, count: int, camera: CameraSpec) -> NDArray[np.uint8]:
    """Plain frames: red is 20 + 12 * episode, green 20 + 8 * frame, blue the camera's width."""
    frames = np.empty((count, camera.height, camera.width, 3), np.uint8)
    frames[..., 0] = (20 + 12 * index) % 256
    frames[..., 1] = (20 + 8 * np.arange(count))[:, None, None]
    frames[..., 2] = 2 * camera.width
    return frames


@pytest.fixture
def write_set(spec: WorldSpec, make_episode: MakeEpisode) -> Callable[..., Path]:
    """Write episodes `indices` to a folder."""

    def write(root: Path, indices: range | list[int] = range(5), **options: object) -> Path:
        writer = LeRobotWriter(root, spec, {"id": "test/World-v0", "kwargs": {}}, **options)  # type: ignore[arg-type]
        for index in indices:
            writer.add(make_episode(index))
        return writer.finalize()

    return write


@pytest.fixture(scope="session")
def as_before() -> Callable[[Path], Path]:
    """Make a data set what worldsim wrote before: other names, a last action of zeros, no folds."""

    def change(root: Path) -> Path:
        names = {
            "privileged_state": "observation.environment_state",
            "achieved_action": "action_achieved",
            "valid_action": "action_mask",
        }
        info = json.loads((root / "meta/info.json").read_text())
        info["features"] = {names.get(key, key): f for key, f in info["features"].items()}
        (root / "meta/info.json").write_text(json.dumps(info))
        for path in (root / "data").glob("*/*.parquet"):
            table = pq.read_table(path)
            known = table["valid_action"].to_numpy()[:, None]
            for name in ("action", "achieved_action"):
                values = np.stack(table[name].to_numpy()) * known
                place = table.column_names.index(name)
                zeroed = pa.FixedSizeListArray.from_arrays(
                    pa.array(values.reshape(-1).astype(np.float32)), values.shape[1]
                )
                table = table.set_column(place, name, zeroed)
            pq.write_table(
                table.rename_columns([names.get(n, n) for n in table.column_names]), path
            )
        for path in (root / "meta/episodes").glob("*/*.parquet"):
            pq.write_table(pq.read_table(path).drop_columns(["worldsim/fold"]), path)
        return root

    return change
