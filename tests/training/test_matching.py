"""Distribution matching: which way the student moves, who moves in which step."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from worldsim.data.cache import CachedDataset
from worldsim.data.clips import ClipDataset
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.training.loss import PlanConfig, WorldModelLoss, student_of
from worldsim.training.losses.clip import Clip
from worldsim.training.losses.matching import MatchingConfig, critic_of, match_rollout
from worldsim.training.losses.self_rollout import Rolled, RolloutConfig

World = tuple[WorldModel, Clip]
CONFIG = MatchingConfig(share=1.0)


class Says(nn.Module):
    """A denoiser that always estimates the same clean frames."""

    def __init__(self, x0: Tensor) -> None:
        super().__init__()
        self.x0 = x0

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        return self.x0.expand_as(x)


def rollout(clip: Clip) -> Rolled:
    made = torch.randn(clip.x0[:, 2:].shape, generator=torch.Generator().manual_seed(0))
    return Rolled(made.requires_grad_(True), 2, clip.cond)


def matched(clip: Clip, rolled: Rolled, teacher: Any, critic: Any) -> Any:
    frames = torch.ones(rolled.predicted.shape[:2])
    generator = torch.Generator().manual_seed(1)
    return match_rollout(rolled, frames, clip, teacher, critic, CONFIG, generator)


def test_a_critic_that_agrees_with_the_teacher_moves_nothing(world: World) -> None:
    model, clip = world
    rolled = rollout(clip)
    found = matched(clip, rolled, model.denoiser, critic_of(model))
    found.student.backward()
    assert found.student.item() == 0 and float(found.gap) == 0
    assert rolled.predicted.grad is not None and rolled.predicted.grad.abs().max() == 0


def test_the_student_moves_from_the_critics_toward_the_teachers_frames(
    world: World,
) -> None:
    clip = world[1]
    rolled = rollout(clip)
    made = rolled.predicted.detach()
    real, fake = torch.full_like(made[:1, :1], 0.3), torch.full_like(made[:1, :1], 0.8)
    found = matched(clip, rolled, Says(real), Says(fake))
    scale = (made - real).abs().flatten(1).mean(1)
    torch.testing.assert_close(found.student, 0.5 * (0.5 / scale).square().mean())
    torch.testing.assert_close(found.critic, (made - fake).square().mean())
    found.student.backward()
    grad = rolled.predicted.grad
    assert grad is not None and (grad > 0).all(), "down, from 0.8 toward 0.3"
    torch.testing.assert_close(grad[0, 0, 0, 0, 0, 0] * made[0].numel() * len(made), 0.5 / scale[0])


def test_frames_outside_the_window_do_not_count(world: World) -> None:
    clip = world[1]
    rolled = rollout(clip)
    frames = torch.zeros(rolled.predicted.shape[:2])
    frames[:, 1] = 1
    found = match_rollout(
        rolled,
        frames,
        clip,
        Says(torch.zeros(1)),  # type: ignore[arg-type]
        Says(torch.ones(1)),  # type: ignore[arg-type]
        CONFIG,
        torch.Generator(),
    )
    assert found.student is not None
    found.student.backward()  # type: ignore[no-untyped-call]
    grad = rolled.predicted.grad
    assert grad is not None and grad[:, 1].abs().min() > 0
    assert grad[:, 0].abs().max() == 0 and grad[:, 2:].abs().max() == 0


def test_the_student_stands_still_between_its_steps(square_data: CachedDataset) -> None:
    """Gradients that are absent, not zero: an optimiser's momentum would move it otherwise."""
    from worldsim_testing import nano_model

    teacher = nano_model(spec=square_data.spec)
    student = student_of(teacher, PlanConfig())
    critic = critic_of(teacher)
    rolls = RolloutConfig(start=0.0, share=1.0, frames=2, frames_end=2, history=2)
    config = PlanConfig(length=5, rollout=rolls, matching=MatchingConfig(share=1.0, every=3))
    plan = WorldModelLoss(student, config, 1.0, teacher, critic, accumulate=2)
    network = nn.ModuleDict({"student": student, "critic": critic})
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    batch = ClipDataset(square_data, 5).batch([0, 7])
    batch["latents"] = teacher.encode(batch.pop("pixels"))
    moved: list[tuple[bool, bool]] = []
    for step in range(5):
        before = {n: p.detach().clone() for n, p in network.named_parameters()}
        optimizer.zero_grad(set_to_none=True)
        for micro in range(2):
            made = {**batch, "micro_step": 2 * step + micro}
            generator = torch.Generator().manual_seed(step)
            plan(made, 0.5, generator).total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        changed = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
        moved.append(
            (
                any(n.startswith("student.denoiser") for n in changed),
                any(n.startswith("critic") for n in changed),
            )
        )
    assert moved == [(True, True), (False, True), (False, True), (True, True), (False, True)]


def test_what_is_missing_is_told(world: World) -> None:
    model = world[0]
    config = PlanConfig(matching=CONFIG)
    with pytest.raises(UsageError, match="teacher"):
        WorldModelLoss(model, config, 1.0)
    with pytest.raises(UsageError, match="critic"):
        WorldModelLoss(model, config, 1.0, model)
    for wrong in ({"every": 0}, {"least": 0.0}, {"share": 2.0}, {"least": 0.9, "most": 0.5}):
        with pytest.raises(UsageError):
            MatchingConfig(**wrong)
