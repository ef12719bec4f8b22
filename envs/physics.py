"""MuJoCo's model and data: their state, the numbers of a model, and where others' envs keep them.

An env may compile a new model at every reset, so both are looked up anew after each.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from zlib import crc32

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError

Physics = tuple[mujoco.MjModel, mujoco.MjData]
Numbers = dict[str, NDArray[Any]]

_EVERYTHING = mujoco.mjtState.mjSTATE_INTEGRATION
_INSIDE = ("sim", "physics", "env", "_env")
"""Attributes under which wrappers and simulation classes keep what holds model and data."""
_DEEPEST = 3
_ASSETS = ("mesh_", "tex_", "hfield_", "skin_", "flex_", "bvh_", "oct_")
_USES = ("mat_tex",)
_SETTINGS = ("opt", "stat", "vis.headlight", "vis.map", "vis.rgba", "vis.scale")
"""Structs of numbers beside the arrays. The rest of `vis` belongs to whoever draws."""


def physics_of(env: Any) -> Physics | None:
    """The model and data that an env simulates with now; None if it has none (yet).

    Args:
        env: an env without gymnasium wrappers. Found are `model` and `data`, those of a `sim` or
            a `physics` (robosuite, dm_control), and those of an env inside.
    """
    waiting = [(env, 0)]
    for holder, depth in waiting:
        model = _handle(holder, "model", mujoco.MjModel)
        data = _handle(holder, "data", mujoco.MjData)
        if model is not None and data is not None:
            return model, data
        if holder is not None and depth < _DEEPEST:
            waiting += [(read_attribute(holder, name), depth + 1) for name in _INSIDE]
    return None


def read_attribute(holder: Any, name: str) -> Any:
    """An attribute; None if it is absent or cannot be told before the first reset."""
    try:
        return getattr(holder, name, None)
    except Exception:  # a property of somebody else's class
        return None


def _handle(holder: Any, name: str, kind: type) -> Any:
    """`holder.<name>` if it is MuJoCo's own, or MuJoCo's own inside another library's class."""
    value = read_attribute(holder, name)
    found = [value, *(read_attribute(value, inner) for inner in (f"_{name}", "ptr"))]
    return next((one for one in found if isinstance(one, kind)), None)


def get_physics(model: mujoco.MjModel, data: mujoco.MjData) -> NDArray[np.float64]:
    """Everything of `data` that decides what follows, a flat vector."""
    physics = np.empty(mujoco.mj_stateSize(model, _EVERYTHING), np.float64)
    mujoco.mj_getState(model, data, physics, _EVERYTHING)
    return physics


def read_physics(model: mujoco.MjModel, given: Any, where: str) -> NDArray[np.float64]:
    """`get_physics` output as a caller gives it back.

    Raises:
        UsageError: it belongs to a model of another size, or is not finite.
    """
    physics, size = np.asarray(given, np.float64), mujoco.mj_stateSize(model, _EVERYTHING)
    if physics.shape != (size,) or not np.isfinite(physics).all():
        raise UsageError(
            f"state of {where}: physics has shape {physics.shape}, expected ({size},), all finite; "
            "was it taken in another env, or of another scene of this one?"
        )
    return physics


def set_physics(model: mujoco.MjModel, data: mujoco.MjData, physics: NDArray[np.float64]) -> None:
    """Restore `get_physics` output."""
    mujoco.mj_setState(model, data, physics, _EVERYTHING)


def get_numbers(model: mujoco.MjModel) -> Numbers:
    """Copies of every number of a model that a reset may change: poses, sizes, colours, physics.

    Meshes, textures and height fields are left out; `assets` tells whether those changed.
    """
    numbers = {}
    for name, holder, attribute in _places(model):
        numbers[name] = np.array(getattr(holder, attribute))
    return numbers


def set_numbers(model: mujoco.MjModel, numbers: Mapping[str, NDArray[Any]]) -> None:
    """Write `get_numbers` output, or a part of it, into a model of the same sizes.

    Raises:
        UsageError: an array is of another shape than the model's.
    """
    for name, holder, attribute in _places(model):
        if name not in numbers:
            continue
        old, new = getattr(holder, attribute), np.asarray(numbers[name])
        if np.shape(old) != new.shape:
            raise UsageError(
                f"the state's {name} has shape {new.shape}, the model's {np.shape(old)}: the env "
                "has compiled another scene; restore with reset(options={'initial_state': state})"
            )
        if np.ndim(old):
            old[...] = new
        else:
            setattr(holder, attribute, new.item())


def assets(model: mujoco.MjModel) -> int:
    """A checksum of meshes, textures and height fields, which no state holds."""
    return _checksum(model, _ASSETS, 0)


def look(model: mujoco.MjModel, assets: int) -> int:
    """A checksum of all that a renderer is made from: the `assets`, their use, and sizes."""
    sizes = np.array([model.ngeom, model.nsite])
    return _checksum(model, _USES, crc32(sizes.data, assets))


def _checksum(model: mujoco.MjModel, prefixes: tuple[str, ...], start: int) -> int:
    for name in _arrays(prefixes):
        start = crc32(np.ascontiguousarray(getattr(model, name)).data, start)
    return start


@cache
def _arrays(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in sorted(dir(mujoco.MjModel)) if name.startswith(prefixes))


def _places(model: mujoco.MjModel) -> Iterator[tuple[str, Any, str]]:
    """(name, holder, attribute) of each number or array of numbers."""
    for name in dir(model):
        if name.startswith(("_", *_ASSETS)):
            continue
        if isinstance(getattr(model, name), np.ndarray):
            yield name, model, name
    for path in _SETTINGS:
        holder = model
        for part in path.split("."):
            holder = getattr(holder, part)
        for name in dir(holder):
            if not name.startswith("_") and isinstance(
                getattr(holder, name), np.ndarray | int | float
            ):
                yield f"{path}.{name}", holder, name


def show_goal(env: Any, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Let gymnasium-robotics move its goal marker, without touching the physics.

    Args:
        env: without wrappers.
        model: of `env`.
        data: of `env`.
    """
    callback = getattr(env, "_render_callback", None)
    if callback is not None:
        physics = get_physics(model, data)
        callback()
        set_physics(model, data, physics)
