"""The parallel-jaw gripper: Cartesian target, servo commands, measured pose."""

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.envs.tabletop.scene import (
    CONTROL_HZ,
    OPEN_WIDTH,
    TIMESTEP,
    WORKSPACE_HIGH,
    WORKSPACE_LOW,
)
from worldsim.spec import EE_POSITION, EE_ROTATION_6D, GRIPPER_WIDTH, ActionSpec, VectorSpec

STEP_METRES = 0.03
STEP_RADIANS = 0.2
YAW_LIMIT = 1.2
"""Reach of the wrist in radians either way; enough to meet any face of a cube squarely."""

ACTION = ActionSpec(
    names=("dx", "dy", "dz", "dyaw", "grip"),
    low=(-1.0,) * 5,
    high=(1.0,) * 5,
    units=("m", "m", "m", "rad", "1"),
    scale=(STEP_METRES, STEP_METRES, STEP_METRES, STEP_RADIANS, 1.0),
    mode="delta",
    frame="world",
)
"""The first four displace the target pose; grip sets the opening, -1 closed to +1 open."""

AGENT_POS = VectorSpec(
    names=(*EE_POSITION, *EE_ROTATION_6D, GRIPPER_WIDTH),
    units=("m",) * 3 + ("1",) * 6 + ("m",),
)

_SUBSTEPS = round(1.0 / (CONTROL_HZ * TIMESTEP))
_RAMP_SUBSTEPS = int(0.7 * _SUBSTEPS)
"""The target moves evenly over this part of a step; the rest lets the servo catch up."""
_MAX_LEAD = np.array([0.002, 0.002, 0.002, 0.02])
"""How far a blocked gripper's target stays ahead of it, metres and radians: enough to press with
all its force downwards, too little to be a state of its own that no observation shows."""

_LOW = np.array([*WORKSPACE_LOW, -YAW_LIMIT])
_HIGH = np.array([*WORKSPACE_HIGH, YAW_LIMIT])
_SCALE = np.array(ACTION.scale)


class Gripper:
    """Drives the hand of one scene.

    The target pose is the servo command itself (`data.ctrl`), so that the physics state holds it.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model, self._data = model, data
        names = ("hand_x", "hand_y", "hand_z", "hand_yaw", "finger_left", "finger_right")
        self._qpos = np.array([model.joint(name).qposadr[0] for name in names])
        self._ctrl = np.array([model.actuator(name).id for name in names])
        self._site = model.site("ee").id

    @property
    def joints(self) -> NDArray[np.float64]:
        """Measured x, y, z (m), yaw (rad), left and right finger (m)."""
        return np.array(self._data.qpos[self._qpos])

    @property
    def pose(self) -> NDArray[np.float64]:
        """End effector to world, `[4, 4]`."""
        pose = np.eye(4)
        pose[:3, :3] = self._data.site_xmat[self._site].reshape(3, 3)
        pose[:3, 3] = self._data.site_xpos[self._site]
        return pose

    def agent_pos(self) -> NDArray[np.float32]:
        """Measured position, first two columns of the rotation, finger distance: `[10]`."""
        pose, joints = self.pose, self.joints
        width = joints[4] + joints[5]
        return np.array([*pose[:3, 3], *pose[:3, 0], *pose[:3, 1], width], np.float32)

    def place(self, position: NDArray[np.float64], yaw: float, width: float) -> None:
        """Put the gripper somewhere at rest, its target there too."""
        joints = np.array([*position, yaw, width / 2, width / 2])
        self._data.qpos[self._qpos] = joints
        self._data.ctrl[self._ctrl] = joints

    def step(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Carry out one checked action `[5]`; returns what was achieved, normalised alike."""
        before = self.joints
        ctrl = self._data.ctrl
        start = np.clip(ctrl[self._ctrl[:4]], before[:4] - _MAX_LEAD, before[:4] + _MAX_LEAD)
        goal = np.clip(start + np.asarray(action[:4], np.float64) * _SCALE[:4], _LOW, _HIGH)
        ctrl[self._ctrl[4:]] = (float(action[4]) + 1.0) * OPEN_WIDTH / 4.0
        for substep in range(1, _RAMP_SUBSTEPS + 1):
            ctrl[self._ctrl[:4]] = start + (goal - start) * (substep / _RAMP_SUBSTEPS)
            mujoco.mj_step(self._model, self._data)
        ctrl[self._ctrl[:4]] = goal
        mujoco.mj_step(self._model, self._data, _SUBSTEPS - _RAMP_SUBSTEPS)
        after = self.joints
        moved = (after[:4] - before[:4]) / _SCALE[:4]
        opening = 2.0 * (after[4] + after[5]) / OPEN_WIDTH - 1.0
        return np.array([*moved, opening], np.float32)
