"""Which entries of a privileged state are places in the world, found by their names.

Entries `<name>_x` and `<name>_y` in metres are a point, `<name>_z` its height (on the ground if
absent). `<name>_cos` and `<name>_sin` are its yaw; `<name>_cos4` and `<name>_sin4` are four times
its yaw, for things that look the same after a quarter turn. `<name>_tilt_x` and `<name>_tilt_y`,
without a unit, are the horizontal part of the unit vector that its upper side faces along.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldsim.spec import VectorSpec

MOST_POINTS = 8
"""Points beyond these are left out, so that maps stay small in worlds of many bodies."""


@dataclass(frozen=True)
class ScenePoint:
    """Where a point stands in a state vector.

    Attributes:
        name: what the entries' names begin with.
        x: index of the x coordinate.
        y: index of the y coordinate.
        z: index of the height, or None.
        fold: how many times its yaw the heading turns; 0 without a heading.
        cos: index of the heading's cosine; 0 without a heading.
        sin: index of its sine; 0 without a heading.
        tilt: indices of the tilt along x and y, or None for what stays upright.
    """

    name: str
    x: int
    y: int
    z: int | None = None
    fold: int = 0
    cos: int = 0
    sin: int = 0
    tilt: tuple[int, int] | None = None


def position_entries(spec: VectorSpec) -> dict[str, dict[str, int]]:
    """Entries in metres whose names end in _x, _y or _z: {stem: {axis: index}}."""
    found: dict[str, dict[str, int]] = {}
    for index in spec.indices_in_metres():
        stem, _, axis = spec.names[index].rpartition("_")
        if stem and axis in ("x", "y", "z"):
            found.setdefault(stem, {})[axis] = index
    return found


def scene_points(state: VectorSpec) -> tuple[ScenePoint, ...]:
    """The points of a state, in the order of their names in it."""
    place = {name: i for i, name in enumerate(state.names)}
    points = []
    for stem, axes in position_entries(state).items():
        if not {"x", "y"} <= set(axes):
            continue
        point = ScenePoint(stem, axes["x"], axes["y"], axes.get("z"))
        for fold, suffix in ((1, ""), (4, "4")):
            cos, sin = f"{stem}_cos{suffix}", f"{stem}_sin{suffix}"
            if cos in place and sin in place:
                point = replace(point, fold=fold, cos=place[cos], sin=place[sin])
        lean = state.indices(f"{stem}_tilt_x", f"{stem}_tilt_y")
        if lean is not None:
            point = replace(point, tilt=(lean[0], lean[1]))
        points.append(point)
    return tuple(points[:MOST_POINTS])


def point_positions(state: Tensor, points: tuple[ScenePoint, ...]) -> Tensor:
    """Places of K points `[..., K, 3]` in metres, out of states `[..., S]` in physical units."""
    ground = state.new_zeros(state.shape[:-1])
    each = [
        torch.stack(
            [state[..., p.x], state[..., p.y], ground if p.z is None else state[..., p.z]], -1
        )
        for p in points
    ]
    return torch.stack(each, dim=-2)


def point_headings(state: Tensor, points: tuple[ScenePoint, ...]) -> Tensor:
    """Cosine and sine of `fold` times the yaw, `[..., K, 2]`; zeros without a heading."""
    none = torch.zeros_like(state[..., :2])
    each = [none if not p.fold else state[..., [p.cos, p.sin]] for p in points]
    return torch.stack(each, dim=-2)


def point_poses(state: Tensor, points: tuple[ScenePoint, ...]) -> Tensor:
    """Things to world, `[..., K, 4, 4]`, out of states `[..., S]` in physical units.

    What has no heading lies along the axes of the world, what has no tilt stands upright.
    """
    headings = point_headings(state, points)
    fold = state.new_tensor([max(point.fold, 1) for point in points])
    yaw = torch.atan2(headings[..., 1], headings[..., 0]) / fold
    flat = torch.zeros_like(state[..., :2])
    leans = [flat if p.tilt is None else state[..., list(p.tilt)] for p in points]
    lean = torch.stack(leans, dim=-2)
    rise = (1.0 - lean.square().sum(dim=-1, keepdim=True)).clamp_min(0.0).sqrt()
    up = torch.nn.functional.normalize(torch.cat([lean, rise], dim=-1), dim=-1)
    ahead = torch.stack([yaw.cos(), yaw.sin(), torch.zeros_like(yaw)], dim=-1)
    ahead = ahead - (ahead * up).sum(dim=-1, keepdim=True) * up
    ahead = torch.nn.functional.normalize(ahead, dim=-1)
    axes = torch.stack([ahead, torch.linalg.cross(up, ahead), up], dim=-1)
    upper = torch.cat([axes, point_positions(state, points)[..., None]], dim=-1)
    last = state.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*upper.shape[:-2], 1, 4)
    return torch.cat([upper, last], dim=-2)
