"""The toy room through the whole way: recorded, trained, streamed, forked, saved and loaded."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toy_room import Move
from toy_room_data import SPEC, episode, write_room_data
from train_testing import train

from worldsim.data.cache import build_cache
from worldsim.data.episode import Episode
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained nano model of the room."""
    root = Path(tmp_path_factory.mktemp("room"))
    data = write_room_data(root / "data")
    assert (
        train(
            data,
            root / "run",
            "model.dynamics.name=pose",
            "stage=all",
        )
        == 0
    )
    return root / "run"


@pytest.fixture(scope="module")
def model(run: Path) -> WorldModel:
    return WorldModel.from_pretrained(run / "model")


def begun(model: WorldModel, recorded: Episode) -> Stream:
    stream = Stream.of(model, Sampler.default(model))
    rig = recorded.meta.rig
    assert rig is not None
    arrays = {name: getattr(rig, name)[None] for name in ("intrinsics", "extrinsics", "mounted")}
    stream.reset(np.stack(list(recorded.pixels.values()), 1)[:1], recorded.agent_pos[:1], arrays)
    return stream


def test_poses_of_cameras_are_recorded_as_the_agent_carries_them(tmp_path: Path) -> None:
    recorded = episode(3, 6)
    rig = recorded.meta.rig
    assert rig is not None
    x, y, cos, sin = recorded.agent_pos.T
    agent = np.tile(np.eye(4), (len(x), 1, 1))
    agent[:, 0, :2], agent[:, 1, :2] = np.stack([cos, -sin], 1), np.stack([sin, cos], 1)
    agent[:, 0, 3], agent[:, 1, 3] = x, y
    np.testing.assert_allclose(
        agent @ rig.extrinsics[0], recorded.extras["camera_pose"][:, 0], atol=1e-6
    )


def test_a_walk_is_imagined_where_its_moves_lead(model: WorldModel) -> None:
    recorded = episode(40, 6)
    stream = begun(model, recorded)
    for step in range(6):
        chunk = stream.act(recorded.action[step : step + 1])
    assert stream.pixels().shape == (1, 1, 32, 64, 3)
    # Integration is exact but where a wall or the pillar stopped the walk.
    if not recorded.extras["events"][:, 1].any():
        torch.testing.assert_close(
            chunk.agent_pos[0, 0], torch.from_numpy(recorded.agent_pos[6]), atol=0.05, rtol=0
        )


def test_forks_part_where_their_moves_do(model: WorldModel) -> None:
    stream = begun(model, episode(41, 2))
    twin = stream.fork()
    left, right = (SPEC.action.vector(np.array([move]), "test") for move in (Move.LEFT, Move.RIGHT))
    one, other = stream.act(left), twin.act(right)
    assert not torch.equal(one.agent_pos, other.agent_pos)
    again = begun(model, episode(41, 2)).act(left)
    assert torch.equal(again.latents, one.latents)


def test_what_is_saved_is_what_is_loaded(model: WorldModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "saved")
    loaded = WorldModel.from_pretrained(tmp_path / "saved")
    assert loaded.spec == SPEC
    move = SPEC.action.vector(np.array([Move.FORWARD]), "test")
    streams = [begun(which, episode(42, 2)) for which in (model, loaded)]
    one, other = (stream.act(move).latents for stream in streams)
    assert torch.equal(one, other)


def test_depth_and_events_reach_the_cache(tmp_path: Path) -> None:
    cache = build_cache(write_room_data(tmp_path / "data", episodes=2, steps=4))
    recorded = episode(1, 4)
    rows = cache.rows(1)
    for name, values in recorded.extras.items():
        np.testing.assert_allclose(
            np.asarray(cache.extras[name][rows.start : rows.stop]), values, atol=1e-3
        )
