"""Frames as a world model shows them keep the rows whose labels they carry."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from worldsim_testing import nano_model, nano_spec, nano_start

from worldsim.judge.buffer import FrameBuffer, imagine_again, reconstruct, strayed
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream

LENGTHS = (6, 3)


def recorded() -> Any:
    """Two episodes, of 6 and 3 rows, with what a cache holds of them."""
    start, rng = nano_start(sum(LENGTHS)), np.random.default_rng(0)
    rig = {name: start[name][:2] for name in ("intrinsics", "extrinsics", "mounted")}
    return SimpleNamespace(
        spec=nano_spec(),
        extras={},
        pixels=start["pixels"],
        agent_pos=start["agent_pos"],
        action=rng.uniform(-1, 1, (9, 5)).astype(np.float32),
        episode_start=np.array([0, 6, 9]),
        state=rng.uniform(-0.1, 0.1, (9, 2)).astype(np.float32),
        success=np.zeros(9, bool),
        progress=np.zeros(9, np.float32),
        rigs=SimpleNamespace(**rig, known=np.ones((2, 3), bool)),
        views_seen=np.ones((2, 3), bool),
    )


def test_reconstruction_is_what_the_tokenizer_makes_of_the_row() -> None:
    data = recorded()
    buffer = reconstruct(nano_model(), data, np.array([7, 2]), batch_size=1)
    assert buffer.rows.tolist() == [2, 7]
    model = nano_model()
    for row, frame in zip(buffer.rows, buffer.pixels, strict=True):
        expected = model.decode(model.encode(torch.from_numpy(data.pixels[row])))
        np.testing.assert_allclose(frame.astype(int), expected.numpy().astype(int), atol=1)


def test_imagined_rows_follow_their_start_within_the_episode() -> None:
    data = recorded()
    buffer = imagine_again(nano_model(), data, np.array([5, 1, 8]), steps=3)
    # Row 8 belongs to an episode too short; row 1 is reached from its episode's first row.
    assert buffer.rows.tolist() == [3, 1, 4, 2, 5, 3]
    assert buffer.pixels.shape == (6, 3, 32, 32, 3)


def test_imagined_frames_show_the_recorded_bodies_under_the_recorded_actions() -> None:
    data = recorded()
    buffer = imagine_again(nano_model(), data, np.array([5]), steps=2)
    stream = Stream(nano_model(), Sampler().schedule())
    rig = {name: getattr(data.rigs, name)[:1] for name in ("intrinsics", "extrinsics", "mounted")}
    start = (data.pixels[3:4], data.agent_pos[3:4], rig, [3])
    stream.reset(*start, state=data.state[3:4])
    for row, frame in zip((4, 5), buffer.pixels, strict=True):
        body = np.concatenate([data.agent_pos[row : row + 1], data.state[row : row + 1]], 1)
        stream.act(data.action[row - 1 : row], body)
        np.testing.assert_allclose(stream.world_state.numpy(), body)
        np.testing.assert_array_equal(frame, stream.pixels()[0])


def test_nothing_long_enough_gives_an_empty_buffer() -> None:
    data = recorded()
    assert len(imagine_again(nano_model(), data, np.array([8]), steps=3).rows) == 0


def test_frames_that_left_their_recording_are_found() -> None:
    data, model = recorded(), nano_model()
    # Smooth pictures, so that the tokenizer's own error is no wild number.
    data.pixels = np.full_like(data.pixels, 120)
    shown = reconstruct(model, data, np.arange(9))
    gone = shown.pixels.copy()
    gone[4, 1, :4, :4] = 255
    error = np.abs(shown.pixels[4].astype(float) - 120).mean(-1)
    worst = error.reshape(3, 8, 4, 8, 4).mean((2, 4)).max()
    moved = np.abs(gone[4, 1, :4, :4].astype(float) - 120).mean()
    limit = 0.9 * moved / worst
    assert limit > 1
    for pixels, expected in ((shown.pixels, []), (gone, [4])):
        lost = strayed(model, data, FrameBuffer(shown.rows, pixels), limit)
        assert np.flatnonzero(lost).tolist() == expected
    twice = FrameBuffer(np.array([4, 3, 4]), np.stack([gone[4], gone[3], shown.pixels[4]]))
    assert strayed(model, data, twice, limit).tolist() == [True, False, False]
    assert strayed(model, data, twice, 1e9).sum() == 0


def test_a_camera_that_rides_does_not_say_whether_things_are_elsewhere() -> None:
    data, model = recorded(), nano_model()
    data.pixels = np.full_like(data.pixels, 120)
    *still, wrist = model.spec.cameras
    shown = reconstruct(model, data, np.arange(3))
    pixels = shown.pixels.copy()
    pixels[:, -1] = 255
    for carrier, expected in (("end_effector", [False] * 3), (None, [True] * 3)):
        cameras = (*still, replace(wrist, carrier=carrier))
        model.spec = replace(model.spec, cameras=cameras)
        assert strayed(model, data, FrameBuffer(shown.rows, pixels), 2.0).tolist() == expected
