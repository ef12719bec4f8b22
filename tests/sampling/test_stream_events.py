"""Streams read events off every frame that they finish, and what is built on them tells these."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from event_testing import decided, event_model, head_of
from imagination_testing import REPORT, nano_judge, nano_starts, random_actions
from stream_testing import SCHEDULES, TWO, begin
from stream_testing import random_actions as pushed_actions
from worldsim_testing import nano_spec

from worldsim.diffusion.schedule import autoregressive
from worldsim.envs.imagination import FrameStarts, ImaginationEnv, ImaginationVectorEnv
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.judge.judge import LearnedJudge
from worldsim.judge.report import VerdictRule
from worldsim.rollout.worlds import ImaginedWorld
from worldsim.sampling.observed import amend
from worldsim.sampling.stream import Stream

SPEC = replace(nano_spec(), events=("touched", "dropped"))


def judge() -> LearnedJudge:
    return LearnedJudge(nano_judge().estimator, SPEC, VerdictRule(0.999, 1), REPORT)


@pytest.mark.parametrize("name", SCHEDULES)
def test_events_of_a_frame_are_read_off_it_and_the_one_before(name: str) -> None:
    model = event_model(*SPEC.events)
    stream = Stream(model, SCHEDULES[name], precision="float32")
    begin(stream, [0, 1])
    actions, before = pushed_actions(2, 6), stream.newest.clone()
    stream.push(actions)
    chunks = stream.drain()
    latents = torch.cat([chunk.latents for chunk in chunks], dim=1)
    told = [chunk.events for chunk in chunks]
    assert all(each is not None for each in told)
    shown = torch.cat([before[:, None], latents], dim=1)
    head, known = head_of(model), torch.ones(2)
    taken = torch.from_numpy(actions)
    expected = [head(shown[:, t], shown[:, t + 1], taken[:, t], known).sigmoid() for t in range(6)]
    found = torch.cat([each for each in told if each is not None], dim=1)
    torch.testing.assert_close(found, torch.stack(expected, 1), atol=1e-5, rtol=1e-4)
    assert float(found.std(dim=(0, 1)).min()) > 1e-3, "frames differ"


def test_an_amended_frame_is_the_one_before() -> None:
    model, found = event_model(*SPEC.events), []
    for seed in (None, 3):
        stream = Stream(model, autoregressive(TWO), precision="float32")
        begin(stream, [0])
        actions = pushed_actions(1, 2)
        stream.act(actions[:, 0])
        if seed is not None:
            rng = np.random.default_rng(seed)
            amend(stream, rng.integers(0, 255, stream.pixels().shape, dtype=np.uint8))
        before = stream.newest.clone()
        chunk = stream.act(actions[:, 1])
        taken = torch.from_numpy(actions[:, 1])
        logit = head_of(model)(before, chunk.latents[:, 0], taken, torch.ones(1))
        assert chunk.events is not None
        torch.testing.assert_close(chunk.events[:, 0], logit.sigmoid(), atol=1e-5, rtol=1e-4)
        found.append(chunk.events)
    assert not torch.allclose(found[0], found[1])


def test_rows_that_wait_for_nothing_change_no_events_of_others() -> None:
    model = event_model(*SPEC.events)
    alone = Stream(model, autoregressive(TWO), precision="float32")
    begin(alone, [1])
    actions = pushed_actions(2, 3)
    alone.push(actions[1:])
    expected = torch.cat([chunk.events for chunk in alone.drain() if chunk.events is not None], 1)
    both = Stream(model, autoregressive(TWO), precision="float32")
    begin(both, [0, 1])
    both.push(actions[:1, :1], rows=[0])
    both.push(actions[1:], rows=[1])
    found = [c.events[1, : c.frames[1]] for c in both.drain() if c.events is not None]
    torch.testing.assert_close(torch.cat(found), expected[0], atol=1e-5, rtol=1e-4)


def test_imagined_envs_tell_events_as_simulators_do() -> None:
    model = decided(event_model(*SPEC.events), (True, False))
    starts = FrameStarts(nano_starts(), SPEC)
    env = ImaginationEnv(model, judge(), starts, sampling_steps=1, max_episode_steps=3)
    _, info = env.reset(seed=0)
    assert info["events"].dtype == np.float32 and info["events"].tolist() == [0, 0]
    info = env.step(np.zeros(5, np.float32))[4]
    assert info["events"].dtype == np.float32 and info["events"].tolist() == [1, 0]
    several = ImaginationVectorEnv(2, model, judge(), starts, sampling_steps=1, max_episode_steps=2)
    _, info = several.reset(seed=0)
    assert info["events"].tolist() == [[0, 0]] * 2 and info["_events"].all()
    info = several.step(np.zeros((2, 5), np.float32))[4]
    assert info["events"].tolist() == [[1, 0]] * 2
    several.step(np.zeros((2, 5), np.float32))
    info = several.step(np.zeros((2, 5), np.float32))[4]
    assert info["events"].tolist() == [[0, 0]] * 2, "a new episode has no step behind it"


def test_rollouts_in_imagination_hold_events() -> None:
    model = event_model(*SPEC.events)
    world = ImaginedWorld(ImaginationEngine(model, judge(), 1))
    first = world.start(nano_starts(3), [0, 1, 2], 0)
    assert first.event is not None and first.event.shape == (3, 2) and not first.event.any()
    seen = []
    for actions in random_actions(4, 3):
        told = world.step(actions).event
        assert told is not None and told.shape == (3, 2) and told.dtype == np.float32
        seen.append(told)
    assert set(np.unique(seen)) <= {0.0, 1.0}
    world.select([2])
    told = world.step(random_actions(1, 1)[0]).event
    assert told is not None and told.shape == (1, 2)
