"""Maps whose points carry the colours of pixels, where a latent's cell spans many of them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pixel_memory import CELL, LATENT, coarse, pixels_of, seen
from room_memory import SIZE, psnr
from toy_room import WIDTH, Walker
from toy_room_data import SPEC

from worldsim.errors import UsageError
from worldsim.memory.base import (
    FrameReader,
    MemoryConfig,
    MemorySize,
    registered_memories,
)
from worldsim.memory.colours import cell_means, fine_depth
from worldsim.memory.depth import Depth
from worldsim.memory.points import PointMemory


def new(colours: bool = True, voxel: float = 0.15) -> PointMemory:
    config = MemoryConfig(
        "points", depth="simulator", colours=colours, detail=CELL, points=40000, voxel=voxel
    )
    size = MemorySize(SPEC, LATENT, 1, torch.device("cpu"))
    memory = registered_memories().get("points").new(config, size)
    assert isinstance(memory, PointMemory)
    return memory


HERE, BESIDE = Walker(0.4, -0.3, 0.7), Walker(0.1, 0.2, 1.9)


def test_a_frame_renders_as_itself_to_the_pixel() -> None:
    memory, frame = new(voxel=1e-4), seen([HERE])
    memory.update(frame)
    view = memory.view(coarse([HERE]))
    assert view.coverage.min() == 1.0
    assert psnr(view.render / 2, frame.latents / 2, torch.ones(1)) >= 40
    assert view.nearness.min() > 0 and (view.render_age == 1.0).all()


def test_a_map_of_pixels_shows_from_beside_what_a_map_of_cells_blurs() -> None:
    path = [Walker(-0.5 + 0.15 * step, -0.2, 0.3) for step in range(8)]
    truth = seen([BESIDE]).latents
    found = {}
    for colours in (True, False):
        memory = new(colours, voxel=0.02)
        memory.update(seen(path))
        view = memory.view(coarse([BESIDE]))
        found[colours] = psnr(view.render / 2, truth / 2, (view.coverage > 0.5).float())
    assert found[True] > found[False] + 3


def test_the_newest_frame_stands_behind_what_a_map_does_not_cover() -> None:
    memory, frame = new(voxel=1e-4), seen([HERE])
    assert frame.depth is not None
    frame.depth[..., : WIDTH // 2] = torch.nan
    memory.update(frame)
    view = memory.view(coarse([HERE]))
    torch.testing.assert_close(view.render, frame.latents, atol=0.01, rtol=0)
    half = LATENT[3] // 2
    assert view.coverage[..., :half].max() == 0.0 and view.coverage[..., half:].min() == 1.0


def test_rows_of_coloured_maps_branch_and_are_written_in_colour(tmp_path: Path) -> None:
    memory = new()
    memory.update(seen([HERE]))
    twin = memory.fork()
    twin.update(seen([BESIDE], 1))
    assert int(memory.seen) == 1 and not torch.equal(memory.newest, twin.newest)
    both = memory.select([0]).joined(twin)
    assert both.newest.shape == (2, 1, *SIZE) and both.reader is not None
    path = tmp_path / "map.ply"
    memory.save_ply(path, 0)
    assert path.stat().st_size > 15 * int(memory.map.count[0])


def test_coarse_depth_is_straight_on_planes_and_meets_round_the_back() -> None:
    inverse = torch.linspace(1.0, 2.0, 8).expand(1, 1, 1, 4, 8)
    fine = fine_depth(Depth(1.0 / inverse, "radial"), (16, 32), wrap=False).metres
    assert fine.shape[-2:] == (16, 32)
    steps = (1.0 / fine)[0, 0, 0, 0, 2:-2].diff()
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), atol=1e-5, rtol=0)
    round_about = fine_depth(Depth(1.0 / inverse, "radial"), (16, 32), wrap=True).metres
    seam = 1.0 / round_about[0, 0, 0, 0]
    assert 1.0 < float(seam[0]) < 2.0 and 1.0 < float(seam[-1]) < 2.0
    assert abs(float(seam[0] - seam[-1])) < 0.3
    same = Depth(torch.ones(1, 1, 1, 16, 32), "planar")
    assert fine_depth(same, (16, 32), wrap=True) is same


def test_means_of_cells_count_what_is_there() -> None:
    values, weight = torch.arange(16.0).reshape(1, 4, 4), torch.zeros(1, 4, 4)
    weight[0, 0, 0], weight[0, 1, 1] = 1.0, 1.0
    means = cell_means(values, weight, (2, 2))
    torch.testing.assert_close(means[0], torch.tensor([[2.5, 0.0], [0.0, 0.0]]), atol=1e-4, rtol=0)


def test_colours_need_a_model_that_encodes_pictures() -> None:
    memory = new()
    with pytest.raises(UsageError, match=r"model.memory.colours=true needs"):
        memory.update(replace(seen([HERE]), reader=FrameReader(pixels_of)))
