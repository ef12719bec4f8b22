"""What a foreign MuJoCo model's action, proprioception and state mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.envs.foreign_actions import ActionCodec, ActionRequest, make_codec, renamed
from worldsim.errors import UsageError
from worldsim.spec import EE_POSITION, EE_ROTATION_6D, GRIPPER_WIDTH, VectorSpec

Vector = NDArray[np.float32]

_JOINT, _SITE = mujoco.mjtObj.mjOBJ_JOINT, mujoco.mjtObj.mjOBJ_SITE
_QUATERNION = (("_qw", "1"), ("_qx", "1"), ("_qy", "1"), ("_qz", "1"))
_TURNING = (("_wx", "rad/s"), ("_wy", "rad/s"), ("_wz", "rad/s"))
_PLACE = (("_x", "m"), ("_y", "m"), ("_z", "m"))
_MOVING = (("_vx", "m/s"), ("_vy", "m/s"), ("_vz", "m/s"))
_LAYOUTS = {
    mujoco.mjtJoint.mjJNT_FREE: ((*_PLACE, *_QUATERNION), (*_MOVING, *_TURNING)),
    mujoco.mjtJoint.mjJNT_BALL: (_QUATERNION, _TURNING),
    mujoco.mjtJoint.mjJNT_SLIDE: ((("", "m"),), (("", "m/s"),)),
    mujoco.mjtJoint.mjJNT_HINGE: ((("", "rad"),), (("", "rad/s"),)),
}
"""Name suffixes and units of a joint's positions, and of its velocities."""


@dataclass(frozen=True)
class EndEffector:
    """A robot whose first three action dimensions displace a site in the world.

    Attributes:
        site: the model's site between the fingers.
        metres: displacement for an action of 1.
        fingers: slide joints whose positions add up to the gripper's width, or two sites whose
            distance is the width.
        hidden_bodies: bodies that steer the arm and are no part of the scene; not drawn.
    """

    site: str
    metres: float
    fingers: tuple[str, ...] = ()
    hidden_bodies: tuple[str, ...] = ()

    def hide_bodies(self, model: mujoco.MjModel) -> None:
        """Make the geoms of `hidden_bodies` transparent."""
        for name in self.hidden_bodies:
            body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
            model.geom_rgba[model.geom_bodyid == body, 3] = 0.0


FETCH = EndEffector(
    "robot0:grip",
    0.05,
    ("robot0:l_gripper_finger_joint", "robot0:r_gripper_finger_joint"),
    ("robot0:mocap",),
)
"""gymnasium-robotics' Fetch: `fetch_env.py` scales the position action by 0.05."""


@dataclass(frozen=True)
class Readout:
    """A vector read from the simulation.

    Attributes:
        spec: names and units.
        read: float32 `[spec.dim]` from up-to-date kinematics.
    """

    spec: VectorSpec
    read: Callable[[mujoco.MjData], Vector]


def find_end_effector(
    model: mujoco.MjModel, requested: EndEffector | None, action_dim: int
) -> EndEffector | None:
    """The requested end effector, else Fetch's if the model has it, else None.

    Raises:
        UsageError: the requested site or fingers are not in the model, or A is below 3.
    """
    chosen = requested
    if chosen is None:
        chosen = FETCH if mujoco.mj_name2id(model, _SITE, FETCH.site) >= 0 else None
    if chosen is None:
        return None
    if mujoco.mj_name2id(model, _SITE, chosen.site) < 0 or action_dim < 3:
        raise UsageError(
            f"end_effector: the model must have the site {chosen.site!r} and at least three "
            f"action dimensions (it has {action_dim})"
        )
    missing = [name for name in chosen.fingers if mujoco.mj_name2id(model, _JOINT, name) < 0]
    if missing and not _are_sites(model, chosen.fingers):
        raise UsageError(f"end_effector: the model has no joints {missing}, nor two such sites")
    return chosen


def _are_sites(model: mujoco.MjModel, names: Sequence[str]) -> bool:
    """Whether names are those of two sites."""
    return len(names) == 2 and all(mujoco.mj_name2id(model, _SITE, name) >= 0 for name in names)


def _width(model: mujoco.MjModel, names: Sequence[str]) -> Callable[[mujoco.MjData], Any]:
    """What reads the gripper's width `[1]`, or `[0]` of an arm without fingers."""
    if _are_sites(model, names):
        left, right = (mujoco.mj_name2id(model, _SITE, name) for name in names)
        return lambda data: [np.linalg.norm(data.site_xpos[left] - data.site_xpos[right])]
    places = [int(model.jnt_qposadr[mujoco.mj_name2id(model, _JOINT, name)]) for name in names]
    return lambda data: data.qpos[places].sum(keepdims=True) if places else []


