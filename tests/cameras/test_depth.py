"""Depth of both kinds, points of pixels, and points drawn with a z-buffer."""

import math
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from worldsim.cameras.depth import convert_depth, splat_points, unproject
from worldsim.cameras.projection import PROJECTIONS, pinhole, whole_sphere_intrinsics
from worldsim.errors import UsageError

ERP = PROJECTIONS.get("equirectangular")
K = torch.tensor([[16.0, 0.0, 16.0], [0.0, 16.0, 12.0], [0.0, 0.0, 1.0]])
HEIGHT, WIDTH = 24, 32


def pose(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Tensor:
    found = torch.eye(4)
    found[:3, 3] = torch.tensor([x, y, z])
    return found


def test_a_wall_has_one_planar_depth_and_radial_ones_by_the_cosine() -> None:
    planar = torch.full((HEIGHT, WIDTH), 3.0)
    radial = convert_depth(planar, "planar", "radial", pinhole, K)
    row, column = 4, 30
    angle = math.atan(math.hypot((column + 0.5 - 16) / 16, (row + 0.5 - 12) / 16))
    assert radial[row, column].item() == pytest.approx(3.0 / math.cos(angle), rel=1e-5)
    torch.testing.assert_close(convert_depth(radial, "radial", "planar", pinhole, K), planar)
    assert convert_depth(planar, "planar", "planar", pinhole, K) is planar


def test_unknown_depth_stays_unknown_and_kinds_must_be_named() -> None:
    depth = torch.full((HEIGHT, WIDTH), math.nan)
    assert convert_depth(depth, "planar", "radial", pinhole, K).isnan().all()
    with pytest.raises(UsageError, match="without its kind"):
        convert_depth(depth, "", "radial", pinhole, K)  # type: ignore[arg-type]


def test_points_of_a_wall_lie_on_it() -> None:
    depth = torch.full((2, HEIGHT, WIDTH), 3.0)
    poses = torch.stack([pose(), pose(1.0, 2.0, -1.0)])
    points = unproject(depth, "planar", K.expand(2, 3, 3), poses)
    torch.testing.assert_close(points[0, ..., 2], torch.full((HEIGHT, WIDTH), 3.0))
    torch.testing.assert_close(points[1, ..., 2], torch.full((HEIGHT, WIDTH), 2.0))


def test_points_of_a_panorama_inside_a_ball_lie_on_the_ball() -> None:
    intrinsics = whole_sphere_intrinsics(16, 32)
    points = unproject(torch.full((16, 32), 2.5), "radial", intrinsics, pose(1.0), ERP)
    reach = (points - torch.tensor([1.0, 0.0, 0.0])).norm(dim=-1)
    torch.testing.assert_close(reach, torch.full((16, 32), 2.5))


@pytest.mark.parametrize("projection", ["pinhole", "equirectangular"])
def test_a_frame_drawn_again_from_where_it_was_taken_is_the_frame(projection: str) -> None:
    kind = PROJECTIONS.get(projection)
    height, width = 16, 32
    intrinsics = whole_sphere_intrinsics(16, 32) if kind.wrap else K
    generator = torch.Generator().manual_seed(0)
    colour = torch.rand(2, 3, height, width, generator=generator)
    depth = 1 + 3 * torch.rand(2, height, width, generator=generator)
    poses = torch.stack([pose(), pose(0.3, -0.2, 0.5)])
    many = intrinsics.expand(2, 3, 3)
    points = unproject(depth, kind.depth, many, poses, kind).reshape(2, -1, 3)
    features = colour.movedim(1, -1).reshape(2, -1, 3)
    valid = torch.ones(points.shape[:2], dtype=torch.bool)
    drawn = splat_points(points, features, valid, many, poses, height, width, kind)
    error = (drawn.features - colour).square().mean()
    assert drawn.mask.float().mean() > 0.999
    assert error < 1e-4  # 40 dB
    torch.testing.assert_close(drawn.depth[drawn.mask], depth[drawn.mask], atol=1e-3, rtol=0)


def test_what_is_near_hides_what_is_far_in_either_order() -> None:
    points = torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 4.0]], [[0.0, 0.0, 4.0], [0.0, 0.0, 2.0]]])
    features = torch.tensor([[[1.0], [9.0]], [[9.0], [1.0]]])
    drawn = splat_points(
        points,
        features,
        torch.ones(2, 2, dtype=torch.bool),
        K.expand(2, 3, 3),
        pose().expand(2, 4, 4),
        HEIGHT,
        WIDTH,
    )
    assert drawn.mask.sum(dim=(1, 2)).tolist() == [1, 1]
    assert drawn.features[drawn.mask[:, None]].tolist() == [1.0, 1.0]
    assert drawn.depth[drawn.mask].tolist() == [2.0, 2.0]


