"""Which pixels of a frame were seen before, decided by true depth: reproject, and test the depth.

A pixel's point is projected into every earlier frame. It was seen there if its depth is what that
frame saw at the place: the inverse depth of the four pixels around it, interpolated, which is
linear on planes; or, at the edges of things, the depth of one of the four.

Legend: T frames of a walk, L later ones, E earlier ones, V views, H W pixels, P points.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldsim.cameras.depth import convert_depth, unproject
from worldsim.cameras.projection import Projection, project
from worldsim.spec import DepthKind

SAME, SLANTED = 0.02, 0.04
"""Share of its depth by which a point may be off that of a pixel, and off what is interpolated."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the frames of a walk were taken, and what they saw.

    Attributes:
        depth: `[T, V, H, W]` metres, of the kind that each view's projection gives; 0 unknown.
        intrinsics: `[V, 3, 3]` in pixels.
        poses: `[T, V, 4, 4]` camera to world.
        projections: of the V cameras.
    """

    depth: Tensor
    intrinsics: Tensor
    poses: Tensor
    projections: tuple[Projection, ...]

    @staticmethod
    def of(
        depth: Tensor,
        kind: DepthKind,
        intrinsics: Tensor,
        poses: Tensor,
        projections: tuple[Projection, ...],
    ) -> "Geometry":
        """The same of depth of any kind, NaN or infinite where it is unknown."""
        views = [
            convert_depth(depth[:, v].double(), kind, each.depth, each, intrinsics[v].double())
            for v, each in enumerate(projections)
        ]
        metres = torch.stack(views, dim=1)
        known = metres.isfinite() & (metres > 0)
        metres = torch.where(known, metres, torch.zeros_like(metres))
        return Geometry(metres, intrinsics.double(), poses.double(), projections)

    def points(self, frame: int) -> Tensor:
        """World points `[V H W, 3]` of a frame's pixels; those of unknown depth mean nothing."""
        views = [
            unproject(
                self.depth[frame, v], each.depth, self.intrinsics[v], self.poses[frame, v], each
            )
            for v, each in enumerate(self.projections)
        ]
        return torch.stack(views).flatten(0, 2)


@dataclass(frozen=True, eq=False)
class Sight:
    """What earlier frames saw of points.

    Attributes:
        seen: `[E, P]` bool.
        view: `[E, P]` which of the views saw it.
        pixel: `[E, P, 2]` column and row there, centres at half integers.
    """

    seen: Tensor
    view: Tensor
    pixel: Tensor


def sight(geometry: Geometry, points: Tensor, known: Tensor, earlier: int) -> Sight:
    """Which of the first `earlier` frames saw points.

    Args:
        geometry: of the walk.
        points: `[P, 3]`.
        known: `[P]` bool, points that mean something.
        earlier: E.
    """
    found: Sight | None = None
    for v, projection in enumerate(geometry.projections):
        pixel, depth = project(
            points, geometry.intrinsics[v], geometry.poses[:earlier, v, None], projection
        )
        seen = known & (depth > 0)
        seen = seen & _agrees(geometry.depth[:earlier, v], pixel, depth, projection.wrap)
        one = Sight(seen, torch.full_like(seen, v, dtype=torch.long), pixel)
        found = one if found is None else _either(found, one)
    assert found is not None
    return found


def _agrees(depth: Tensor, pixel: Tensor, metres: Tensor, wrap: bool) -> Tensor:
    """Whether frames of `depth` `[E, H, W]` saw `metres` `[E, P]` at `pixel` `[E, P, 2]`.

    Not beside the image, nor next to unknown depth.
    """
    high, wide = depth.shape[1:]
    column, row = pixel[..., 0], pixel[..., 1]
    inside = pixel.isfinite().all(-1) & (row >= 0) & (row <= high)
    if wrap:
        column = column.remainder(wide)
    inside = inside & (column >= 0) & (column <= wide)
    column, row = ((each - 0.5).nan_to_num().clamp(-1, 1e6) for each in (column, row))
    left, top = column.floor(), row.floor()
    flat, inverse = depth.flatten(1), torch.zeros_like(metres)
    near = torch.zeros_like(inside)
    for down in (0, 1):
        for across in (0, 1):
            x, y = (left + across).long(), (top + down).long().clamp(0, high - 1)
            x = x.remainder(wide) if wrap else x.clamp(0, wide - 1)
            value = flat.gather(1, y * wide + x)
            share = (1 - (column - left - across).abs()) * (1 - (row - top - down).abs())
            inverse = inverse + share / value.clamp_min(1e-9)
            near = near | ((metres - value).abs() <= SAME * value)
            inside = inside & (value > 0)
    return inside & (near | ((metres * inverse - 1).abs() <= SLANTED))


