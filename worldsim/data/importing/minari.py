"""Minari data sets in HDF5: `data/main_data.hdf5` with a group `episode_N` each.

An episode has T actions and T+1 observations, each an array or, for spaces of several parts, a
group of arrays (Minari docs, "Dataset Standards"). `infos` have T+1 rows too. Attributes, of the
file or in `metadata.json` beside it, tell environment and action space in JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.importing.entries import chosen_cameras, chosen_vectors, vector_names
from worldsim.data.importing.hdf5 import (
    arrays_of,
    attribute,
    film,
    open_file,
    reading,
    sort_pictures,
)
from worldsim.data.importing.source import (
    Frames,
    Source,
    SourceOptions,
    SourceRows,
    SourceWorld,
    rows_of,
    sparse_success,
)
from worldsim.errors import DataError, UsageError
from worldsim.files import read_json
from worldsim.spec import CameraSpec

MAIN = "main_data.hdf5"
OBSERVATIONS = "observations"
NOT_STATE = ("goal", "pixel", "image", "mission", "direction")
"""Words in names of observations that are no proprioception."""
OUTCOMES = ("infos/success", "infos/is_success")


def main_file(path: Path) -> Path | None:
    """The HDF5 file of a Minari data set: given itself, or the data set's folder, or its `data`."""
    for place in (path, path / MAIN, path / "data" / MAIN):
        if place.is_file() and place.name == MAIN:
            return place
    return None


def recognises(path: Path) -> bool:
    """Whether a path is a Minari data set in HDF5."""
    return main_file(path) is not None


@dataclass(frozen=True)
class MinariLayout:
    """Which arrays of an episode are what; `choices` is 0 where actions are no choices."""

    images: Mapping[str, tuple[str, CameraSpec]]
    action: tuple[str, ...]
    state: tuple[str, ...]
    choices: int = 0


def open_source(path: Path, options: SourceOptions) -> Source:
    """Open a Minari data set.

    Raises:
        DataError: the file is broken, or holds no episode or no pictures.
        UsageError: no rate is given, since Minari does not tell one.
    """
    main = main_file(path)
    if main is None:
        raise DataError(
            f"{path} holds no {MAIN}; Minari sets in Arrow are not read, and "
            "`minari` itself converts them (data_format='hdf5')"
        )
    if options.fps is None:
        raise UsageError(
            f"Minari does not say how many steps a second {path} has; give fps=RATE, such as "
            "render_fps of its environment"
        )
    file = open_file(main)
    names = [name for name in file if name.startswith("episode_")]
    groups = [file[name] for name in sorted(names, key=lambda name: (len(name), name))]
    if not groups:
        raise DataError(f"{main} holds no group episode_N")
    notes = _notes(main, file)
    layout, widths = _layout(path, groups[0], notes, options)
    world = SourceWorld(
        options.fps,
        tuple(spec for _, spec in layout.images.values()),
        _action_names(layout, widths),
        vector_names(layout.state, widths),
        _env_id(notes),
        bool(layout.choices),
    )
    return Source(world, [MinariEpisode(g.name, g, layout, options) for g in groups], file.close)


def _notes(main: Path, file: Any) -> dict[str, Any]:
    """What is told of the data set as a whole."""
    beside = main.with_name("metadata.json")
    notes = read_json(beside) if beside.is_file() else {}
    own = {name: attribute(file, name) for name in file.attrs}
    return own | (notes if isinstance(notes, dict) else {})


