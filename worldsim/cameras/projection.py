"""Projections: which direction falls on which pixel, and the reverse.

Camera frames are OpenCV's (x right, y down, z forward). Pixel (u, v) of an H x W image has its
centre at half integers: u = column + 0.5, v = row + 0.5. Intrinsics are K `[..., 3, 3]` in pixels
per unit of what a projection has on its axes: the tangent of an angle for a pinhole, radians for
an equirectangular image. So cropping and resizing change K alike. Poses are `[..., 4, 4]` camera
to world, in metres.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from worldsim.registry import Registry
from worldsim.spec import EQUIRECTANGULAR, PINHOLE, CameraSpec, DepthKind


class Projection(ABC):
    """How directions fall on an image.

    Attributes:
        wrap: whether the left and right edges of a whole image meet.
        depth: the kind of depth that `project` gives.
    """

    wrap: ClassVar[bool]
    depth: ClassVar[DepthKind]

    @abstractmethod
    def rays(self, intrinsics: Tensor, rotations: Tensor, height: int, width: int) -> Tensor:
        """Unit directions `[..., 3, height, width]` of the pixel centres.

        Args:
            intrinsics: `[..., 3, 3]`, of a `height` x `width` image.
            rotations: `[..., 3, 3]` from the camera's frame to the frame of the directions.
            height: rows of the image.
            width: columns of the image.
        """

    @abstractmethod
    def project(self, points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        """Points `[..., 3]` in the camera's frame to pixels `[..., 2]` and depth `[...]`, metres.

        Where the depth is not positive, the point is not seen and the pixel means nothing.
        """

    @abstractmethod
    def area_weight(self, height: int, width: int) -> Tensor:
        """Weights `[height, width]` of mean 1, by the solid angle of each pixel of a whole image.

        A mean over pixels with these weights is a mean over directions. Images that do not cover
        the sphere weigh all pixels alike, as metrics of images do.
        """


PROJECTIONS: Registry[Projection] = Registry("projection")


class Pinhole(Projection):
    """u = fx x/z + cx, v = fy y/z + cy."""

    wrap = False
    depth = "planar"

    def rays(self, intrinsics: Tensor, rotations: Tensor, height: int, width: int) -> Tensor:
        grid = pixel_grid(height, width, rotations)
        inverse = torch.linalg.inv(intrinsics)
        directions = torch.einsum("...ij,...jk,hwk->...hwi", rotations, inverse, grid)
        return torch.nn.functional.normalize(directions, dim=-1).movedim(-1, -3)

    def project(self, points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        depth = points[..., 2]
        safe = torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)
        normalised = torch.cat(
            [points[..., :2] / safe[..., None], torch.ones_like(depth)[..., None]], -1
        )
        return torch.einsum("...ij,...j->...i", intrinsics, normalised)[..., :2], depth

    def area_weight(self, height: int, width: int) -> Tensor:
        return torch.ones(height, width)


class Equirectangular(Projection):
    """u = fx longitude + cx, v = fy latitude + cy, angles in radians.

    This is the equidistant cylindrical projection with the equator as its standard parallel
    (Snyder, Map Projections: A Working Manual, USGS Professional Paper 1395, 1987, section 12).
    Longitude is 0 along z and grows towards x. Latitude is 0 on the horizon and grows towards y,
    which is down. `whole_sphere_intrinsics` gives K of an image that shows every direction.
    """

    wrap = True
    depth = "radial"

    def rays(self, intrinsics: Tensor, rotations: Tensor, height: int, width: int) -> Tensor:
        angles = torch.einsum(
            "...ij,hwj->...hwi",
            torch.linalg.inv(intrinsics),
            pixel_grid(height, width, rotations),
        )
        longitude, latitude = angles[..., 0], angles[..., 1]
        level = latitude.cos()
        directions = torch.stack(
            [level * longitude.sin(), latitude.sin(), level * longitude.cos()], dim=-1
        )
        return torch.einsum("...ij,...hwj->...ihw", rotations, directions)

    def project(self, points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        # Side by side in memory, arc tangents of many points take an eighth of the time.
        x, y, z = (
            each if each.stride()[-1:] == (1,) else each.contiguous() for each in points.unbind(-1)
        )
        # The arc tangent keeps its precision at the poles, where the arc sine loses it.
        level = torch.hypot(x, z)
        longitude, latitude = torch.atan2(x, z), torch.atan2(y, level)
        pixels = [
            intrinsics[..., 0, 0] * longitude + intrinsics[..., 0, 2],
            intrinsics[..., 1, 1] * latitude + intrinsics[..., 1, 2],
        ]
        return torch.stack(pixels).movedim(0, -1), torch.hypot(level, y)

    def area_weight(self, height: int, width: int) -> Tensor:
        # A row between two latitudes covers the difference of their sines, of a total of 2. That
        # is cos(latitude of its centre) times a constant.
        edges = (torch.arange(height + 1, dtype=torch.float64) / height - 0.5) * math.pi
        rows = edges.sin().diff() * (height / 2)
        return rows[:, None].expand(height, width).float()


pinhole = Pinhole()
PROJECTIONS.register(PINHOLE)(pinhole)
PROJECTIONS.register(EQUIRECTANGULAR)(Equirectangular())


def projections_of(cameras: Sequence[CameraSpec]) -> tuple[Projection, ...]:
    """The projection of each camera.

    Raises:
        UsageError: a name is not registered.
    """
    return tuple(PROJECTIONS.get(camera.projection) for camera in cameras)


def whole_sphere_intrinsics(height: int, width: int) -> Tensor:
    """K `[3, 3]` of an equirectangular `height` x `width` image that shows every direction."""
    return torch.tensor(
        [
            [width / (2 * math.pi), 0.0, width / 2],
            [0.0, height / math.pi, height / 2],
            [0.0, 0.0, 1.0],
        ]
    )


def project(
    points: Tensor, intrinsics: Tensor, poses: Tensor, projection: Projection = pinhole
) -> tuple[Tensor, Tensor]:
    """World points `[..., 3]` to pixel coordinates `[..., 2]` and depth `[...]`.

    The depth is of the projection's kind. A pinhole's is negative behind the camera; coordinates
    there mean nothing.
    """
    relative = points - poses[..., :3, 3]
    camera = torch.einsum("...ji,...j->...i", poses[..., :3, :3], relative)
    return projection.project(camera, intrinsics)


def in_camera(points: Tensor, poses: Tensor) -> Tensor:
    """World points `[B, N, 3]` in the frames of cameras at `poses` `[B, 4, 4]`, as `[B, N, 3]`.

    Their axes lie side by side in memory, and many points of a scene are one product.
    """
    turn = poses[:, :3, :3].mT
    return (turn @ points.mT - turn @ poses[:, :3, 3:]).mT


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Homogeneous pixel centres `[height, width, 3]`."""
    v, u = torch.meshgrid(
        torch.arange(height, device=like.device, dtype=like.dtype) + 0.5,
        torch.arange(width, device=like.device, dtype=like.dtype) + 0.5,
        indexing="ij",
    )
    return torch.stack([u, v, torch.ones_like(u)], dim=-1)


