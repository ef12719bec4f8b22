"""Films with a table of actions beside them: MP4 and CSV, NPY, NPZ or Parquet.

`film_files.py` says which files are an episode's. `task.txt` or `NAME.txt` may hold the
instruction. Cameras may be missing in some episodes, which then show black there, as in
merged sets.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.importing.entries import chosen_cameras, chosen_vectors
from worldsim.data.importing.film_files import Files, episodes_of, read_manifest
from worldsim.data.importing.source import (
    Frames,
    Source,
    SourceOptions,
    SourceRows,
    SourceWorld,
    rows_of,
)
from worldsim.data.importing.tables import SUFFIXES, Table, read_table
from worldsim.data.timing import TOLERANCE, frames_at
from worldsim.data.video import VideoFile
from worldsim.errors import DataError
from worldsim.spec import CameraSpec

TIMES = ("timestamp", "time", "t")
ACTION, STATE = ("action", "actions"), ("observation.state", "state", "proprio", "agent_pos")
TOLD = ("reward", "success", "done", "progress", "frame", "index")
"""Beginnings of columns that are neither action nor proprioception, wherever they stand."""


def open_source(path: Path, options: SourceOptions) -> Source:
    """Open a folder of films.

    Raises:
        DataError: there is no episode, or the first one cannot be read.
    """
    episodes = episodes_of(path)
    if not episodes:
        raise DataError(
            f"{path} holds no episode: expected folders with actions.csv and CAMERA.mp4, or "
            f"NAME.csv beside NAME.mp4 (tables may be {', '.join(SUFFIXES)})"
        )
    sizes = {}
    for files in episodes:
        for camera in (c for c in files.films if c not in sizes):
            with VideoFile(files.films[camera]) as film:
                sizes[camera] = (film.height, film.width)
    cameras = {
        name: (camera, spec)
        for name, (camera, spec) in chosen_cameras(sizes, options.columns, path).items()
    }
    table = read_table(episodes[0].table)
    widths = {name: values.shape[1] for name, values in table.numbers.items()}
    action, state = _vectors(widths, options, path)
    layout = FilmLayout(cameras, action, state, widths, _rate(episodes[0], table, options))
    world = SourceWorld(
        layout.fps,
        tuple(spec for _, spec in cameras.values()),
        _names(action, widths, ACTION),
        _names(state, widths, STATE),
    )
    manifest = read_manifest(path)
    return Source(world, [FilmEpisode(f, layout, manifest, options) for f in episodes])


def _vectors(
    widths: Mapping[str, int], options: SourceOptions, path: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns of action and proprioception: by name, or else all that is nothing else."""
    ours = options.columns
    state = chosen_vectors("proprioception", ours.state, _patterns(STATE), widths, path)
    action = chosen_vectors("action", ours.action, _patterns(ACTION), widths, path)
    if not action:
        none = (*TIMES, *TOLD)
        action = tuple(c for c in widths if c not in state and not c.startswith(none))
    if not action:
        raise DataError(f"{path}: tables have no column of actions, but {sorted(widths)}")
    return action, state


def _patterns(names: Sequence[str]) -> list[str]:
    """What a column of such a name, or one of its parts, is called."""
    return [rf"{name}([._ \[].*)?".replace("observation.", r"observation\.") for name in names]


def _names(
    columns: Sequence[str], widths: Mapping[str, int], beginnings: Sequence[str]
) -> tuple[str, ...]:
    """Names of the numbers; "action.x" is x."""
    bare = list(columns)
    for beginning in beginnings:
        cut = [name.removeprefix(beginning).strip("._ []") for name in bare]
        if all(cut) and len(set(cut)) == len(cut):
            bare = cut
    pairs = zip(bare, (widths[column] for column in columns), strict=True)
    return tuple(f"{n}_{i}" if width > 1 else n for n, width in pairs for i in range(width))


def _times(table: Table) -> NDArray[np.float64] | None:
    """`[N]` seconds since the first row, where the table tells them."""
    name = next((name for name in TIMES if name in table.numbers), None)
    if name is None:
        return None
    seconds = np.asarray(table.numbers[name][:, 0], np.float64)
    since: NDArray[np.float64] = seconds - seconds[0]
    return since


def _rate(files: Files, table: Table, options: SourceOptions) -> float:
    """Rows a second: as asked, as their times tell, or as the films are shown."""
    if options.fps is not None:
        return options.fps
    times = _times(table)
    if times is not None and len(times) > 1 and times[-1] > 0:
        rate = 1.0 / float(np.median(np.diff(times)))
        return float(round(rate)) if abs(rate - round(rate)) < 0.01 * rate else rate
    with VideoFile(next(iter(files.films.values()))) as film:
        if not film.fps:
            raise DataError(f"{film.path} does not tell its rate; give fps=RATE")
        return float(film.fps)


@dataclass(frozen=True)
class FilmLayout:
    """What is what in all episodes: {camera: (its film's name, spec)}, columns, rows a second."""

    cameras: Mapping[str, tuple[str, CameraSpec]]
    action: tuple[str, ...]
    state: tuple[str, ...]
    widths: Mapping[str, int]
    fps: float


