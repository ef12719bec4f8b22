"""Distillation: targets in closed form, what carries gradients, a network told where to go."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from worldsim_testing import nano_model

from worldsim.diffusion.flow import linear_estimate, sampling_sigmas, step_down
from worldsim.diffusion.schedule import autoregressive
from worldsim.errors import UsageError
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.world_model import WorldModel
from worldsim.sampling.stream import Stream
from worldsim.training.loss import PlanConfig, WorldModelLoss, student_of
from worldsim.training.losses.clip import Clip
from worldsim.training.losses.distillation import (
    DISTILLATIONS,
    DistillationConfig,
    Noised,
    clean_target,
    distil,
    to_any_rung,
)

SHAPE = (4, 1, 2, 3, 4, 4)
NOBODY: Any = None


def noised(x: Tensor, high: float, low: float, goal: float) -> Noised:
    levels = [torch.full(SHAPE[:2], level) for level in (high, low, goal)]
    cond: Conditioning = NOBODY
    return Noised(x, levels[0], levels[1], levels[2], cond)


def spread(level: float) -> float:
    """Standard deviation of x at a level, for unit-variance clean frames."""
    return math.sqrt((1 - level) ** 2 + level**2)


def exact_jump(x: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    """The clean estimate that leads along the whole flow of Gaussian data, in closed form."""
    high, goal = float(sigma[0, 0]), float(target[0, 0])
    if goal == high:
        return linear_estimate(x, sigma)
    end = x * spread(goal) / spread(high)
    return (end - goal / high * x) / (1 - goal / high)


def gaussian_teacher(x: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    return linear_estimate(x, sigma)


def test_a_teacher_that_knows_the_frame_is_agreed_with() -> None:
    x0, x = torch.randn(2, *SHAPE).unbind()
    for goal in (0.0, 0.25, 0.5):
        target = clean_target(noised(x, 0.75, 0.5, goal), lambda *_: x0, lambda *_: x0)
        torch.testing.assert_close(target, x0)


def test_one_rung_is_the_teachers_own_step() -> None:
    x = torch.randn(SHAPE)

    def nobody(*_: Tensor) -> Tensor:
        return torch.full(SHAPE, torch.nan)

    at = noised(x, 0.75, 0.5, 0.5)
    target = clean_target(at, gaussian_teacher, nobody)
    torch.testing.assert_close(target, linear_estimate(x, at.high))


@pytest.mark.parametrize("goal", [0.0, 0.25])
def test_the_closed_form_of_gaussian_data_is_the_fixed_point(goal: float) -> None:
    """The exact jump agrees with itself one rung lower, up to the error of one Euler step."""
    x = torch.randn(SHAPE)
    gaps = []
    for rungs in (8, 16, 32):
        at = noised(x, 0.75, 0.75 - 1 / rungs, goal)
        target = clean_target(at, gaussian_teacher, exact_jump)
        gaps.append(float((target - exact_jump(x, at.high, at.goal)).abs().max()))
    assert gaps[1] < gaps[0] / 3 and gaps[2] < gaps[1] / 3  # second order


def test_every_lower_rung_is_a_goal() -> None:
    rung = torch.arange(6)[:, None].expand(-1, 400)
    goal = to_any_rung(rung, 6, torch.Generator().manual_seed(0))
    for row in range(6):
        assert set(goal[row].tolist()) == set(range(row + 1, 7))


@pytest.mark.parametrize("name", list(DISTILLATIONS))
def test_gradients_reach_the_student_alone(name: str, world: tuple[WorldModel, Clip]) -> None:
    teacher, clip = world
    config = DistillationConfig(name, rungs=4)
    student = student_of(teacher, PlanConfig(distillation=config))
    made = distil(student, teacher, clip, config, torch.Generator().manual_seed(1))
    assert made.predicted.shape == made.target.shape == (3, 1, *clip.x0.shape[2:])
    assert 1 <= made.first <= 5 and not made.target.requires_grad
    (made.predicted - made.target).square().mean().backward()  # type: ignore[no-untyped-call]
    found = {n for n, p in student.denoiser.named_parameters() if p.grad is not None}
    assert ("conditioner.jump.weight" in found) == (name == "ctm")
    assert len(found) > 20
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_student_begins_as_its_teacher(world: tuple[WorldModel, Clip]) -> None:
    """At the top rung, one rung down: student and teacher say the same of the same frame."""
    teacher, clip = world
    config = DistillationConfig("ctm", rungs=1, first_share=1.0)
    made = distil(
        student_of(teacher, PlanConfig(distillation=config)),
        teacher,
        clip,
        config,
        torch.Generator(),
    )
    torch.testing.assert_close(made.predicted, made.target, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", ["stnet", "dit"])
def test_jumps_change_nothing_until_they_are_learned(backbone: str) -> None:
    plain = nano_model(backbone)
    model = plain.trained_on(TrainedLadder(), jumps=True)
    assert model.config.denoiser.jumps and not plain.config.denoiser.jumps
    frames = autoregressive(tuple(sampling_sigmas(2).tolist()))
    start = nano_first(plain)
    outs = []
    for each in (plain, model):
        stream = Stream(each, frames, precision="float32")
        stream.reset(**start)
        stream.push(start_actions(plain))
        outs.append(torch.cat([chunk.latents for chunk in stream.drain()], 1))
    torch.testing.assert_close(outs[0], outs[1])
    with torch.no_grad():
        model.denoiser.conditioner.jump.weight.normal_()  # type: ignore[union-attr,operator]
    stream = Stream(model, frames, precision="float32")
    stream.reset(**start)
    stream.push(start_actions(plain))
    told = torch.cat([chunk.latents for chunk in stream.drain()], 1)
    assert (told - outs[0]).abs().max() > 1e-4


def nano_first(model: WorldModel) -> dict[str, Any]:
    from worldsim_testing import nano_start

    start = nano_start(1)
    return {"pixels": start["pixels"], "agent_pos": start["agent_pos"]}


def start_actions(model: WorldModel) -> Any:
    import numpy as np

    return np.full((1, 3, model.spec.action.dim), 0.3, np.float32)


@pytest.mark.parametrize(("solver", "fresh"), [("ode", False), ("renoise", True)])
def test_a_stream_says_where_each_pass_is_to_lead(
    solver: Any, fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nano_model()
    ladder = (1.0, 0.6, 0.2, 0.0)
    stream = Stream(model, autoregressive(ladder), solver, precision="float32")
    stream.reset(**nano_first(model))
    stream.push(start_actions(model)[:, :1])
    told: list[tuple[float, float]] = []
    forward = stream.model.denoiser.forward

    def spy(x: Tensor, sigma: Tensor, *args: Any, **named: Any) -> Tensor:
        told.append((float(sigma[0, -1]), float(named["target"][0, -1])))
        return forward(x, sigma, *args, **named)

    monkeypatch.setattr(stream.model.denoiser, "forward", spy)
    stream.drain()
    levels = [(1.0, 0.6), (0.6, 0.2), (0.2, 0.0)]
    expected = [(high, 0.0 if fresh else low) for high, low in levels]
    assert [pair for step in told for pair in step] == pytest.approx(
        [value for pair in expected for value in pair]
    )


def test_a_plan_that_distils_needs_a_teacher(world: tuple[WorldModel, Clip]) -> None:
    config = PlanConfig(distillation=DistillationConfig("consistency"))
    with pytest.raises(UsageError, match="teacher"):
        WorldModelLoss(world[0], config, 1.0)


def test_too_short_clips_are_refused(world: tuple[WorldModel, Clip]) -> None:
    teacher, clip = world
    config = DistillationConfig("ctm", chunk=6)
    with pytest.raises(UsageError, match="plan.length is 6"):
        distil(
            student_of(teacher, PlanConfig(distillation=config)),
            teacher,
            clip,
            config,
            torch.Generator(),
        )


def test_flow_of_many_rungs_reaches_what_the_jump_says() -> None:
    """The teacher's own sampler, step by step, ends where the closed form says."""
    x = torch.randn(SHAPE)
    ladder = sampling_sigmas(400)
    end = x
    for high, low in zip(ladder[:-1], ladder[1:], strict=True):
        sigma = torch.full(SHAPE[:2], float(high))
        end = step_down(end, linear_estimate(end, sigma), sigma, torch.full_like(sigma, float(low)))
    torch.testing.assert_close(end, x, atol=0.02, rtol=0.02)
