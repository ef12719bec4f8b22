"""A source without MuJoCo: it shows pictures of its own, and its seed and actions restore it."""

import warnings
from typing import Any

import cv2
import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.envs.foreign_actions import make_codec
from worldsim.envs.foreign_drawing import NamedCamera, flipped, read_camera
from worldsim.envs.foreign_entries import (
    Entry,
    Readings,
    Returned,
    entries_of,
    is_image,
    numbers_of_observation,
)
from worldsim.envs.foreign_memory import PythonMemory
from worldsim.envs.foreign_scene import SceneRequest, State, Vector
from worldsim.envs.foreign_source import ask
from worldsim.envs.foreign_success import make_task
from worldsim.envs.global_draws import GlobalDraws
from worldsim.errors import QualityWarning, UsageError
from worldsim.spec import CameraSpec

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
    tells_poses = False
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
        self._agent_pos, self._state = _readings(request, example)
        self.agent_pos, self.state = self._agent_pos.spec, self._state.spec
        self.codec = make_codec(env.action_space, request.action_request, self.agent_pos.names)
        self.task = make_task(env, request.success)
        self._memory = PythonMemory(env, draws)

    def cameras(self, size: int) -> tuple[CameraSpec, ...]:
        """See `Scene`."""
        return tuple(CameraSpec(camera.name, size, size) for camera in self._cameras)

    def adopt(self) -> None:
        """See `Scene`."""

    def refresh(self) -> None:
        """See `Scene`."""

    def measure(self, returned: Returned) -> Vector:
        """See `Scene`."""
        return self._agent_pos.read(returned)

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
            if not is_image(found):
                raise UsageError(
                    f"camera {camera.name!r} of {self._name}: {camera.source} is {found.dtype} "
                    f"{found.shape}, expected uint8 [H, W, 3]"
                )
            pictures[camera.name] = flipped(_resized(found, size), camera.flip)
        return pictures

    def rig(self, size: int) -> None:
        """See `Scene`: nobody knows how these pictures were taken."""
        return None

    def poses(self) -> Vector:
        """See `Scene`."""
        raise NotImplementedError("no camera has a pose")

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
    images = [name for name, array in entries_of(example).items() if is_image(array)]
    renders = env.render_mode == "rgb_array"
    known = [*images, *([RENDER] if renders else [])]
    if isinstance(request.cameras, str):
        raise UsageError(f"cameras must be a list, got {request.cameras!r}")
    wanted = request.cameras or images or known
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
