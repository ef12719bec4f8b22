"""Demonstrations in HDF5 as robomimic and LIBERO lay them out.

Both hold groups `data/demo_N` with `obs/<entry>` `[N, ...]`, `actions` `[N, A]`, `rewards` and
`dones` `[N]`, and often `next_obs` (robomimic docs, "Dataset Contents"; Liu et al. 2023).
Attributes of `data` tell the environment in JSON: `env_args`, and LIBERO's `problem_info` the
instruction. LIBERO keeps pictures as OpenGL draws them, the lowest row first; robomimic turns
them before.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.importing.entries import chosen_cameras, chosen_vectors, vector_names
from worldsim.data.importing.hdf5 import (
    arrays_of,
    attribute,
    files_of,
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
from worldsim.spec import CameraSpec

ROBOMIMIC_STATE = (r"robot\d+_eef_pos", r"robot\d+_eef_quat", r"robot\d+_gripper_qpos")
LIBERO_STATE = ("ee_states", "gripper_states")


@dataclass(frozen=True)
class DemoLayout:
    """Which entries of a demonstration are what.

    Attributes:
        images: {camera: (entry of obs, its spec)}.
        action: entries that together are the action.
        state: entries that together are proprioception.
        flipped: whether the lowest row of pictures comes first.
    """

    images: Mapping[str, tuple[str, CameraSpec]]
    action: tuple[str, ...]
    state: tuple[str, ...]
    flipped: bool


def is_libero(path: Path) -> bool:
    """Whether files are laid out as LIBERO's are."""
    return _has(path, lambda data: "problem_info" in data.attrs)


def is_robomimic(path: Path) -> bool:
    """Whether files are laid out as robomimic's are, and LIBERO's not."""
    return _has(path, lambda data: "problem_info" not in data.attrs)


def _has(path: Path, says: Callable[[Any], bool]) -> bool:
    files = files_of(path)
    if not files:
        return False
    with open_file(files[0]) as file:
        return "data" in file and bool(_demos(file)) and says(file["data"])


def _demos(file: Any) -> list[str]:
    """Demonstrations in the order of their numbers."""
    names = [name for name, group in file["data"].items() if "actions" in group]
    return sorted(names, key=lambda name: (len(name), name))


def open_robomimic(path: Path, options: SourceOptions) -> Source:
    """Open robomimic's files; see `open_demos`."""
    return open_demos(path, options, ROBOMIMIC_STATE, flipped=False)


def open_libero(path: Path, options: SourceOptions) -> Source:
    """Open LIBERO's files; see `open_demos`."""
    return open_demos(path, options, LIBERO_STATE, flipped=True)


def open_demos(path: Path, options: SourceOptions, usual: tuple[str, ...], flipped: bool) -> Source:
    """Open a file of demonstrations, or all of a folder.

    Raises:
        DataError: a file is broken, holds no demonstration or no pictures.
        UsageError: no rate is told, or an entry that was asked for is not there.
    """
    files = [open_file(each) for each in files_of(path)]
    with reading(str(path)):
        demos = [file["data"][name] for file in files for name in _demos(file)]
    if not demos:
        raise DataError(f"{path} holds no group data/demo_N with actions")
    layout, widths = _layout(path, demos[0], options, usual, flipped)
    told = attribute(demos[0].parent, "env_args")
    env = told if isinstance(told, dict) else {}
    world = SourceWorld(
        _rate(env, options, path),
        tuple(spec for _, spec in layout.images.values()),
        vector_names(layout.action, widths),
        vector_names(layout.state, widths),
        str(env.get("env_name") or ""),
    )
    episodes = [Demo(f"{Path(d.file.filename).name}:{d.name}", d, layout, options) for d in demos]

    def close() -> None:
        for file in files:
            file.close()

    return Source(world, episodes, close)