def _as_dict(value: Any) -> dict[str, Any]:
    """A JSON object, which may have been written as a text once more."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _env_id(notes: Mapping[str, Any]) -> str:
    return str(_as_dict(notes.get("env_spec")).get("id") or "")


def _layout(
    path: Path, group: Any, notes: Mapping[str, Any], options: SourceOptions
) -> tuple[MinariLayout, dict[str, int]]:
    """What the first episode shows of all, and {array: width}."""
    arrays = arrays_of(group)
    images, widths = sort_pictures(arrays)
    seen = {
        name: size for name, size in images.items() if name.split("/")[0] in (OBSERVATIONS, "infos")
    }
    columns = options.columns
    action = chosen_vectors("action", columns.action, ("actions",), widths, path)
    if not action:
        action = tuple(name for name in widths if name.startswith("actions/"))
    if not action:
        raise DataError(f"{path}: an episode has no actions, but {sorted(arrays)}")
    observed = {
        name: width
        for name, width in widths.items()
        if name.split("/")[0] == OBSERVATIONS and not any(word in name for word in NOT_STATE)
    }
    state = chosen_vectors(
        "proprioception", columns.state, (".*",), widths if columns.state else observed, path
    )
    choices = 0
    if len(action) == 1 and arrays[action[0]].ndim == 1 and arrays[action[0]].dtype.kind in "iu":
        told = _as_dict(notes.get("action_space")).get("n")
        choices = int(told or 1 + max(int(np.max(g[action[0]])) for g in _episodes(group)))
    return MinariLayout(chosen_cameras(seen, columns, path), action, state, choices), widths


def _episodes(group: Any) -> list[Any]:
    return [each for name, each in group.parent.items() if name.startswith("episode_")]


def _action_names(layout: MinariLayout, widths: Mapping[str, int]) -> tuple[str, ...]:
    if layout.choices:
        return tuple(f"action_{i}" for i in range(layout.choices))
    return vector_names(layout.action, widths)


@dataclass(frozen=True, eq=False)
class MinariEpisode:
    """A group `episode_N`; see `SourceEpisode`."""

    name: str
    group: Any
    layout: MinariLayout
    options: SourceOptions

    def rows(self) -> SourceRows:
        """See `SourceEpisode`."""
        with reading(self.name):
            counts = {c: len(self.group[e]) for c, (e, _) in self.layout.images.items()}
            if len(set(counts.values())) > 1:
                raise DataError(f"{self.name}: cameras differ in length: {counts}")
            count = next(iter(counts.values()))
            reward = self._array("rewards")
            return rows_of(
                self.name,
                count,
                self._action(),
                self._vector(self.layout.state) if self.layout.state else None,
                reward,
                self._success(reward),
                task=self._mission() or self.options.task,
                factors={"source": self.name},
            )

    def frames(self) -> Frames:
        """See `SourceEpisode`."""
        with reading(self.name):
            cameras = {c: self.group[entry] for c, (entry, _) in self.layout.images.items()}
            yield from film(cameras, len(next(iter(cameras.values()))))

    def _action(self) -> NDArray[Any]:
        if not self.layout.choices:
            return self._vector(self.layout.action)
        chosen = np.asarray(self.group[self.layout.action[0]])
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < self.layout.choices:
            raise DataError(
                f"{self.name}: an action is none of the choices 0 to {self.layout.choices - 1}"
            )
        one_hot: NDArray[Any] = np.eye(self.layout.choices)[chosen]
        return one_hot

    def _vector(self, entries: tuple[str, ...]) -> NDArray[Any]:
        parts = [np.asarray(self.group[entry]) for entry in entries]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    def _array(self, name: str) -> NDArray[Any] | None:
        return np.asarray(self.group[name]) if name in self.group else None

    def _success(self, reward: NDArray[Any] | None) -> NDArray[np.bool_] | None:
        """Whether each action succeeded: by infos, whose first row precedes them, or rewards."""
        steps = len(self.group[self.layout.action[0]])
        for name in OUTCOMES:
            if (flags := self._array(name)) is not None and len(flags) >= steps:
                told: NDArray[np.bool_] = flags.reshape(-1)[len(flags) - steps :].astype(bool)
                return told
        return sparse_success(reward)

    def _mission(self) -> str:
        """MiniGrid's instruction."""
        told = self._array(f"{OBSERVATIONS}/mission")
        if told is None or not len(told):
            return ""
        text = told[0]
        return text.decode() if isinstance(text, bytes) else str(text)
