"""Streams at every slope: order, independence of rows, branching, revision, refusals."""

import copy
from dataclasses import replace
from types import SimpleNamespace
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
from torch import Tensor
from worldsim_testing import nano_model, nano_start

from worldsim.diffusion.schedule import Schedule, autoregressive, full_sequence, rolling
from worldsim.errors import UsageError
from worldsim.models.conditioners.base import ConditionerList
from worldsim.sampling.replay import recorded_rig
from worldsim.sampling.stream import Stream


def test_same_seed_same_stream(stream: Stream) -> None:
    actions = random_actions(2, 6)
    first = run(stream, actions)
    assert first.shape[:2] == (2, 6)
    assert torch.equal(first, run(stream, actions))
    assert (first - run(stream, actions, seed=1)).abs().max() > 1e-4


def test_permuting_envs_permutes_streams(stream: Stream) -> None:
    actions, order = random_actions(3, 4), [2, 0, 1]
    straight = run(stream, actions)
    permuted = run(stream, actions[order], ids=order)
    torch.testing.assert_close(permuted, straight[order], atol=1e-5, rtol=1e-5)


def test_pushing_bit_by_bit_equals_pushing_at_once(stream: Stream) -> None:
    actions = random_actions(2, 8)
    at_once = run(stream, actions)
    begin(stream, [0, 1])
    chunks = []
    ahead = stream.schedule.most_in_flight * stream.schedule.chunk
    for frame in range(8):
        stream.push(actions[:, frame : frame + 1])
        while stream.waiting.min() >= ahead:
            chunks += steps(stream, 1)
    chunks += stream.drain()
    torch.testing.assert_close(frames_of(chunks), at_once, atol=1e-5, rtol=1e-5)


def test_rows_may_be_pushed_in_any_order(stream: Stream) -> None:
    actions = random_actions(2, 4)
    straight = run(stream, actions)
    begin(stream, [0, 1])
    stream.push(actions[::-1], [1, 0])
    torch.testing.assert_close(frames_of(stream.drain()), straight)


def test_hand_and_scene_follow_the_dynamics(stream: Stream) -> None:
    actions = random_actions(1, 4)
    begin(stream, [0])
    states = [stream.world_state, stream.world_state]
    dynamics = stream.model.dynamics
    for frame in range(4):
        action = torch.from_numpy(actions[:, frame])
        states.append(dynamics.step(states[-2], states[-1], action, torch.ones(1)))
    stream.push(actions)
    chunks = stream.drain()
    expected = dynamics.parts(torch.stack(states[2:], 1))
    torch.testing.assert_close(torch.cat([c.agent_pos for c in chunks], 1), expected[0])
    torch.testing.assert_close(torch.cat([c.state for c in chunks], 1), expected[1])
    torch.testing.assert_close(stream.world_state, states[-1])


class NoMaps(ConditionerList):
    """Conditioners of a model whose channels are all zero."""

    def __init__(self, shown: ConditionerList) -> None:
        self.__dict__.update(shown.__dict__)

    def maps(self, *args: Any, **settings: Any) -> Tensor:
        return torch.zeros_like(super().maps(*args, **settings))


@pytest.mark.parametrize("told", [True, False])
def test_frames_are_told_of_world_states_or_of_actions_alone(told: bool) -> None:
    whole = nano_model()
    model = copy.copy(whole)
    model.config = replace(whole.config, condition_on_state=told)
    if not told:
        model.conditioners = NoMaps(whole.conditioners)
    stream = Stream(model, autoregressive((1.0, 0.0)), precision="float32")
    actions, other = random_actions(1, 3), random_actions(1, 3, seed=1)
    straight, elsewhere = run(stream, actions), run(stream, other)
    assert (straight - elsewhere).abs().max() > 1e-4
    begin(stream, [0])
    world_states = stream.world_state[:, None].repeat(1, 3, 1) + 0.1
    stream.push(actions, world_states=world_states)
    moved = (frames_of(stream.drain()) - straight).abs().max()
    assert (moved > 1e-4) == told
    torch.testing.assert_close(stream.world_state, world_states[:, -1])


def test_hand_and_scene_go_where_a_recording_says(stream: Stream) -> None:
    actions = random_actions(2, 4)
    begin(stream, [0, 1])
    known = stream.world_state[:, None] + torch.linspace(0, 0.1, 4)[:, None]
    stream.push(actions, world_states=known)
    told = stream.fork()
    chunks = stream.drain()
    hands, scenes = stream.model.dynamics.parts(known)
    torch.testing.assert_close(torch.cat([c.agent_pos for c in chunks], 1), hands)
    torch.testing.assert_close(torch.cat([c.state for c in chunks], 1), scenes)
    begin(stream, [0, 1])
    stream.push(actions)
    by_dynamics = stream.drain()
    assert not torch.equal(frames_of(chunks), frames_of(by_dynamics))
    torch.testing.assert_close(frames_of(told.drain()), frames_of(chunks))