def _either(one: Sight, other: Sight) -> Sight:
    """What either of two views saw; the first goes before."""
    first = one.seen
    return Sight(
        first | other.seen,
        torch.where(first, one.view, other.view),
        torch.where(first[..., None], one.pixel, other.pixel),
    )


@dataclass(frozen=True, eq=False)
class Regions:
    """Pixels of L later frames by what was seen of them before, each bool `[L, V, H, W]`.

    Attributes:
        seen: in the first visit.
        returned: in the first visit, and then by none of `gap` frames in a row or more.
        never: by no earlier frame.
        frame: `[L, V, H, W]` frame of the first visit that stood nearest to what it saw; -1: none.
        view: of that frame.
        pixel: `[L, V, H, W, 2]` there.
    """

    seen: Tensor
    returned: Tensor
    never: Tensor
    frame: Tensor
    view: Tensor
    pixel: Tensor

    def masks(self) -> dict[str, Tensor]:
        """Every region by its name, and all pixels."""
        return {
            "all": torch.ones_like(self.seen),
            "seen": self.seen,
            "returned": self.returned,
            "never": self.never,
        }


def regions(geometry: Geometry, back: int, gap: int) -> Regions:
    """What of the frames from `back` on was seen before.

    Args:
        geometry: of the walk.
        back: first frame after the first visit.
        gap: frames in a row in which what returned was out of sight.
    """
    found = [_region(geometry, frame, back, gap) for frame in range(back, len(geometry.depth))]
    shape = (len(found), *geometry.depth.shape[1:])
    names = Regions.__dataclass_fields__
    parts = {name: torch.stack([getattr(each, name) for each in found]) for name in names}
    pixel = parts.pop("pixel").reshape(*shape, 2)
    return Regions(**{name: part.reshape(shape) for name, part in parts.items()}, pixel=pixel)


def _region(geometry: Geometry, frame: int, back: int, gap: int) -> Regions:
    """`Regions` of one frame, flat."""
    known = geometry.depth[frame].flatten() > 0
    points = geometry.points(frame)
    whole = sight(geometry, points, known, frame)
    first = replace(whole, seen=whole.seen[:back])
    seen = first.seen.any(0)
    unseen = _longest_unseen(whole.seen)
    away = (geometry.poses[:back, 0, None, :3, 3] - points).norm(dim=-1)
    source = away.masked_fill(~first.seen, torch.inf).argmin(0)
    index = torch.arange(len(points))
    return Regions(
        seen,
        seen & (unseen >= gap),
        known & ~whole.seen.any(0),
        torch.where(seen, source, -1),
        whole.view[source, index],
        whole.pixel[source, index],
    )


def _longest_unseen(seen: Tensor) -> Tensor:
    """Most frames in a row `[P]` that do not see a point after one has, of `seen` `[E, P]`."""
    longest = torch.zeros(seen.shape[1], dtype=torch.long)
    run, begun = torch.zeros_like(longest), torch.zeros_like(seen[0])
    for now in seen:
        begun = begun | now
        run = torch.where(now | ~begun, 0, run + 1)
        longest = torch.maximum(longest, run)
    return longest


def carried(frames: Tensor, found: Regions, geometry: Geometry) -> Tensor:
    """What the first visit showed, where later frames see it again: uint8 `[L, V, H, W, 3]`.

    Args:
        frames: uint8 `[T, V, H, W, 3]` of a stream along the walk.
        found: where in them to look; elsewhere the result is black.
        geometry: of the walk.
    """
    high, wide = frames.shape[2:4]
    column, row = found.pixel[..., 0] - 0.5, found.pixel[..., 1] - 0.5
    left, top = column.floor(), row.floor()
    wraps = torch.tensor([each.wrap for each in geometry.projections])[found.view]
    total = torch.zeros(*found.frame.shape, 3, dtype=torch.float64)
    for down in (0, 1):
        for across in (0, 1):
            x, y = (left + across).nan_to_num().long(), (top + down).nan_to_num().long()
            x = torch.where(wraps, x.remainder(wide), x.clamp(0, wide - 1))
            share = (1 - (column - left - across).abs()) * (1 - (row - top - down).abs())
            value = frames[found.frame.clamp_min(0), found.view, y.clamp(0, high - 1), x]
            total += share.nan_to_num()[..., None] * value
    total = total * (found.frame >= 0)[..., None]
    return total.round().clamp(0, 255).to(torch.uint8)
