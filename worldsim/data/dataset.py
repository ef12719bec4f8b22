"""LeRobotDataset: reads data sets of worldsim and of others, LeRobot v3.0 and v2.1."""

import io
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.data.features import ENVIRONMENT_STATE, STATE, derive_spec
from worldsim.data.records import DatasetIndex, EpisodeRecord, load_index, read_parquet
from worldsim.data.rows import column_array, episode_meta
from worldsim.data.selection import Selection, selected
from worldsim.data.video import Pixels, VideoFile
from worldsim.errors import DataError, UsageError
from worldsim.files import read_json
from worldsim.specs import WorldSpec


class LeRobotDataset:
    """A data set opened for reading.

    Sets that worldsim did not record are read too: their spec is derived from the features, an
    episode of N rows gives N observations and N-1 actions (the last action's outcome was never
    seen), success is False unless a success column says otherwise, and there is no rig.

    Args:
        root: folder that holds `meta/info.json`.
        selection: which episodes, and which columns are what; None takes all as it is named.
        strict: leave out episodes whose files are not there; False keeps them, for `verify`.

    Raises:
        DataError: missing or unreadable metadata, an unfinished collection.
        UsageError: `selection` names what is not there.
    """

    def __init__(
        self, root: Path | str, selection: Selection | None = None, strict: bool = True
    ) -> None:
        self.root = Path(root)
        whole = load_index(self.root)
        self._selection = selection or Selection()
        self.index: DatasetIndex
        self.index, self._columns = selected(
            whole, self._selection, _is_own(whole.info), skip_missing=strict
        )
        self.info = self.index.info
        if not self.index.records:
            raise DataError(f"{self.root} holds no episode")
        self._table: tuple[Path, pa.Table, NDArray[Any]] | None = None
        self._video: dict[str, VideoFile] = {}

    @property
    def num_episodes(self) -> int:
        """E, the number of episodes."""
        return len(self.index.records)

    @cached_property
    def own(self) -> dict[str, Any]:
        """info.json's `worldsim` entry, empty for other people's sets."""
        own = self.info.get("worldsim")
        return own if isinstance(own, dict) else {}

    @property
    def env_info(self) -> dict[str, Any]:
        """{"id", "kwargs"} of the environment it was recorded in, or empty."""
        return dict(self.own.get("env") or {})

    @cached_property
    def spec(self) -> WorldSpec:
        """The world it was recorded in; derived from the features if it is not stored."""
        if "spec" in self.own:
            spec = WorldSpec.from_json(self.own["spec"])
            chosen = self._selection.columns.cameras
            return spec.seen_by(camera.name for camera in self.index.cameras) if chosen else spec
        low, high = self._action_range()
        return derive_spec(self.info, self.index.cameras, low, high, self.root)

    def record(self, episode: int) -> EpisodeRecord:
        """Where episode number `episode` lies.

        Raises:
            UsageError: no such episode.
        """
        if not 0 <= episode < self.num_episodes:
            raise UsageError(
                f"{self.root} has episodes 0 to {self.num_episodes - 1}, not {episode}"
            )
        return self.index.records[episode]

    def rows(self, episode: int) -> pa.Table:
        """All columns of an episode.

        Raises:
            DataError: the file is unreadable, or its rows are not as many as promised.
        """
        record = self.record(episode)
        if self._table is None or self._table[0] != record.data:
            table = self._columns.table(read_parquet(record.data), str(record.data))
            if "episode_index" not in table.column_names:
                raise DataError(f"{record.data} lacks the column episode_index")
            owners = table["episode_index"].to_numpy()
            self._table = (record.data, table, owners)
        _, table, owners = self._table
        places = np.flatnonzero(owners == record.index)
        if len(places) != record.length:
            raise DataError(
                f"{record.data}: episode {record.index} has {len(places)} rows, "
                f"the episodes table says {record.length}"
            )
        if len(places) and places[-1] - places[0] + 1 != len(places):
            raise DataError(f"{record.data}: the rows of episode {record.index} are scattered")
        return table.slice(int(places[0]), len(places))

    def frames(self, episode: int, camera: str, most: int | None = None) -> Pixels:
        """Frames of a camera, uint8 `[N, H, W, 3]`, the first `most` of them if that is given.

        Raises:
            UsageError: no such camera.
            DataError: the video is missing, truncated, or of another size than info.json says.
        """
        known = {feature.name: feature for feature in self.index.cameras}
        if camera not in known:
            raise UsageError(f"{self.root} has cameras {sorted(known)}, not {camera!r}")
        feature, record = known[camera], self.record(episode)
        if feature.video:
            segment = record.videos[feature.key]
            count = segment.count if most is None else min(most, segment.count)
            frames = self._open(feature.key, segment.path).read(segment.first, count)
        else:
            frames = _decode_images(self.rows(episode)[feature.key][:most], record.data)
        if frames.shape[1:3] != (feature.height, feature.width):
            raise DataError(
                f"{self.root}: camera {camera!r} of episode {record.index} has frames of "
                f"{frames.shape[1]}x{frames.shape[2]}, info.json says "
                f"{feature.height}x{feature.width}"
            )
        return frames

    def meta(self, episode: int) -> EpisodeMeta:
        """What is known of the episode as a whole."""
        record = self.record(episode)
        success = "success" not in record.extras and _succeeded(self.rows(episode))
        return episode_meta(record.extras, record.index, success)

    def episode(self, episode: int) -> Episode:
        """The whole episode, decoded; arrays as `worldsim.data.episode.Episode` says.

        Raises:
            DataError: a file is missing, truncated or inconsistent.
        """
        arrays = self.arrays(episode)
        spec = self.spec
        return Episode(
            pixels={name: self.frames(episode, name) for name in spec.camera_names},
            agent_pos=arrays["agent_pos"],
            state=arrays["state"],
            action=arrays["action"][:-1],
            action_achieved=arrays["action_achieved"][:-1],
            reward=arrays["reward"],
            success=arrays["success"],
            progress=arrays["progress"],
            task=self.task(episode),
            meta=self.meta(episode),
        )

    def arrays(self, episode: int) -> dict[str, NDArray[Any]]:
        """Everything but pixels, N rows each; the last action is zero and masked out."""
        table, spec = self.rows(episode), self.spec
        where = f"{self.record(episode).data}, episode {self.record(episode).index}"

        def matrix(key: str, width: int) -> NDArray[Any]:
            if key not in table.column_names or not width:
                return np.zeros((len(table), width), np.float32)
            values = column_array(table[key], f"{where}, {key}").astype(np.float32)
            if values.shape[1] != width:
                raise DataError(f"{where}: {key} has {values.shape[1]} entries, expected {width}")
            return values

        achieved = "action_achieved" if "action_achieved" in table.column_names else "action"
        arrays = {
            "agent_pos": matrix(STATE, spec.agent_pos.dim),
            "state": matrix(ENVIRONMENT_STATE, spec.state.dim),
            "action": matrix("action", spec.action.dim),
            "action_achieved": matrix(achieved, spec.action.dim),
            "action_mask": np.arange(len(table)) < len(table) - 1,
            "reward": outcome(table, "reward").astype(np.float32),
            "success": success_of(table),
            "progress": outcome(table, "progress").astype(np.float32),
        }
        arrays["action"][-1] = arrays["action_achieved"][-1] = 0.0
        return arrays

    def task(self, episode: int) -> str:
        """The instruction of an episode's first row; empty if the set has none."""
        record, table = self.record(episode), self.rows(episode)
        if "task_index" in table.column_names:
            return self.index.tasks.get(table["task_index"][0].as_py(), "")
        return record.tasks[0] if record.tasks else ""

    def _action_range(self) -> tuple[list[float], list[float]]:
        """Least and greatest recorded action, from stats.json or else from the rows."""
        path = self.root / "meta" / "stats.json"
        stats = read_json(path).get("action", {}) if path.exists() else {}
        if "min" in stats and "max" in stats and "action" not in self._columns.joined:
            low, high = np.ravel(stats["min"]), np.ravel(stats["max"])
        elif "action" in self.info["features"]:
            files = sorted({record.data for record in self.index.records})
            stored = [*self._columns.sources("action")]
            tables = {str(file): read_parquet(file, stored) for file in files}
            parts = [self._columns.vector("action", t, where) for where, t in tables.items()]
            low = np.min([part.min(0) for part in parts], axis=0)
            high = np.max([part.max(0) for part in parts], axis=0)
        else:
            return [], []
        return [float(x) for x in low], [float(x) for x in high]

    def _open(self, key: str, path: Path) -> VideoFile:
        """One open file a camera: consecutive episodes mostly share it."""
        current = self._video.get(key)
        if current is None or current.path != path:
            if current is not None:
                current.close()
            self._video[key] = VideoFile(path)
        return self._video[key]

    def close(self) -> None:
        """Close open videos."""
        for video in self._video.values():
            video.close()
        self._video.clear()