def _layout(
    path: Path, demo: Any, options: SourceOptions, usual: tuple[str, ...], flipped: bool
) -> tuple[DemoLayout, dict[str, int]]:
    """What the first demonstration shows of all, and {entry: width}."""
    images, widths = sort_pictures(arrays_of(demo))
    seen = {name: size for name, size in images.items() if name.startswith("obs/")}
    told = {name: width for name, width in widths.items() if not name.startswith("next_obs/")}
    observed = {name: width for name, width in told.items() if name.startswith("obs/")}
    columns = options.columns
    cameras = chosen_cameras(seen, columns, path)
    action = chosen_vectors("action", columns.action, ("actions",), told, path)
    state = chosen_vectors("proprioception", columns.state, usual, observed, path)
    return DemoLayout(cameras, action, state, flipped), told


def _rate(env: Mapping[str, Any], options: SourceOptions, path: Path) -> float:
    """Steps a second: those that the environment was controlled at."""
    kwargs = env.get("env_kwargs")
    told = kwargs.get("control_freq") if isinstance(kwargs, dict) else None
    if (rate := options.fps or told) is None:
        raise UsageError(
            f"{path} does not say how many steps a second it has (control_freq of env_args); give "
            "fps=RATE, which is 20 for robosuite and LIBERO"
        )
    return float(rate)


@dataclass(frozen=True, eq=False)
class Demo:
    """A group `data/demo_N`; see `SourceEpisode`."""

    name: str
    group: Any
    layout: DemoLayout
    options: SourceOptions

    def rows(self) -> SourceRows:
        """See `SourceEpisode`."""
        with reading(self.name):
            actions = self._vector(self.layout.action)
            counts = {c: len(self.group[e]) for c, (e, _) in self.layout.images.items()}
            if len(set(counts.values())) > 1:
                raise DataError(f"{self.name}: cameras differ in length: {counts}")
            kept, last = next(iter(counts.values())), self._last
            reward = self._outcome("rewards")
            return rows_of(
                self.name,
                kept + bool(last),
                actions,
                self._states(),
                reward,
                self._success(reward),
                task=self._task(),
                factors={"source": self.name},
            )

    def frames(self) -> Frames:
        """See `SourceEpisode`."""
        with reading(self.name):
            cameras = {c: self.group[entry] for c, (entry, _) in self.layout.images.items()}
            yield from film(cameras, len(next(iter(cameras.values()))), self.layout.flipped)
            if last := self._last:
                ends = {c: self.group[entry] for c, entry in last.items()}
                count = len(next(iter(ends.values())))
                yield from film(ends, count, self.layout.flipped, first=count - 1)

    @property
    def _last(self) -> dict[str, str]:
        """{camera: entry} of what was seen after the last action; empty where that was not kept."""
        entries = {c: f"next_{entry}" for c, (entry, _) in self.layout.images.items()}
        states = [f"next_{entry}" for entry in self.layout.state]
        whole = all(entry in self.group for entry in (*entries.values(), *states))
        return entries if whole else {}

    def _vector(self, entries: tuple[str, ...], rows: slice = slice(None)) -> NDArray[Any]:
        parts = [np.asarray(self.group[entry][rows]) for entry in entries]
        flat = [part.reshape(len(part), -1) for part in parts]
        return np.concatenate(flat, axis=1)

    def _states(self) -> NDArray[Any] | None:
        state = self.layout.state
        if not state:
            return None
        found = self._vector(state)
        if not self._last:
            return found
        end = self._vector(tuple(f"next_{entry}" for entry in state), slice(-1, None))
        return np.concatenate([found, end])

    def _outcome(self, name: str) -> NDArray[Any] | None:
        return np.asarray(self.group[name]) if name in self.group else None

    def _success(self, reward: NDArray[Any] | None) -> Any:
        """Whether each action succeeded: entry or attribute `success`, or rewards of 0 and 1."""
        if (flags := self._outcome("success")) is not None:
            return flags.astype(bool)
        if (whole := self.group.attrs.get("success")) is not None:
            return bool(whole)
        return sparse_success(reward)

    def _task(self) -> str:
        """The instruction: the demonstration's own, or that of the file."""
        for holder in (self.group, self.group.parent):
            told = attribute(holder, "language_instruction")
            if told is None:
                info = attribute(holder, "problem_info")
                told = info.get("language_instruction") if isinstance(info, dict) else None
            if told is not None:
                words = told if isinstance(told, str) else " ".join(map(str, told))
                return words.strip().strip('"')
        return self.options.task
