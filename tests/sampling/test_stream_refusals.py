"""What streams refuse, and that nothing is lost by it."""

from typing import Any

import numpy as np
import pytest
import torch
from stream_testing import (
    FOUR,
    TWO,
    begin,
    frames_of,
    make_stream,
    random_actions,
    run,
    steps,
)
from worldsim_testing import nano_start

from worldsim.config.compose import build
from worldsim.diffusion.schedule import autoregressive, full_sequence, rolling
from worldsim.errors import UsageError
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream


def test_too_few_actions_are_refused_and_nothing_is_lost() -> None:
    stream, actions = make_stream(rolling(FOUR)), random_actions(2, 6)
    begin(stream, [0, 1])
    stream.push(actions[:, :2])
    assert steps(stream, 2) == []
    with pytest.raises(UsageError, match="needs 3 actions .* row 0 has 2; push 1 more"):
        stream.step()
    stream.push(actions[:, 2:])
    torch.testing.assert_close(frames_of(stream.drain()), run(stream, actions))


def test_refusals_say_what_was_expected(stream: Stream) -> None:
    begin(stream, [0, 1])
    actions = random_actions(2, 2)
    with pytest.raises(UsageError, match=r"\[2, K, 5\]"):
        stream.push(actions[:1])
    with pytest.raises(UsageError, match=r"\[2, K, 5\]"):
        stream.revise(actions[..., :4])
    with pytest.raises(UsageError, match="NaN"):
        stream.push(np.full((2, 1, 5), np.nan, np.float32))
    world_states = torch.zeros(2, 2, stream.world_state.shape[1])
    for wrong in (world_states[:, :1], world_states.fill_(torch.nan)):
        with pytest.raises(UsageError, match=r"expected \[2, 2, \d+\], all finite"):
            stream.push(actions, world_states=wrong)
    assert stream.waiting.tolist() == [0, 0]
    with pytest.raises(UsageError, match="reset"):
        make_stream(rolling(TWO)).push(actions)
    start = nano_start(2)
    for views, said in (
        (np.ones((2, 2), bool), r"\[2, 3\]"),
        (np.zeros((2, 3), bool), "one camera"),
    ):
        with pytest.raises(UsageError, match=said):
            stream.reset(start["pixels"], start["agent_pos"], views=views)
    hand, state = start["agent_pos"].copy(), np.zeros((2, stream.spec.state.dim), np.float32)
    hand[1, 0], state[1, 0] = np.nan, np.inf
    with pytest.raises(UsageError, match="agent_pos must be finite"):
        stream.reset(start["pixels"], hand)
    with pytest.raises(UsageError, match="state must be finite"):
        stream.reset(start["pixels"], start["agent_pos"], state=state)
    begin(stream, [0, 1])
    stream.push(actions[:, :1])
    with pytest.raises(UsageError, match="drain"):
        stream.act(actions[:, 1])
    chunked = make_stream(autoregressive(TWO, chunk=3))
    begin(chunked, [0])
    chunked.push(random_actions(1, 4))
    with pytest.raises(UsageError, match="push 2 more actions"):
        chunked.drain()


def test_a_context_smaller_than_what_a_pass_finishes_is_refused() -> None:
    with pytest.raises(UsageError, match="finishes 4 frames .* holds 3"):
        make_stream(full_sequence(TWO, 2, window=2))


@pytest.mark.parametrize("saved", [{"descent": "flow"}, {"solver": "fresh"}])
def test_a_config_that_was_saved_under_old_names_is_refused_in_one_line(saved: Any) -> None:
    with pytest.raises(UsageError, match=r"Known: .*(solver|renoise)") as refused:
        build(Sampler, saved, "sampler")
    assert "\n" not in str(refused.value)
