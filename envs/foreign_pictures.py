"""A source without MuJoCo: it shows pictures of its own, and its seed and actions restore it."""

import warnings
from typing import Any

import cv2
import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.envs.foreign_actions import make_codec
from worldsim.envs.foreign_drawing import NamedCamera, flipped, read_camera
from worldsim.envs.foreign_entries import (
    Entry,
    Readings,
    Returned,
    entries_of,
    is_grey,
    is_image,
    numbers_of_observation,
)
from worldsim.envs.foreign_memory import PythonMemory
from worldsim.envs.foreign_scene import SceneRequest, State, Vector
from worldsim.envs.foreign_sight import read_requests
from worldsim.envs.foreign_source import ask
from worldsim.envs.foreign_success import make_task
from worldsim.envs.global_draws import GlobalDraws
from worldsim.errors import QualityWarning, UsageError
from worldsim.spec import CameraSpec, DepthKind, VectorSpec

RENDER = "render"
"""The camera that is the source's own `render()`."""
_MEASURED = ("agent_pos", "proprio", "proprioception")
"""Entries of an observation that are a robot's own by their name."""


class PictureScene:
    """See `Scene`.

    Args:
        env: the source, reset once.
        request: what the user says of it.
        draws: its own state of the global generators.
        example: what that reset returned.

    Raises:
        UsageError: it shows no picture, or something that was asked for is not there.
    """

    restores = False
    keeps_readings = False

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        request: SceneRequest,
        draws: GlobalDraws,
        example: Returned,
    ) -> None:
        self._env, self._name, self._draws = env, request.name, draws
        if request.geom_groups is not None or request.end_effector is not None:
            raise UsageError(
                f"{request.name} is no MuJoCo environment, so env.geom_groups and env.end_effector "
                "mean nothing there; leave them out"
            )
        self._cameras = _cameras(request, example, env)
        self._pose, self._depth = read_requests(request.pose, request.depth)
        self._seen = example
        self._check_sight(env, example)
        self._agent_pos, self._state = _readings(request, example)
        self.agent_pos, self.state = self._agent_pos.spec, self._state.spec
        if self._pose is not None:
            own, more = self.agent_pos, self._pose.measured
            self.agent_pos = VectorSpec(own.names + more.names, own.units + more.units)
        self.codec = make_codec(env.action_space, request.action_request, self.agent_pos.names)
        self.task = make_task(env, request.success)
        self._memory = PythonMemory(env, draws)

    @property
    def tells_poses(self) -> bool:
        """See `Scene`."""
        return self._pose is not None

    @property
    def depth_kind(self) -> DepthKind | None:
        """See `Scene`."""
        return None if self._depth is None else self._depth.kind

    def _check_sight(self, env: gymnasium.Env[Any, Any], example: Returned) -> None:
        """Read pose and depth once.

        Raises:
            UsageError: one cannot be read, or does not go with the cameras.
        """
        flips = [camera.name for camera in self._cameras if camera.flip != "none"]
        if self._pose is not None and flips:
            raise UsageError(f"env.pose does not go with turned pictures, cameras {flips}")
        if self._depth is not None and len(self._cameras) > 1:
            raise UsageError(
                f"env.depth is of one camera, and {self._name} has {len(self._cameras)}; name one "
                "in env.cameras"
            )
        if self._pose is not None:
            self._pose.pose(example)
        if self._depth is not None:
            self.depth(example, 8)

    def cameras(self, size: int) -> tuple[CameraSpec, ...]:
        """See `Scene`."""
        carrier = None if self._pose is None else self._pose.carrier
        return tuple(CameraSpec(each.name, size, size, carrier=carrier) for each in self._cameras)

    def adopt(self) -> None:
        """See `Scene`."""

    def refresh(self) -> None:
        """See `Scene`."""

    def measure(self, returned: Returned) -> Vector:
        """See `Scene`."""
        self._seen = returned
        measured = self._agent_pos.read(returned)
        if self._pose is None:
            return measured
        return np.concatenate([measured, self._pose.measure(returned)])

    def privileged(self, returned: Returned) -> Vector:
        """See `Scene`."""
        return self._state.read(returned)

    def draw(self, returned: Returned, size: int) -> dict[str, NDArray[np.uint8]]:
        """See `Scene`; pictures of another size or shape are resized.

        Raises:
            UsageError: what should be a picture is none.
        """
        pictures = {}
        for camera in self._cameras:
            if camera.source == RENDER:
                failed = f"{self._name} failed in render"
                found = np.asarray(ask(self._env.render, self._draws, failed))
            else:
                found = np.asarray(Entry.parse(camera.source).find(returned))
            if is_grey(found):
                found = np.repeat(found, 3, axis=-1)
            if not is_image(found):
                raise UsageError(
                    f"camera {camera.name!r} of {self._name}: {camera.source} is {found.dtype} "
                    f"{found.shape}, expected uint8 [H, W, 3] or [H, W, 1]"
                )
            pictures[camera.name] = flipped(_resized(found, size), camera.flip)
        return pictures

    def rig(self, size: int) -> CameraRig | None:
        """See `Scene`: without a pose nobody knows how these pictures were taken."""
        if self._pose is None:
            return None
        return self._pose.rig(tuple(each.name for each in self._cameras), size, self._seen)

    def poses(self) -> Vector:
        """See `Scene`."""
        if self._pose is None:
            raise NotImplementedError("no camera has a pose")
        return np.stack([self._pose.pose(self._seen)] * len(self._cameras))

    def depth(self, returned: Returned, size: int) -> Vector:
        """See `Scene`."""
        assert self._depth is not None, "the caller has looked for its kind"
        request, failed = self._depth, f"{self._name} failed to tell depth"
        env, draws = self._env.unwrapped, self._draws
        found: Vector = ask(lambda: request.read(env, size, returned), draws, failed)
        return flipped(found, self._cameras[0].flip)[None]

    def achieved(self, command: Vector, before: Vector, now: Vector) -> Vector:
        """See `Scene`: not known, so what was commanded."""
        return command.copy()

    def rewind(self, seed: int) -> None:
        """See `Scene`."""
        self._memory.begin_again(seed)

    def get_state(self) -> State:
        """No physics: seed and actions tell the rest."""
        return {"physics": np.zeros(0, np.float64)}

    def set_state(self, state: State) -> None:
        """See `Scene`."""
        raise NotImplementedError("its seed and actions are played again")


