"""Frame by frame, as envs use streams: reproducible, rows apart, equal to no cache at all."""

import numpy as np
import pytest
import torch
from worldsim_testing import nano_model, nano_start

from worldsim.diffusion.flow import as_history, env_noise
from worldsim.errors import UsageError
from worldsim.models.conditioners.steps import FrameSteps
from worldsim.sampling.sampler import Precision, Sampler
from worldsim.sampling.stream import Stream

STEPS = 4


def make(steps: int, precision: Precision = "float32") -> Stream:
    return Stream(nano_model(), Sampler(steps=steps).schedule(), precision=precision)


def roll(
    stream: Stream, actions: np.ndarray, env_ids: list[int] | None = None, seed: int = 0
) -> np.ndarray:
    """Latents `[T, N, ...]` of a rollout from the standard first frames."""
    rows = env_ids if env_ids is not None else list(range(actions.shape[1]))
    start = nano_start(max(rows) + 1)
    stream.reset(
        start["pixels"][rows],
        start["agent_pos"][rows],
        {name: start[name][rows] for name in ("intrinsics", "extrinsics", "mounted")},
        env_ids=rows,
        seed=seed,
    )
    return np.stack([stream.act(a).latents[:, 0].numpy() for a in actions])


@pytest.fixture(scope="module")
def actions() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (STEPS, 3, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def stream() -> Stream:
    return make(2)


def test_same_seed_same_rollout(stream: Stream, actions: np.ndarray) -> None:
    first, second = roll(stream, actions), roll(stream, actions)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - roll(stream, actions, seed=1)).max() > 1e-4


def test_permuting_envs_permutes_rollouts(stream: Stream, actions: np.ndarray) -> None:
    order = [2, 0, 1]
    straight = roll(stream, actions)
    permuted = roll(stream, actions[:, order], env_ids=order)
    np.testing.assert_allclose(permuted, straight[:, order], atol=1e-5)


def test_in_bfloat16_batches_agree_to_its_rounding(actions: np.ndarray) -> None:
    """Kernels of two batch sizes may add up in another order, and bfloat16 keeps eight bits."""
    stream = make(2, "bfloat16")
    whole = roll(stream, actions)
    for row in range(3):
        alone = roll(stream, actions[:, [row]], env_ids=[row])[:, 0]
        np.testing.assert_allclose(alone, whole[:, row], atol=STEPS * 2**-8 * np.abs(whole).max())


def test_dropping_rows_leaves_the_others(stream: Stream, actions: np.ndarray) -> None:
    whole = roll(stream, actions)
    roll(stream, actions[:2])
    stream.select([2, 0])
    rest = np.stack([stream.act(a[[2, 0]]).latents[:, 0].numpy() for a in actions[2:]])
    np.testing.assert_allclose(rest, whole[2:][:, [2, 0]], atol=1e-5)


def test_forks_agree_until_their_actions_differ(stream: Stream, actions: np.ndarray) -> None:
    roll(stream, actions[:2])
    twin = stream.fork()
    same = stream.act(actions[2]).latents
    torch.testing.assert_close(twin.act(actions[2]).latents, same)
    ours, theirs = stream.act(actions[3]).latents, twin.act(-actions[3]).latents
    assert (ours - theirs).abs().max() > 1e-4


def test_row_reset_touches_no_other_row(stream: Stream, actions: np.ndarray) -> None:
    whole = roll(stream, actions)
    roll(stream, actions[:2])
    start = nano_start(3)
    rig = {name: start[name][1:2] for name in ("intrinsics", "extrinsics", "mounted")}
    stream.reset(start["pixels"][1:2], start["agent_pos"][1:2], rig, env_ids=[1], rows=[1])
    later = np.stack([stream.act(a).latents[:, 0].numpy() for a in actions[2:]])
    np.testing.assert_allclose(later[:, [0, 2]], whole[2:][:, [0, 2]], atol=1e-5)
    restarted = roll(stream, actions[2:, 1:2], env_ids=[1])
    np.testing.assert_allclose(later[:, 1:2], restarted, atol=1e-5)


def test_equals_the_sampler_without_a_cache(actions: np.ndarray) -> None:
    model = nano_model()
    stream = make(1)
    cached = roll(stream, actions)
    start = nano_start(3)
    batch = {name: torch.as_tensor(value) for name, value in start.items()}
    rig = model.rig({**batch, "agent_pos": batch["agent_pos"][:, None]})
    frames = [model.encode(batch["pixels"])]
    scene = model.read_state(frames[0][:, None]).state[:, 0]
    world_states = [model.dynamics.join(batch["agent_pos"], scene)]
    led, told, before = [torch.zeros(3, 5)], [torch.zeros(3)], [world_states[0]]
    with torch.inference_mode():
        for t in range(STEPS):
            led.append(torch.from_numpy(actions[t]))
            told.append(torch.ones(3))
            earlier = world_states[max(t - 1, 0)]
            before.append(world_states[-1])
            world_states.append(model.dynamics.step(earlier, world_states[-1], led[-1], told[-1]))
            steps = FrameSteps(
                torch.stack(led, 1),
                torch.stack(told, 1),
                torch.stack(before, 1),
                torch.stack(world_states, 1),
                torch.ones(3, t + 2, model.views),
                rig,
            )
            cond = model.condition_frames(steps)
            past = [as_history(f, model.config.history_sigma) for f in frames]
            noise = env_noise([(0, i, t + 1) for i in range(3)], frames[0].shape[1:])
            levels = torch.full((3, t + 2), model.config.history_sigma)
            levels[:, -1] = 1.0
            new = model.denoiser(torch.stack([*past, noise], 1), levels, cond)[:, -1]
            np.testing.assert_allclose(cached[t], new.numpy(), atol=2e-5)
            frames.append(new)


def test_pixels_are_decoded_latents(stream: Stream, actions: np.ndarray) -> None:
    roll(stream, actions[:1])
    pixels = stream.pixels()
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, 3, 32, 32, 3)


@pytest.mark.parametrize("steps", [0, -1])
def test_needs_a_sampling_step(steps: int) -> None:
    with pytest.raises(UsageError, match="steps is"):
        Sampler(steps=steps)


def test_bad_requests_say_what_was_expected(stream: Stream, actions: np.ndarray) -> None:
    roll(stream, actions[:1])
    with pytest.raises(UsageError, match=r"\[3, 5\]"):
        stream.act(actions[0][:2])
    with pytest.raises(UsageError, match="NaN"):
        stream.act(np.full((3, 5), np.nan))
    with pytest.raises(UsageError, match="exterior"):
        stream.reset(np.zeros((1, 3, 64, 64, 3), np.uint8), np.zeros((1, 10), np.float32))
    with pytest.raises(UsageError, match="reset"):
        make(2).act(actions[0])
