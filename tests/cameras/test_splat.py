"""What points look like from a camera: closed forms, and a room whose truth is drawn by rays."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_room import HEIGHT, WIDTH, Walker, seen

from worldsim.cameras import splat as splatting
from worldsim.cameras.depth import unproject
from worldsim.cameras.projection import (
    PROJECTIONS,
    Projection,
    pinhole,
    scale_intrinsics,
    whole_sphere_intrinsics,
)
from worldsim.cameras.splat import Points, Splatted, splat

SPHERE = PROJECTIONS.get("equirectangular")
PANORAMA = whole_sphere_intrinsics(HEIGHT, WIDTH)
PINHOLE = torch.tensor([[16.0, 0, 16], [0, 16, 16], [0, 0, 1]])


def frame(walker: Walker) -> tuple[Tensor, Tensor, Tensor]:
    """Picture `[H, W, 3]` in [0, 1], radial depth `[H, W]` and pose."""
    picture, depth = seen(walker)
    return torch.from_numpy(picture) / 255, torch.from_numpy(depth), torch.from_numpy(walker.pose)


def cloud(walkers: list[Walker]) -> Points:
    """Every pixel of every frame as a point, nothing merged."""
    place, colour, radius = [], [], []
    for walker in walkers:
        picture, depth, pose = frame(walker)
        place.append(unproject(depth, "radial", PANORAMA, pose, SPHERE).reshape(1, -1, 3))
        colour.append(picture.reshape(1, -1, 3))
        radius.append((depth / (2 * PANORAMA[1, 1])).reshape(1, -1))
    places = torch.cat(place, 1)
    valid = torch.ones(places.shape[:2], dtype=torch.bool)
    return Points(places, torch.cat(colour, 1), torch.cat(radius, 1), valid)


def psnr(one: Tensor, other: Tensor, weight: Tensor) -> float:
    error = ((one - other).square().mean(-1) * weight).sum() / weight.sum()
    return -10 * math.log10(max(float(error), 1e-12))


def points(places: list[list[float]], colours: list[float], radius: float = 0.0) -> Points:
    place = torch.tensor([places])
    colour = torch.tensor([colours])[..., None]
    reach = torch.full(place.shape[:2], radius)
    return Points(place, colour, reach, torch.ones(place.shape[:2], dtype=torch.bool))


def test_one_unmerged_frame_renders_as_itself() -> None:
    walker = Walker(0.4, -0.3, 0.7)
    picture, depth, pose = frame(walker)
    shown = splat(cloud([walker]), PANORAMA[None], pose[None], (HEIGHT, WIDTH), SPHERE)
    known = (shown.coverage[0] > 0).float()
    assert known.mean() == 1.0
    assert psnr(shown.features[0].movedim(0, -1), picture, known) >= 40
    torch.testing.assert_close(shown.depth[0], depth, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("finer", "points_a_side", "coverage"), [(1, 1, 1.0), (2, 1, 0.25)])
def test_coverage_is_the_share_of_a_pixel_that_shows_points(
    finer: int, points_a_side: int, coverage: float
) -> None:
    walker = Walker(0.4, -0.3, 0.7)
    _, _, pose = frame(walker)
    shown = splat(
        cloud([walker]), PANORAMA[None], pose[None], (HEIGHT, WIDTH), SPHERE, finer, levels=0
    )
    assert shown.coverage.mean() == pytest.approx(coverage, abs=0.01)


def test_a_walk_shows_the_room_from_beside_its_path() -> None:
    circle = [
        Walker(0.7 * math.cos(a), 0.7 * math.sin(a), a)
        for a in np.linspace(0, 2 * math.pi, 12, endpoint=False)
    ]
    known = cloud(circle)
    for aside in (0.0, 0.3, 0.6):
        picture, _, pose = frame(Walker(0.7 - aside, 0.1, 1.3))
        shown = splat(known, PANORAMA[None], pose[None], (HEIGHT, WIDTH), SPHERE)
        there = (shown.coverage[0] > 0).float()
        assert shown.coverage.mean() > 0.95
        assert psnr(shown.features[0].movedim(0, -1), picture, there) > 23
        # The nearest stored frame, turned to face the same way, is what it has to beat.
        turn = round((circle[0].yaw - 1.3) / (2 * math.pi) * WIDTH)
        rolled = frame(circle[0])[0].roll(-turn, dims=1)
        assert psnr(shown.features[0].movedim(0, -1), picture, there) > psnr(rolled, picture, there)


@pytest.mark.parametrize("projection", [pinhole, SPHERE])
def test_a_wall_at_a_known_range(projection: Projection) -> None:
    """A wall 3 m ahead: planar depth is 3, radial depth is 3 over the cosine of the angle."""
    y, x = torch.meshgrid(*(torch.linspace(-2, 2, 401),) * 2, indexing="ij")
    wall = torch.stack([x, y, torch.full_like(x, 3.0)], -1).reshape(1, -1, 3)
    flat = Points(wall, torch.ones_like(wall[..., :1]), *[torch.zeros(wall.shape[:2])] * 2)
    flat = Points(flat.place, flat.features, flat.radius, torch.ones(wall.shape[:2]) > 0)
    size = (32, 32) if projection is pinhole else (32, 64)
    intrinsics = PINHOLE if projection is pinhole else whole_sphere_intrinsics(*size)
    shown = splat(flat, intrinsics[None], torch.eye(4)[None], size, projection)
    rays = projection.rays(intrinsics, torch.eye(3), *size)
    expected = torch.full(size, 3.0) if projection is pinhole else 3.0 / rays[2]
    there = shown.coverage[0] == 1
    assert there.sum() > 20
    torch.testing.assert_close(shown.depth[0][there], expected[there], atol=0.06, rtol=0.02)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
@pytest.mark.parametrize("projection", [pinhole, SPHERE])
def test_what_is_nearer_hides_what_is_behind(order: list[int], projection: Projection) -> None:
    column = [[0.01, 0.01, 1.0], [0.02, 0.02, 2.0], [0.03, 0.03, 3.0]]
    drawn = points([column[i] for i in order], [[0.2, 0.5, 0.9][i] for i in order])
    intrinsics = PINHOLE if projection is pinhole else whole_sphere_intrinsics(32, 32)
    shown = splat(drawn, intrinsics[None], torch.eye(4)[None], (32, 32), projection)
    assert shown.features.amax() == pytest.approx(0.2)
    assert shown.depth.amax() == pytest.approx(1.0, abs=1e-3)
    assert int((shown.coverage > 0).sum()) == 1


def test_points_behind_a_pinhole_camera_are_not_seen() -> None:
    shown = splat(points([[0.0, 0.0, -1.0]], [1.0]), PINHOLE[None], torch.eye(4)[None], (32, 32))
    assert shown.coverage.amax() == 0


def test_a_surface_come_near_has_no_holes_through_which_another_shows() -> None:
    """A far wall seen through the gaps between the points of a near one, which is half as far as
    when it was sampled."""
    grid = torch.linspace(-1, 1, 33)
    y, x = torch.meshgrid(grid, grid, indexing="ij")

    def wall(depth: float, colour: float, spread: int) -> Points:
        side = torch.linspace(-4, 4, 257) if spread else grid
        down, across = (torch.meshgrid(side, side, indexing="ij")) if spread else (y, x)
        place = torch.stack([across, down, torch.full_like(across, depth)], -1).reshape(1, -1, 3)
        one = torch.ones(place.shape[:2])
        return Points(place, colour * one[..., None], one * float(side[1] - side[0]) / 2, one > 0)

    near, far = wall(1.0, 0.2, 0), wall(4.0, 0.9, 1)
    both = Points(
        *(
            torch.cat([getattr(near, n), getattr(far, n)], 1)
            for n in ("place", "features", "radius", "valid")
        )
    )
    shown = splat(both, PINHOLE[None], torch.eye(4)[None], (32, 32))
    middle = shown.features[0, 0, 4:-4, 4:-4]
    assert middle.max() == pytest.approx(0.2)


@pytest.mark.parametrize("angle", [179.9, 180.1, -179.9])
def test_the_seam_is_no_edge(angle: float) -> None:
    """Points on both sides of the seam fall on both of its sides, and nowhere else."""
    turn = math.radians(angle)
    shown = splat(
        points([[math.sin(turn), 0.0, math.cos(turn)]], [1.0]),
        whole_sphere_intrinsics(8, 16)[None],
        torch.eye(4)[None],
        (8, 16),
        SPHERE,
    )
    row, column = (shown.coverage[0] > 0).nonzero()[0].tolist()
    assert column == (15 if 0 < angle < 180 else 0) and row in (3, 4)


def test_a_turn_by_whole_coarse_pixels_rolls_the_render() -> None:
    walker = Walker(0.3, 0.2, 0.0)
    known = cloud([Walker(0.5, 0.1, 1.0), Walker(-0.2, 0.4, 2.0)])
    turned = Walker(walker.x, walker.y, 6 * 2 * math.pi / WIDTH)
    poses = torch.stack([frame(each)[2] for each in (walker, turned)])
    poses[:, 2, 3] += 0.0137  # so that few points are on the edge of a pixel, whose side is chance
    one, other = (
        splat(known, PANORAMA[None], pose[None], (HEIGHT, WIDTH), SPHERE) for pose in poses
    )
    apart = (one.features.roll(6, dims=-1) - other.features).abs().amax(1)
    assert (apart > 1e-3).float().mean() < 0.01


def test_scenes_of_a_batch_are_independent() -> None:
    walkers = [Walker(0.4, -0.3, 0.7), Walker(-0.5, 0.2, 2.0)]
    clouds = [cloud([walker]) for walker in walkers]
    both = Points(
        *(
            torch.cat([getattr(c, name) for c in clouds])
            for name in ("place", "features", "radius", "valid")
        )
    )
    poses = torch.stack([frame(Walker(0.0, 0.0, 0.1))[2], frame(Walker(0.1, 0.1, 3.0))[2]])
    for size, factor in (((HEIGHT, WIDTH), 1.0), ((7, 14), 7 / HEIGHT)):
        intrinsics = scale_intrinsics(PANORAMA, factor)[None].repeat(2, 1, 1)
        together = splat(both, intrinsics, poses, size, SPHERE)
        for row in range(2):
            alone = splat(clouds[row], intrinsics[:1], poses[row : row + 1], size, SPHERE)
            torch.testing.assert_close(together.features[row : row + 1], alone.features)
            assert torch.equal(together.coverage[row : row + 1], alone.coverage)


def test_kinds_of_points_are_drawn_as_one_and_padding_as_if_it_were_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A number is one more feature; a few points off the image are hidden, many left out."""
    kinds = [cloud([Walker(0.4, -0.3, 0.7)]), cloud([Walker(-0.5, 0.2, 2.0)])]
    kinds[1].valid[:, 5::9] = False
    kinds[1].place[:, 5::9] = torch.nan
    kinds = [replace(kind, number=torch.full(kind.valid.shape, k)) for k, kind in enumerate(kinds)]
    camera = PANORAMA[None], frame(Walker(0.1, 0.1, 3.0))[2][None], (HEIGHT, WIDTH), SPHERE
    there = [kind.valid[0] for kind in kinds]
    parts = [
        torch.cat(
            [getattr(kind, name)[:, some] for kind, some in zip(kinds, there, strict=True)], 1
        )
        for name in ("place", "features", "radius", "valid", "number")
    ]
    features = torch.cat([parts[1], parts[4][..., None].float()], -1)
    told = splat(Points(parts[0], features, *parts[2:4]), *camera)
    for few in (0.0, 1.0):
        monkeypatch.setattr(splatting, "FEW", few)
        found = splat(kinds, *camera)
        for name in ("features", "depth", "coverage"):
            assert torch.equal(getattr(found, name), getattr(told, name))


