"""How a panorama is read from the six faces of a cube that lie side by side in one image.

Every face is a pixel wider than its quarter turn on each edge, so that no sample crosses one.

Legend: H W pixels of the panorama.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Array = NDArray[np.float64]

FINE = 2
"""Samples of a pixel along each axis."""
BORDER = 1
FLAT = 2e-3
"""Share of the inverse depth by which four neighbours on one plane may leave it."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """How a panorama is read from six faces side by side.

    Attributes:
        side: pixels of a face, its border counted.
        faces: axes `[6, 3, 3]` of the faces in the panorama's axes.
        fine: column and row `[2H, 2W]` of colour samples, as OpenCV counts pixels.
        corners: `[4, H, W]` flat indices of the pixels around each depth sample.
        weights: `[4, H, W]` of a bilinear reading.
        stretch: `[H, W]` radial over planar depth.
    """

    side: int
    faces: Array
    fine: tuple[Float, Float]
    corners: NDArray[np.int64]
    weights: Float
    stretch: Float

    def radial(self, inverse: Float) -> Float:
        """Radial depth `[H, W]` of inverse planar depth of all faces.

        Inverse depth is linear over the image of a plane, so on planes a bilinear reading of it is
        exact. Across edges the nearest pixel is read, for what lies between is nowhere.
        """
        around = inverse.reshape(-1)[self.corners]
        flat = np.abs(around[0] + around[3] - around[1] - around[2]) < FLAT * around.max(axis=0)
        nearest = np.take_along_axis(around, self.weights.argmax(axis=0)[None], axis=0)[0]
        read = np.where(flat, (self.weights * around).sum(axis=0), nearest)
        found: Float = (self.stretch / read).astype(np.float32)
        return found


@lru_cache(maxsize=4)
def resampling(size: int) -> Resampling:
    """For panoramas of `size` rows, with faces as fine as their finest samples."""
    from worldsim.cameras.sphere import CubePlaces, face_rotations, on_cube, sphere_rays

    quarter = size * FINE // 2
    side = quarter + 2 * BORDER

    def places(fineness: int) -> CubePlaces:
        rays = sphere_rays(size * fineness, 2 * size * fineness).movedim(0, -1).double()
        return on_cube(rays, quarter, BORDER)

    fine, plain = places(FINE), places(1)
    across = fine.pixel.numpy() - 0.5 + np.stack([fine.face * side, 0 * fine.face], axis=-1)
    pixel = plain.pixel.numpy() - 0.5
    low = np.floor(pixel).astype(np.int64)
    share = (pixel - low).astype(np.float32)
    left = low[..., 0] + plain.face.numpy() * side
    row, width = low[..., 1], 6 * side
    corners = np.stack([(row + j) * width + left + i for j in (0, 1) for i in (0, 1)])
    x, y = share[..., 0], share[..., 1]
    weights = np.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y])
    return Resampling(
        side,
        face_rotations().numpy().astype(np.float64),
        (across[..., 0].astype(np.float32), across[..., 1].astype(np.float32)),
        corners,
        weights,
        plain.stretch.numpy().astype(np.float32),
    )