def mujoco_codec(
    space: spaces.Space[Any],
    model: mujoco.MjModel,
    effector: EndEffector | None,
    request: ActionRequest,
    measured: Sequence[str],
    stride: int,
) -> ActionCodec:
    """The codec of an action, with what the model tells of a vector's meaning.

    Args:
        space: the source's.
        model: whose actuators name the dimensions.
        effector: whose displacement the first three dimensions are.
        request: what the user says; that goes before the model.
        measured: names of proprioception.
        stride: steps of the source for which an action is repeated.

    Raises:
        UsageError: see `make_codec`.
    """
    codec = make_codec(space, request, measured)
    if request != ActionRequest() or not isinstance(space, spaces.Box) or len(space.shape) != 1:
        return codec
    half = np.asarray(codec.spec.scale, np.float64)
    size = len(half)
    if effector is not None:
        rest = size - 3
        names = ("dx", "dy", "dz", *(("grip",) if rest == 1 else _numbered("action", rest, 3)))
        scale = [*(stride * effector.metres * half[:3]), *half[3:]]
        units = ("m",) * 3 + ("1",) * rest
        meaning: dict[str, Any] = {"mode": "delta", "frame": "world", "units": units}
        return renamed(codec, names=names, scale=tuple(map(float, scale)), **meaning)
    torques = model.nu == size and np.all(model.actuator_biastype == mujoco.mjtBias.mjBIAS_NONE)
    meaning = {"mode": "torque", "frame": "joint"} if torques else {}
    return renamed(codec, names=_actuator_names(model, size), **meaning)


def proprioception(model: mujoco.MjModel, effector: EndEffector | None) -> Readout:
    """End-effector position, rotation (6-D) and gripper width, or the actuated joints."""
    if effector is None:
        return joints(model, _actuated(model))
    site = mujoco.mj_name2id(model, _SITE, effector.site)
    read_width = _width(model, effector.fingers)
    width = (GRIPPER_WIDTH,) if effector.fingers else ()

    def read(data: mujoco.MjData) -> Vector:
        rotation = data.site_xmat[site].reshape(3, 3)
        parts = [data.site_xpos[site], rotation[:, 0], rotation[:, 1], read_width(data)]
        return np.concatenate(parts).astype(np.float32)

    return Readout(
        VectorSpec(
            (*EE_POSITION, *EE_ROTATION_6D, *width), ("m",) * 3 + ("1",) * 6 + ("m",) * len(width)
        ),
        read,
    )


def joints(model: mujoco.MjModel, indices: Sequence[int]) -> Readout:
    """Positions, then velocities, of the given joints."""
    positions, velocities = list[int](), list[int]()
    entries: tuple[list[tuple[str, str]], ...] = ([], [])
    for index in indices:
        name = mujoco.mj_id2name(model, _JOINT, index) or f"joint{index}"
        layout = _LAYOUTS[mujoco.mjtJoint(int(model.jnt_type[index]))]
        for label, found, parts in zip(("qpos", "qvel"), entries, layout, strict=True):
            found += [(f"{label}_{name}{suffix}", unit) for suffix, unit in parts]
        first = int(model.jnt_qposadr[index]), int(model.jnt_dofadr[index])
        positions += range(first[0], first[0] + len(layout[0]))
        velocities += range(first[1], first[1] + len(layout[1]))
    both = entries[0] + entries[1]
    spec = VectorSpec(tuple(name for name, _ in both), tuple(unit for _, unit in both))

    def read(data: mujoco.MjData) -> Vector:
        return np.concatenate([data.qpos[positions], data.qvel[velocities]]).astype(np.float32)

    return Readout(spec, read)


def goal_spec(size: int) -> VectorSpec:
    """Names of achieved and desired goal, `[2 * size]`; three dimensions are metres."""
    axes = ("x", "y", "z") if size == 3 else tuple(str(i) for i in range(size))
    names = [f"{kind}_goal_{axis}" for kind in ("achieved", "desired") for axis in axes]
    return VectorSpec(tuple(names), ("m" if size == 3 else "1",) * (2 * size))


def _numbered(stem: str, count: int, start: int = 0) -> tuple[str, ...]:
    return tuple(f"{stem}_{i}" for i in range(start, start + count))


def _actuator_names(model: mujoco.MjModel, size: int) -> tuple[str, ...]:
    if model.nu != size:
        return _numbered("action", size)
    kind = mujoco.mjtObj.mjOBJ_ACTUATOR
    names = []
    for index in range(size):
        joint = mujoco.mj_id2name(model, _JOINT, int(model.actuator_trnid[index, 0]))
        names.append(mujoco.mj_id2name(model, kind, index) or joint or f"action_{index}")
    return tuple(names) if len(set(names)) == size else _numbered("action", size)


def _actuated(model: mujoco.MjModel) -> list[int]:
    """Joints with an actuator, in the model's order; all joints if no actuator drives a joint."""
    drives = model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT
    chosen = sorted({int(index) for index in model.actuator_trnid[drives, 0]})
    return chosen or list(range(model.njnt))