def test_one_surface_is_averaged_and_padding_ignored() -> None:
    points = torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 2.01], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    features = torch.tensor([[[1.0], [3.0], [50.0], [70.0]]])
    valid = torch.tensor([[True, True, False, True]])
    drawn = splat_points(points, features, valid, K[None], pose()[None], HEIGHT, WIDTH)
    assert drawn.features[drawn.mask[:, None]].tolist() == [2.0]
    nothing = splat_points(points, features, valid & False, K[None], pose()[None], HEIGHT, WIDTH)
    assert not nothing.mask.any() and not nothing.features.any() and not nothing.depth.any()


def test_points_astride_the_seam_fall_on_both_ends() -> None:
    intrinsics = whole_sphere_intrinsics(8, 16)[None]
    points = torch.tensor([[[0.01, 0.0, -1.0], [-0.01, 0.0, -1.0]]])
    drawn = splat_points(
        points,
        torch.ones(1, 2, 1),
        torch.ones(1, 2, dtype=torch.bool),
        intrinsics,
        pose()[None],
        8,
        16,
        ERP,
    )
    assert drawn.mask[0].nonzero().tolist() == [[4, 0], [4, 15]]


def plain_splat(points: np.ndarray, colours: np.ndarray, height: int, width: int) -> np.ndarray:
    """What `splat_points` does, point by point, of one panorama at the origin."""
    near = np.full((height, width), np.inf)
    place = []
    for x, y, z in points:
        u = int(width * (math.atan2(x, z) / (2 * math.pi) + 0.5)) % width
        v = min(int(height * (math.atan2(y, math.hypot(x, z)) / math.pi + 0.5)), height - 1)
        reach = math.sqrt(x * x + y * y + z * z)
        near[v, u] = min(near[v, u], reach)
        place.append((v, u, reach))
    total, hits = np.zeros((height, width, 3)), np.zeros((height, width))
    for (v, u, reach), colour in zip(place, colours, strict=True):
        if reach <= near[v, u] * 1.02:
            total[v, u] += colour
            hits[v, u] += 1
    return total / np.maximum(hits, 1)[..., None]


def test_splatting_agrees_with_a_loop_over_points_and_is_much_faster() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(16, 4000, 3)).astype(np.float32)
    colours = rng.random((16, 4000, 3)).astype(np.float32)
    begin = time.process_time()
    wanted = np.stack([plain_splat(p, c, 32, 64) for p, c in zip(points, colours, strict=True)])
    slow = time.process_time() - begin
    arguments = (
        torch.from_numpy(points),
        torch.from_numpy(colours),
        torch.ones(16, 4000, dtype=torch.bool),
        whole_sphere_intrinsics(32, 64).expand(16, 3, 3),
        pose().expand(16, 4, 4),
        32,
        64,
        ERP,
    )
    splat_points(*arguments)
    begin = time.process_time()
    found = splat_points(*arguments)
    fast = time.process_time() - begin
    agree = np.isclose(found.features.movedim(1, -1).numpy(), wanted, atol=1e-4).all(axis=-1)
    assert agree.mean() > 0.999  # rounding may carry a point over a pixel's edge
    assert slow > 5 * fast
