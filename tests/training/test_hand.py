"""The hand tracker learns what stops a hand, and is frozen for later training."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from worldsim_testing import nano_model

from worldsim.errors import UsageError
from worldsim.models.heads import StateReading
from worldsim.models.world_model import WorldModel
from worldsim.training.hand import HandConfig, fit_hand

LIMIT = 0.1
STATE = nano_model().spec.state.dim
LOW, HIGH = 0.0, LIMIT
"""Where the ceiling for y stands, which only the scene tells."""


def walk(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hand, scene and actions of a walk in steps of 3 cm.

    x stops at walls 10 cm from the middle, y at a ceiling that now and then moves.
    """
    rng = np.random.default_rng(0)
    action = rng.uniform(-1, 1, (rows, 5)).astype(np.float32)
    hand, scene = np.zeros((rows, 10), np.float32), np.zeros((rows, STATE), np.float32)
    scene[:, 0] = np.repeat(rng.choice([LOW, HIGH], rows // 10 + 1), 10)[:rows]
    for row in range(1, rows):
        moved = hand[row - 1, :2] + 0.03 * action[row - 1, :2]
        hand[row, 0] = np.clip(moved[0], -LIMIT, LIMIT)
        hand[row, 1] = np.clip(moved[1], -LIMIT, scene[row, 0])
    return torch.from_numpy(hand), torch.from_numpy(scene), torch.from_numpy(action)


@pytest.fixture(scope="module")
def fitted() -> WorldModel:
    model: WorldModel = copy.deepcopy(nano_model()).requires_grad_(True)
    hand, scene, action = walk(3000)
    model.normalizer.fit("agent_pos", hand.mean(0), hand.std(0))
    model.normalizer.fit("state", scene.mean(0), scene.std(0))
    fit_hand(model, hand, scene, action, torch.ones(3000), HandConfig(steps=1200), seed=0)
    return model


def model_reading(
    model: WorldModel, agent_pos: torch.Tensor, ceiling: float = HIGH
) -> StateReading:
    reading = model.read_state(torch.zeros(1, 1, 3, *model.latent_shape))
    scene = torch.zeros(1, STATE)
    scene[0, 0] = ceiling
    return replace(reading, agent_pos=agent_pos, state=scene)


def after(model: WorldModel, start: float, push: float) -> float:
    before = torch.zeros(1, 10)
    before[0, 0] = start
    action = torch.zeros(1, 5)
    action[0, 0] = push
    truth = before.clone()
    truth[0, 0] = min(start + 0.03 * push, LIMIT)
    seen = model_reading(model, truth)
    return float(model.next_agent_pos(before, action, torch.ones(1), seen)[0, 0])


def test_follows_the_command_in_the_open(fitted: WorldModel) -> None:
    assert after(fitted, 0.0, 1.0) == pytest.approx(0.03, abs=0.003)


def test_stops_at_the_wall(fitted: WorldModel) -> None:
    assert after(fitted, 0.095, 1.0) == pytest.approx(LIMIT, abs=0.004)


@pytest.mark.parametrize(("ceiling", "reached"), [(LOW, 0.0), (HIGH, 0.03)])
def test_stops_at_what_it_is_shown(fitted: WorldModel, ceiling: float, reached: float) -> None:
    action = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0]])
    undecided = torch.zeros(1, 10)
    undecided[0, 1] = 0.015
    seen = model_reading(fitted, undecided, ceiling)
    after = fitted.next_agent_pos(torch.zeros(1, 10), action, torch.ones(1), seen)
    assert float(after[0, 1]) == pytest.approx(reached, abs=0.006)


def test_never_leaves_the_box_of_recorded_hands_whatever_it_reads(fitted: WorldModel) -> None:
    hand = torch.zeros(1, 10)
    action = torch.tensor([[1.0, -1.0, 0.0, 0.0, 0.0]])
    reading = model_reading(fitted, torch.full((1, 10), 0.5))
    for _ in range(10):
        hand = fitted.next_agent_pos(hand, action, torch.ones(1), reading)
    assert hand[0, :2].abs().max() <= LIMIT + 1e-6


def test_a_reading_far_off_is_not_believed(fitted: WorldModel) -> None:
    seen = torch.zeros(1, 10)
    seen[0, 0] = -0.5
    action = torch.zeros(1, 5)
    reached = fitted.next_agent_pos(
        torch.zeros(1, 10), action, torch.ones(1), model_reading(fitted, seen)
    )
    assert reached[0, 0] == pytest.approx(0.0, abs=0.01)


def test_is_frozen_afterwards(fitted: WorldModel) -> None:
    assert not any(p.requires_grad for p in fitted.hand.parameters())


def test_same_seed_same_tracker() -> None:
    hand, scene, action = walk(200)
    weights = []
    for _ in range(2):
        model = copy.deepcopy(nano_model()).requires_grad_(True)
        fit_hand(model, hand, scene, action, torch.ones(200), HandConfig(steps=5), seed=3)
        weights.append(model.hand.straight.weight)
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)


def test_sizes_are_checked() -> None:
    with pytest.raises(UsageError, match="batch_size"):
        HandConfig(batch_size=0)
