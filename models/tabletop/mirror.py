"""Reflections of a world: which entries of its vectors change their sign.

A table, a hand with two like fingers and a cube look the same in a mirror, so that every recorded
motion is evidence for its reflections too. Whether a world is symmetric is for its user to say.
"""

from worldsim.cameras.poses import position_entries
from worldsim.errors import UsageError
from worldsim.spec import EE_ROTATION_6D, GRIPPER_WIDTH, ActionSpec, VectorSpec

AXES = ("x", "y")
_HEADINGS = {"_cos": ("x",), "_sin": ("y",), "_cos4": (), "_sin4": AXES}
"""Axes that turn the sign of what a heading's entry is called by."""
_ACTIONS = {"dx": ("x",), "dy": ("y",), "dz": (), "dyaw": AXES, "grip": ()}


def mirrored_vector(spec: VectorSpec, axis: str) -> list[float]:
    """Factors +1 or -1 of the entries of a vector when `axis` of the world is turned over.

    Raises:
        UsageError: no such axis, or an entry whose reflection is not known from its name.
    """
    _check(axis)
    places = {i for axes in position_entries(spec).values() for i in axes.values()}
    signs = []
    for index, name in enumerate(spec.names):
        if index in places:
            signs.append(-1.0 if name.endswith("_" + axis) else 1.0)
        elif name in EE_ROTATION_6D:
            # R becomes M R M, M being the reflection: entries with one index on the axis turn.
            row, column = (AXES + ("z",))[int(name[-2]) - 1], AXES[int(name[-1]) - 1]
            signs.append(-1.0 if (row == axis) != (column == axis) else 1.0)
        elif (ending := name[name.rfind("_") :]) in _HEADINGS:
            signs.append(-1.0 if axis in _HEADINGS[ending] else 1.0)
        elif name.endswith(("_tilt_x", "_tilt_y")):
            signs.append(-1.0 if name.endswith("_" + axis) else 1.0)
        elif name == GRIPPER_WIDTH:
            signs.append(1.0)
        else:
            raise UsageError(f"how {name!r} looks in a mirror is not known; set dynamics.mirror=[]")
    return signs


def mirrored_action(spec: ActionSpec, axis: str) -> list[float]:
    """The same for an action.

    Raises:
        UsageError: no such axis, an entry of unknown reflection, or actions in the hand's frame.
    """
    _check(axis)
    unknown = sorted(set(spec.names) - set(_ACTIONS))
    if unknown or spec.frame != "world":
        raise UsageError(
            f"how actions {spec.names} in the frame {spec.frame!r} look in a mirror is not known; "
            "set dynamics.mirror=[]"
        )
    return [-1.0 if axis in _ACTIONS[name] else 1.0 for name in spec.names]


def _check(axis: str) -> None:
    if axis not in AXES:
        raise UsageError(f"mirror axis {axis!r} is unknown; known: {AXES}")
