"""What the adapter asks of a source, whatever simulates it, and what a user may say of one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.config.compose import build
from worldsim.config.limits import Limit
from worldsim.envs.foreign_actions import ActionCodec, ActionRequest
from worldsim.envs.foreign_attributes import public_method
from worldsim.envs.foreign_drawing import CameraRequest
from worldsim.envs.foreign_entries import Entry, Returned
from worldsim.envs.foreign_success import SuccessRequest, Task
from worldsim.errors import UsageError
from worldsim.spec import CameraSpec, DepthKind, VectorSpec, WorldSpec

Vector = NDArray[np.float32]
State = dict[str, Any]
_TOLD = Limit("{key: ENTRY} or {method: NAME}", lambda told: set(told) in ({"key"}, {"method"}))
TaskRequest = str | Annotated[Mapping[str, Any], _TOLD] | None
"""A text, `{key: ENTRY}` or `{method: NAME}` of the source; None: its id."""


@dataclass(frozen=True)
class SceneRequest:
    """What the user says of a source; see `ForeignEnv` for each.

    Attributes:
        name: of the source, for messages.
        cameras: in view order.
        end_effector: of a Cartesian-controlled arm.
        success: what counts as success.
        geom_groups: groups of shapes to draw.
        action: see `ActionRequest`.
        proprioception: entries that a robot measures; None: what the scene knows.
        state: entries of the simulator's state; None: what the scene knows.
        stride: steps of the source for which an action is repeated.
        pose: where the camera of a source without MuJoCo stands, see `PoseRequest`.
        depth: of its pixels, see `DepthRequest`.
    """

    name: str
    cameras: Sequence[CameraRequest] = ()
    end_effector: Mapping[str, Any] | None = None
    success: SuccessRequest = None
    geom_groups: Sequence[int] | None = None
    action: Mapping[str, Any] | None = None
    proprioception: Sequence[str] | None = None
    state: Sequence[str] | None = None
    stride: int = 1
    pose: Mapping[str, Any] | None = None
    depth: Mapping[str, Any] | None = None

    @property
    def action_request(self) -> ActionRequest:
        """`action`, checked.

        Raises:
            UsageError: a key or value does not fit.
        """
        return build(ActionRequest, dict(self.action or {}), "env.action")


class Scene(Protocol):
    """One source, read and drawn."""

    @property
    def codec(self) -> ActionCodec:
        """Of its actions."""
        ...

    @property
    def task(self) -> Task:
        """Judge of the episode."""
        ...

    @property
    def agent_pos(self) -> VectorSpec:
        """Names of proprioception."""
        ...

    @property
    def state(self) -> VectorSpec:
        """Names of the privileged state."""
        ...

    @property
    def tells_poses(self) -> bool:
        """Whether some camera moves by itself, so that every frame has its pose."""
        ...

    @property
    def depth_kind(self) -> DepthKind | None:
        """Kind of the depth that it tells; None if it tells none."""
        ...

    @property
    def restores(self) -> bool:
        """Whether `set_state` works; else seed and actions are played again."""
        ...

    @property
    def keeps_readings(self) -> bool:
        """Whether what it reads goes with the step that returned it, so that a state holds it."""
        ...

    def cameras(self, size: int) -> tuple[CameraSpec, ...]:
        """The cameras, with square pictures of `size` pixels."""
        ...

    def adopt(self) -> None:
        """Go on with what the source simulates after a reset."""
        ...

    def refresh(self) -> None:
        """Bring poses up to date with what the source stepped to."""
        ...

    def measure(self, returned: Returned) -> Vector:
        """Proprioception `[P]`."""
        ...

    def privileged(self, returned: Returned) -> Vector:
        """The privileged state `[S]`."""
        ...

    def draw(self, returned: Returned, size: int) -> dict[str, NDArray[np.uint8]]:
        """{camera: uint8 [size, size, 3]}."""
        ...

    def rig(self, size: int) -> CameraRig | None:
        """Calibration of the cameras where they stand now; None where nobody knows it."""
        ...

    def poses(self) -> Vector:
        """`[V, 4, 4]` cameras to world."""
        ...

    def depth(self, returned: Returned, size: int) -> Vector:
        """`[V, size, size]`, metres."""
        ...

    def achieved(self, command: Vector, before: Vector, now: Vector) -> Vector:
        """What became of `command` `[A]`, from proprioception `[P]` before and after it."""
        ...

    def rewind(self, seed: int) -> None:
        """Forget earlier episodes, and seed all that draws."""
        ...

    def get_state(self) -> State:
        """What `set_state` restores."""
        ...

    def set_state(self, state: State) -> None:
        """Restore `get_state` output."""
        ...


def world_of(scene: Scene, fps: float, size: int) -> WorldSpec:
    """The world that is recorded, with pictures of `size` x `size` pixels."""
    return WorldSpec(
        fps=fps,
        cameras=scene.cameras(size),
        action=scene.codec.spec,
        agent_pos=scene.agent_pos,
        state=scene.state,
        camera_pose=scene.tells_poses,
        depth=scene.depth_kind,
    )


def kept_readings(
    kept: Sequence[NDArray[np.float64]], spec: WorldSpec, name: str
) -> tuple[Vector, Vector]:
    """Proprioception `[P]` and privileged state `[S]` as a state holds them.

    Raises:
        UsageError: they are not of this env's sizes.
    """
    if [len(values) for values in kept] != [spec.agent_pos.dim, spec.state.dim]:
        raise UsageError(
            f"state of {name}: readings of {[len(values) for values in kept]} numbers, expected "
            f"{[spec.agent_pos.dim, spec.state.dim]}; was it taken in another env?"
        )
    return kept[0].astype(np.float32), kept[1].astype(np.float32)


def require_same_world(made: WorldSpec, now: WorldSpec, name: str) -> None:
    """Refuse an env that a reset turned into one of another robot or scene.

    Raises:
        UsageError: says what differs.
    """
    parts = ("action", "agent_pos", "state")
    if changed := [part for part in parts if getattr(made, part) != getattr(now, part)]:
        raise UsageError(
            f"after a reset {name} has another {' and '.join(changed)}: "
            + "; ".join(f"{getattr(made, n)} when made, {getattr(now, n)} now" for n in changed)
            + ". All episodes of a data set have the same; fix the scene with source_kwargs"
        )


def instruction(request: TaskRequest, name: str, env: Any) -> Callable[[Returned], str]:
    """What tells an episode's instruction from the source's reset.

    Args:
        request: the user's.
        name: of the source.
        env: without wrappers; has the method that is named.

    Raises:
        UsageError: the request is of another form, or there is no such method.
    """
    if request is None or isinstance(request, str):
        text = request or name
        return lambda returned: text
    given = dict(request)
    if set(given) == {"key"}:
        entry = Entry.parse(str(given["key"]))
        return lambda returned: _text(entry.find(returned), request)
    if set(given) != {"method"}:
        raise UsageError(
            f"env.task is {given}; expected a text, {{key: ENTRY}} of what the env returns, or "
            f"{{method: NAME}} of {type(env).__name__}"
        )
    method = public_method(env, str(given["method"]), "env.task")
    return lambda returned: _text(method(), request)


def _text(value: Any, request: TaskRequest) -> str:
    found = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    if not isinstance(found, str | np.str_):
        raise UsageError(f"env.task {request} of the env gives {type(value).__name__}, no text")
    return str(found)