@dataclass(frozen=True, eq=False)
class FilmEpisode:
    """An episode of films; see `SourceEpisode`."""

    files: Files
    layout: FilmLayout
    manifest: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: SourceOptions = field(default_factory=SourceOptions)

    @property
    def name(self) -> str:
        """See `SourceEpisode`."""
        return self.files.name

    def rows(self) -> SourceRows:
        """See `SourceEpisode`."""
        table = read_table(self.files.table)
        action, state = (
            self._vector(table, each) for each in (self.layout.action, self.layout.state)
        )
        numbers = self._numbers(table)
        observations = {len(found) for found in numbers.values()}
        if len(observations) != 1:
            counts = {camera: len(found) for camera, found in numbers.items()}
            raise DataError(f"{self.name}: cameras differ in length: {counts or 'none is there'}")
        return rows_of(
            self.name,
            count := observations.pop(),
            action,
            self._held(state, count),
            table.numbers.get("reward"),
            self._success(table),
            task=self._task(table),
            factors={"source": self.name},
        )

    def frames(self) -> Frames:
        """See `SourceEpisode`."""
        numbers = self._numbers(read_table(self.files.table))
        with ExitStack() as open_:
            films = {}
            for camera, (film, _) in self.layout.cameras.items():
                if camera in numbers:
                    file = open_.enter_context(VideoFile(self.files.films[film]))
                    films[camera] = file.each(numbers[camera])
            black = {
                name: np.zeros((spec.height, spec.width, 3), np.uint8)
                for name, (_, spec) in self.layout.cameras.items()
                if name not in films
            }
            for views in zip(*films.values(), strict=True):
                yield dict(zip(films, views, strict=True)) | black

    def _vector(self, table: Table, columns: Sequence[str]) -> NDArray[Any]:
        """`[N, D]`."""
        for column in columns:
            found = table.numbers.get(column)
            if found is None or found.shape[1] != self.layout.widths[column]:
                have = sorted(table.numbers) if found is None else found.shape[1]
                raise DataError(
                    f"{self.files.table}: expected {self.layout.widths[column]} numbers of column "
                    f"{column!r}, as in the first episode; there are {have}"
                )
        parts = [table.numbers[column] for column in columns]
        return np.concatenate([np.zeros((table.length, 0)), *parts], axis=1)

    def _held(self, state: NDArray[Any], observations: int) -> NDArray[Any]:
        """Proprioception of all observations; the last row stands for one that was not kept."""
        if len(state) == observations - 1:
            state = np.concatenate([state, state[-1:]])
        return state

    def _numbers(self, table: Table) -> dict[str, NDArray[np.int64]]:
        """{camera: numbers of the frames that the rows mean}.

        Raises:
            DataError: a film is of another size, times are not steady, or frames do not fit rows.
        """
        times, found = self._steady_times(table), {}
        for camera, (name, spec) in self.layout.cameras.items():
            if name not in self.files.films:
                continue
            with VideoFile(self.files.films[name]) as film:
                if (film.height, film.width) != (spec.height, spec.width):
                    raise DataError(
                        f"{film.path} has frames of {film.height}x{film.width}, other episodes "
                        f"{spec.height}x{spec.width}; bring them to one size"
                    )
                if times is not None:
                    found[camera] = frames_at(film, float(film.times[0]), times, self.layout.fps)
                    continue
                if film.frame_count not in (table.length, table.length + 1):
                    raise DataError(
                        f"{film.path} holds {film.frame_count} frames, {self.files.table.name} "
                        f"{table.length} rows; expected as many, or one frame more. A column "
                        "`timestamp` (seconds of the film) says which frame a row means"
                    )
                found[camera] = np.arange(film.frame_count)
        return found

    def _steady_times(self, table: Table) -> NDArray[np.float64] | None:
        times = _times(table)
        if times is None:
            return None
        drift = np.abs(times - np.arange(len(times)) / self.layout.fps)
        late = ~(drift <= TOLERANCE / self.layout.fps)
        if late.any():
            row = int(np.flatnonzero(late)[0])
            raise DataError(
                f"{self.files.table}: timestamps drift: row {row} stands at {times[row]:.4g} s, "
                f"but {self.layout.fps:g} rows a second make {row / self.layout.fps:.4g} s. "
                "Bring rows to a steady rate, or leave the column out if films have a frame a row"
            )
        return times

    def _success(self, table: Table) -> Any:
        """Whether actions, or the episode, succeeded, by table, list or folder; None: unknown."""
        if (flags := table.numbers.get("success")) is not None:
            return flags[:, 0].astype(bool)
        if told := str(self._told("success")).strip().lower():
            return told in ("1", "true", "yes", "success")
        parts = self.name.lower().split("/")
        outcomes = {"success": True, "failure": False}
        return next((outcomes[part] for part in parts if part in outcomes), None)

    def _told(self, key: str) -> str:
        """What `episodes.csv` says of this episode."""
        return str(self.manifest.get(self.name, {}).get(key) or "")

    def _task(self, table: Table) -> str:
        """The instruction."""
        folder, stem = self.files.table.parent, self.files.table.stem
        if told := self._told("task") or table.texts.get("task", ""):
            return told
        for name in ("task.txt", f"{stem}.txt"):
            with suppress(FileNotFoundError):
                return (folder / name).read_text(encoding="utf-8").strip()
        return self.options.task