def _is_own(info: dict[str, Any]) -> bool:
    """Whether info.json says what world the set was recorded in, as worldsim's do."""
    own = info.get("worldsim")
    return isinstance(own, dict) and "spec" in own


SUCCESS_COLUMNS = ("success", "next.success", "is_episode_successful")


def outcome(table: pa.Table, name: str) -> NDArray[Any]:
    """`[N]` values at each row's own observation.

    LeRobot's `next.reward` and `next.success` belong to the observation after the row's action,
    so they are shifted by one row; an absent column is zeros.
    """
    if name in table.column_names:
        return column_array(table[name], name)[:, 0]
    shifted = np.zeros(len(table))
    if f"next.{name}" in table.column_names:
        shifted[1:] = column_array(table[f"next.{name}"], f"next.{name}")[:-1, 0]
    return shifted


def success_of(table: pa.Table) -> NDArray[np.bool_]:
    """`[N]` whether the task is solved at each row's observation.

    Where only the episode as a whole is said to have succeeded, or its success followed the last
    observation, the last one counts as solved: nothing later was seen.
    """
    found = outcome(table, "success").astype(bool)
    if not found.any():
        found[-1:] = _succeeded(table)
    return found


def _succeeded(table: pa.Table) -> bool:
    """Whether any column says that the episode succeeded."""
    names = [name for name in SUCCESS_COLUMNS if name in table.column_names]
    return any(bool(column_array(table[name], name).any()) for name in names)


def _decode_images(column: pa.ChunkedArray, path: Path) -> Pixels:
    """Images stored inside parquet rows as struct{bytes, path}."""
    from PIL import Image, UnidentifiedImageError

    frames = []
    for value in column.to_pylist():
        try:
            frames.append(np.asarray(Image.open(io.BytesIO(value["bytes"])).convert("RGB")))
        except (UnidentifiedImageError, OSError, TypeError, KeyError) as error:
            raise DataError(f"{path}: an image in column does not decode ({error})") from error
    return np.stack(frames)
