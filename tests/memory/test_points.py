"""A map of points: it shows what was seen, forgets what is gone, and stays within its bounds."""

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from room_memory import cameras, new, psnr, shown
from toy_room import Walker
from toy_room_data import SPEC
from worldsim_testing import nano_spec

from worldsim.errors import QualityWarning, UsageError
from worldsim.memory.base import MemoryConfig, MemorySize
from worldsim.memory.frames_points import FramesPointsMemory
from worldsim.memory.points import PointMemory
from worldsim.memory.voxels import (
    EMPTY,
    MERGED_EVERY,
    Voxels,
    appended,
    bounded,
    inserted,
    merged,
    summed,
    voxel_keys,
)
from worldsim.spec import DepthKind

HERE = Walker(0.4, -0.3, 0.7)


def points(rows: int = 1, **keys: Any) -> PointMemory:
    memory = new("points", rows, **keys)
    assert isinstance(memory, PointMemory)
    return memory


def circle(frames: int, radius: float = 0.7, turn: float = 0.0) -> list[Walker]:
    angles = np.linspace(0, 2 * math.pi, frames, endpoint=False) + turn
    return [Walker(radius * math.cos(a), radius * math.sin(a), float(a)) for a in angles]


def test_one_frame_renders_as_itself() -> None:
    """Voxels so small that nothing is merged, and a point for every pixel."""
    memory, frame = points(voxel=1e-4, detail=1), shown([[HERE]])
    memory.update(frame)
    view = memory.view(cameras([[HERE]]))
    seen = (view.coverage > 0).float()
    assert seen.mean() == 1.0
    assert psnr(view.render, frame.latents, seen) >= 40


def test_latents_of_cells_come_back_whole_at_every_detail() -> None:
    """Cells of 4 x 4 pixels: the points of one share its latent, so coverage is whole too."""
    for detail in (2, 4):
        memory = new("points", detail=detail, voxel=1e-4)
        frame = shown([[HERE]])
        coarse = frame.latents.unfold(-2, 4, 4).unfold(-2, 4, 4).mean((-1, -2))
        at = cameras([[HERE]])
        scale = torch.diag(torch.tensor([0.25, 0.25, 1.0]))
        at = replace(at, intrinsics=scale @ at.intrinsics)
        memory = replace(memory, latent=(1, 3, 8, 16))
        memory.update(replace(frame, latents=coarse, cameras=at))
        view = memory.view(at)
        assert view.coverage.min() == 1.0
        torch.testing.assert_close(view.render, coarse, atol=1e-5, rtol=0)


def test_a_walk_is_remembered_from_beside_its_path_and_every_row_for_itself() -> None:
    walks = [circle(12), circle(12, turn=0.2)]
    memory = points(2, voxel=0.01, points=40000)
    for frame in range(12):
        memory.update(shown([walk[frame : frame + 1] for walk in walks], frame))
    asides = [[Walker(0.4, 0.1, 1.3)], [Walker(-0.1, 0.2, 2.0)]]
    truth, view = shown(asides), memory.view(cameras(asides))
    assert view.coverage.mean() > 0.9
    assert psnr(view.render, truth.latents, (view.coverage > 0).float()) > 20
    alone = points(1, voxel=0.01, points=40000)
    alone.update(shown(walks[1:]))
    other = alone.view(cameras(asides[1:]))
    # Rounding decides, now and then, on which side of an edge a point falls.
    assert ((other.render - view.render[1:]).abs() > 1e-3).float().mean() < 0.01


def test_what_is_behind_a_corner_stays_hidden() -> None:
    """From behind the pillar, the render shows the pillar and not the wall behind it."""
    memory = points(voxel=0.01, points=40000)
    memory.update(shown([circle(12)]))
    at = [[Walker(0.2, 0.1, math.atan2(0.5, 1.0))]]
    truth, view = shown(at), memory.view(cameras(at))
    red = (truth.latents[..., 0, :, :] - truth.latents[..., 1, :, :]) > 0.4
    assert red.sum() > 10
    told = view.render[..., 0, :, :] - view.render[..., 1, :, :]
    assert (told[red] > 0.3).float().mean() > 0.7


