"""Panoramas: resampling between the sphere, the faces of a cube and pinhole views; turns; wrap.

A panorama is an equirectangular image of every direction (`worldsim.cameras.projection`). Its axes
and those of faces are OpenCV's. Cube faces come in the order `FACES`. Each looks along its own z.
The lower edge of the upper face and the upper edge of the lower one meet the front.

Legend: `[..., C, H, W]` images; h, w size of what is made; S side of a face; b its border.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from worldsim.cameras.poses import require_rotations
from worldsim.cameras.projection import (
    PROJECTIONS,
    Projection,
    pinhole,
    whole_sphere_intrinsics,
)
from worldsim.errors import UsageError
from worldsim.spec import EQUIRECTANGULAR

Mode = Literal["bilinear", "nearest"]

FACES = ("front", "right", "back", "left", "up", "down")
_AXES = (  # where x, y and z of each face point, as rows
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
    ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
    ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
)


def face_rotations() -> Tensor:
    """`[6, 3, 3]` from each face's axes to the panorama's."""
    return torch.tensor(_AXES, dtype=torch.float32).mT.contiguous()


def face_intrinsics(side: int, border: int = 0) -> Tensor:
    """K `[3, 3]` of a face with `border` pixels more on every edge than its quarter turn."""
    middle = side / 2 + border
    return torch.tensor([[side / 2, 0.0, middle], [0.0, side / 2, middle], [0.0, 0.0, 1.0]])


def sphere_rays(height: int, width: int) -> Tensor:
    """Unit directions `[3, height, width]` of a panorama's pixel centres, in its own axes."""
    intrinsics = whole_sphere_intrinsics(height, width).double()
    eye = torch.eye(3, dtype=torch.float64)
    return PROJECTIONS.get(EQUIRECTANGULAR).rays(intrinsics, eye, height, width).float()


def require_whole(panorama: Tensor) -> None:
    """Refuse what cannot be a panorama.

    Raises:
        UsageError: it is not twice as wide as high.
    """
    height, width = panorama.shape[-2:]
    if width != 2 * height:
        raise UsageError(
            f"a panorama of every direction is twice as wide as high, got {height} rows and "
            f"{width} columns; resize it, or use a pinhole projection"
        )