@pytest.mark.parametrize(
    ("schedule", "emitted"),
    [
        (autoregressive(TWO), [0, 1, 0, 1, 0, 1]),
        (autoregressive(TWO, chunk=3), [0, 3, 0, 3]),
        (rolling(FOUR), [0, 0, 0, 1, 1, 1]),
        (rolling(TWO, chunk=2), [0, 2, 2, 2]),
        (full_sequence(TWO, 1, window=3), [0, 3, 0, 3]),
    ],
    ids=str,
)
def test_passes_emit_what_the_schedule_says(schedule: Schedule, emitted: list[int]) -> None:
    stream = make_stream(schedule)
    begin(stream, [0])
    stream.push(random_actions(1, 12))
    counts = [0 if c is None else int(c.frames[0]) for c in (stream.step() for _ in emitted)]
    assert counts == emitted
    assert stream.waiting.tolist() == [12 - sum(emitted)]


def test_forks_agree_until_their_actions_differ(stream: Stream) -> None:
    actions = random_actions(2, 8)
    begin(stream, [0, 1])
    stream.push(actions[:, :4])
    steps(stream, 1)
    twin = stream.fork()
    for each, sign in ((stream, 1.0), (twin, -1.0)):
        each.push(np.concatenate([actions[:, 4:6], sign * actions[:, 6:]], axis=1))
    ours, theirs = frames_of(stream.drain()), frames_of(twin.drain())
    # Frames that were never in flight together with the seventh.
    ahead = stream.schedule.most_in_flight * stream.schedule.chunk
    same = 6 if stream.schedule.slope in (0, stream.schedule.steps) else 7 - ahead
    torch.testing.assert_close(ours[:, :same], theirs[:, :same])
    assert (ours[:, 6:] - theirs[:, 6:]).abs().max() > 1e-4


@pytest.mark.parametrize("passes", range(5))
def test_row_reset_touches_no_other_row(stream: Stream, passes: int) -> None:
    """Whatever the others have in flight, and wherever their schedule stands."""
    schedule = stream.schedule
    horizon = 6 * schedule.chunk
    actions, late = random_actions(3, horizon), random_actions(1, horizon, seed=1)
    whole, alone = run(stream, actions), run(stream, late, ids=[1])
    begin(stream, [0, 1, 2])
    stream.push(actions)
    seen: dict[int, list[torch.Tensor]] = {0: [], 1: [], 2: []}
    for chunk in steps(stream, passes):
        for row in (0, 2):
            seen[row] += chunk.latents[row, : chunk.frames[row]]
    begin(stream, [1], rows=[1])
    assert stream.waiting[1] == 0
    stream.push(late, rows=[1])
    while stream.waiting.any():
        # Rows that have run out of actions wait while the others drain.
        for chunk in stream.drain():
            for row in (0, 1, 2):
                seen[row] += chunk.latents[row, : chunk.frames[row]]
    for row, expected in ((0, whole[0]), (1, alone[0]), (2, whole[2])):
        torch.testing.assert_close(torch.stack(seen[row]), expected, atol=1e-5, rtol=1e-5)


def test_selected_rows_go_on_as_before(stream: Stream) -> None:
    actions = random_actions(3, 4)
    whole = run(stream, actions)
    begin(stream, [0, 1, 2])
    stream.push(actions)
    stream.select([2, 0])
    torch.testing.assert_close(frames_of(stream.drain()), whole[[2, 0]], atol=1e-5, rtol=1e-5)


def test_a_drained_stream_goes_on(stream: Stream) -> None:
    actions = random_actions(2, 8)
    begin(stream, [0, 1])
    stream.push(actions[:, :4])
    first = frames_of(stream.drain())
    stream.push(actions[:, 4:])
    both = torch.cat([first, frames_of(stream.drain())], dim=1)
    whole = run(stream, actions)
    torch.testing.assert_close(both[:, :1], whole[:, :1], atol=1e-5, rtol=1e-5)
    if stream.schedule.slope in (0, stream.schedule.steps):
        # Nothing was in flight across the gap.
        torch.testing.assert_close(both, whole, atol=1e-5, rtol=1e-5)


def test_revised_actions_leave_no_trace_of_those_they_replace(stream: Stream) -> None:
    chunk, results = stream.schedule.chunk, []
    actions = random_actions(2, 8 * chunk)
    for sign in (1.0, -1.0):
        begin(stream, [0, 1])
        stream.push(actions[:, :chunk])
        done = stream.drain()
        stream.push(sign * actions[:, chunk:])
        assert steps(stream, 1) == []
        stream.revise(0.5 * actions[:, : 2 * chunk])
        assert stream.waiting.tolist() == [2 * chunk] * 2
        results.append(frames_of(done + stream.drain()))
    torch.testing.assert_close(results[0], results[1])


