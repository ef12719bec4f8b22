"""LeRobotDataset: reads data sets of worldsim and of others, LeRobot v3.0 and v2.1."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.data.action_evidence import ActionEvidence
from worldsim.data.cameras import black_frames, colour_cameras, decoded_images
from worldsim.data.channels import recorded_channels
from worldsim.data.checks import film_faults, limit_faults, row_faults
from worldsim.data.columns import RowFiles
from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.data.faults import Fault, errors_of, raise_faults, settle
from worldsim.data.features import ImageFeature
from worldsim.data.layout import own_entry, recorded_in
from worldsim.data.meaning import Vectors, described, recorded_vectors
from worldsim.data.records import DatasetIndex, EpisodeRecord, load_index
from worldsim.data.rows import episode_arrays, episode_meta, succeeded
from worldsim.data.selection import Selection, downloaded, ended, faults_of, selected
from worldsim.data.split import hold_one_out, stored_folds
from worldsim.data.timing import frames_at, row_times
from worldsim.data.video import Pixels, VideoFile
from worldsim.errors import DataError, UsageError
from worldsim.spec import WorldSpec


class LeRobotDataset:
    """A data set opened for reading.

    Sets that worldsim did not record are read too: their spec is derived from the features, an
    episode of N rows gives N observations and N-1 actions (the last action's outcome was never
    seen), success is False unless a success column says otherwise, and there is no rig.

    What its tables say is checked against each other when it is opened, and against rows and
    frames where these are read. Cameras that show depth are left out, with a warning.

    Args:
        root: folder that holds `meta/info.json`.
        selection: which episodes, and which columns are what; None takes all as it is named.
        strict: refuse faults of the metadata, and leave out episodes whose files are not there, as
            after a partial download; False keeps both, the former in `faults`, for `verify`.

    Attributes:
        index: what is selected; episodes are numbered by their place in it.
        whole: the same of all episodes and colour cameras, as they are stored.

    Raises:
        DataError: missing, unreadable or contradictory metadata, an unfinished collection.
        UsageError: `selection` names what is not there.
    """

    def __init__(
        self, root: Path | str, selection: Selection | None = None, strict: bool = True
    ) -> None:
        self.root, self._selection = Path(root), selection or Selection()
        index = load_index(self.root)
        cameras, left_out = colour_cameras(index)
        self.whole: DatasetIndex = replace(index, cameras=cameras)
        self.index, columns = selected(self.whole, self._selection)
        index_faults = faults_of(self.whole, self._selection)
        self.faults: list[Fault] = [*columns.faults(), *left_out, *index_faults]
        if strict:
            records, absent = downloaded(self.index, self._selection.episodes)
            settle(self.root, [*self.faults, *absent])
            self.index = replace(self.index, records=records)
        self.info = self.index.info
        if not self.index.records:
            raise DataError(f"{self.root} holds no episode")
        self._files = RowFiles(self.index, columns)
        self._video: dict[str, VideoFile] = {}
        self._sound: set[int] = set()
        self._warned: set[str] = set() if strict else {*self.info["features"]}
        if (wanted := self._selection.outcome) is not None:
            won = [self.meta(i).success for i in range(self.num_episodes)]
            self.index = ended(self.index, won, wanted)
            self._sound.clear()  # places have changed

    @property
    def num_episodes(self) -> int:
        """E, the number of episodes."""
        return len(self.index.records)

    @cached_property
    def own(self) -> dict[str, Any]:
        """info.json's `worldsim` entry, empty for other people's sets."""
        return own_entry(self.info)

    @property
    def env_info(self) -> dict[str, Any]:
        """{"id", "kwargs"} of the environment it was recorded in, or empty."""
        return recorded_in(self.info)

    @cached_property
    def _stored_spec(self) -> WorldSpec | None:
        """The world of all its cameras, where the data set says it."""
        return WorldSpec.from_json(self.own["spec"]) if "spec" in self.own else None

    @cached_property
    def spec(self) -> WorldSpec:
        """The world it was recorded in; derived from the features if it is not stored."""
        if (spec := self._stored_spec) is not None:
            chosen = self._selection.columns.cameras
            return spec.seen_by(camera.name for camera in self.index.cameras) if chosen else spec
        found, evidence = self._described
        return replace(found, action=evidence.applied(found.action))

    @cached_property
    def _described(self) -> tuple[WorldSpec, ActionEvidence]:
        return described(self.index, self._files, self.root)

    @property
    def meaning(self) -> list[str]:
        """What its actions mean, and why: found now, or written down when they were imported."""
        if self._stored_spec is None:
            return self._described[1].lines()
        return [str(line) for line in self.own.get("evidence", ())]

    def sample(self) -> list[Vectors]:
        """(`[T, A]` actions, `[T+1, P]` proprioception) as stored, of its first episodes."""
        return recorded_vectors(self.index, self._files)

    @cached_property
    def folds(self) -> list[int]:
        """The fold of each episode, which says what is held out; see `worldsim.data.split`.

        It is the same whatever else is selected.
        """
        rows = [(record.index, record.extras) for record in self.whole.records]
        fold_of = dict(zip([i for i, _ in rows], stored_folds(rows, str(self.root)), strict=True))
        return hold_one_out([fold_of[record.index] for record in self.index.records])

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

    def place(self, index: int) -> int:
        """Number of the episode that the data set itself calls `index`.

        The two differ where episodes are not selected, or not there.

        Raises:
            UsageError: it is not among these.
        """
        indices = [record.index for record in self.index.records]
        if index not in indices:
            raise UsageError(
                f"{self.root} has no episode {index} among the {len(indices)} from {indices[0]} "
                f"to {indices[-1]}"
            )
        return indices.index(index)

    def rows(self, episode: int) -> pa.Table:
        """All columns of an episode.

        Raises:
            DataError: the file is unreadable, or its rows are not what the tables say.
        """
        table = self.unchecked_rows(episode)
        if episode not in self._sound:
            raise_faults(self.root, row_faults(self.index, self.record(episode), table))
            self._sound.add(episode)
        return table

    def unchecked_rows(self, episode: int) -> pa.Table:
        """As `rows`, whatever the rows hold; only their number is checked."""
        return self._files.rows(self.record(episode))

    def frames(self, episode: int, camera: str, most: int | None = None) -> Pixels:
        """Frames of a camera, uint8 `[N, H, W, 3]`, the first `most` of them if that is given.

        Raises:
            DataError: see `each_frame`.
        """
        count, feature = len(self.rows(episode)[:most]), self._camera(camera)
        frames = np.empty((count, feature.height, feature.width, 3), np.uint8)
        for row, frame in enumerate(self.each_frame(episode, camera, count)):
            frames[row] = frame
        return frames

    def each_frame(self, episode: int, camera: str, most: int | None = None) -> Iterator[Pixels]:
        """The same frames one by one, each uint8 `[H, W, 3]`, decoded as they are asked for.

        Nothing else may be read of this camera until the last one has been taken.

        Raises:
            UsageError: no such camera.
            DataError: frames are missing, do not decode, or are not what the tables say.
        """
        feature, record = self._camera(camera), self.record(episode)
        where = f"{self.root}: camera {camera!r} of episode {record.index}"
        if feature.video and feature.key not in record.videos:
            frames = black_frames(feature, len(self.rows(episode)[:most]))
        elif feature.video:
            numbers = self.frame_numbers(episode, feature.key)[:most]
            frames = self._open(feature.key, record.videos[feature.key].path).each(numbers)
        else:
            frames = decoded_images(self.rows(episode)[feature.key][:most], where)
        for frame in frames:
            if frame.shape[:2] != (feature.height, feature.width):
                raise DataError(
                    f"{where} has frames of {frame.shape[0]}x{frame.shape[1]}, "
                    f"info.json says {feature.height}x{feature.width}"
                )
            yield frame

    def _camera(self, name: str) -> ImageFeature:
        known = {feature.name: feature for feature in self.index.cameras}
        if name not in known:
            raise UsageError(f"{self.root} has cameras {sorted(known)}, not {name!r}")
        return known[name]

    def frame_numbers(self, episode: int, key: str) -> NDArray[np.int64]:
        """`[N]` numbers of the frames in the video of feature `key` that the rows mean.

        Raises:
            DataError: the file is missing or holds no frames at the rows' times.
        """
        record, fps = self.record(episode), float(self.info["fps"])
        film = record.videos[key]
        times = row_times(self.rows(episode), fps)
        return frames_at(self._open(key, film.path), film.start, times, fps)

    def meta(self, episode: int) -> EpisodeMeta:
        """What is known of the episode as a whole."""
        record = self.record(episode)
        success = "success" not in record.extras and succeeded(self.rows(episode))
        try:
            return episode_meta(record.extras, record.index, success)
        except (ValueError, TypeError, LookupError) as error:
            raise DataError(
                f"{self.root}/meta, episode {record.index}: its description is unreadable ({error})"
            ) from error

    def episode(self, episode: int) -> Episode:
        """The whole episode, decoded; arrays as `worldsim.data.episode.Episode` says.

        Raises:
            DataError: a file is missing, truncated or inconsistent.
        """
        arrays = self.arrays(episode)
        taken = {
            channel.name: arrays[channel.name][: -1 if channel.per == "action" else None]
            for channel, _ in recorded_channels(self.spec)
        }
        pixels = {name: self.frames(episode, name) for name in self.spec.camera_names}
        return Episode.of(taken, pixels, self.task(episode), self.meta(episode))

    def arrays(self, episode: int) -> dict[str, NDArray[Any]]:
        """Everything but pixels, N rows each; the last action is zero and masked out."""
        where = f"{self.record(episode).data}, episode {self.record(episode).index}"
        spec = self.spec
        stored = self._stored_spec or spec
        arrays = episode_arrays(self.rows(episode), spec, stored, where)
        raise_faults(self.root, limit_faults(spec.action, arrays["action"][:-1], where))
        return arrays

    def task(self, episode: int) -> str:
        """The instruction of an episode's first row; empty if the set has none."""
        record, table = self.record(episode), self.rows(episode)
        if "task_index" in table.column_names:
            return self.index.tasks.get(table["task_index"][0].as_py(), "")
        return record.tasks[0] if record.tasks else ""

    def _open(self, key: str, path: Path) -> VideoFile:
        """One open file a camera: consecutive episodes mostly share it."""
        current = self._video.get(key)
        if current is None or current.path != path:
            if current is not None:
                current.close()
            self._video[key] = VideoFile(path)
            self._check_film(key, self._video[key])
        return self._video[key]

    def _check_film(self, key: str, video: VideoFile) -> None:
        """Hold a video to the tables; what only needs to be known is said once a camera."""
        camera = next((each for each in self.index.cameras if each.key == key), None)
        if camera is not None:
            faults = film_faults(self.index, camera, video)
            settle(self.root, errors_of(faults) if key in self._warned else faults)
            self._warned.add(key)

    def close(self) -> None:
        """Close open videos."""
        for video in self._video.values():
            video.close()
        self._video.clear()