def wrap_pad(images: Tensor, pad: int, poles: bool = False) -> Tensor:
    """Panoramas `[..., H, W]` continued by `pad` pixels left and right.

    With `poles` they go on beyond the poles too, where the picture runs back half a turn away. So a
    convolution without padding of its own sees no edge.

    Raises:
        UsageError: `pad` is negative, or more than there is to continue with.
    """
    height, width = images.shape[-2:]
    most = min(width, height) if poles else width
    if not 0 <= pad <= most:
        raise UsageError(
            f"a panorama of {height} rows and {width} columns was to be padded by {pad}; expected "
            f"0 to {most}"
        )
    if poles:
        across = images.roll(width // 2, dims=-1)
        top, bottom = across[..., :pad, :].flip(-2), across[..., -pad:, :].flip(-2)
        images = torch.cat([top, images, bottom], dim=-2)
    return torch.cat([images[..., width - pad :], images, images[..., :pad]], dim=-1)


def sample_sphere(panorama: Tensor, directions: Tensor, mode: Mode = "bilinear") -> Tensor:
    """What is seen in directions.

    Args:
        panorama: `[..., C, H, W]`.
        directions: `[3, h, w]`, or `[..., 3, h, w]` for each panorama its own; any length.
        mode: nearest for depth and labels.

    Returns:
        `[..., C, h, w]`, float for bilinear.
    """
    require_whole(panorama)
    height, width = panorama.shape[-2:]
    intrinsics = whole_sphere_intrinsics(height, width).to(directions)
    pixels, _ = PROJECTIONS.get(EQUIRECTANGULAR).project(directions.movedim(-3, -1), intrinsics)
    leading = panorama.shape[:-3]
    flat = panorama.reshape(-1, *panorama.shape[-3:])
    grid = pixels.expand(*leading, *pixels.shape[-3:]).reshape(len(flat), *pixels.shape[-3:])
    found = _sample(wrap_pad(flat, 1, poles=True), grid + 1.0, mode)
    return found.reshape(*leading, *found.shape[-3:])


def _sample(images: Tensor, pixels: Tensor, mode: Mode) -> Tensor:
    """Images `[N, C, H, W]` at pixels `[N, h, w, 2]`; edges are held."""
    size = pixels.new_tensor([images.shape[-1], images.shape[-2]])
    exact = torch.float64 if mode == "nearest" else pixels.dtype  # single precision rounds labels
    values = images if images.is_floating_point() else images.to(exact)
    grid = (2 * pixels / size - 1).to(values)
    found = functional.grid_sample(values, grid, mode, "border", align_corners=False)
    return found.to(images.dtype) if mode == "nearest" else found


@dataclass(frozen=True, eq=False)
class CubePlaces:
    """Where directions fall on a cube.

    Attributes:
        face: `[...]` index of the face.
        pixel: `[..., 2]` on that face, its border counted.
        stretch: `[...]` length of the ray to the plane at depth 1: radial over planar depth.
    """

    face: Tensor
    pixel: Tensor
    stretch: Tensor


def on_cube(directions: Tensor, side: int, border: int = 0) -> CubePlaces:
    """Where directions `[..., 3]` fall on faces of `side` pixels and a border."""
    local = torch.einsum("fji,...j->...fi", face_rotations().to(directions), directions)
    face = local[..., 2].argmax(dim=-1)
    chosen = local.gather(-2, face[..., None, None].expand(*face.shape, 1, 3)).squeeze(-2)
    pixel, depth = pinhole.project(chosen, face_intrinsics(side, border).to(directions))
    return CubePlaces(face, pixel, chosen.norm(dim=-1) / depth)


def panorama_to_cube(
    panorama: Tensor, side: int, border: int = 0, mode: Mode = "bilinear"
) -> Tensor:
    """Panoramas `[..., C, H, W]` to faces `[..., 6, C, S + 2b, S + 2b]`."""
    whole = side + 2 * border
    intrinsics = face_intrinsics(side, border).to(panorama.device)
    rays = pinhole.rays(intrinsics, face_rotations().to(panorama.device), whole, whole)
    faces = [sample_sphere(panorama, each, mode) for each in rays]
    return torch.stack(faces, dim=-4)


def cube_to_panorama(
    faces: Tensor, height: int, width: int, border: int = 0, mode: Mode = "bilinear"
) -> Tensor:
    """Faces `[..., 6, C, S + 2b, S + 2b]` to panoramas `[..., C, height, width]`.

    See `sample_cube` for what faces without a border give.

    Raises:
        UsageError: there are not six square faces, or the panorama is not 2:1.
    """
    found = sample_cube(faces, sphere_rays(height, width).to(faces.device), border, mode)
    require_whole(found)
    return found


def sample_cube(
    faces: Tensor, directions: Tensor, border: int = 0, mode: Mode = "bilinear"
) -> Tensor:
    """What six faces show in directions `[3, h, w]`, `[..., C, h, w]`.

    Without a border, a pixel of one is taken from the faces next to each.

    Args:
        faces: `[..., 6, C, S + 2b, S + 2b]`.
        directions: of any length, in the panorama's axes.
        border: pixels b that the faces show beyond their quarter turn.
        mode: nearest for depth and labels.

    Raises:
        UsageError: there are not six square faces.
    """
    if faces.ndim < 4 or faces.shape[-4] != 6 or faces.shape[-1] != faces.shape[-2]:
        raise UsageError(
            f"a cube has six square faces [..., 6, C, S, S] in the order {', '.join(FACES)}; got "
            f"shape {tuple(faces.shape)}"
        )
    if not border:
        faces, border = _bordered(faces, mode), 1
    side = faces.shape[-1] - 2 * border
    return _from_faces(faces, directions.movedim(0, -1), side, border, mode)


def _bordered(faces: Tensor, mode: Mode) -> Tensor:
    """Faces with a border of one pixel, which shows what the neighbours show."""
    side = faces.shape[-1]
    rays = pinhole.rays(face_intrinsics(side, 1), face_rotations(), side + 2, side + 2)
    rays = rays.to(faces.device).movedim(-3, -1)
    around = [_from_faces(faces, each, side, 0, mode) for each in rays]
    wide = torch.stack(around, dim=-4)
    wide[..., 1:-1, 1:-1] = faces.to(wide.dtype)
    return wide


def _from_faces(faces: Tensor, directions: Tensor, side: int, border: int, mode: Mode) -> Tensor:
    """Faces seen in directions `[h, w, 3]`, `[..., C, h, w]`."""
    places = on_cube(directions, side, border)
    leading, channels = faces.shape[:-4], faces.shape[-3]
    flat = faces.reshape(-1, 6, *faces.shape[-3:])
    found = None
    for index in range(6):
        pixel = places.pixel.expand(len(flat), *places.pixel.shape)
        seen = _sample(flat[:, index], pixel, mode)
        here = (places.face == index)[None, None]
        found = seen if found is None else torch.where(here, seen, found)
    assert found is not None
    return found.reshape(*leading, channels, *directions.shape[:2])


def turn_panorama(panorama: Tensor, yaw: float, linear: bool = False) -> Tensor:
    """Panoramas as a camera sees them that has turned by `yaw` radians to the left.

    A whole number of columns is a roll. Any other turn shifts the phases of each row's Fourier
    series, which is exact for what a row of this width can hold, and undone by the turn back
    (Unser, Thévenaz and Yaroslavsky, IEEE Trans. Image Processing 4, 1995).

    Args:
        panorama: `[..., C, H, W]`.
        yaw: radians.
        linear: interpolate between columns instead, as images that must not overshoot need.
    """
    require_whole(panorama)
    width = panorama.shape[-1]
    columns = yaw / (2 * math.pi) * width
    whole = round(columns)
    if abs(columns - whole) < 1e-6:
        return panorama.roll(whole, dims=-1)
    values = panorama if panorama.is_floating_point() else panorama.float()
    if linear:
        low = math.floor(columns)
        share = columns - low
        return (1 - share) * values.roll(low, -1) + share * values.roll(low + 1, -1)
    series = torch.fft.rfft(values.float(), dim=-1)
    wave = torch.arange(series.shape[-1], device=values.device)
    phase = torch.exp(-2j * math.pi * columns / width * wave)
    if width % 2 == 0:
        # The highest wave has no phase of its own: half of it goes either way.
        phase = torch.cat([phase[:-1], phase[-1:].real.to(phase)])
    shifted: Tensor = torch.fft.irfft(series * phase, n=width, dim=-1)
    return shifted.to(values.dtype)


def rotate_panorama(panorama: Tensor, rotation: Tensor, mode: Mode = "bilinear") -> Tensor:
    """Panoramas as a camera sees them whose axes are `rotation` `[..., 3, 3]` in the old ones.

    Raises:
        UsageError: a matrix is no rotation, or the panorama is not 2:1.
    """
    require_rotations(rotation, "rotation of a panorama")
    height, width = panorama.shape[-2:]
    rays = sphere_rays(height, width).to(rotation)
    return sample_sphere(panorama, torch.einsum("...ij,jhw->...ihw", rotation, rays), mode)


def pinhole_view(
    panorama: Tensor,
    intrinsics: Tensor,
    rotation: Tensor,
    height: int,
    width: int,
    mode: Mode = "bilinear",
    projection: Projection = pinhole,
) -> Tensor:
    """The `height` x `width` view of a camera inside the panorama.

    Args:
        panorama: `[..., C, H, W]`.
        intrinsics: `[3, 3]` in pixels of the view.
        rotation: `[3, 3]` from the camera's axes to the panorama's.
        height: rows of the view.
        width: columns of the view.
        mode: nearest for depth and labels.
        projection: of the view.

    Raises:
        UsageError: the matrix is no rotation, or the panorama is not 2:1.
    """
    require_rotations(rotation, "rotation of a view")
    return sample_sphere(panorama, projection.rays(intrinsics, rotation, height, width), mode)