def unfiltered(
    place: Tensor,
    features: Tensor,
    valid: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    size: tuple[int, int],
    projection: Projection = pinhole,
) -> Splatted:
    """Each point on the one pixel that it falls on: no finer image, none coarser."""
    points = Points(place, features, torch.zeros(place.shape[:2]), valid)
    return splat(points, intrinsics, poses, size, projection, finer=1, levels=0)


@pytest.mark.parametrize("projection", ["pinhole", "equirectangular"])
def test_a_frame_drawn_again_from_where_it_was_taken_is_the_frame(projection: str) -> None:
    kind = PROJECTIONS.get(projection)
    height, width = 16, 32
    intrinsics = whole_sphere_intrinsics(16, 32) if kind.wrap else PINHOLE
    generator = torch.Generator().manual_seed(0)
    colour = torch.rand(2, 3, height, width, generator=generator)
    depth = 1 + 3 * torch.rand(2, height, width, generator=generator)
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, :3, 3] = torch.tensor([0.3, -0.2, 0.5])
    many = intrinsics.expand(2, 3, 3)
    points = unproject(depth, kind.depth, many, poses, kind).reshape(2, -1, 3)
    features = colour.movedim(1, -1).reshape(2, -1, 3)
    valid = torch.ones(points.shape[:2], dtype=torch.bool)
    drawn = unfiltered(points, features, valid, many, poses, (height, width), kind)
    seen_at = drawn.coverage > 0
    error = (drawn.features - colour).square().mean()
    assert seen_at.float().mean() > 0.999
    assert error < 1e-4  # 40 dB
    torch.testing.assert_close(drawn.depth[seen_at], depth[seen_at], atol=1e-3, rtol=0)


