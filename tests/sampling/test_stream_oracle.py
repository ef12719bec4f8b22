"""What a stream computes with its ring and its merged passes, against plain recomputation."""

import copy
from dataclasses import replace
from typing import Literal

import pytest
import torch
from stream_testing import KeptContext, Oracle, random_actions, run
from worldsim_testing import nano_model

from worldsim.diffusion.schedule import Schedule, autoregressive, full_sequence, rolling
from worldsim.models.world_model import WorldModel
from worldsim.sampling.stream import Stream

TWO, FOUR = (1.0, 0.5, 0.0), (1.0, 0.8, 0.5, 0.2, 0.0)
SCHEDULES = {
    "autoregressive": autoregressive(TWO),
    "autoregressive_chunks": autoregressive(TWO, chunk=3),
    "one_step": autoregressive((1.0, 0.0)),
    "rolling": rolling(TWO),
    "rolling_four": rolling(FOUR),
    "rolling_both_ways": rolling(FOUR, bidirectional=True),
    "rolling_chunks_both_ways": rolling(TWO, chunk=3, bidirectional=True),
    "slope_two": Schedule(FOUR, 1, slope=2, window=2),
    "narrow_window": Schedule(FOUR, 1, slope=1, window=2),
    "full_sequence": full_sequence(TWO, 1, window=3, bidirectional=True),
    "full_sequence_chunks": full_sequence(TWO, 3, window=2),
}


def model_with(backbone: str, recent: int, sink: int = 1) -> WorldModel:
    model = copy.copy(nano_model(backbone))
    model.config = replace(model.config, recent=recent, sink=sink)
    if backbone == "svd":  # whose norms of random features make much of what is rounded
        model = copy.deepcopy(model)  # the other tests share it
        model.denoiser = model.denoiser.double()
    return model


@pytest.mark.parametrize("backbone", ["stnet", "dit", "unet", "wan"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_equals_one_forward_over_everything(name: str, backbone: str) -> None:
    model, schedule = model_with(backbone, recent=12), SCHEDULES[name]
    actions = random_actions(2, 12)
    imagined = run(Stream(model, schedule, precision="float32"), actions)
    for env in range(2):
        plain = Oracle(model, schedule, actions[env], env).frames()
        torch.testing.assert_close(imagined[env], plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", ["stnet", "dit", "wan"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_equals_a_context_that_forgets_nothing_after_the_ring_has_wrapped(
    name: str, backbone: str
) -> None:
    model, schedule = model_with(backbone, recent=6, sink=2), SCHEDULES[name]
    actions = random_actions(1, 30)
    imagined = run(Stream(model, schedule, precision="float32"), actions)
    plain = Oracle(model, schedule, actions[0], kept=KeptContext(model)).frames()
    torch.testing.assert_close(imagined[0], plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["rolling", "rolling_chunks_both_ways", "one_step"])
def test_windows_of_frames_equal_recomputation_too(name: str) -> None:
    """`svd`, whose passes take long: few schedules, and no more frames than wrap the ring."""
    model, schedule = model_with("svd", recent=4), SCHEDULES[name]
    actions = random_actions(1, 6)
    imagined = run(Stream(model, schedule, precision="float32"), actions)
    for kept in (None, KeptContext(model)):
        plain = Oracle(model, schedule, actions[0], kept=kept).frames()
        torch.testing.assert_close(imagined[0], plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("schedule", [autoregressive(FOUR), rolling(FOUR, chunk=2)], ids=str)
def test_renoised_chunks(schedule: Schedule) -> None:
    model, actions = model_with("stnet", recent=12), random_actions(1, 8)
    solver: Literal["renoise"] = "renoise"
    imagined = run(Stream(model, schedule, solver, precision="float32"), actions)
    plain = Oracle(model, schedule, actions[0], solver=solver).frames()
    torch.testing.assert_close(imagined[0], plain, atol=1e-5, rtol=1e-5)
    along = run(Stream(model, schedule, precision="float32"), actions)
    assert (along - imagined).abs().max() > 1e-3


@pytest.mark.parametrize("window", [1, 2, 5])
def test_the_steepest_slope_is_the_autoregressive_sampler(window: int) -> None:
    model, actions = nano_model(), random_actions(2, 6)
    steep = Schedule(FOUR, 1, slope=4, window=window)
    expected = run(Stream(model, autoregressive(FOUR), precision="float32"), actions)
    torch.testing.assert_close(run(Stream(model, steep, precision="float32"), actions), expected)


def test_slopes_differ() -> None:
    model, actions = nano_model(), random_actions(1, 6)
    ways = [
        run(Stream(model, schedule, precision="float32"), actions)
        for schedule in (
            autoregressive(TWO),
            rolling(TWO),
            rolling(TWO, bidirectional=True),
            full_sequence(TWO, 1, 3),
        )
    ]
    for index, way in enumerate(ways):
        for other in ways[index + 1 :]:
            assert (way - other).abs().max() > 1e-4
