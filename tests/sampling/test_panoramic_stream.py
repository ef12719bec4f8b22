"""Streams of panoramas turned to one heading: turns are exact, walls that are seen stop."""

from typing import Any

import numpy as np
import pytest
import torch
from toy_room import FORWARD, TURN, Move, Walker, seen
from toy_room_data import SPEC, rig

from worldsim.errors import UsageError
from worldsim.memory.base import MemoryConfig
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.heads.stride import StrideHead
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream

STARTS = [Walker(0.4, -0.3, 2 * TURN), Walker(-0.5, 0.2, -3 * TURN)]


def model_of(memory: str = "none", **keys: Any) -> WorldModel:
    """A fresh model, which shows the frame before wherever nothing was learnt."""
    torch.manual_seed(0)
    config = WorldModelConfig(
        TokenizerConfig(channels=8, width=16, depth=1, name="autoencoder_quarter"),
        DenoiserConfig("unet", 16, 1, 16, 16, render_reference=False),
        HeadConfig(width=8, keypoints=8, depth=True, finer=4, stride=keys.pop("stride", False)),
        DynamicsConfig("pose", width=16, depth=1),
        MemoryConfig(memory, retrieved=2, colours=True, detail=4),
        conditioners=("parallax", "memory", "retrieved"),
        condition_on_state=False,
        derotate=True,
        **keys,
    )
    model = WorldModel(config, SPEC)
    model.dynamics.step_size.fill_(FORWARD)
    return model.eval().requires_grad_(False)


def begun(model: WorldModel, starts: list[Walker] = STARTS) -> Stream:
    stream = Stream.of(model, Sampler.of(model, 1))
    pixels = np.stack([seen(walker)[0] for walker in starts])[:, None]
    agent = np.array([(w.x, w.y, np.cos(w.yaw), np.sin(w.yaw)) for w in starts], np.float32)
    names, count = ("intrinsics", "extrinsics", "mounted"), len(starts)
    arrays = {name: np.stack([getattr(rig(), name)] * count) for name in names}
    stream.reset(pixels, agent, arrays)
    return stream


def moves(*each: Move) -> np.ndarray:
    return SPEC.action.vector(np.array(each, np.int64), "test")


def last_bias(head: StrideHead) -> torch.Tensor:
    return list(head.parameters())[-1]


def test_frames_turn_with_the_agent_and_come_back_as_they_were() -> None:
    stream = begun(model_of())
    first, kept = stream.pixels(), stream.newest.clone()
    columns = round(TURN / (2 * np.pi) * 64)
    for turns in range(1, 17):
        stream.act(moves(Move.LEFT, Move.RIGHT))
        shown = stream.pixels().astype(float)
        expected = np.stack(
            [np.roll(first[0], turns * columns, -2), np.roll(first[1], -turns * columns, -2)]
        )
        # A frame that is read again is scaled by a little, as its label says.
        off = np.abs(shown - expected).mean()
        assert off < 0.5 + 0.02 * turns
        assert turns % 16 == 0 or off < 0.7 * np.abs(shown - first).mean()
        apart = (stream.newest - kept).abs().max() / kept.abs().max()
        assert float(apart) < 0.02 * turns


def test_what_is_shown_faces_as_the_agent_and_latents_do_not() -> None:
    model = model_of()
    one = begun(model, [Walker(0.4, -0.3, 0.0)])
    other = begun(model, [Walker(0.4, -0.3, 4 * TURN)])
    gap = (one.newest - other.newest).abs()
    assert float((gap > 0.05 * one.newest.abs().max()).float().mean()) < 0.03
    shown, turned = (each.pixels().astype(float) for each in (one, other))
    off = np.abs(np.roll(shown, 16, axis=-2) - turned).mean()
    assert off < 0.3 * np.abs(shown - turned).mean()


@pytest.mark.parametrize("memory", ["frames_points", "raw", "recurrent"])
def test_memories_stand_at_one_heading_too(memory: str) -> None:
    stream = begun(model_of(memory))
    for _ in range(3):
        stream.act(moves(Move.LEFT, Move.FORWARD))
    assert stream.memory is not None
    cond = stream.fork()
    cond.act(moves(Move.RIGHT, Move.RIGHT))
    running = stream._running
    view = running.sampling.recent_cond.memory
    assert view is not None
    turn = view.poses[view.mask > 0][..., :3, :3]
    torch.testing.assert_close(turn, torch.eye(3).expand_as(turn), atol=1e-4, rtol=0)
    assert np.isfinite(stream.pixels()).all()


def test_a_wall_that_is_seen_stops_the_step_and_all_that_follow_it() -> None:
    model = model_of(stride=True)
    head = model.stride_head
    assert head is not None
    free = begun(model)
    before = free.world_state.clone()
    free.act(moves(Move.FORWARD, Move.LEFT))
    gone = (free.world_state - before)[:, :2].norm(dim=-1)
    torch.testing.assert_close(gone, torch.tensor([FORWARD, 0.0]), atol=1e-5, rtol=0)
    with torch.no_grad():  # half of a typical step back, and a fifth aside
        last_bias(head).copy_(torch.tensor([-0.5, 0.2]))
    stopped = begun(model)
    ahead = torch.tensor([np.cos(STARTS[0].yaw), np.sin(STARTS[0].yaw)], dtype=torch.float32)
    stopped.act(moves(Move.FORWARD, Move.LEFT))
    way = (stopped.world_state - before)[:, :2]
    assert float(way[1].norm()) == 0.0
    torch.testing.assert_close(way[0] @ ahead, torch.tensor(0.5 * FORWARD), atol=1e-5, rtol=0)
    assert float(way[0].norm()) == pytest.approx(FORWARD * np.hypot(0.5, 0.2), rel=1e-4)
    two = begun(model)
    plan = np.stack([moves(Move.FORWARD, Move.FORWARD)] * 2, axis=1)
    two.push(plan)
    two.drain()
    double = (two.world_state - before)[:, :2].norm(dim=-1)
    torch.testing.assert_close(double, 2 * FORWARD * torch.full((2,), np.hypot(0.5, 0.2)),
                               atol=1e-4, rtol=1e-3)  # fmt: skip


def test_walls_do_not_stop_where_it_is_known_where_an_action_led() -> None:
    model = model_of(stride=True)
    assert model.stride_head is not None
    with torch.no_grad():
        last_bias(model.stride_head).fill_(-0.5)
    stream = begun(model)
    given = stream.world_state.clone()
    given[:, 0] += 0.1
    stream.act(moves(Move.FORWARD, Move.FORWARD), given.numpy())
    torch.testing.assert_close(stream.world_state, given)


def test_the_way_is_read_alike_whatever_way_the_agent_faces() -> None:
    model = model_of(stride=True)
    head = model.stride_head
    assert head is not None
    with torch.no_grad():
        for part in head.parameters():
            if part.abs().max() == 0:
                part.normal_(std=0.1)
    latents = torch.randn(1, *model.latent_shape)
    ahead = head(latents, torch.tensor([[0.0, FORWARD]]), torch.tensor(FORWARD))
    # Four columns of sixteen to the right: what was ahead is there now.
    right = head(latents.roll(4, -1), torch.tensor([[FORWARD, 0.0]]), torch.tensor(FORWARD))
    expected = torch.stack([ahead[:, 1], -ahead[:, 0]], dim=-1)
    torch.testing.assert_close(right, expected, atol=1e-5, rtol=1e-4)


def test_a_stride_head_needs_panoramas_that_are_turned() -> None:
    with pytest.raises(UsageError, match=r"model.derotate=true beside it"):
        WorldModelConfig(head=HeadConfig(stride=True))