def test_points_that_a_frame_looks_through_are_forgotten() -> None:
    """Depth that was told too short, then rightly: what hung in the air is gone."""
    memory, right, frame = points(voxel=0.02), points(voxel=0.02), shown([[HERE]])
    assert frame.depth is not None
    memory.update(replace(frame, depth=0.4 * frame.depth))
    right.update(frame)
    for each in (memory, right):
        for number in range(1, 2 * MERGED_EVERY):
            each.update(shown([[HERE]], number))
    place = memory.map.place[0, memory.map.valid[0]]
    apart = (place - torch.from_numpy(HERE.pose[:3, 3])).norm(dim=-1)
    told = frame.depth.flatten()
    assert apart.min() > 0.8 * told.min()
    assert int(memory.map.count) <= 1.02 * int(right.map.count)


def test_a_map_stays_within_its_bounds_and_says_so() -> None:
    memory = points(points=1500, voxel=0.02)
    memory.update(shown([[HERE]]))
    with pytest.warns(QualityWarning, match=r"full at 1500.*model.memory.points"):
        for number, walker in enumerate(circle(6), start=1):
            memory.update(shown([[walker]], number))
    stats = memory.stats()
    assert 500 < stats["points_most"] <= 1500 and stats["points_lost"] > 0
    # What was seen last is all there.
    last = circle(6)[-1]
    view = memory.view(cameras([[last]]))
    assert psnr(view.render, shown([[last]]).latents, (view.coverage > 0).float()) > 20


def test_rows_that_merge_at_other_times_keep_apart() -> None:
    """One row is shown every frame, one every third; each is as it is alone."""
    walks = [circle(9), circle(9, turn=0.4)]
    both, alone = points(2, voxel=0.1), [points(1, voxel=0.1), points(1, voxel=0.1)]
    for number in range(9):
        frame = shown([walk[number : number + 1] for walk in walks], number)
        count = torch.tensor([1, int(number % 3 == 0)])
        both.update(replace(frame, count=count))
        for row in range(2):
            if count[row]:
                alone[row].update(shown([walks[row][number : number + 1]], number))
    at = cameras([[HERE], [HERE]])
    view = both.view(at)
    for row in range(2):
        other = alone[row].view(cameras([[HERE]]))
        torch.testing.assert_close(other.render, view.render[row : row + 1], atol=1e-5, rtol=1e-5)
        assert alone[row].map.count == both.map.count[row]


def test_frames_without_depth_add_nothing_and_are_counted() -> None:
    memory, frame = points(), shown([[HERE]])
    memory.update(replace(frame, depth=None))
    assert memory.map.width == 0 and memory.view(cameras([[HERE]])).coverage.amax() == 0
    assert frame.depth is not None
    memory.update(replace(frame, depth=torch.full_like(frame.depth, torch.nan)))
    assert memory.stats()["frames_without_depth"] == 2 and memory.stats()["points"] == 0


def test_depth_without_its_kind_is_refused() -> None:
    size = MemorySize(replace(SPEC, depth=None), (1, 3, 32, 64), 1, torch.device("cpu"))
    memory = PointMemory.new(MemoryConfig("points", depth="simulator"), size)
    with pytest.raises(UsageError, match="of which kind"):
        memory.update(shown([[HERE]]))


@pytest.mark.parametrize("name", ["points", "frames", "frames_points"])
def test_cameras_that_stand_nowhere_are_refused(name: str) -> None:
    frame = shown([[HERE]])
    mirrored = frame.cameras.pose.clone()
    mirrored[..., 0] *= -1
    missing = torch.full_like(mirrored, torch.nan)
    for pose, words in ((mirrored, "is no rotation"), (missing, "is missing")):
        bad = replace(frame, cameras=replace(frame.cameras, pose=pose))
        with pytest.raises(UsageError, match=f"pose of a calibrated camera {words}"):
            new(name).update(bad)
        # Of an uncalibrated camera, poses mean nothing.
        unknown = replace(bad.cameras, known=torch.zeros(1))
        new(name).update(replace(bad, cameras=unknown))


