"""What one view of shown frames sees: some pixels of its depth, as points in the world.

Legend: N rows, P points, a b pixels down and across, H W size of the depth.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from worldsim.cameras.depth import convert_depth, unproject
from worldsim.cameras.projection import Projection, in_camera, scale_intrinsics
from worldsim.memory.base import ShownFrames
from worldsim.memory.depth import Depth

THROUGH = 0.1
"""Share of its depth by which a frame must see further than a point to say that it is gone."""


@dataclass(frozen=True, eq=False)
class Surface:
    """One view of one frame, of whose depth some pixels are taken.

    Attributes:
        metres: `[N, a, b]` of the projection's kind, 0 where unknown.
        row: `[a]` of the latent's cell of each pixel.
        column: `[b]`.
        intrinsics: `[N, 3, 3]` in these pixels.
        pose: `[N, 4, 4]`.
        projection: of the camera.
    """

    metres: Tensor
    row: Tensor
    column: Tensor
    intrinsics: Tensor
    pose: Tensor
    projection: Projection

    def of_rows(self, rows: list[int]) -> "Surface":
        """The same of some rows."""
        parts = {name: getattr(self, name)[rows] for name in ("metres", "intrinsics", "pose")}
        return replace(self, **parts)

    @property
    def apart(self) -> Tensor:
        """`[N, a, b]` metres from the camera."""
        kind = self.projection.depth
        return convert_depth(self.metres, kind, "radial", self.projection, self.intrinsics)

    @property
    def points(self) -> Tensor:
        """`[N, a b, 3]` in the world."""
        kind = self.projection.depth
        found = unproject(self.metres, kind, self.intrinsics, self.pose, self.projection)
        return found.flatten(1, 2)

    def pixels(self, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Rows `[a]` and columns `[b]` of its pixels in an image of `size`, as many apart."""
        steps = (size[0] // self.metres.shape[1], size[1] // self.metres.shape[2])
        device = self.metres.device
        rows, columns = (
            torch.arange(step // 2, whole, step, device=device)
            for step, whole in zip(steps, size, strict=True)
        )
        return rows, columns

    def looks_through(self, place: Tensor) -> Tensor:
        """`[N, P]` bool, whether it sees clearly further than points `[N, P, 3]`, and all round."""
        high, wide = self.metres.shape[1:]
        # The least depth around: at the edge of a thing nobody knows which of both is seen.
        around = -functional.max_pool2d(-self.metres[:, None], 3, stride=1, padding=1)
        local = in_camera(place, self.pose)
        pixel, depth = self.projection.project(local, self.intrinsics[:, None])
        column, row = pixel.floor().unbind(-1)
        if self.projection.wrap:
            column, row = column.remainder(wide), row.clamp(0, high - 1)
        inside = (column >= 0) & (column < wide) & (row >= 0) & (row < high) & (depth > 0)
        index = torch.where(inside, row * wide + column, 0.0).long()
        return inside & (depth < (1 - THROUGH) * around.flatten(1).gather(1, index))


def surface(
    shown: ShownFrames,
    depth: Depth,
    which: tuple[int, int],
    there: Tensor,
    projection: Projection,
    detail: int,
) -> Surface:
    """What a view of shown frames sees: `detail` pixels along each side of a latent's cell, or all.

    Args:
        shown: frames of N rows.
        depth: of them.
        which: frame and view.
        there: `[N]` bool, rows whose view is known.
        projection: of the view.
        detail: pixels along the side of a cell.
    """
    (frame, view), (high, wide) = which, shown.latents.shape[-2:]
    metres = depth.metres[:, frame, view].float()
    whole = metres.shape[-1] / wide
    step = max(metres.shape[-2] // (high * detail), 1)
    intrinsics = scale_intrinsics(shown.cameras.intrinsics[:, view].float(), whole)
    metres = convert_depth(metres, depth.kind, projection.depth, projection, intrinsics)
    first = step // 2
    rows, columns = (
        torch.arange(first, size, step, device=metres.device) for size in metres.shape[-2:]
    )
    # The same camera, of whose image every `step`-th pixel is left.
    intrinsics = scale_intrinsics(intrinsics, 1.0 / step)
    intrinsics[..., :2, 2] += 0.5 - (first + 0.5) / step
    metres = metres[:, first::step, first::step]
    known = metres.isfinite() & (metres > 0) & there[:, None, None]
    metres = torch.where(known, metres, torch.zeros_like(metres))
    cells = [((each + 0.5) / whole).long() for each in (rows, columns)]
    pose = shown.cameras.pose[:, frame, view].float()
    return Surface(metres, cells[0], cells[1], intrinsics, pose, projection)