def test_revising_before_anything_began_is_pushing(stream: Stream) -> None:
    actions = random_actions(2, 4)
    begin(stream, [0, 1])
    stream.push(-actions)
    stream.revise(actions)
    torch.testing.assert_close(frames_of(stream.drain()), run(stream, actions))


def test_revised_actions_may_come_with_world_states(stream: Stream) -> None:
    actions = random_actions(2, 4)
    begin(stream, [0, 1])
    world_states = stream.world_state[:, None] + 0.01 * torch.arange(1.0, 5.0)[:, None]
    stream.push(-actions)
    stream.revise(actions, world_states=world_states.numpy())
    revised = frames_of(stream.drain())
    torch.testing.assert_close(stream.world_state, world_states[:, -1])
    begin(stream, [0, 1])
    stream.push(actions, world_states=world_states.numpy())
    torch.testing.assert_close(revised, frames_of(stream.drain()))
    with pytest.raises(UsageError, match="world_states have shape"):
        stream.revise(actions, world_states=world_states[:, :1].numpy())


def test_a_missing_camera_changes_nothing_by_what_it_holds(stream: Stream) -> None:
    start, actions = nano_start(2), random_actions(2, 4)
    views = np.array([[True, False, True], [True, True, True]])

    def imagine(pixels: np.ndarray) -> np.ndarray:
        stream.reset(pixels, start["agent_pos"], views=views)
        stream.push(actions)
        stream.drain()
        return stream.pixels()

    noisy = start["pixels"].copy()
    noisy[0, 1] = 255 - noisy[0, 1]
    first = imagine(start["pixels"])
    np.testing.assert_array_equal(first, imagine(noisy))
    assert not first[0, 1].any() and first[1, 1].any() and first[0, 0].any()


def test_unknown_calibration_of_one_row_leaves_the_others_theirs(stream: Stream) -> None:
    start, actions = nano_start(2), random_actions(2, 4)
    rig = {
        "intrinsics": np.tile(np.diag([40.0, 40.0, 1.0]).astype(np.float32), (2, 3, 1, 1)),
        "extrinsics": np.tile(np.eye(4, dtype=np.float32), (2, 3, 1, 1)),
        "mounted": np.zeros((2, 3), bool),
    }

    def imagine(rows: list[int], known: list[bool]) -> torch.Tensor:
        given = {name: value[rows] for name, value in rig.items()}
        known_rows = np.array(known)[:, None]
        rigs = SimpleNamespace(**given, known=np.broadcast_to(known_rows, (len(rows), 3)))
        told = recorded_rig(rigs, np.arange(len(rows)))
        stream.reset(start["pixels"][rows], start["agent_pos"][rows], told, env_ids=rows)
        stream.push(actions[rows])
        return frames_of(stream.drain())

    mixed = imagine([0, 1], [True, False])
    torch.testing.assert_close(mixed[:1], imagine([0], [True]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed[1:], imagine([1], [False]), atol=1e-5, rtol=1e-5)
    assert not torch.equal(mixed[1:], imagine([1], [True]))


def test_what_a_stream_tells_of_world_states_stays_as_it_was_told(stream: Stream) -> None:
    begin(stream, [0])
    told, then = [], []
    stream.push(random_actions(1, 16))
    for _ in range(8):
        stream.step()
        told.append(stream.world_state)
        then.append(stream.world_state.clone())
    assert not torch.equal(told[0], told[-1])
    for one, other in zip(told, then, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)


def test_nothing_grows_with_the_stream() -> None:
    stream = make_stream(rolling(TWO))
    begin(stream, [0])

    def sizes() -> list[torch.Size]:
        rows = stream._running
        state, queue = rows.sampling, rows.queue
        parts = (state.x, state.recent, state.context.keys, queue.action, queue.after)
        return [part.shape for part in parts]

    stream.push(random_actions(1, 3))
    steps(stream, 2)
    before = sizes()
    for seed in range(40):
        stream.push(random_actions(1, 1, seed))
        steps(stream, 1)
    assert sizes() == before


@pytest.mark.parametrize("backbone", ["stnet", "dit"])
def test_everything_is_made_where_the_model_is(backbone: str) -> None:
    """A stream runs on any device: with another one as torch's default, whatever is made without
    saying where would meet the model's tensors there, and fail."""
    start = nano_start(2)
    rig = {name: start[name] for name in ("intrinsics", "extrinsics", "mounted")}
    stream = Stream(nano_model(backbone), rolling(TWO), precision="float32")
    with torch.device("meta"):
        stream.reset(start["pixels"], start["agent_pos"], rig, views=np.ones((2, 3), bool))
        stream.push(random_actions(2, 6))
        chunk = stream.step() or stream.step()
        assert chunk is not None and chunk.latents.device.type == "cpu"
        stream.revise(random_actions(2, 5))
        one = {name: value[:1] for name, value in rig.items()}
        stream.reset(start["pixels"][:1], start["agent_pos"][:1], one, rows=[1])
        assert stream.fork().pixels().shape == start["pixels"].shape
