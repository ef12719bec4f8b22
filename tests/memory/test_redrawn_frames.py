"""Kept frames that are drawn again before the map, as in `frames_points` with `redrawn`."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from pixel_memory import CELL, LATENT, READER, coarse, seen
from room_memory import psnr
from toy_room import Walker
from toy_room_data import SPEC

from worldsim.cameras.splat import Splatted
from worldsim.errors import UsageError
from worldsim.memory.base import MemoryConfig, MemorySize, ShownFrames, registered_memories
from worldsim.memory.frames_points import FramesPointsMemory, over

PATH = [Walker(-0.6 + 0.2 * step, -0.3 + 0.1 * step, 0.0) for step in range(7)]
BESIDE = Walker(0.04, -0.06, 0.0)
"""A hand's breadth from the middle of the path."""


def both(redrawn: int, rows: int = 1, **keys: Any) -> FramesPointsMemory:
    config = MemoryConfig(
        "frames_points",
        depth="simulator",
        colours=True,
        detail=CELL,
        points=40000,
        voxel=0.05,
        redrawn=redrawn,
        **keys,
    )
    size = MemorySize(SPEC, LATENT, rows, torch.device("cpu"))
    memory = registered_memories().get("frames_points").new(config, size)
    assert isinstance(memory, FramesPointsMemory)
    return memory


def wrong(walkers: list[Walker], *shares: float) -> ShownFrames:
    """Frames whose depth is told off by shares, in turn."""
    frames = seen(walkers)
    assert frames.depth is not None
    share = torch.tensor(shares).repeat(len(walkers))[: len(walkers), None, None, None]
    return replace(frames, depth=share * frames.depth)


def test_a_redrawn_frame_is_itself_from_where_it_was_taken_whatever_its_depth() -> None:
    memory = both(1, near=0.01)
    memory.update(wrong(PATH, 1.4))
    for walker in (PATH[0], PATH[3]):
        view = memory.view(coarse([walker]))
        assert view.coverage.min() == 1.0
        assert psnr(view.render / 2, seen([walker]).latents / 2, torch.ones(1)) >= 40


def test_depth_that_is_off_harms_near_frames_less_than_the_map() -> None:
    found = {}
    for redrawn in (0, 4):
        memory = both(redrawn, near=0.1)
        memory.update(wrong(PATH, 0.6, 1.0, 1.6))
        view = memory.view(coarse([BESIDE]))
        truth = seen([BESIDE]).latents
        found[redrawn] = psnr(view.render / 2, truth / 2, (view.coverage > 0.5).float())
    assert found[4] > found[0] + 2


def test_the_map_stands_where_the_nearest_frame_shows_nothing() -> None:
    """The nearest frame has no depth in half of its columns."""
    memory, plain = both(1, near=0.01), both(0)
    blind = seen([PATH[3]], 6)
    assert blind.depth is not None
    blind.depth[..., :32] = torch.nan
    for each in (memory, plain):
        each.update(seen([PATH[0], PATH[6]]))
        each.update(blind)
    view, behind = (each.view(coarse([PATH[3]])) for each in (memory, plain))
    # A column of cells from the border, where discs of either side reach over.
    torch.testing.assert_close(view.render[..., 1:7], behind.render[..., 1:7], atol=1e-5, rtol=0)
    assert psnr(view.render[..., 9:15] / 2, blind.latents[..., 9:15] / 2, torch.ones(1)) >= 40


def test_among_frames_that_are_near_the_first_is_drawn_and_else_the_nearest() -> None:
    memory = both(2, near=0.5)
    memory.update(seen(PATH))
    at = coarse([PATH[3]])
    # About .22 m apart: two neighbours on either side are near, of which the first two are drawn.
    assert sorted(memory.frames.nearest(at, 0)[0].tolist()) == [1, 2]
    strict = both(2, near=0.01)
    strict.update(seen(PATH))
    assert strict.frames.nearest(at, 0)[0, 0] == 3
    age = memory.view(at).render_age
    assert float(age.amax()) <= 7 - 1 and float(age.amin()) >= 7 - 6


def test_rows_keep_apart_where_they_hold_different_amounts() -> None:
    pair = both(3, rows=2)
    frames = [seen(walk) for walk in (PATH, PATH[::-1])]
    stacked = ShownFrames(
        torch.cat([each.latents for each in frames]),
        replace(
            frames[0].cameras,
            pose=torch.cat([each.cameras.pose for each in frames]),
            intrinsics=torch.cat([each.cameras.intrinsics for each in frames]),
            known=torch.ones(2),
        ),
        torch.cat([each.view_mask for each in frames]),
        torch.tensor([7, 2]),
        torch.cat([each.number for each in frames]),
        torch.cat([each.depth for each in frames if each.depth is not None]),
        READER,
    )
    pair.update(stacked)
    at = coarse([BESIDE])
    two = replace(
        at,
        pose=at.pose.repeat(2, 1, 1, 1, 1),
        intrinsics=at.intrinsics.repeat(2, 1, 1, 1),
        known=torch.ones(2),
    )
    view = pair.view(two)
    for row, count in enumerate((7, 2)):
        alone = both(3)
        alone.update(replace(frames[row], count=torch.tensor([count])))
        told = alone.view(at)
        torch.testing.assert_close(view.render[row], told.render[0], atol=1e-5, rtol=1e-5)
        picked = pair.select([row]).view(at)
        torch.testing.assert_close(picked.render[0], told.render[0], atol=1e-5, rtol=1e-5)


def test_what_is_in_front_hides_what_is_behind_by_its_coverage() -> None:
    front = Splatted(
        torch.full((1, 2, 1, 3), 4.0), torch.ones(1, 1, 3), torch.tensor([[[1, 0.5, 0]]])
    )
    behind = Splatted(
        torch.full((1, 2, 1, 3), 1.0), 2 * torch.ones(1, 1, 3), torch.tensor([[[1, 0.5, 0]]])
    )
    seen = over(front, behind)
    torch.testing.assert_close(seen.coverage, torch.tensor([[[1.0, 0.75, 0.0]]]))
    torch.testing.assert_close(seen.features[0, 0, 0], torch.tensor([4.0, 3.0, 0.0]))
    torch.testing.assert_close(seen.depth[0, 0], torch.tensor([1.0, 4 / 3, 0.0]))


def test_frames_without_colours_cannot_be_redrawn() -> None:
    size = MemorySize(SPEC, (1, 3, 32, 64), 1, torch.device("cpu"))
    config = MemoryConfig("frames_points", depth="simulator", redrawn=2)
    with pytest.raises(UsageError, match=r"redrawn=2 .*model.memory.colours"):
        FramesPointsMemory.new(config, size)


def test_kept_pictures_count_as_bytes() -> None:
    some, none = both(2), both(0)
    for memory in (some, none):
        memory.update(seen(PATH))
    held = 7 * 32 * 64 * (3 + 1) * 4
    assert some.stats()["bytes"] - none.stats()["bytes"] == held