def plucker_rays(
    intrinsics: Tensor, poses: Tensor, height: int, width: int, projection: Projection = pinhole
) -> Tensor:
    """Plücker coordinates of every pixel's ray: direction, then moment o x d.

    Args:
        intrinsics: `[..., 3, 3]`, scaled to a `height` x `width` image.
        poses: `[..., 4, 4]`.
        height: rows.
        width: columns.
        projection: of the cameras.

    Returns:
        `[..., 6, height, width]`; directions are unit, moments in metres.
    """
    directions = projection.rays(intrinsics, poses[..., :3, :3], height, width)
    origins = poses[..., :3, 3, None, None].expand_as(directions)
    return torch.cat([directions, torch.linalg.cross(origins, directions, dim=-3)], dim=-3)


def camera_rays(
    projections: Sequence[Projection], intrinsics: Tensor, poses: Tensor, height: int, width: int
) -> Tensor:
    """`plucker_rays` of V cameras, each by its own projection.

    Args:
        projections: of V cameras, see `projections_of`.
        intrinsics: `[..., V, 3, 3]`, scaled to `height` x `width` images.
        poses: `[..., V, 4, 4]`.
        height: rows.
        width: columns.

    Returns:
        `[..., V, 6, height, width]`.
    """
    if len(set(projections)) == 1:
        return plucker_rays(intrinsics, poses, height, width, projections[0])
    views = [
        plucker_rays(intrinsics[..., v, :, :], poses[..., v, :, :], height, width, each)
        for v, each in enumerate(projections)
    ]
    return torch.stack(views, dim=-4)


def scale_intrinsics(intrinsics: Tensor, factor: float) -> Tensor:
    """K of the same camera with its image resized by `factor` (half-pixel centres kept)."""
    scale = torch.diag(intrinsics.new_tensor([factor, factor, 1.0]))
    return scale @ intrinsics


def splat_gaussian(pixels: Tensor, depth: Tensor, height: int, width: int, radius: float) -> Tensor:
    """A Gaussian bump of standard deviation `radius` pixels at `pixels` `[..., 2]`.

    Returns:
        `[..., height, width]` in [0, 1]; all zero for points behind the camera.
    """
    centres = pixel_grid(height, width, pixels)[..., :2]
    offset = centres - pixels[..., None, None, :]
    bump = torch.exp(-offset.square().sum(-1) / (2 * radius**2))
    return bump * (depth > 0)[..., None, None]
