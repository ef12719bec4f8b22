"""Where imagined episodes begin: a data set, a simulator, or given frames.

Legend: V view, H, W pixels, P proprioception, S state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.conventions import stack_views
from worldsim.errors import UsageError
from worldsim.geometry.cameras import CameraRig
from worldsim.specs import WorldSpec

if TYPE_CHECKING:
    from worldsim.data.selection import Selection

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Start:
    """One first observation, and what is needed to begin the same episode in the simulator.

    Attributes:
        pixels: uint8 `[V, H, W, 3]`.
        agent_pos: `[P]`.
        task: instruction text.
        rig: camera calibration, or None if unknown.
        state: `[S]` privileged state; empty if unknown.
        seed: given to the simulator's reset, or None where there was none.
        factors: factors of variation.
        views: `[V]` bool, False for cameras that are missing; None: all are there.
    """

    pixels: NDArray[np.uint8]
    agent_pos: Float
    task: str
    rig: CameraRig | None = None
    state: Float = field(default_factory=lambda: np.zeros(0, np.float32))
    seed: int | None = None
    factors: dict[str, Any] = field(default_factory=dict)
    views: NDArray[np.bool_] | None = None


class StartSource(Protocol):
    """Draws starts and turns a caller's `initial_state` into one.

    Attributes:
        spec: the world the starts are of.
        observation_space: the simulator env's own, or None where there is no simulator.
    """

    spec: WorldSpec
    observation_space: spaces.Dict | None

    def draw(self, rng: np.random.Generator) -> Start:
        """A start, by `rng` alone."""
        ...

    def from_state(self, state: Any) -> Start:
        """The start that `reset(options={"initial_state": state})` asks for."""
        ...


def start_of_observation(
    state: Any, spec: WorldSpec, where: str = "options['initial_state']"
) -> Start:
    """A `Start` out of an observation of one env.

    Args:
        state: a `Start`, or a mapping with `pixels` ({camera: uint8 [H, W, 3]} or uint8
            `[V, H, W, 3]`), `agent_pos`, and optionally `task` and `rig`.
        spec: the world it must fit.
        where: what is being read, for messages.

    Raises:
        UsageError: something is missing or of another shape.
    """
    if isinstance(state, Start):
        _check_first(state.pixels, state.agent_pos, spec, where)
        return state
    if not isinstance(state, Mapping) or not {"pixels", "agent_pos"} <= set(state):
        given = sorted(state) if isinstance(state, Mapping) else type(state).__name__
        raise UsageError(f"{where}: expected a Start, or pixels and agent_pos, got {given}")
    frames = state["pixels"]
    if isinstance(frames, Mapping):
        frames = stack_views(frames, spec.camera_names)
    frames = np.asarray(frames)
    agent_pos = np.asarray(state["agent_pos"], np.float32)
    _check_first(frames, agent_pos, spec, where)
    return Start(frames, agent_pos, str(state.get("task", "")), state.get("rig"))


def _check_first(frames: NDArray[np.uint8], agent_pos: Float, spec: WorldSpec, where: str) -> None:
    """Refuse a first observation that does not fit `spec`.

    Raises:
        UsageError: see above.
    """
    camera = spec.cameras[0]
    expected = (len(spec.cameras), camera.height, camera.width, 3)
    if frames.dtype != np.uint8 or frames.shape != expected:
        raise UsageError(
            f"{where}: pixels are {frames.dtype} {frames.shape}, expected uint8 {expected} for "
            f"cameras {', '.join(spec.camera_names)}"
        )
    if agent_pos.shape != (spec.agent_pos.dim,) or not np.isfinite(agent_pos).all():
        raise UsageError(
            f"{where}: agent_pos must be {spec.agent_pos.dim} finite numbers "
            f"({', '.join(spec.agent_pos.names)}), got {agent_pos.tolist()}"
        )


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
        from worldsim.data.clips import episodes_of
        from worldsim.data.dataset import LeRobotDataset

        if split not in ("train", "val", "all"):
            raise UsageError(f"DatasetStarts: split {split!r} is unknown; known: train, val, all")
        self._data = LeRobotDataset(root, selection)
        self.spec = resized_spec(self._data, size)
        self.episodes = episodes_of(self._data.num_episodes, split)
        if not self.episodes:
            raise UsageError(f"{root} has no episode in split {split!r}; try split='all'")
        self._read: dict[int, Start] = {}

    def draw(self, rng: np.random.Generator) -> Start:
        """The start of an episode of the split, evenly."""
        return self.episode(self.episodes[int(rng.integers(len(self.episodes)))])

    def from_state(self, state: Any) -> Start:
        """An observation, or an episode's number."""
        if isinstance(state, int | np.integer):
            return self.episode(int(state))
        return start_of_observation(state, self.spec)

    def episode(self, index: int) -> Start:
        """The start of episode `index`."""
        from worldsim.data.cache_writer import resize, resized_rig

        if index not in self._read:
            camera, arrays = self.spec.cameras[0], self._data.arrays(index)
            first = {
                name: resize(self._data.frames(index, name, 1), camera.height, camera.width)[0]
                for name in self._data.spec.camera_names
            }
            meta = self._data.meta(index)
            rig = meta.rig
            self._read[index] = Start(
                stack_views(first, self.spec.camera_names),
                arrays["agent_pos"][0],
                self._data.task(index),
                None if rig is None else resized_rig(rig, self._data.spec, self.spec),
                arrays["state"][0],
                meta.seed,
                meta.factors,
                np.array([self._has(index, name, frame) for name, frame in first.items()]),
            )
        return self._read[index]

    def _has(self, index: int, camera: str, first: NDArray[np.uint8]) -> bool:
        """Whether episode `index` has a camera; padding is black in all of its frames."""
        from worldsim.data.cache import is_black

        return not (is_black(first) and is_black(self._data.frames(index, camera)).all())


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
        if not hasattr(simulator, "spec_world") or not hasattr(type(simulator), "camera_rig"):
            raise UsageError(f"{env_id} is no simulator env of worldsim; it tells no world spec")
        self.spec: WorldSpec = simulator.spec_world
        self.max_episode_steps = int(simulator.max_episode_steps)
        observation_space = self._env.observation_space
        assert isinstance(observation_space, spaces.Dict)
        self.observation_space: spaces.Dict | None = observation_space

    def draw(self, rng: np.random.Generator) -> Start:
        """The start of a random seed."""
        return self.seeded(int(rng.integers(2**31)))

    def seeded(self, seed: int, factors: Mapping[str, Any] | None = None) -> Start:
        """The start that the simulator's `reset(seed=seed)` gives."""
        fixed = {**self.factors, **(factors or {})}
        return self._start(seed, {"factors": fixed} if fixed else {}, fixed)

    def from_state(self, state: Any) -> Start:
        """A state from the simulator's `get_state()`, a seed, or an observation."""
        if isinstance(state, int | np.integer):
            return self.seeded(int(state))
        if isinstance(state, Mapping) and "physics" in state:
            factors = dict(state.get("factors") or {})
            return self._start(int(state.get("seed", 0)), {"initial_state": state}, factors)
        return start_of_observation(state, self.spec)

    def _start(self, seed: int, options: dict[str, Any], factors: dict[str, Any]) -> Start:
        observation, info = self._env.reset(seed=seed, options=options)
        simulator: Any = self._env.unwrapped
        return Start(
            stack_views(observation["pixels"], self.spec.camera_names),
            np.asarray(observation["agent_pos"], np.float32),
            str(observation["task"]),
            simulator.camera_rig,
            np.asarray(info["state"], np.float32),
            seed,
            factors,
        )

    def close(self) -> None:
        """Close the simulator."""
        self._env.close()


