"""Frames that are shown to a stream in its middle lead it on as its own would."""

import numpy as np
import pytest
import torch
from revisit_testing import nano_indoor_model, walked
from stream_testing import RIG, TWO, begin, frames_of, random_actions
from torch import Tensor
from worldsim_testing import nano_model, nano_start

from worldsim.diffusion.schedule import autoregressive, rolling
from worldsim.errors import UsageError
from worldsim.sampling.observed import amend, observe
from worldsim.sampling.stream import Stream


def fresh(memory: bool = False) -> Stream:
    from dataclasses import replace

    from worldsim.memory.base import MemoryConfig
    from worldsim.models.world_model import WorldModel

    model = nano_model()
    if memory:
        twin = WorldModel(
            replace(model.config, memory=MemoryConfig("frames", retrieved=2)), model.spec
        )
        twin.load_state_dict(model.state_dict())
        model = twin.eval().requires_grad_(False)
    stream = Stream(model, autoregressive(TWO), precision="float32")
    begin(stream, [0, 1])
    return stream


@pytest.mark.parametrize("memory", [False, True])
def test_a_stream_that_is_shown_its_own_frames_goes_on_as_it_would(memory: bool) -> None:
    actions = random_actions(2, 6)
    alone = fresh(memory)
    alone.push(actions)
    frames = frames_of(alone.drain())
    shown = fresh(memory)
    told: list[Tensor] = []
    # What a tokenizer loses is not this test's.
    shown.model.encode = lambda pixels, state=None: told[-1]  # type: ignore[method-assign]
    for step in range(3):
        told.append(frames[:, step])
        observe(shown, actions[:, step], np.zeros_like(nano_start(2)["pixels"]))
        assert torch.equal(shown.newest, frames[:, step])
    shown.push(actions[:, 3:])
    torch.testing.assert_close(frames_of(shown.drain()), frames[:, 3:], atol=1e-5, rtol=1e-5)
    if memory:
        assert alone.memory is not None and shown.memory is not None
        assert shown.memory.seen.tolist() == alone.memory.seen.tolist() == [7, 7]


def test_other_frames_lead_elsewhere() -> None:
    actions, other = random_actions(2, 3), nano_start(4)["pixels"][2:]
    alone, shown = fresh(), fresh()
    alone.push(actions)
    frames = frames_of(alone.drain())
    observe(shown, actions[:, 0], other)
    expected = shown.model.encode(torch.from_numpy(other))
    torch.testing.assert_close(shown.newest, expected)
    shown.push(actions[:, 1:])
    assert not torch.allclose(frames_of(shown.drain()), frames[:, 1:], atol=1e-3)


def test_rows_at_different_places_are_shown_together() -> None:
    actions, start = random_actions(2, 3), nano_start(2)
    together = fresh()
    together.act(actions[:, 0])
    begin(together, [1], rows=[1])
    observe(together, actions[:, 1], start["pixels"])
    last = together.act(actions[:, 2]).latents[:, 0]
    alone = Stream(nano_model(), autoregressive(TWO), precision="float32")
    begin(alone, [0, 1])
    observe(alone, actions[:, 1], start["pixels"])
    expected = alone.act(actions[:, 2]).latents[1, 0]
    torch.testing.assert_close(last[1], expected, atol=1e-5, rtol=1e-5)


def test_a_frame_that_does_not_fit_is_refused() -> None:
    stream, actions, start = fresh(), random_actions(2, 1)[:, 0], nano_start(2)
    with pytest.raises(UsageError, match=r"shape \[2, 3, 8, 32, 3\], expected \[2, 3, 32, 32, 3\]"):
        observe(stream, actions, start["pixels"][:, :, :8])
    stream.push(random_actions(2, 2))
    with pytest.raises(UsageError, match="drain"):
        observe(stream, actions, start["pixels"])
    chunks = Stream(nano_model(), rolling(TWO, chunk=2), precision="float32")
    chunks.reset(start["pixels"], start["agent_pos"], {name: start[name] for name in RIG})
    with pytest.raises(UsageError, match="chunk=1"):
        observe(chunks, actions, start["pixels"])


def test_frames_of_a_turned_agent_are_taken_in_as_the_model_has_them() -> None:
    """A model whose panoramas face heading zero is shown them so, in its middle as at its start."""
    model, walk = nano_indoor_model(derotate=True), walked("spin")
    stream = Stream(model, autoregressive(TWO), precision="float32")
    stream.reset(walk.pixels[:1], walk.agent_pos[:1], extras={"camera_pose": walk.poses[:1]})
    turned = walk.agent_pos[:, 2] < 0.5
    last = int(np.flatnonzero(turned)[0])
    for step in range(last):
        span = slice(step + 1, step + 2)
        observe(stream, walk.actions[step : step + 1], walk.pixels[span], walk.agent_pos[span])
    agent = torch.from_numpy(walk.agent_pos[last : last + 1])
    pixels = torch.from_numpy(walk.pixels[last : last + 1])
    expected = model.encode(pixels, agent)
    torch.testing.assert_close(stream.newest, expected, atol=1e-4, rtol=1e-4)
    np.testing.assert_array_equal(stream.pixels(), model.decode(expected, state=agent).numpy())
    amend(stream, walk.pixels[:1])
    amended = model.encode(torch.from_numpy(walk.pixels[:1]), agent)
    torch.testing.assert_close(stream.newest, amended)
    with pytest.raises(UsageError, match="nobody tells it"):
        model.encode(pixels)
    with pytest.raises(UsageError, match="nobody tells it"):
        model.decode(expected)