def test_double_precision_is_kept() -> None:
    cloud = points([[0.0, 0.0, 2.0]], [3.0])
    place, features, radius = (
        each.double() for each in (cloud.place, cloud.features, cloud.radius)
    )
    eye = torch.eye(4).double()[None]
    drawn = splat(
        Points(place, features, radius, cloud.valid), PINHOLE.double()[None], eye, (32, 32)
    )
    assert drawn.features.dtype == torch.float64 and drawn.features.max() == 3.0


def test_one_surface_is_averaged_and_padding_ignored() -> None:
    points = torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 2.01], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    features = torch.tensor([[[1.0], [3.0], [50.0], [70.0]]])
    valid = torch.tensor([[True, True, False, True]])
    camera = PINHOLE[None], torch.eye(4)[None], (32, 32)
    drawn = unfiltered(points, features, valid, *camera)
    seen_at = drawn.coverage > 0
    assert drawn.features[seen_at[:, None]].tolist() == [2.0]
    nothing = unfiltered(points, features, valid & False, *camera)
    assert not nothing.coverage.any() and not nothing.features.any() and not nothing.depth.any()


def plain_splat(points: np.ndarray, colours: np.ndarray, height: int, width: int) -> np.ndarray:
    """What `unfiltered` does, point by point, of one panorama at the origin."""
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
        torch.eye(4).expand(16, 4, 4),
        (32, 64),
        SPHERE,
    )
    unfiltered(*arguments)
    begin = time.process_time()
    found = unfiltered(*arguments)
    fast = time.process_time() - begin
    agree = np.isclose(found.features.movedim(1, -1).numpy(), wanted, atol=1e-4).all(axis=-1)
    assert agree.mean() > 0.999  # rounding may carry a point over a pixel's edge
    assert slow > 5 * fast
