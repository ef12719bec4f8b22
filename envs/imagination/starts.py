"""Where imagined episodes begin: a data set, a simulator, or given frames.

Legend: V view, H, W pixels, P proprioception, S state.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from inspect import getattr_static
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.conventions import stack_views
from worldsim.data.channels import extra_channels
from worldsim.envs.imagination.start import Start, start_of_observation
from worldsim.errors import UsageError
from worldsim.spec import WorldSpec

if TYPE_CHECKING:
    from worldsim.data.selection import Selection


class StartSource(Protocol):
    """Draws starts and turns a caller's `initial_state` into one.

    Attributes:
        spec: the world the starts are of.
        observation_space: the simulator env's own, or None where there is no simulator.
        rig: calibration that all of its starts share, or None; a source may lack the attribute.
    """

    spec: WorldSpec
    observation_space: spaces.Dict | None

    def draw(self, rng: np.random.Generator) -> Start:
        """A start, by `rng` alone."""
        ...

    def from_state(self, state: Any) -> Start:
        """The start that `reset(options={"initial_state": state})` asks for."""
        ...


def _shared_rig(rigs: Iterable[CameraRig | None]) -> CameraRig | None:
    """The one rig that all of them are, or None; stops at the first that differs."""
    first: CameraRig | None = None
    for rig in rigs:
        if rig is None or (first is not None and not first.agrees_with(rig)):
            return None
        first = first or rig
    return first


class FrameStarts:
    """Starts from given first observations, drawn at random.

    Args:
        starts: at least one, as `start_of_observation` reads them.
        spec: the world they must fit.
    """

    observation_space: spaces.Dict | None = None

    def __init__(self, starts: Sequence[Any], spec: WorldSpec) -> None:
        if not starts:
            raise UsageError("FrameStarts: no starts were given")
        self.spec = spec
        self.starts = [start_of_observation(s, spec, f"start {i}") for i, s in enumerate(starts)]

    @cached_property
    def rig(self) -> CameraRig | None:
        """Calibration that all of them share, or None."""
        return _shared_rig(start.rig for start in self.starts)

    def draw(self, rng: np.random.Generator) -> Start:
        """One of them, evenly."""
        return self.starts[int(rng.integers(len(self.starts)))]

    def from_state(self, state: Any) -> Start:
        """An observation, or the number of one of the given starts."""
        if isinstance(state, int | np.integer):
            if not 0 <= int(state) < len(self.starts):
                raise UsageError(f"initial_state {state}: there are {len(self.starts)} starts")
            return self.starts[int(state)]
        return start_of_observation(state, self.spec)


class DatasetStarts:
    """Starts from the first frames of a LeRobot data set's episodes.

    Args:
        root: folder of the data set.
        split: "val" (what training holds out), "train" (the others) or "all".
        size: (height, width) that frames are resized to, as the model's were; None keeps theirs.
        selection: which episodes, and which columns are what; None takes all as it is named.

    Raises:
        DataError: the data set cannot be read.
        UsageError: the split is unknown or empty, or cameras differ in size and `size` is None.
    """

    observation_space: spaces.Dict | None = None

    def __init__(
        self,
        root: Path | str,
        split: Literal["train", "val", "all"] = "val",
        size: tuple[int, int] | None = None,
        selection: "Selection | None" = None,
    ) -> None:
        from worldsim.data.cache_writer import resized_spec
        from worldsim.data.dataset import LeRobotDataset
        from worldsim.data.split import episodes_of

        if split not in ("train", "val", "all"):
            raise UsageError(f"DatasetStarts: split {split!r} is unknown; known: train, val, all")
        self._data = LeRobotDataset(root, selection)
        self.spec = resized_spec(self._data, size)
        self.episodes = episodes_of(self._data.folds, split)
        if not self.episodes:
            raise UsageError(f"{root} has no episode in split {split!r}; try split='all'")
        self._read: dict[int, Start] = {}

    @cached_property
    def rig(self) -> CameraRig | None:
        """Calibration that all episodes of the split share, or None."""
        return _shared_rig(self._rig(episode) for episode in self.episodes)

    def draw(self, rng: np.random.Generator) -> Start:
        """The start of an episode of the split, evenly."""
        return self.episode(self.episodes[int(rng.integers(len(self.episodes)))])

    def from_state(self, state: Any) -> Start:
        """An observation, or an episode's number."""
        if isinstance(state, int | np.integer):
            return self.episode(int(state))
        return start_of_observation(state, self.spec)

    def seed(self, index: int) -> int | None:
        """The simulator's seed of episode `index`; None where none was recorded."""
        return self._data.meta(index).seed

    def episode(self, index: int) -> Start:
        """The start of episode `index`."""
        from worldsim.data.cache_writer import resize

        if index not in self._read:
            camera, arrays = self.spec.cameras[0], self._data.arrays(index)
            first = {
                name: resize(self._data.frames(index, name, 1)[0], camera.height, camera.width)
                for name in self._data.spec.camera_names
            }
            meta = self._data.meta(index)
            self._read[index] = Start(
                stack_views(first, self.spec.camera_names),
                arrays["agent_pos"][0],
                self._data.task(index),
                self._rig(index),
                arrays["state"][0],
                meta.seed,
                meta.factors,
                np.array([self._has(index, name, frame) for name, frame in first.items()]),
                extras=self._extras(arrays),
            )
        return self._read[index]

    def _extras(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The first row of every optional channel, as the cache has it."""
        from worldsim.data.cache_writer import resize_nearest

        size, rows = (self.spec.cameras[0].height, self.spec.cameras[0].width), {}
        for name, (channel, _) in extra_channels(self.spec).items():
            row = np.asarray(arrays[name][0], np.float32)
            rows[name] = resize_nearest(row, *size) if channel.per_pixel else row
        return rows

    def _rig(self, index: int) -> CameraRig | None:
        from worldsim.data.cache_writer import resized_rig

        rig = self._data.meta(index).rig
        return None if rig is None else resized_rig(rig, self._data.spec, self.spec)

    def _has(self, index: int, camera: str, first: NDArray[np.uint8]) -> bool:
        """Whether episode `index` has a camera; padding is black in all of its frames."""
        from worldsim.data.cache import is_black

        return not is_black(first) or not all(map(is_black, self._data.each_frame(index, camera)))


class SimulatorStarts:
    """Starts rendered by a simulator env, which is made on first use.

    Args:
        env_id: a registered simulator env.
        kwargs: for its constructor.
        factors: factors of variation fixed in every start.
    """

    def __init__(
        self,
        env_id: str,
        kwargs: Mapping[str, Any] | None = None,
        factors: Mapping[str, Any] | None = None,
    ) -> None:
        from worldsim.envs import make

        self.env_id, self.kwargs, self.factors = env_id, dict(kwargs or {}), dict(factors or {})
        self._env: gymnasium.Env[Any, Any] = make(env_id, **self.kwargs)
        simulator: Any = self._env.unwrapped
        if not _tells_world(simulator):
            self._env.reset(seed=0)  # some set their attributes only there
        if not _tells_world(simulator):
            self._env.close()
            raise UsageError(
                f"{env_id} is no simulator env of worldsim: it has no `spec_world` or no "
                "`camera_rig`, not even after a reset"
            )
        self.spec: WorldSpec = simulator.spec_world
        self.max_episode_steps = int(simulator.max_episode_steps)
        observation_space = self._env.observation_space
        assert isinstance(observation_space, spaces.Dict)
        self.observation_space: spaces.Dict | None = observation_space

    @cached_property
    def rig(self) -> CameraRig | None:
        """Calibration that two seeds share, or None where each episode has cameras of its own."""
        return _shared_rig(self.seeded(seed).rig for seed in (0, 1))

    def draw(self, rng: np.random.Generator) -> Start:
        """The start of a random seed."""
        return self.seeded(int(rng.integers(2**31)))

    def seeded(self, seed: int) -> Start:
        """The start that the simulator's `reset(seed=seed)` gives."""
        return self._start(seed, {"factors": self.factors} if self.factors else {}, self.factors)

    def from_state(self, state: Any) -> Start:
        """A state from the simulator's `get_state()`, a seed, or an observation."""
        if isinstance(state, int | np.integer):
            return self.seeded(int(state))
        if isinstance(state, Mapping) and "physics" in state:
            factors = dict(state.get("factors") or {})
            seed = state.get("seed")
            return self._start(
                None if seed is None else int(seed), {"initial_state": state}, factors
            )
        return start_of_observation(state, self.spec)

    def _start(self, seed: int | None, options: dict[str, Any], factors: dict[str, Any]) -> Start:
        # Of an episode that nobody seeded the state says all; 0 keeps the rest repeatable.
        observation, info = self._env.reset(seed=0 if seed is None else seed, options=options)
        simulator: Any = self._env.unwrapped
        return Start(
            stack_views(observation["pixels"], self.spec.camera_names),
            np.asarray(observation["agent_pos"], np.float32),
            str(observation["task"]),
            simulator.camera_rig,
            np.asarray(info["state"], np.float32),
            seed,
            factors,
            drawn=True,
            extras={name: info[name] for name in extra_channels(self.spec) if name in info},
        )

    def close(self) -> None:
        """Close the simulator."""
        self._env.close()


def _tells_world(simulator: Any) -> bool:
    """Whether class or instance has what a simulator env tells.

    Nothing is read: before the first reset, a property may refuse to tell.
    """
    missing = object()
    parts = ("spec_world", "camera_rig")
    return all(getattr_static(simulator, part, missing) is not missing for part in parts)