def stack_rigs(starts: Sequence[Start]) -> dict[str, NDArray[Any]] | None:
    """Calibration of N starts as `Stream.reset` takes it; intrinsics of what is unknown are 0.

    None if nothing is known.
    """
    known = next((start.rig for start in starts if start.rig is not None), None)
    if known is None:
        return None
    blank = {
        "intrinsics": np.zeros_like(known.intrinsics, np.float32),
        "extrinsics": np.zeros_like(known.extrinsics, np.float32),
        "mounted": np.zeros_like(known.mounted),
    }
    rigs = [blank if start.rig is None else vars(start.rig) for start in starts]
    return {
        name: np.stack([np.asarray(rig[name], value.dtype) for rig in rigs])
        for name, value in blank.items()
    }


def stack_views_seen(starts: Sequence[Start]) -> NDArray[np.bool_] | None:
    """Which cameras N starts have, `[N, V]`, as `Stream.reset` takes it; None: all of them."""
    if all(start.views is None for start in starts):
        return None
    return np.stack([np.ones(len(s.pixels), bool) if s.views is None else s.views for s in starts])


def stack_states(starts: Sequence[Start], read: Float) -> Float:
    """Privileged states of N starts `[N, S]`; the unknown ones as `read` `[N, S]` has them."""
    return np.stack(
        [
            start.state if start.state.shape == row.shape else row
            for start, row in zip(starts, read, strict=True)
        ]
    )