def test_planar_and_radial_depth_are_one_map() -> None:
    """The same wall through a pinhole camera, told both ways."""
    spec = replace(nano_spec(), cameras=nano_spec().cameras[:1])
    frame = shown([[HERE]])
    intrinsics = torch.tensor([[4.0, 0, 4], [0, 4, 4], [0, 0, 1]])[None, None]
    at = replace(frame.cameras, intrinsics=intrinsics)
    rays = torch.stack(
        [*torch.meshgrid(*(torch.arange(8) + 0.5,) * 2, indexing="xy"), torch.ones(8, 8)], -1
    )
    stretch = (rays @ torch.linalg.inv(intrinsics[0, 0]).mT).norm(dim=-1)
    maps = []
    kinds: tuple[tuple[DepthKind, torch.Tensor], ...] = (
        ("planar", torch.full((8, 8), 2.0)),
        ("radial", 2.0 * stretch),
    )
    for kind, depth in kinds:
        size = MemorySize(replace(spec, depth=kind), (1, 3, 8, 8), 1, torch.device("cpu"))
        memory = PointMemory.new(MemoryConfig("points", depth="simulator"), size)
        latents = frame.latents[..., :8, :8]
        memory.update(replace(frame, latents=latents, cameras=at, depth=depth[None, None, None]))
        maps.append(memory.map)
    torch.testing.assert_close(maps[0].place, maps[1].place)
    pose = at.pose[0, 0, 0]
    ahead = (maps[0].place[0] - pose[:3, 3]) @ pose[:3, 2]
    torch.testing.assert_close(ahead, torch.full_like(ahead, 2.0))


def test_both_memories_together_tell_what_each_tells() -> None:
    walk = circle(5)
    parts = [new(name, retrieved=2) for name in ("frames", "points", "frames_points")]
    for memory in parts:
        memory.update(shown([walk]))
        memory.now = memory.now + 7
    frames, told, both = (memory.view(cameras([[HERE]])) for memory in parts)
    assert torch.equal(both.render, told.render) and torch.equal(both.coverage, told.coverage)
    assert torch.equal(both.retrieved, frames.retrieved) and torch.equal(both.age, frames.age)
    assert isinstance(parts[2], FramesPointsMemory) and both.mask.sum() == 2


def test_a_map_is_saved_as_ply(tmp_path: Path) -> None:
    memory, path = points(voxel=0.02), tmp_path / "room.ply"
    memory.update(shown([[HERE]]))
    memory.save_ply(path, 0, lambda features: (255 * features).round().to(torch.uint8))
    head, _, body = path.read_bytes().partition(b"end_header\n")
    count = int(memory.map.count)
    assert head.startswith(b"ply\nformat binary_little_endian 1.0\n")
    assert f"element vertex {count}".encode() in head
    kind = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3), ("frame", "<i4")])
    vertex = np.frombuffer(body, kind)
    assert len(vertex) == count and (vertex["frame"] == 0).all()
    valid = memory.map.valid[0]
    np.testing.assert_array_equal(vertex["xyz"], memory.map.place[0, valid].numpy())
    colours = (255 * memory.map.features[0, valid]).round().numpy().astype(np.uint8)
    np.testing.assert_array_equal(vertex["rgb"], colours)
    memory.save_ply(tmp_path / "grey.ply", 0)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["grey.ply", "room.ply"]


def drawn(rows: int, count: int, seed: int) -> Voxels:
    draws = torch.Generator().manual_seed(seed)
    place = torch.rand(rows, count, 3, generator=draws)
    key = voxel_keys(place, torch.rand(rows, count, generator=draws) > 0.1, 0.2)
    weight = torch.rand(rows, count, generator=draws) + 0.1
    number = torch.full((rows, count), seed)
    return Voxels(key, place, place[..., :2] * 3, weight, weight, number)


def test_merged_points_are_the_weighted_means_of_their_voxels() -> None:
    one = merged(appended(Voxels.none(2, 2, torch.device("cpu")), drawn(2, 200, 1)))
    both = merged(appended(one, drawn(2, 150, 2)))
    for row in range(2):
        parts = [drawn(2, count, seed) for count, seed in ((200, 1), (150, 2))]
        key = torch.cat([part.key[row] for part in parts])
        place = torch.cat([part.place[row] for part in parts]).double()
        weight = torch.cat([part.weight[row] for part in parts]).double()
        number = torch.cat([part.number[row] for part in parts])
        expected = sorted(set(key.tolist()) - {EMPTY})
        held = both.key[row][both.valid[row]]
        assert held.tolist() == expected
        for place_in, each in enumerate(expected):
            here = key == each
            mean = (place[here] * weight[here, None]).sum(0) / weight[here].sum()
            torch.testing.assert_close(both.place[row, place_in].double(), mean, atol=1e-5, rtol=0)
            assert both.number[row, place_in] == number[here].max()


