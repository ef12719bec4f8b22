"""Memories of frames: which are kept, which are retrieved; the state space; the oracle."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from room_memory import cameras, new, shown
from torch import Tensor
from toy_room import Walker

from worldsim.cameras.poses import inverse_pose
from worldsim.errors import UsageError
from worldsim.memory.base import FrameCameras
from worldsim.memory.frames import FrameMemory, RawMemory
from worldsim.memory.oracle import OracleMemory
from worldsim.memory.recurrent import RecurrentMemory, legendre

LINE = [Walker(x, 0.0, 0.0) for x in np.linspace(-1.5, 1.5, 7)]


def frames(rows: int = 1, **keys: object) -> FrameMemory:
    memory = new("frames", rows, **keys)
    assert isinstance(memory, FrameMemory)
    return memory


def numbers(memory: FrameMemory | RawMemory, at: Walker, row: int = 0) -> list[int]:
    """Numbers of the frames that are retrieved for a camera, best first."""
    rows = len(memory.seen)
    view = memory.view(cameras([[at]] * rows))
    told = (memory.now[:, None] - view.age[:, 0]).long()
    return [int(n) for n, m in zip(told[row], view.mask[row, 0], strict=True) if m]


def test_the_frame_seen_from_the_same_place_is_retrieved_first() -> None:
    memory = frames(retrieved=3, reach=1.0, age_penalty=0.0)
    memory.update(shown([LINE]))
    for number, walker in enumerate(LINE):
        assert numbers(memory, walker)[0] == number
    view = memory.view(cameras([[LINE[2]]]))
    torch.testing.assert_close(view.retrieved[0, 0, 0], shown([LINE[2:3]]).latents[0, 0])
    torch.testing.assert_close(view.poses[0, 0, 0, 0], torch.eye(4), atol=1e-6, rtol=0)
    assert view.age[0, 0, 0] == 5


def test_relative_poses_go_from_the_retrieved_camera_to_the_one_to_come() -> None:
    memory = frames(retrieved=1, reach=1.0)
    there, here = Walker(0.3, -0.2, 1.0), Walker(0.1, 0.2, 0.4)
    memory.update(shown([[there]]))
    view = memory.view(cameras([[here]]))
    expected = np.linalg.inv(here.pose) @ there.pose
    torch.testing.assert_close(view.poses[0, 0, 0, 0], torch.from_numpy(expected))


def test_the_next_frame_adds_what_those_before_it_do_not_show() -> None:
    """Three frames at one end and one at the other: of both ends one comes before a second."""
    near = [Walker(x, 0.0, 0.0) for x in (-0.9, -0.8, -0.7)]
    memory = frames(retrieved=2, reach=1.5, age_penalty=0.0)
    memory.update(shown([[*near, Walker(1.0, 0.0, 0.0)]]))
    assert set(numbers(memory, Walker(-0.2, 0.0, 0.0))) >= {3}
    plain = [n for n in numbers(memory, Walker(-0.2, 0.0, 0.0)) if n < 3]
    assert len(plain) == 1


def test_pinhole_cameras_retrieve_what_looks_the_same_way() -> None:
    from worldsim_testing import nano_spec

    from worldsim.memory.base import MemoryConfig, MemorySize

    spec = replace(nano_spec(), cameras=nano_spec().cameras[:1])
    size = MemorySize(spec, (1, 3, 8, 8), 1, torch.device("cpu"))
    memory = FrameMemory.new(MemoryConfig("frames", retrieved=1, depth="simulator"), size)
    around = [Walker(0.0, 0.0, turn) for turn in np.arange(8) * math.pi / 4]
    frame = shown([around])
    intrinsics = torch.tensor([[4.0, 0, 4], [0, 4, 4], [0, 0, 1]])[None, None]
    at = FrameCameras(frame.cameras.pose, intrinsics, torch.ones(1))
    memory.update(replace(frame, latents=frame.latents[..., :8, :8], cameras=at))
    for number in range(8):
        looking = FrameCameras(at.pose[:, number : number + 1], intrinsics, torch.ones(1))
        assert memory.now - memory.view(looking).age[0, 0, 0] == number


def test_frames_from_where_one_was_taken_before_add_nothing() -> None:
    memory = frames()
    memory.update(shown([LINE]))
    first = memory.latents.clone()
    later = shown([LINE], len(LINE))
    memory.update(replace(later, latents=later.latents + 1.0))
    assert int(memory.held) == len(LINE) and torch.equal(memory.latents, first)
    assert int(memory.seen) == 2 * len(LINE)


def test_a_full_memory_lets_go_of_the_later_of_the_two_nearest() -> None:
    memory = frames(frames=4)
    xs = [0.0, 1.0, -1.0, 0.1, 0.6]
    memory.update(shown([[Walker(x, 0.0, 0.0) for x in xs]]))
    assert sorted(memory.number[0].tolist()) == [0, 1, 2, 4]
    for number in range(5, 40):
        memory.update(
            shown([[Walker(0.5 * math.cos(number), 0.5 * math.sin(number), 0.0)]], number)
        )
        assert int(memory.held) == 4


def test_rows_of_other_lengths_and_uncalibrated_ones_keep_apart() -> None:
    memory = frames(2, retrieved=2)
    both = shown([LINE[:3], LINE[2:5]])
    half = replace(both.cameras, known=torch.tensor([1.0, 0.0]))
    memory.update(replace(both, cameras=half, count=torch.tensor([2, 3])))
    assert memory.held.tolist() == [2, 0] and memory.now.tolist() == [2, 3]
    view = memory.view(half)
    assert view.mask[0].sum() > 0 and view.mask[1].sum() == 0


def test_raw_frames_are_the_newest_beyond_those_skipped() -> None:
    memory = new("raw", retrieved=3, skipped=2)
    assert isinstance(memory, RawMemory)
    memory.update(shown([LINE]))
    assert numbers(memory, LINE[0]) == [4, 3, 2]
    assert memory.width == 5
    kept = memory.newest()
    assert kept.number.tolist() == [[2, 3, 4, 5, 6]]
    torch.testing.assert_close(kept.latents, shown([LINE[2:]]).latents)


def test_inverse_poses() -> None:
    pose = cameras([LINE]).pose
    torch.testing.assert_close(inverse_pose(pose), torch.linalg.inv(pose))


def history(order: int, values: Tensor) -> Tensor:
    """Coefficients of a history that is constant within each frame, by integration `[O]`."""
    steps = 4000
    times = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    frame = (times * len(values)).long()
    return (legendre(times, order) * values[frame, None].double()).mean(0)


def test_the_state_space_holds_the_projection_of_everything_shown() -> None:
    """After any number of frames its coefficients are those that integration gives."""
    memory = new("recurrent", order=6, retrieved=3)
    assert isinstance(memory, RecurrentMemory)
    walk = LINE + LINE[::-1]
    frame = shown([walk])
    for count in range(1, len(walk) + 1):
        memory.update(shown([walk[count - 1 : count]], count - 1))
        value = frame.latents[0, :count, 0, 1, 7, 20]
        place = int(np.ravel_multi_index((0, 1, 7, 20), (1, 3, 32, 64)))
        expected = history(6, value)
        torch.testing.assert_close(
            memory.latents[0, :, place].double(), expected, atol=2e-3, rtol=1e-3
        )
    bytes_before = memory.stats()["bytes"]
    memory.update(shown([LINE], len(walk)))
    assert memory.stats()["bytes"] == bytes_before


def test_what_the_state_space_tells_is_the_past_smoothed() -> None:
    memory = new("recurrent", order=24, retrieved=4)
    walk = [Walker(0.0, 0.0, 0.1 * step) for step in range(24)]
    memory.update(shown([walk]))
    view = memory.view(cameras([[walk[-1]]]))
    assert view.mask.min() == 1
    for place in range(4):
        number = int(memory.now) - float(view.age[0, 0, place])
        near = shown([[walk[round(number)]]]).latents[0, 0]
        errors = [
            float((shown([[other]]).latents[0, 0] - view.retrieved[0, 0, place]).square().mean())
            for other in walk[::6]
        ]
        told = float((near - view.retrieved[0, 0, place]).square().mean())
        assert told <= 1.5 * min(errors)
        turn = view.poses[0, 0, place, 0, :3, :3]
        torch.testing.assert_close(turn @ turn.mT, torch.eye(3), atol=1e-4, rtol=0)
        angle = math.acos(min(float((turn.trace() - 1) / 2), 1.0))
        assert angle == pytest.approx(0.1 * (23 - number), abs=0.15)
    assert (view.age[0, 0].diff() > 0).all()


def test_an_oracle_renders_what_it_is_told_and_nothing_else() -> None:
    memory, at = new("oracle", 2), cameras([[LINE[0]], [LINE[1]]])
    assert isinstance(memory, OracleMemory)
    assert memory.view(at).coverage.amax() == 0

    def truth(pose: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        assert pose.shape == (1, 1, 4, 4) and intrinsics.shape == (1, 3, 3)
        latents = pose[:, :, 0, 3, None, None, None].expand(1, 1, 3, 32, 64)
        return latents, torch.ones(1, 1, 1, 32, 64)

    memory.tell([None, truth])
    view = memory.view(at)
    assert view.coverage[0].amax() == 0 and view.coverage[1].amin() == 1
    assert view.render[1].amin() == view.render[1].amax() == pytest.approx(LINE[1].x)
    swapped = memory.select([1, 0])
    assert swapped.view(at).coverage[0].amin() == 1
    with pytest.raises(UsageError, match="one for each stream"):
        memory.tell([truth])
    memory.tell([lambda pose, k: (torch.zeros(3), torch.zeros(3)), None])
    with pytest.raises(UsageError, match="truth of stream 0 has shape"):
        memory.view(at)
