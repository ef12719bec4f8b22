"""What a world looks like from outside; every part of the package agrees on this."""

from worldsim.spec.action import (
    LIMIT_SLACK,
    ActionFrame,
    ActionKind,
    ActionMode,
    ActionSpec,
    discrete_actions,
)
from worldsim.spec.camera import END_EFFECTOR, EQUIRECTANGULAR, PINHOLE, CameraSpec
from worldsim.spec.world import (
    EE_POSITION,
    EE_ROTATION_6D,
    GRIPPER_WIDTH,
    DepthKind,
    VectorSpec,
    WorldSpec,
)

__all__ = [
    "EE_POSITION",
    "EE_ROTATION_6D",
    "END_EFFECTOR",
    "EQUIRECTANGULAR",
    "GRIPPER_WIDTH",
    "LIMIT_SLACK",
    "PINHOLE",
    "ActionFrame",
    "ActionKind",
    "ActionMode",
    "ActionSpec",
    "CameraSpec",
    "DepthKind",
    "VectorSpec",
    "WorldSpec",
    "discrete_actions",
]