def test_new_points_find_their_places_as_if_all_were_sorted_anew() -> None:
    """Round by round, with points that are gone; what nothing new met keeps its every bit."""
    held = merged(drawn(2, 60, 0))
    for seed in range(1, 8):
        new = drawn(2, 20 * seed, seed)
        gone = torch.rand(held.key.shape, generator=torch.Generator().manual_seed(seed)) < 0.2
        left = replace(held, key=held.key.masked_fill(gone, EMPTY))
        told, before = merged(appended(left, new)), left.select([0, 1])
        held = inserted(held, gone, summed(new))
        for row in range(2):
            mine, theirs = held.valid[row], told.valid[row]
            assert torch.equal(held.key[row, mine], told.key[row, theirs])
            assert mine[: int(mine.sum())].all()
            for name in ("place", "features", "weight", "radius", "number"):
                one, other = getattr(held, name)[row, mine], getattr(told, name)[row, theirs]
                torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
            met = torch.isin(before.key[row], new.key[row])
            alone = before.valid[row] & ~met
            found = torch.isin(held.key[row], before.key[row, alone]) & mine
            assert torch.equal(held.place[row, found], before.place[row, alone])


def by_points(held: torch.Tensor) -> torch.Tensor:
    return held.clone(memory_format=torch.contiguous_format)


def test_points_are_inserted_in_place_however_they_lie_in_memory() -> None:
    """Rows that were widened or exchanged lie point by point, and those of a merge axis by axis."""
    held = merged(drawn(2, 400, 1))
    held = inserted(held, torch.zeros_like(held.valid), summed(drawn(2, 40, 2)))
    gone = torch.zeros_like(held.valid)
    gone[:, ::50] = True
    new = summed(held.taken(torch.arange(0, 60, 3).expand(2, -1)))
    lain = replace(held, **{f.name: by_points(getattr(held, f.name)) for f in fields(held)})
    assert not lain.place.unbind(2)[0].is_contiguous()
    width, one = held.width, inserted(lain, gone, new)
    other = inserted(held.taken(torch.arange(width).expand(2, -1)), gone, new)
    assert one.width == other.width == width
    for name in ("key", "place", "features", "weight", "radius", "number"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_a_full_row_loses_what_was_seen_longest_ago() -> None:
    held = merged(appended(merged(drawn(1, 300, 1)), drawn(1, 40, 2)))
    short, lost = bounded(held, 60)
    assert int(short.count) <= 60 and int(lost) == int(held.count) - int(short.count)
    assert set(held.key[held.number == 2].tolist()) <= set(short.key.flatten().tolist())
    assert (short.key.diff() >= 0).all()


def test_voxels_out_of_reach_are_left_out() -> None:
    place = torch.tensor([[[1e9, 0.0, 0.0], [-0.01, 0.0, 0.0], [0.01, 0.0, 0.0]]])
    key = voxel_keys(place, torch.ones(1, 3, dtype=torch.bool), 0.05)
    assert key[0, 0] == EMPTY and key[0, 1] != key[0, 2]


def test_rows_that_are_exchanged_go_on_as_if_alone() -> None:
    """A row takes in a wider one: tensors lie otherwise in memory then, and merge all the same."""
    count = 6 * MERGED_EVERY
    walks = [circle(count), circle(count, turn=0.4)]
    alone = [points(1, voxel=0.1, points=40000) for _ in range(2)]
    both = points(2, voxel=0.1, points=40000)
    both.update(shown([walk[:1] for walk in walks]))
    for number in range(count):
        frames = [walk[number : number + 1] for walk in walks]
        for row in range(2):
            alone[row].update(shown(frames[row : row + 1], number))
        if number > 3 * MERGED_EVERY:
            both.update(shown(frames, number))
        if number == 3 * MERGED_EVERY:
            for row in range(2):
                both.put([row], alone[row])
    view = both.view(cameras([[HERE], [HERE]]))
    for row in range(2):
        other = alone[row].view(cameras([[HERE]]))
        torch.testing.assert_close(other.render, view.render[row : row + 1], atol=1e-5, rtol=1e-5)
        assert alone[row].map.count == both.map.count[row]