def _cameras(
    request: SceneRequest, example: Returned, env: gymnasium.Env[Any, Any]
) -> tuple[NamedCamera, ...]:
    """The cameras that were asked for; else the pictures observed; else what the env renders.

    Raises:
        UsageError: one is no picture of this env, or there is none.
    """
    entries = entries_of(example)
    images = [name for name, array in entries.items() if is_image(array)]
    renders = env.render_mode == "rgb_array"
    grey = [name for name, array in entries.items() if is_grey(array)]
    known = [*images, *grey, *([RENDER] if renders else [])]
    if isinstance(request.cameras, str):
        raise UsageError(f"cameras must be a list, got {request.cameras!r}")
    wanted = request.cameras or images or ([RENDER] if renders else [])
    if not wanted:
        raise UsageError(
            f"{request.name} shows no picture: it is no MuJoCo environment, its observation holds "
            "no uint8 [H, W, 3], and it has no render mode rgb_array; give it one, perhaps by "
            "env.source_kwargs"
        )
    cameras = [read_camera(each) for each in wanted]
    for camera in cameras:
        if not isinstance(camera, NamedCamera) or camera.source not in known:
            asked = camera.source if isinstance(camera, NamedCamera) else "a place to look from"
            raise UsageError(
                f"camera {camera.name!r} of {request.name}: {asked} is no picture of this env, "
                f"which is no MuJoCo environment; known: {', '.join(known) or 'none'}"
            )
    names = [camera.name for camera in cameras]
    if len(set(names)) != len(names):
        raise UsageError(f"camera names must differ, got {names}")
    return tuple(camera for camera in cameras if isinstance(camera, NamedCamera))


def _readings(request: SceneRequest, example: Returned) -> tuple[Readings, Readings]:
    """Proprioception and privileged state: as asked for, else by their names, else all numbers."""
    numbers, measured = numbers_of_observation(example), request.proprioception
    if measured is None:
        measured = [name for name in numbers if name.rpartition(".")[2] in _MEASURED]
        if not measured:
            warnings.warn(
                f"{request.name} tells no proprioception, so policies and world models have "
                "pictures alone; env.proprioception=[ENTRY] names what a robot would measure, "
                f"known: {', '.join(entries_of(example)) or 'none'}",
                QualityWarning,
                stacklevel=2,
            )
    state = request.state
    if state is None:
        state = [name for name in numbers if name not in measured]
    return Readings(measured, example), Readings(state, example)


def _resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if image.shape[:2] == (size, size):
        return np.array(image)
    smaller = size < min(image.shape[:2])
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), np.uint8)
